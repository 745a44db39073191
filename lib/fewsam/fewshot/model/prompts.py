"""From labelled slices to prompts: tokens, prototypes, similarity, probe, and retrieval.

Everything a slice contributes is computed once, when its embedding is at hand, in a form that adds
up over slices (tokens, cluster centres, sampled rows for the probe). So an episode that leaves its
query out costs a short fit, and that is remembered, not another pass over the embeddings.

Classes are counted with background as class 0: C = 1 + number of drawn classes.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from fewsam.core.device import moved
from fewsam.fewshot.model.decoder import Prompts
from fewsam.fewshot.model.pixel_features import EMBED_DIM, GRID
from fewsam.fewshot.model.probe import PROBE, fit_probe, probe_features, sample_cells


@dataclass(frozen=True)
class PromptConstants:
    """What turns labelled slices into prompts.

    Attributes:
        similarity_scale: Logits that one unit of cosine similarity adds to the probe's.
        kmeans_rounds: Of moving the cluster centres.
        kmeans_cells: Cells that place the centres of one class on one view, about.
        fits_kept: Fitted subsets of supports that are kept in memory.
    """

    similarity_scale: float = 1.0
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
        count = min(GRID * GRID, max(GRID, PROBE.cells // len(set(shots))))
        sampled = [
            sample_cells(
                view.embedding, view.mask, view.relative_z, cells, count, complete=bool(view.annotated_classes.all())
            )
            for view in views
        ]
        self._rows, self._shares, self._weights = (list(part) for part in zip(*sampled, strict=True))
        every = torch.cat([self._rows[i] for i in self._first_views()])
        self._mean, self._spread = every.mean(0), every.std(0).clamp_min(1e-2)

    def __len__(self) -> int:
        return len(self.shots)

    def to(self, device: torch.device) -> SupportBank:
        """The same bank on ``device``; it is itself where it is there already."""
        if device == self.device:
            return self
        there = copy.copy(self)
        vars(there).update(moved(vars(self), device), device=device)
        return there

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
        rows, shares, weights = (
            torch.cat([part[i] for i in subset]) for part in (self._rows, self._shares, self._weights)
        )
        return fit_probe(self._standard(rows), shares, weights)


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
