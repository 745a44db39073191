"""Signed distances to the contours of a drawn slice, the form in which they are carried elsewhere."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from fewsam.collection import Shot
from fewsam.images.preprocess import Frame

FINE = 256  # side of the square that they are measured on
FARTHEST = 30.0  # mm: they are cut off there, and a class not drawn is taken to be that far away


def drawn_distances(shot: Shot, frame: Frame, classes: Sequence[str], side: int) -> Tensor:
    """Signed distances in mm (C, side, side), inside positive, background first.

    A class that nobody looked for there is as near as background: of the two the slice says nothing.

    Args:
        frame: Of the slice, of any size.
        classes: In the order of the answer, background left out.
        side: A divisor of 256.
    """
    spacing = shot.image.spacing
    cell_mm = max(n * mm for n, mm in zip(frame.source, spacing[1:], strict=True)) / FINE
    masks = {name: frame.to_square(shot.masks[name].astype(np.float32), FINE) > 0.5 for name in shot.masks}
    background = _signed(~np.any([np.zeros((FINE, FINE), bool), *masks.values()], axis=0), cell_mm)
    nowhere = np.full_like(background, -FARTHEST)
    rows = [
        _signed(masks[name], cell_mm) if name in masks else nowhere if name in shot.known else background
        for name in classes
    ]
    return F.avg_pool2d(torch.from_numpy(np.stack([background, *rows])), FINE // side)


def _signed(mask: np.ndarray, cell_mm: float) -> np.ndarray:
    if mask.all() or not mask.any():
        return np.full(mask.shape, FARTHEST if mask.all() else -FARTHEST, np.float32)
    cells = np.where(mask, distance_transform_edt(mask) - 0.5, 0.5 - distance_transform_edt(~mask))
    return np.clip(cells * cell_mm, -FARTHEST, FARTHEST).astype(np.float32)
