"""Somebody who draws what the truth shows, with the faults that people have, and takes time for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy import ndimage


@dataclass(frozen=True)
class Noise:
    """How drawings differ from the truth.

    Attributes:
        dilate: Pixels by which structures are drawn too large (below zero: too small).
        shift: Pixels by which a drawing is off, in a direction of its own each time.
        forget: Probability that a class is not drawn on a slice that shows it, unless it is the only one.
    """

    dilate: int = 0
    shift: int = 0
    forget: float = 0.0


@dataclass(frozen=True)
class Pace:
    """Seconds for a slice drawn from nothing and for one on which a served answer is corrected."""

    fresh: float = 60.0
    corrected: float = 20.0


@dataclass(frozen=True)
class Drawing:
    """One slice as drawn.

    Attributes:
        masks: class -> bool (H, W), those that are drawn.
        corrected: Whether a served answer was there to start from.
        changed: Pixels in which the drawing differs from what was served (from nothing, where nothing was).
        seconds: What it took.
    """

    masks: dict[str, np.ndarray]
    corrected: bool
    changed: int
    seconds: float


def draw_slice(
    truth: Mapping[str, np.ndarray],
    served: Mapping[str, np.ndarray] | None,
    noise: Noise,
    pace: Pace,
    rng: np.random.Generator,
) -> Drawing:
    """Draw one slice.

    Args:
        truth: class -> bool (H, W).
        served: the same of the answer that was shown; None before the first label.
    """
    shown = [name for name, mask in truth.items() if mask.any()]
    forgotten = {name for name in shown if rng.random() < noise.forget}
    if len(forgotten) == len(shown):
        forgotten = set(shown[1:]) & forgotten
    angle = rng.uniform(0, 2 * np.pi)
    offset = round(noise.shift * np.sin(angle)), round(noise.shift * np.cos(angle))
    masks: dict[str, np.ndarray] = {}
    taken = np.zeros(next(iter(truth.values())).shape, bool)
    for name in shown:
        if name in forgotten:
            continue
        mask = _shifted(_resized(truth[name], noise.dilate), offset) & ~taken
        if mask.any():
            masks[name] = mask
            taken |= mask
    empty = np.zeros_like(taken)
    before = served or {}
    changed = np.zeros_like(taken)
    for name in truth:
        changed |= before.get(name, empty) != masks.get(name, empty)
    corrected = any(mask.any() for mask in before.values())
    return Drawing(masks, corrected, int(changed.sum()), pace.corrected if corrected else pace.fresh)


def _resized(mask: np.ndarray, pixels: int) -> np.ndarray:
    if pixels == 0:
        return mask
    change = ndimage.binary_dilation if pixels > 0 else ndimage.binary_erosion
    found: np.ndarray = change(mask, iterations=abs(pixels))
    return found


def _shifted(mask: np.ndarray, offset: tuple[int, int]) -> np.ndarray:
    """Moved by (rows, columns); what leaves the slice is gone."""
    if offset == (0, 0):
        return mask
    moved: np.ndarray = ndimage.shift(mask.astype(np.uint8), offset, order=0) > 0
    return moved
