"""Which slice to label next: pure ranking of unlabelled slices, the same for the same generator.

ranked = rank(candidates, {"patient-1": {3, 17}}, "informative", np.random.default_rng(0))
ranked[0].image_id, ranked[0].slice, ranked[0].score
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from fewsam.core.errors import ConfigError

STRATEGIES = ("informative", "foreground_random", "random", "interval", "first")

Array = npt.NDArray[Any]
Labelled = Mapping[str, Collection[int]]


@dataclass(frozen=True)
class AcquisitionConstants:
    """How the next slice to label is chosen.

    Attributes:
        head: Places of the ranking that are chosen one after the other, each in view of those before it.
        clusters: Of descriptors, before there is a model.
        clustered: Descriptors that place the cluster centres; all are assigned to them.
        halving: Labelled slices after which the noise is half of what it was.
        unseen: Rank among the uncertain, 0 to 1, that a slice gets which was not segmented yet, in the middle of its
            volume.
    """

    head: int = 64
    clusters: int = 8
    clustered: int = 4096
    halving: float = 8.0
    unseen: float = 0.75


ACQUISITION = AcquisitionConstants()


@dataclass(frozen=True, eq=False)
class Candidate:
    """An unlabelled slice and what is known of it; ``score`` is filled in by :func:`rank`."""

    image_id: str
    slice: int
    depth: int  # slices of the image
    descriptor: Array | None = None  # (D,) what it looks like, e.g. its mean embedding
    uncertainty: Array | None = None  # (C,) of the model, by class
    foreground: Array | None = None  # (C,) predicted share of its pixels, by class
    score: float = 0.0  # 0..1


def rank(
    candidates: Sequence[Candidate], labelled: Labelled, strategy: str, rng: np.random.Generator
) -> list[Candidate]:
    """All candidates that are not labelled, the one to label first in front, each with its score.

    - ``informative``: before there is a model, slices that stand for the clusters of what is there; then, class by
      class, uncertain slices, with noise that fades as labels come in (the first models' doubts mean little). Both
      keep away from labelled slices and turn to the images with the fewest of them.
    - ``foreground_random``: at random, slices where the model sees a structure, or which it has not seen, in front.
    - ``random``; ``interval``: halving the largest gap, image after image; ``first``: in order.

    Args:
        candidates: slices of any number of images.
        labelled: image id -> labelled slices; candidates among them drop out.
        strategy: one of :data:`STRATEGIES`.
        rng: the only source of chance.

    Raises:
        ConfigError: there is no such strategy.
    """
    if strategy not in STRATEGIES:
        raise ConfigError(f"no strategy {strategy!r}; choose one of {', '.join(STRATEGIES)}")
    pool = [c for c in candidates if c.slice not in labelled.get(c.image_id, ())]
    if not pool:
        return []
    if strategy == "informative":
        return _informative(pool, labelled, rng)
    if strategy == "interval":
        order = _interval(pool, labelled)
    elif strategy == "first":
        place = {image_id: n for n, image_id in enumerate(dict.fromkeys(c.image_id for c in pool))}
        order = sorted(range(len(pool)), key=lambda i: (place[pool[i].image_id], pool[i].slice))
    else:
        order = [int(i) for i in rng.permutation(len(pool))]
        if strategy == "foreground_random":
            order.sort(key=lambda i: not _may_hold_structure(pool[i]))
    return [replace(pool[i], score=1.0 - place / len(pool)) for place, i in enumerate(order)]


def _may_hold_structure(candidate: Candidate) -> bool:
    return candidate.foreground is None or bool(np.any(np.asarray(candidate.foreground) > 0))


def _interval(pool: list[Candidate], labelled: Labelled) -> list[int]:
    """Indices into ``pool``; each image's next slice lies in the middle of its largest gap, few labels first."""
    index = {(c.image_id, c.slice): i for i, c in enumerate(pool)}
    depths = {c.image_id: c.depth for c in pool}
    order: list[tuple[int, int, int]] = []
    for number, (image_id, depth) in enumerate(depths.items()):
        marks = sorted({-1, depth, *labelled.get(image_id, ())})
        gaps = [(left - right, left, right) for left, right in itertools.pairwise(marks)]
        heapq.heapify(gaps)
        turn = len(marks) - 2
        while gaps:
            _, left, right = heapq.heappop(gaps)
            if right - left < 2:
                continue
            middle = (left + right) // 2
            if (image_id, middle) in index:
                order.append((turn, number, index[image_id, middle]))
                turn += 1
            heapq.heappush(gaps, (left - middle, left, middle))
            heapq.heappush(gaps, (middle - right, middle, right))
    return [i for _, _, i in sorted(order)]


def _informative(pool: list[Candidate], labelled: Labelled, rng: np.random.Generator) -> list[Candidate]:
    count = sum(len(slices) for slices in labelled.values())
    if any(c.uncertainty is not None and np.any(np.asarray(c.uncertainty) > 0) for c in pool):
        worth = _uncertainty_ranks(pool)  # (N, strata)
        worth = worth[:, rng.permutation(worth.shape[1])]
        noise = rng.gumbel(size=worth.shape) / (1.0 + count / ACQUISITION.halving)
    else:
        worth = _representatives(pool, rng)
        worth = np.roll(worth, -(count % worth.shape[1]), axis=1)  # go on where the labels so far have ended
        noise = np.zeros_like(worth)
    spread = _Spread(pool, labelled)
    with np.errstate(divide="ignore"):  # the logarithm of nothing never wins
        appeal = np.log(worth) + noise  # picks at random with odds worth ** (1 / noise), and by worth without noise
    chosen: list[int] = []
    scores: list[float] = []
    left = np.ones(len(pool), bool)
    for turn in range(min(ACQUISITION.head, len(pool))):
        stratum, weight = turn % worth.shape[1], spread.weight()
        with np.errstate(divide="ignore"):
            value = np.where(left, appeal[:, stratum] + np.log(weight), -np.inf)
        if not np.isfinite(value).any():  # nothing of this stratum is left
            value = np.where(left, worth.max(axis=1) * weight, -np.inf)
        best = int(np.argmax(value))
        chosen.append(best)
        scores.append(float(worth[best].max() * weight[best]))
        left[best] = False
        spread.add(best)
    rest = np.flatnonzero(left)
    values = (worth.max(axis=1) * spread.weight())[rest]
    order = np.argsort(-values, kind="stable")
    chosen += rest[order].tolist()
    scores += values[order].tolist()
    return [replace(pool[i], score=score) for i, score in zip(chosen, scores, strict=True)]


class _Spread:
    """How far candidates are from labelled slices, and how many of these their image has; both count picks too."""

    def __init__(self, pool: list[Candidate], labelled: Labelled) -> None:
        names = {image_id: n for n, image_id in enumerate(dict.fromkeys(c.image_id for c in pool))}
        self.image = np.array([names[c.image_id] for c in pool])
        self.slice = np.array([c.slice for c in pool], float)
        self.depth = np.array([c.depth for c in pool], float)
        self.distance = np.full(len(pool), np.inf)
        self.count = np.zeros(len(names))
        for image_id, number in names.items():
            for z in labelled.get(image_id, ()):
                self._label(number, z)

    def add(self, index: int) -> None:
        self._label(int(self.image[index]), self.slice[index])

    def _label(self, image: int, z: float) -> None:
        here = self.image == image
        self.distance[here] = np.minimum(self.distance[here], np.abs(self.slice[here] - z))
        self.count[image] += 1

    def weight(self) -> Array:
        """(N,) in (0, 1]: small beside a labelled slice, and in an image that has more of them than others."""
        count = self.count[self.image]
        gap = np.maximum(2.0, self.depth / (2.0 * (count + 1.0)))
        near = np.minimum(1.0, self.distance / gap)
        return near / (1.0 + count - self.count.min())


def _centrality(pool: list[Candidate]) -> Array:
    """(N,) in (0, 1]: the ends of a volume rarely hold what is to be labelled."""
    return np.array([np.sin(np.pi * (c.slice + 0.5) / max(1, c.depth)) for c in pool])


def _uncertainty_ranks(pool: list[Candidate]) -> Array:
    """(N, C) in [0, 1]: place of each slice among all by its uncertainty of each class that is in doubt anywhere.

    Ranks, since uncertainties of classes and of successive models have no common scale.
    """
    width = max(np.size(c.uncertainty) for c in pool if c.uncertainty is not None)
    values = np.full((len(pool), width), np.nan)
    for i, candidate in enumerate(pool):
        if candidate.uncertainty is not None:  # an older answer may know fewer classes
            known = np.nan_to_num(np.asarray(candidate.uncertainty, float).ravel(), posinf=0.0, neginf=0.0)
            values[i, : known.size] = known
    values = values[:, np.nanmax(np.where(np.isnan(values), 0.0, values), axis=0) > 0]
    unseen = ACQUISITION.unseen * _centrality(pool)
    worth = np.empty_like(values)
    for c in range(values.shape[1]):
        column, seen = values[:, c], ~np.isnan(values[:, c])
        ordered = np.sort(column[seen])
        # Equals share the middle of their places: the many slices without any doubt must not rank as the top.
        place = sum(np.searchsorted(ordered, column[seen], side=side) for side in ("left", "right")) / 2.0
        worth[seen, c] = np.where(column[seen] > 0, place / ordered.size, 0.0)
        worth[~seen, c] = unseen[~seen]
    return worth


def _representatives(pool: list[Candidate], rng: np.random.Generator) -> Array:
    """(N, clusters) in [0, 1]: how typical each slice is of its cluster, 0 elsewhere; the weightiest cluster first.

    Slices without a descriptor are one more cluster, by their place in the volume alone.
    """
    central = _centrality(pool)
    with_ = [i for i, c in enumerate(pool) if c.descriptor is not None]
    without = [i for i, c in enumerate(pool) if c.descriptor is None]
    groups: list[tuple[Array, Array]] = []
    if without:
        groups.append((np.array(without), central[without]))
    if with_:
        points = np.stack([np.asarray(pool[i].descriptor, float).ravel() for i in with_])
        points = np.nan_to_num(points - points.mean(axis=0))
        points /= np.maximum(np.linalg.norm(points, axis=1, keepdims=True), 1e-12)
        assigned, distance = _k_means(points, min(ACQUISITION.clusters, max(1, len(points) // 2)), rng)
        for cluster in np.unique(assigned):
            members = np.flatnonzero(assigned == cluster)
            place = np.empty(members.size)
            place[np.argsort(distance[members], kind="stable")] = np.arange(members.size)
            indices = np.array(with_)[members]
            groups.append((indices, (1.0 - place / members.size) * (0.5 + 0.5 * central[indices])))
    groups.sort(key=lambda group: -float(central[group[0]].sum()))
    worth = np.zeros((len(pool), len(groups)))
    for stratum, (indices, value) in enumerate(groups):
        worth[indices, stratum] = value
    return worth


def _k_means(points: Array, k: int, rng: np.random.Generator, rounds: int = 20) -> tuple[Array, Array]:
    """Cluster of each of the points (N, D) and its squared distance to the centre."""
    most = ACQUISITION.clustered
    sample = points if len(points) <= most else points[rng.choice(len(points), most, replace=False)]
    centres = sample[[int(rng.integers(len(sample)))]]
    while len(centres) < k:  # k-means++
        distance = _squared(sample, centres).min(axis=1)
        if distance.sum() <= 1e-12:
            break
        centres = np.vstack([centres, sample[rng.choice(len(sample), p=distance / distance.sum())]])
    for _ in range(rounds):
        nearest = _squared(sample, centres).argmin(axis=1)
        moved = np.stack(
            [sample[nearest == n].mean(axis=0) if (nearest == n).any() else c for n, c in enumerate(centres)]
        )
        if np.allclose(moved, centres):
            break
        centres = moved
    distance = _squared(points, centres)
    return distance.argmin(axis=1), distance.min(axis=1)


def _squared(points: Array, centres: Array) -> Array:
    lengths = (points**2).sum(axis=1)[:, None] + (centres**2).sum(axis=1)
    squared: Array = np.maximum(lengths - 2.0 * points @ centres.T, 0.0)
    return squared
