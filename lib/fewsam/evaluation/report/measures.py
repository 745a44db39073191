"""What a segmentation of one structure is worth: overlap, and distances between surfaces in millimetres.

What is undefined is NaN and stays out of every mean: all measures where the structure is not in the truth (voxels
predicted there are counted as such), distances where it was not found. Surfaces and distances are MONAI's.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from monai.metrics import compute_hausdorff_distance, compute_surface_dice

from fewsam.core.metrics import dice, iou


@dataclass(frozen=True)
class Score:
    """One structure in one volume.

    Attributes:
        surface_dice: Share of both surfaces that lies within the tolerance of the other.
        hd95: 95th percentile of the distances between the surfaces, mm.
        truth_voxels, predicted_voxels: Over the tested slices.
    """

    volume: str
    structure: str
    iou: float
    dice: float
    surface_dice: float
    hd95: float
    truth_voxels: int
    predicted_voxels: int

    def as_dict(self) -> dict[str, Any]:
        """For JSON, where NaN is null."""
        return {k: None if isinstance(v, float) and math.isnan(v) else v for k, v in asdict(self).items()}

    @classmethod
    def of(cls, values: dict[str, Any]) -> Score:
        """The inverse of `as_dict`."""
        given: dict[str, Any] = {key: math.nan if value is None else value for key, value in values.items()}
        return cls(**given)


def score(
    volume: str,
    structure: str,
    predicted: np.ndarray,
    truth: np.ndarray,
    spacing: Sequence[float],
    tolerance: float,
    *,
    by_slice: bool,
) -> Score:
    """All measures of one structure in one volume.

    Args:
        predicted, truth: bool (Z, H, W), the tested slices.
        spacing: mm along (z, row, col).
        tolerance: of the surface Dice, mm.
        by_slice: surfaces slice by slice, then the mean over slices with the structure in the truth: for tested slices
            that are not all slices of their volume, where a surface in space would run along the gaps.
    """
    nan = math.nan
    counts = int(truth.sum()), int(predicted.sum())
    if not counts[0]:
        return Score(volume, structure, nan, nan, nan, nan, *counts)
    if by_slice:
        pairs = [surfaces(p, t, spacing[1:], tolerance) for p, t in zip(predicted, truth, strict=True) if t.any()]
        surface = float(np.mean([pair[0] for pair in pairs]))
        distances = [pair[1] for pair in pairs if not math.isnan(pair[1])]
        hd95 = float(np.mean(distances)) if distances else nan
    else:
        surface, hd95 = surfaces(predicted, truth, spacing, tolerance)
    return Score(volume, structure, iou(predicted, truth), dice(predicted, truth), surface, hd95, *counts)


def surfaces(
    predicted: np.ndarray, truth: np.ndarray, spacing: Sequence[float], tolerance: float
) -> tuple[float, float]:
    """Surface Dice and 95 % Hausdorff distance of two bool arrays (H, W) or (Z, H, W).

    Without a truth both are undefined; a structure that is not found has surface Dice 0 and no distance.
    """
    if not truth.any():
        return math.nan, math.nan
    if not predicted.any():
        return 0.0, math.nan
    if truth.ndim == 3 and truth.shape[0] == 1:  # a picture: its surface is its outline
        predicted, truth, spacing = predicted[0], truth[0], spacing[1:]
    box = _box(predicted | truth)
    pair = [torch.from_numpy(np.pad(mask[box], 1))[None, None] for mask in (predicted, truth)]
    options: dict[str, Any] = {"include_background": True, "spacing": [float(step) for step in spacing]}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MONAI warns of every class that is absent
        surface = compute_surface_dice(pair[0], pair[1], [tolerance], **options)
        distance = compute_hausdorff_distance(pair[0], pair[1], percentile=95, **options)
    return float(surface), float(distance)


def _box(mask: np.ndarray) -> tuple[slice, ...]:
    places = [
        np.flatnonzero(mask.any(axis=tuple(a for a in range(mask.ndim) if a != axis))) for axis in range(mask.ndim)
    ]
    return tuple(slice(int(found[0]), int(found[-1]) + 1) for found in places)
