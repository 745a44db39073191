"""Propagates a correction of one slice to its neighbours, by the fields that registration finds between them.

What was added and what was removed is warped from slice to slice and applied there, as long as it holds: the
registration is of use, the tissue under it looks as it did, and there is still something to change. Slices that a
person drew, or set prompts on, stay as they are.
"""

from __future__ import annotations

from collections.abc import Collection as Items
from dataclasses import dataclass

import numpy as np
import torch

from fewsam.fewshot.inference.smooth import connected_to, smoothed
from fewsam.fewshot.registration.propagation import Propagation
from fewsam.fewshot.registration.registration import SIDE, warped


@dataclass(frozen=True)
class SpreadConstants:
    """How far a correction is propagated.

    Attributes:
        reach_mm: Farthest slice.
        steps: Slices on either side, at most: each step registers a pair of slices where that was not done before.
        likeness: Share of the slice's spread of intensity: how far the mean of the tissue may drift from that under
            the correction.
        least: Pixels below which a change is not worth propagating.
    """

    reach_mm: float = 40.0
    steps: int = 8
    likeness: float = 0.35
    least: int = 4


SPREAD = SpreadConstants()


@dataclass(frozen=True)
class Change:
    """What a correction does to a structure on a slice: bool (H, W) each."""

    added: np.ndarray
    removed: np.ndarray

    @property
    def any(self) -> bool:
        return bool(self.added.any() or self.removed.any())


def spread(propagation: Propagation, z: int, change: Change, shown: np.ndarray, fixed: Items[int]) -> dict[int, Change]:
    """The changes that follow from ``change`` on slice ``z``, by slice; ``z`` is not among them.

    Args:
        propagation: Of the image, for its fields and the slices as they are registered.
        shown: The structure as it is shown, bool (Z, H, W).
        fixed: Slices that must stay as they are.
    """
    found: dict[int, Change] = {}
    for step in (1, -1):
        propagated = np.stack([change.added, change.removed]).astype(np.float32)
        square = torch.from_numpy(propagation.frame.to_square(propagated, SIDE))
        back = torch.zeros(2, SIDE, SIDE, device="cpu")  # where each cell of the slice at hand lies on slice z
        wanted = _greys(propagation, z, (change.added, change.removed))
        for count in range(1, SPREAD.steps + 1):
            at = z + step * count
            far = not 0 <= at < len(shown) or at in fixed
            if far or abs(float(propagation.depths[at] - propagation.depths[z])) > SPREAD.reach_mm:
                break
            field, registration_ok = propagation.between(at, at - step)
            if not registration_ok:
                break
            one = torch.from_numpy(field.astype(np.float32))
            back = one + warped(back, one)
            masks = np.asarray(propagation.frame.to_slice(warped(square, back))) > 0.5
            there = _held(propagation, at, masks, wanted, shown[at])
            if not there.any:
                break
            found[at] = there
    return found


def _greys(propagation: Propagation, z: int, masks: tuple[np.ndarray, np.ndarray]) -> list[float | None]:
    """Mean intensity of a slice under each mask."""
    grey = _grey(propagation, z)
    return [float(grey[mask].mean()) if mask.any() else None for mask in masks]


def _grey(propagation: Propagation, z: int) -> np.ndarray:
    raw = propagation.volume.raw_slice(z)
    return np.asarray(raw[raw.shape[0] // 2], np.float32)


def _held(propagation: Propagation, z: int, masks: np.ndarray, wanted: list[float | None], shown: np.ndarray) -> Change:
    """The parts of the warped change that hold on slice ``z``: (2, H, W) added and removed."""
    grey = _grey(propagation, z)
    allowed = float(grey.std()) * SPREAD.likeness + 1e-6
    kept = []
    for mask, mean, possible in zip(masks, wanted, (~shown, shown), strict=True):
        alike = mean is not None and mask.any() and abs(float(grey[mask].mean()) - mean) <= allowed
        part = mask & possible if alike else np.zeros_like(mask)
        kept.append(part if part.sum() >= SPREAD.least else np.zeros_like(part))
    after = smoothed((shown | kept[0]) & ~kept[1], near=kept[0] | kept[1])
    added, removed = after & ~shown, shown & ~after
    return Change(connected_to(added, kept[0] & added), connected_to(removed, kept[1] & removed))
