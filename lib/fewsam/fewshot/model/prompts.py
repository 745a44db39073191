"""From labelled slices to prompts: tokens, prototypes, similarity, probe, and retrieval.

Everything a slice contributes is computed once, when its embedding is at hand, in a form that adds
up over slices (tokens, cluster centres, sampled rows for the probe). So an episode that leaves its
query out costs a short fit, and that is remembered, not another pass over the embeddings.

Classes are counted with background as class 0: C = 1 + number of drawn classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from fewsam.fewshot.model.decoder import Prompts
from fewsam.fewshot.model.pixel_features import EMBED_DIM, GRID


@dataclass(frozen=True)
class PromptConstants:
    """What turns labelled slices into prompts.

    Attributes:
        similarity_scale: Logits that one unit of cosine similarity adds to the probe's.
        ridge: Weight of the probe's squared coefficients against its mean log-likelihood.
        probe_rounds: Of L-BFGS.
        probe_cells: Cells of the 64 x 64 grid that the probe learns from, over all slices.
        sharpness: Power of a cell's shares of classes before the probe learns from them (`sharpened`).
        sharpening_rounds: Of giving each class its area back after that.
        unknown_weight: Weight of an undrawn cell as background where some class was not looked for.
        bumps: Radial bumps a side by which the probe knows where in the slice a cell lies.
        bump_width: Their standard deviation, where the side is 2.
        kmeans_rounds: Of moving the cluster centres.
        kmeans_cells: Cells that place the centres of one class on one view, about.
        fits_kept: Fitted subsets of supports that are kept in memory.
    """

    similarity_scale: float = 1.0
    ridge: float = 3e-4
    probe_rounds: int = 40
    probe_cells: int = 12_000
    sharpness: float = 4.0
    sharpening_rounds: int = 20
    unknown_weight: float = 0.25
    bumps: int = 6
    bump_width: float = 0.2
    kmeans_rounds: int = 8
    kmeans_cells: int = 512
    fits_kept: int = 256


PROMPTS = PromptConstants()


@dataclass(frozen=True)
class LabelledView:
    """One encoded view (the slice itself or an augmented one) of one labelled slice.

    Attributes:
        shot: Which labelled slice; views of one slice share it, so that both are left out together.
        embedding: (256, 64, 64) float, from the frozen encoder.
        mask: (C, 64, 64) float in [0, 1], area-weighted, background first.
        annotated_classes: (C,) bool: the annotator looked for the class, so that its absence is knowledge, not silence.
        relative_z: Place along the volume, 0 to 1.
    """

    shot: int
    embedding: Tensor
    mask: Tensor
    annotated_classes: Tensor
    relative_z: float

    def to(self, device: torch.device) -> LabelledView:
        """The same with embedding and mask on ``device``."""
        return replace(self, embedding=self.embedding.to(device), mask=self.mask.to(device))


class Fitted(NamedTuple):
    """What depends on the chosen supports alone: prototypes (C, P, 256), their presence, probe (F + 1, C)."""

    centres: Tensor
    has_centre: Tensor
    probe: Tensor


class SupportBank:
    """The few-shot collection as tensors, ready to prompt any slice with any subset of itself.

    Args:
        views: Labelled views, of at least one shot. They are gone through twice and none is kept: a sequence that
            makes each when it is asked for never has more than one embedding in memory.
        prototypes: Cluster centres a class kept of each view and in the end.
        class_ids: The id of each of the C classes (`Prompts.class_ids`); 0, 1, 2, ... by default.
    """

    def __init__(
        self, views: Sequence[LabelledView], prototypes: int = 3, class_ids: Sequence[int] | None = None
    ) -> None:
        shots, pooled, described, clustered = [], [], [], []
        # Of each class, on the first view of each shot: further ones must not make its classes look frequent.
        self.device = views[0].embedding.device
        cells = torch.zeros(len(views[0].mask), device=self.device)
        for view in views:
            embedding, mask = view.embedding.float(), view.mask.float()
            if view.shot not in shots:
                cells = cells + mask.sum(dim=(1, 2))
            shots.append(view.shot)
            pooled.append(soft_masked_pooling(embedding[None], mask[None]))
            described.append(slice_descriptors(embedding[None]))
            clustered.append(_clusters(embedding, mask, prototypes))
        self.shots = torch.tensor(shots, device=self.device)
        self.classes = len(cells)
        self.count = prototypes
        ids = list(class_ids) if class_ids is not None else list(range(self.classes))
        self.class_ids = torch.tensor(ids, device=self.device)
        self.tokens, self.present = (torch.cat(part) for part in zip(*pooled, strict=True))
        self.descriptors = torch.cat(described)
        self.centres, self.sizes = (torch.stack(part) for part in zip(*clustered, strict=True))  # (S, C, P[, 256])
        self._fitted: dict[tuple[int, ...], Fitted] = {}
        count = min(GRID * GRID, max(GRID, PROMPTS.probe_cells // len(set(shots))))
        sampled = [_sample_rows(view, cells, count) for view in views]
        self._rows, self._answers, self._weights = (list(part) for part in zip(*sampled, strict=True))
        every = torch.cat([self._rows[i] for i in self._first_views()])
        self._mean, self._spread = every.mean(0), every.std(0).clamp_min(1e-2)

    def __len__(self) -> int:
        return len(self.shots)

    def prompts(
        self, embeddings: Tensor, relative_z: Tensor, *, subset: Tensor | None = None, retrieve: int = 8
    ) -> Prompts:
        """Prompts for N query slices from the bank's entries in ``subset`` (all of them by default).

        Args:
            embeddings: (N, 256, 64, 64) float.
            relative_z: (N,) place along the volume, 0 to 1.
            subset: Indices of bank entries, at least one.
            retrieve: How many nearest entries give tokens to each query.
        """
        subset = torch.arange(len(self), device=self.device) if subset is None else subset
        centres, has_centre, _ = self.fit(subset)
        nearest = subset[self.nearest(embeddings, subset, retrieve)]  # (N, R)
        tokens = torch.cat([self.tokens[nearest].transpose(1, 2), centres.expand(len(embeddings), -1, -1, -1)], dim=2)
        present = torch.cat([self.present[nearest].transpose(1, 2), has_centre.expand(len(embeddings), -1, -1)], dim=2)
        num_supports = self.num_supports(subset).expand(len(embeddings), -1)
        return Prompts(tokens, present, self.prior(embeddings, relative_z, subset), self.class_ids, num_supports)

    def num_supports(self, subset: Tensor) -> Tensor:
        """On how many labelled slices of ``subset`` each class is drawn, background on all: (C,) long."""
        shots = self.shots[subset]
        drawn = self.present[subset]
        counts = [len(shots.unique()), *(len(shots[drawn[:, c]].unique()) for c in range(1, self.classes))]
        return torch.tensor(counts, device=self.device)

    def nearest(self, embeddings: Tensor, subset: Tensor, count: int) -> Tensor:
        """Positions in ``subset`` of the entries most like each query, most like first: (N, R)."""
        likeness = slice_descriptors(embeddings) @ self.descriptors[subset].T
        return likeness.topk(min(count, len(subset)), dim=1).indices

    def fit(self, subset: Tensor) -> Fitted:
        """Prototypes and probe of ``subset``; remembered, since episodes repeat subsets."""
        key = tuple(subset.tolist())
        if key not in self._fitted:
            if len(self._fitted) >= PROMPTS.fits_kept:
                self._fitted.clear()
            centres, sizes = self.centres[subset], self.sizes[subset]
            merged = [
                weighted_kmeans(centres[:, c].reshape(-1, EMBED_DIM), sizes[:, c].reshape(-1), self.count)
                for c in range(self.classes)
            ]
            self._fitted[key] = Fitted(
                torch.stack([centre for centre, _ in merged]),
                torch.stack([size > 0 for _, size in merged]),
                self._fit_probe(subset.tolist()),
            )
        return self._fitted[key]

    def prior(self, embeddings: Tensor, relative_z: Tensor, subset: Tensor) -> Tensor:
        """Training-free class logits (N, C, 64, 64): the probe's, and similarity to prototypes."""
        similarity = self.similarity(embeddings, subset)
        return self.probe(embeddings, relative_z, subset) + PROMPTS.similarity_scale * similarity

    def similarity(self, embeddings: Tensor, subset: Tensor) -> Tensor:
        """Cosine to a class's nearest prototype less that to the nearest of any other: (N, C, 64, 64)."""
        centres, has_centre, _ = self.fit(subset)
        along = F.normalize(centres, dim=-1).flatten(0, 1) @ embeddings.flatten(2)  # (N, C * P, 64 * 64)
        cosine = along / embeddings.flatten(2).square().sum(1, keepdim=True).sqrt().clamp_min(1e-12)
        cosine = cosine.unflatten(1, centres.shape[:2]).unflatten(-1, embeddings.shape[-2:])
        cosine = cosine.masked_fill(~has_centre[None, :, :, None, None], -1.0).amax(dim=2)
        best, where = cosine.topk(2, dim=1)
        other = best[:, :1].expand_as(cosine).clone()
        other.scatter_(1, where[:, :1], best[:, -1:])
        return cosine - other

    def probe(self, embeddings: Tensor, relative_z: Tensor, subset: Tensor) -> Tensor:
        """Log-probabilities (N, C, 64, 64) of a logistic regression from embedding and place to class."""
        coefficients = self.fit(subset).probe
        # Of standardised rows; here the few coefficients are turned instead of the many rows.
        slopes = coefficients[:-1].T / self._spread
        constant = coefficients[-1] - slopes @ self._mean
        scores = F.linear(probe_features(embeddings, relative_z), slopes, constant).log_softmax(dim=1)
        return scores.reshape(len(embeddings), GRID, GRID, self.classes).permute(0, 3, 1, 2)

    def probe_rows(self, embeddings: Tensor, relative_z: Tensor) -> Tensor:
        """Rows (N * 64 * 64, F) as the probe of `fit` takes them: standardised as those that it learnt from."""
        return self._standard(probe_features(embeddings, relative_z))

    def _first_views(self) -> list[int]:
        """The first entry of each labelled slice."""
        shots = self.shots.tolist()
        return [i for i, shot in enumerate(shots) if shot not in shots[:i]]

    def _standard(self, rows: Tensor) -> Tensor:
        return (rows - self._mean) / self._spread

    def _fit_probe(self, subset: list[int]) -> Tensor:
        """Multinomial logistic regression on standardised rows: (F + 1, C), the constant last."""
        rows = self._standard(torch.cat([self._rows[i] for i in subset]))
        weights = torch.cat([self._weights[i] for i in subset])
        answers = (torch.cat([self._answers[i] for i in subset]).T * (weights / weights.sum())).contiguous()  # (C, N)
        total = answers.sum(0)
        # The optimiser must be able to change in place what was made here, whoever asks first.
        with torch.inference_mode(False), torch.no_grad():
            coefficients = torch.zeros(self.classes, rows.shape[1] + 1, device=rows.device)
            optimiser = torch.optim.LBFGS(
                [coefficients], lr=1, max_iter=PROMPTS.probe_rounds, history_size=10, line_search_fn="strong_wolfe"
            )

            @torch.no_grad()
            def closure() -> Tensor:
                # The gradient by hand: classes first, both products read the rows as they lie in memory. Autograd's
                # product with the transposed rows takes four times as long.
                scores = torch.addmm(coefficients[:, -1:], coefficients[:, :-1], rows.T).log_softmax(0)
                excess = scores.exp() * total - answers
                gradient = torch.cat([excess @ rows, excess.sum(1, keepdim=True)], 1)
                coefficients.grad = gradient + 2 * PROMPTS.ridge * coefficients
                return PROMPTS.ridge * coefficients.square().sum() - (answers * scores).sum()

            optimiser.step(closure)
            return coefficients.T.contiguous()


