"""Keeps what a prompt changes in one piece and its outline smooth: bool masks (H, W)."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

SIGMA = 1.0  # pixels
MARGIN = 3  # pixels round a change in which its outline may move
_EIGHT = np.ones((3, 3), bool)


def connected_to(mask: np.ndarray, seeds: np.ndarray) -> np.ndarray:
    """The parts of ``mask`` that hold one of ``seeds``."""
    if not seeds.any():
        return np.zeros_like(mask)
    parts, _ = ndimage.label(mask, _EIGHT)
    wanted = np.unique(parts[seeds & mask])
    found: np.ndarray = np.isin(parts, wanted[wanted > 0])
    return found


def smoothed(mask: np.ndarray, near: np.ndarray) -> np.ndarray:
    """``mask`` with a smooth outline near a change, and as it is elsewhere."""
    if not near.any():
        return mask
    band = ndimage.binary_dilation(near, _EIGHT, iterations=MARGIN)
    soft = ndimage.gaussian_filter(mask.astype(np.float32), SIGMA) > 0.5
    found: np.ndarray = np.where(band, soft, mask)
    return found
