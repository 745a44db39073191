"""What the encoder is trained for: that a linear classifier fitted on a few slices labels the others.

The classifier is the ridge regression of R2-D2 (Bertinetto et al., *Meta-learning with differentiable closed-form
solvers*, ICLR 2019) over pixels: a closed form of the logistic probe that the app fits, so that the gradient passes
through the fit. It sees what the probe sees: standardised features and the place in the slice and the volume.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

BUMPS = 6  # radial bumps a side, for place: as in the probe
_PRESENT = 0.05  # cells of a class in the supports, below which the queries are not asked for it


class RidgeProbe(nn.Module):
    """A classifier fitted in closed form; its penalty and the sharpness of its answers are learned.

    Args:
        rows: cells of each support slice that it is fitted on.
    """

    def __init__(self, rows: int = 512) -> None:
        super().__init__()
        self.rows = rows
        self.log_penalty = nn.Parameter(torch.tensor(math.log(0.01)))
        self.log_scale = nn.Parameter(torch.tensor(math.log(8.0)))

    def forward(
        self, generator: torch.Generator, rows: Tensor, masks: Tensor, support: Tensor, query: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Loss and accuracy on the queries after a fit on the supports.

        Args:
            rows: (n, cells, F) float, from `probe_rows`.
            masks: (n, C, cells) float in [0, 1].
            support: (k,) int64, slices to fit on.
            query: (q,) int64, slices to answer.
        """
        picked = _pick(generator, masks[support], self.rows)
        x, y = _take(rows[support], picked), _take(masks[support].transpose(1, 2), picked)
        present = masks[support].sum((0, 2)) > _PRESENT
        weight = _weights(masks[support], picked)
        mean, spread = x.mean(0), x.std(0).clamp_min(1e-2)
        x = F.pad((x - mean) / spread, (0, 1), value=1.0)
        penalty = torch.full((x.shape[1],), 1.0, device=x.device) * self.log_penalty.exp()
        penalty = torch.cat([penalty[:-1], penalty.new_full((1,), 1e-4)])  # the constant goes free
        gram = x.T @ (weight[:, None] * x) + torch.diag(penalty)
        solution = torch.cholesky_solve(x.T @ (weight[:, None] * y), torch.linalg.cholesky(gram))
        asked = _pick(generator, masks[query], self.rows)
        q, truth = _take(rows[query], asked), _take(masks[query].transpose(1, 2), asked)
        scores = F.pad((q - mean) / spread, (0, 1), value=1.0) @ solution * self.log_scale.exp()
        scores = scores.masked_fill(~present, -1e4)
        known = (truth * present).sum(1)  # what no support shows cannot be asked for
        share = _weights(masks[query], asked) * known
        share = share / share.sum().clamp_min(1e-6)
        truth = truth * present / known.clamp_min(1e-6)[:, None]
        loss = -(share * (truth * scores.log_softmax(1)).sum(1)).sum()
        right = (scores.argmax(1) == truth.argmax(1)).float()
        return loss, (share * right).sum().detach()


def probe_rows(embeddings: Tensor, place: Tensor) -> Tensor:
    """Features of every cell: (n, 256, g, g) and (n,) -> (n, g * g, F), the embedding's and those of place."""
    n, _, g, _ = embeddings.shape
    pixels = F.layer_norm(embeddings.permute(0, 2, 3, 1), (embeddings.shape[1],))
    line = torch.linspace(-1, 1, g, device=embeddings.device)
    y, x = torch.meshgrid(line, line, indexing="ij")
    middles = torch.linspace(-0.8, 0.8, BUMPS, device=embeddings.device)
    bump = torch.exp(-((line[:, None] - middles) ** 2) / (2 * 0.2**2))
    bumps = torch.einsum("hi,wj->hwij", bump, bump).flatten(2)
    flat = torch.cat([torch.stack([x, y, x * x, y * y, x * y], -1), bumps], -1)
    z = (2 * place - 1)[:, None, None, None]
    along = torch.cat([z.expand(n, g, g, 1), z * x[None, ..., None], z * y[None, ..., None]], -1)
    return torch.cat([pixels, flat.expand(n, -1, -1, -1), along], -1).flatten(1, 2)


def splits(generator: torch.Generator, patient: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Supports and queries of an episode: within the first patient, and across patients both ways."""
    device = patient.device
    n, patients = len(patient), int(patient.max()) + 1
    order = torch.randperm(n, generator=generator, device=device)
    if patients == 2:
        first, second = (order[patient[order] == one] for one in (0, 1))
        few = int(torch.randint(1, len(first), (1,), generator=generator, device=device))
        many = int(torch.randint(2, len(second) + 1, (1,), generator=generator, device=device))
        return [(first[:few], first[few:]), (second[:many], first), (first, second)]
    few = int(torch.randint(2, n - 2, (1,), generator=generator, device=device))
    return [(order[:few], order[few:])]


def _pick(generator: torch.Generator, masks: Tensor, count: int) -> Tensor:
    """Cells (n, count) of each slice, drawn so that small classes have their share."""
    chance = (masks / masks.sum(2, keepdim=True).clamp_min(1)).sum(1)
    chance = chance / chance.sum(1, keepdim=True) + 0.5 / masks.shape[2]
    return torch.multinomial(chance, min(count, masks.shape[2]), generator=generator)


def _take(values: Tensor, picked: Tensor) -> Tensor:
    """(n, cells, F) and (n, r) -> (n * r, F)."""
    return values.gather(1, picked[..., None].expand(-1, -1, values.shape[2])).flatten(0, 1)


def _weights(masks: Tensor, picked: Tensor) -> Tensor:
    """Of each picked cell, in all 1: a class counts as the root of its size."""
    weight = (masks / masks.sum((0, 2)).clamp_min(1).sqrt()[None, :, None]).sum(1)
    chosen = weight.gather(1, picked).flatten()
    return chosen / chosen.sum()