def _sample_rows(view: LabelledView, cells: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Rows, answers (shares of classes, sharpened) and weights of ``count`` cells of a view, small classes first.

    Args:
        cells: (C,) how many cells each class has on all slices. Rare ones would drown in background: a cell weighs
            one over the root of it.
    """
    mask = view.mask.float().reshape(len(cells), -1)
    weights = mask / cells.clamp_min(1).sqrt()[:, None]
    weights[0] *= 1.0 if view.annotated_classes.all() else PROMPTS.unknown_weight
    chance = (mask / mask.sum(1, keepdim=True).clamp_min(1)).sum(0)
    # A generator for each: what a slice contributes must not depend on which came before it.
    # The draw is the CPU's, whatever the device: the same slice gives the same rows everywhere.
    generator = torch.Generator("cpu").manual_seed(0)
    chosen = torch.multinomial((chance + 1e-9).cpu(), count, generator=generator).to(mask.device)
    relative_z = torch.tensor([view.relative_z], dtype=torch.float32, device=mask.device)
    rows = probe_features(view.embedding.float()[None], relative_z, chosen)
    return rows, sharpened(mask).T[chosen], weights.sum(0)[chosen]


def sharpened(shares: Tensor) -> Tensor:
    """Shares (C, n) of classes in each of n cells, nearer to one class a cell, while each class keeps its area.

    A border cell belongs to two classes, and a probe that learns so is unsure along every border. The winner alone
    would be sure, but a structure smaller than a cell would be gone. So shares are raised to a power, and classes are
    weighed until each has the area that it had (iterative proportional fitting, Deming and Stephan 1940).
    """
    area = shares.sum(1, keepdim=True)
    shares = shares**PROMPTS.sharpness
    for _ in range(PROMPTS.sharpening_rounds):
        shares = shares * (area / shares.sum(1, keepdim=True).clamp_min(1e-12))
        shares = shares / shares.sum(0, keepdim=True).clamp_min(1e-12)
    return shares


def soft_masked_pooling(embeddings: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
    """Mean embedding under each soft mask: (S, 256, h, w), (S, C, h, w) -> (S, C, 256), (S, C) bool.

    The masks are area-weighted: at 64 x 64 a hard mask loses what is smaller than a cell.
    """
    total = masks.sum(dim=(2, 3))
    pooled = torch.einsum("sdhw,schw->scd", embeddings, masks) / total.clamp_min(1e-6)[..., None]
    return pooled, total > 1e-3


def slice_descriptors(embeddings: Tensor) -> Tensor:
    """Unit vectors (N, 256 * 16) of the embedding averaged over a 4 x 4 grid, for retrieval."""
    return F.normalize(F.adaptive_avg_pool2d(embeddings, 4).flatten(1), dim=1)


def probe_features(embeddings: Tensor, relative_z: Tensor, cells: Tensor | None = None) -> Tensor:
    """Rows for the probe: (N * 64 * 64, F) from embeddings (N, 256, 64, 64) and relative_z (N,).

    The normalised embedding, and the place as low polynomials and radial bumps.

    Args:
        cells: (M,) which cells of each slice, row by row; all by default. Then there are N * M rows.
    """
    pixels, flat = embeddings.flatten(2).transpose(1, 2), _place_across(embeddings.device)
    if cells is not None:
        pixels, flat = pixels[:, cells], flat[cells]
    pixels = F.layer_norm(pixels, (EMBED_DIM,))
    z = (2 * relative_z.float() - 1)[:, None, None].expand(len(pixels), len(flat), 1)
    x, y = flat[:, :1], flat[:, 1:2]
    along = torch.cat([z, z * x, z * y], dim=-1)
    return torch.cat([pixels, flat.expand(len(pixels), -1, -1), along], dim=-1).flatten(0, 1)


@cache
@torch.inference_mode(False)  # whoever asks first: a training's gradients must be able to pass
def _place_across(device: torch.device) -> Tensor:
    """Polynomials (x, y first) and bumps of each cell of the grid, (64 * 64, 5 + bumps squared)."""
    line = torch.linspace(-1, 1, GRID, device=device)
    y, x = torch.meshgrid(line, line, indexing="ij")
    middles = torch.linspace(-0.8, 0.8, PROMPTS.bumps, device=device)
    bump = torch.exp(-((line[:, None] - middles) ** 2) / (2 * PROMPTS.bump_width**2))
    bumps = torch.einsum("hi,wj->hwij", bump, bump).flatten(2)
    return torch.cat([torch.stack([x, y, x * x, y * y, x * y], dim=-1), bumps], dim=-1).flatten(0, 1)


def weighted_kmeans(
    points: Tensor, weights: Tensor, count: int, rounds: int = PROMPTS.kmeans_rounds
) -> tuple[Tensor, Tensor]:
    """Cluster centres (count, d) and their weights (count,); clusters without a point weigh 0.

    Starts from the heaviest point, then from those farthest from the centres so far: deterministic.
    """
    centres = points[weights.argmax()][None]
    used = weights > 0
    for _ in range(count - 1):
        distance = torch.cdist(points, centres).amin(1) * used
        centres = torch.cat([centres, points[distance.argmax()][None]])
    for _ in range(rounds):
        member = F.one_hot(torch.cdist(points, centres).argmin(1), count).float() * weights[:, None]
        size = member.sum(0)
        centres = torch.where(size[:, None] > 0, member.T @ points / size.clamp_min(1e-6)[:, None], centres)
    return centres, size


def _clusters(embedding: Tensor, mask: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Centres (C, count, 256) and sizes (C, count) of one view's classes."""
    pixels = embedding.reshape(EMBED_DIM, -1).T
    centres, sizes = [], []
    for weight in mask.reshape(len(mask), -1):
        inside = (weight > 0.5).nonzero()[:, 0] if (weight > 0.5).any() else weight.topk(4).indices
        # A few hundred cells place the centres well enough.
        chosen = inside[:: max(1, len(inside) // PROMPTS.kmeans_cells)]
        centre, size = weighted_kmeans(pixels[chosen], weight[chosen], count)
        centres.append(centre)
        sizes.append(size * (weight.sum() / weight[chosen].sum().clamp_min(1e-6)))
    return torch.stack(centres), torch.stack(sizes)
