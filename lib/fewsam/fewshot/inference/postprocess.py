"""From class probabilities to a labelmap: smoothing along z, presence gate, largest component."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage

from fewsam.images.frame import Frame


@dataclass(frozen=True)
class PostprocessConstants:
    """What is cleared from an answer.

    Attributes:
        island: Share of the largest component's size below which another one is an island
            (docs/research/propagation.md).
        gate: Mean probability of a class's region on a slice below which the class is taken as absent there.
        neighbour_weight: Weight of each of the two neighbours of a slice where probabilities are smoothed along z;
            of one that lies further away than most, less.
    """

    island: float = 0.1
    gate: float = 0.55
    neighbour_weight: float = 0.25


POSTPROCESS = PostprocessConstants()
_TOUCHING = np.ones((3, 3, 3))  # voxels that share a face, an edge or a corner


def class_indices(probabilities: np.ndarray, frame: Frame, *, depths: np.ndarray | None, gate: bool) -> np.ndarray:
    """Winning class of each pixel, background 0.

    Args:
        probabilities: (n, C, s, s) float of slices in order, on any square grid.
        frame: Where the slice lies in the square.
        depths: Place of each slice along the stack in mm, to blend neighbouring slices (give consecutive slices only);
            None blends none.
        gate: Clear doubtful regions.

    Returns:
        (n, H, W) uint8.
    """
    result = []
    for one in probabilities if depths is None else smoothed_along_z(probabilities, depths):
        full = frame.to_slice(torch.from_numpy(one.astype(np.float32)))
        confidence, winner = full.max(dim=0)
        labels = winner.numpy().astype(np.uint8)
        result.append(presence_gate(labels, confidence.numpy()) if gate else labels)
    return np.stack(result)


def smoothed_along_z(
    probabilities: np.ndarray, depths: np.ndarray, weight: float = POSTPROCESS.neighbour_weight
) -> Iterator[np.ndarray]:
    """Each slice blended with its neighbours, one after the other: all at once would take several times the memory.

    Args:
        probabilities: (Z, C, D, D).
        depths: (Z,) mm along the stack. Across a gap a neighbour counts for as much less as it is further away than
            neighbours usually are.

    Yields:
        (C, D, D) float32 of each slice; the ends keep to themselves.
    """
    steps = np.diff(depths)
    weights = weight * np.minimum(1, np.median(steps) / np.maximum(steps, 1e-6)) if len(steps) else steps
    for z, one in enumerate(probabilities):
        own = one.astype(np.float32)
        if 0 < z < len(probabilities) - 1:
            before, after = np.float32(weights[z - 1]), np.float32(weights[z])
            own *= 1 - before - after
            own += before * probabilities[z - 1].astype(np.float32)
            own += after * probabilities[z + 1].astype(np.float32)
        yield own


def presence_gate(labelmap: np.ndarray, confidence: np.ndarray) -> np.ndarray:
    """Clear a class where its whole region on a slice is doubtful.

    Args:
        labelmap: (H, W) uint8 of one slice.
        confidence: (H, W) float, probability of the winning class.
    """
    count = np.bincount(labelmap.ravel(), minlength=2)
    total = np.bincount(labelmap.ravel(), weights=confidence.ravel(), minlength=2)
    doubtful = (count > 0) & (total < POSTPROCESS.gate * count)
    doubtful[0] = False
    return np.where(doubtful[labelmap], 0, labelmap).astype(labelmap.dtype) if doubtful.any() else labelmap


def keep_largest(mask: np.ndarray) -> np.ndarray:
    """The largest connected component of a bool array (face neighbours); empty stays empty."""
    labelled, count = ndimage.label(mask)
    if count < 2:
        return mask
    sizes = np.bincount(labelled.ravel())
    sizes[0] = 0
    return labelled == sizes.argmax()


def without_islands(mask: np.ndarray) -> np.ndarray:
    """A bool array without the components that are small beside the largest (face neighbours).

    The largest alone would be one vertebra of a spine, whatever did well on the slice that was measured.
    """
    labelled, count = ndimage.label(mask)
    if count < 2:
        return mask
    sizes = np.bincount(labelled.ravel())
    sizes[0] = 0
    kept: np.ndarray = (sizes >= POSTPROCESS.island * sizes.max())[labelled] & mask
    return kept


def without_strays(mask: np.ndarray, first: int, last: int) -> np.ndarray:
    """A bool array (Z, H, W) without what lies beyond the drawn slices and touches nothing between them.

    The drawn slices show what surrounds a structure between them, and nothing of what looks alike further away: muscle
    of the pelvis for a liver. A structure that is in one piece between them is taken to be in one piece beyond them.
    One in several pieces, as a spine is, stays as it is.

    Args:
        first, last: The outermost slices on which the class was drawn; at least two.
    """
    between = mask[first : last + 1]
    sizes = np.bincount(ndimage.label(between, _TOUCHING)[0].ravel())[1:]
    if first == last or np.count_nonzero(sizes >= POSTPROCESS.island * sizes.max(initial=1)) != 1:
        return mask
    labelled, count = ndimage.label(mask, _TOUCHING)
    touches = np.zeros(count + 1, bool)
    touches[np.unique(labelled[first : last + 1])] = True
    return mask & touches[labelled]


def clean(labelmap: np.ndarray, values: Sequence[int], keep: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Reduce the classes of ``values`` in (Z, H, W) to what ``keep`` keeps of their masks."""
    result = labelmap.copy()
    for value in values:
        mask = labelmap == value
        result[mask & ~keep(mask)] = 0
    return result
