"""Signed distances to the contours of a drawn slice, the form in which contours are propagated to other slices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from fewsam.collection import Shot
from fewsam.images.frame import Frame


@dataclass(frozen=True)
class DistanceConstants:
    """How distances are measured.

    Attributes:
        side: Cells a side of the square that they are measured on.
        farthest_mm: Where they are cut off. A class that is not drawn is taken to be that far away.
    """

    side: int = 256
    farthest_mm: float = 30.0


DISTANCES = DistanceConstants()


def drawn_distances(shot: Shot, frame: Frame, classes: Sequence[str], side: int) -> Tensor:
    """Signed distances in mm (C, side, side), inside positive, background first.

    A class that nobody looked for there is as near as background: the slice does not tell the two apart.

    Args:
        frame: Of the slice, of any size.
        classes: In the order of the answer, background left out.
        side: A divisor of 256.
    """
    spacing = shot.image.spacing
    cell_mm = max(n * mm for n, mm in zip(frame.source, spacing[1:], strict=True)) / DISTANCES.side
    masks = {name: frame.to_square(shot.masks[name].astype(np.float32), DISTANCES.side) > 0.5 for name in shot.masks}
    background = _signed(~np.any([np.zeros((DISTANCES.side, DISTANCES.side), bool), *masks.values()], axis=0), cell_mm)
    nowhere = np.full_like(background, -DISTANCES.farthest_mm)
    rows = [
        _signed(masks[name], cell_mm) if name in masks else nowhere if name in shot.known else background
        for name in classes
    ]
    return F.avg_pool2d(torch.from_numpy(np.stack([background, *rows])), DISTANCES.side // side)


def _signed(mask: np.ndarray, cell_mm: float) -> np.ndarray:
    if mask.all() or not mask.any():
        return np.full(mask.shape, DISTANCES.farthest_mm if mask.all() else -DISTANCES.farthest_mm, np.float32)
    cells = np.where(mask, distance_transform_edt(mask) - 0.5, 0.5 - distance_transform_edt(~mask))
    return np.clip(cells * cell_mm, -DISTANCES.farthest_mm, DISTANCES.farthest_mm).astype(np.float32)
