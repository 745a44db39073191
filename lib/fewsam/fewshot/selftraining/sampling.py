"""Which slices that nobody labelled are learnt from: of the same kind as the labelled ones, and unlike one another.

Files have names of all sorts. What an image shows is told by its embeddings instead: an image of another modality or of
another part of the body has no slice that is about as like a labelled one as labelled ones are like one another.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from fewsam.fewshot.selftraining.constants import SELF_TRAINING


def same_kind(candidates: np.ndarray, labelled: np.ndarray, likeness: float = SELF_TRAINING.likeness) -> bool:
    """Whether an image shows what the labelled slices show.

    Args:
        candidates: (n, F) unit descriptors of slices of the image, n at least 1.
        labelled: (m, F) unit descriptors of the labelled slices, m at least 1.
        likeness: See `SelfTrainingConstants`.
    """
    alike = labelled @ labelled.T
    np.fill_diagonal(alike, -1.0)
    usual = float(alike.max(axis=1).mean()) if len(labelled) > 1 else 1.0
    nearest = np.sort((candidates @ labelled.T).max(axis=1))[::-1]
    best = nearest[: max(1, len(nearest) // 4)]  # its ends may show what no labelled slice shows
    return float(best.mean()) >= likeness * usual


def spread_out(descriptors: np.ndarray, count: int, rng: np.random.Generator) -> list[int]:
    """``count`` rows of (n, F) unit descriptors that cover all of them, in increasing order.

    Each next row is the one that is least like any chosen before (farthest point, Gonzalez 1985); the first is drawn.
    """
    if len(descriptors) <= count:
        return list(range(len(descriptors)))
    chosen = [int(rng.integers(len(descriptors)))]
    nearest = descriptors @ descriptors[chosen[0]]
    while len(chosen) < count:
        chosen.append(int(nearest.argmin()))
        nearest = np.maximum(nearest, descriptors @ descriptors[chosen[-1]])
    return sorted(chosen)


def looked_at(images: Iterable[str], seed: int) -> list[str]:
    """Ids of all images in the order in which a run looks at them: drawn where there are more than it takes."""
    every = sorted(images)
    if len(every) <= SELF_TRAINING.images:
        return every
    return [every[i] for i in np.random.default_rng(seed).permutation(len(every))]


def some_of(images: Iterable[str], seed: int) -> list[str]:
    """The first of these, as many as a run takes."""
    return looked_at(images, seed)[: SELF_TRAINING.images]


def candidates(depth: int, count: int = SELF_TRAINING.candidates) -> Sequence[int]:
    """Slices of an image of ``depth`` that are looked at: at most ``count``, from end to end."""
    return sorted({int(z) for z in np.linspace(0, depth - 1, min(depth, count)).round()})
