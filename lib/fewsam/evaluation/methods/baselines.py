"""The baselines, on the same slices, seeds and preprocessing as fewsam.

A method of ours counts as better when it beats these: prototypes and a linear probe on the same embeddings, a U-Net
trained from scratch on the same slices, and SAM's own point and box prompts. Each gives class
probabilities for a volume; `evaluate` turns them all into labelmaps in the same way.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from monai.networks.nets import UNet
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn

from fewsam.fewshot.model.losses import segmentation_loss
from fewsam.fewshot.model.probe import probe_features
from fewsam.fewshot.training.episodes import Episodes

# Probabilities (N, C, h, w), background first, of N slices given by embeddings (N, 256, 64, 64),
# relative_z (N,) and detail (N, 1, D, D).
SliceModel = Callable[[Tensor, Tensor, Tensor], Tensor]

PROBE_PIXELS = 20_000
UNET_STEPS = 600
UNET_BATCH = 8


def prototypes(episodes: Episodes) -> SliceModel:
    """Nearest prototype by cosine: no training, no position, no probe."""
    bank = episodes.bank

    def predict(embeddings: Tensor, relative_z: Tensor, detail: Tensor) -> Tensor:
        return (16 * bank.similarity(embeddings, torch.arange(len(bank), device=bank.device))).softmax(1)

    return predict


def linear_probe(episodes: Episodes, seed: int = 0) -> SliceModel:
    """scikit-learn's multinomial logistic regression from embedding and relative z to class, on the 64 x 64 grid."""
    rng = np.random.default_rng(seed)
    rows, answers = [], []
    for index, labelled in enumerate(episodes.slices):
        view = labelled.view(0)
        mask = F.adaptive_avg_pool2d(view.mask, 64)
        relative_z = torch.tensor([labelled.relative_z], device=episodes.embedder.device)
        rows.append(probe_features(episodes.embeddings([(index, 0)]), relative_z).cpu().numpy())
        answers.append(mask.argmax(0).flatten().numpy())
    x, y = np.concatenate(rows), np.concatenate(answers)
    keep = _balanced(y, PROBE_PIXELS, rng)
    classes = 1 + len(episodes.classes)
    if len(found := np.unique(y)) == 1:  # all structures are smaller than a cell of the grid

        def one_answer(embeddings: Tensor, relative_z: Tensor, detail: Tensor) -> Tensor:
            p = torch.zeros(len(embeddings), classes, 64, 64, device="cpu")
            p[:, int(found[0])] = 1
            return p

        return one_answer
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=200))
    model.fit(x[keep], y[keep])
    present = torch.from_numpy(model[-1].classes_.astype(np.int64))

    def predict(embeddings: Tensor, relative_z: Tensor, detail: Tensor) -> Tensor:
        given = torch.from_numpy(model.predict_proba(probe_features(embeddings, relative_z).cpu().numpy())).float()
        p = torch.zeros(len(given), classes, device="cpu")  # scikit-learn's work, whatever the device
        p[:, present] = given
        return p.reshape(len(embeddings), 64, 64, classes).permute(0, 3, 1, 2)

    return predict


def unet(episodes: Episodes, seed: int = 0, progress: Callable[[int, int], None] | None = None) -> SliceModel:
    """MONAI's 2D U-Net with residual units, from scratch on the labelled slices, a fresh augmented view each time."""
    torch.manual_seed(seed)
    rng, steps = np.random.default_rng(seed), UNET_STEPS
    classes = 1 + len(episodes.classes)
    network = UNet(
        2, 1, classes, channels=(16, 32, 64, 128, 256), strides=(2, 2, 2, 2), num_res_units=2, norm="INSTANCE"
    ).to(episodes.embedder.device)
    optimiser = torch.optim.AdamW(network.parameters(), lr=2e-3, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    for step in range(steps):
        chosen = rng.choice(len(episodes.slices), size=UNET_BATCH)
        views = [episodes.slices[i].view(int(rng.integers(1, 2**31))) for i in chosen]
        images = torch.from_numpy(np.stack([view.detail[None] for view in views])).float() / 127.5 - 1
        mask = torch.stack([view.mask for view in views])
        known = torch.stack([episodes.slices[i].annotated_classes for i in chosen])
        images, mask, known = episodes.on_device(images, mask, known)
        loss = segmentation_loss(network(images), mask, known)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        schedule.step()
        if progress:
            progress(step + 1, steps)
    return _UNetModel(network)


class _UNetModel:
    def __init__(self, network: nn.Module) -> None:
        self.network = network.eval()

    @torch.inference_mode()
    def __call__(self, embeddings: Tensor, relative_z: Tensor, detail: Tensor) -> Tensor:
        return self.network(detail).softmax(1)


def _balanced(y: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Indices of about ``count`` pixels, each class as far as it goes in equal number, background double."""
    values = np.unique(y)
    share = count // (len(values) + 1)
    parts: Sequence[np.ndarray] = [
        rng.permutation(np.flatnonzero(y == value))[: share * (2 if value == 0 else 1)] for value in values
    ]
    return np.concatenate(parts)
