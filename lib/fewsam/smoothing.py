"""The answers of a volume's slices, each blended with its neighbours' where registration puts them.

A structure goes on from slice to slice, but seldom straight on: blending pixel by pixel blurs it away, blending along
the displacement fields between the slices does not. A recursive filter, once up and once down the volume, takes all
slices in, each by exp(-distance / LENGTH_MM), for the price of three warps a slice.
"""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from fewsam.propagation import Propagation
from fewsam.registration import warped

LENGTH_MM = 3.0  # what a slice that far away counts, against the slice itself: 1 / e


def smooth_along_fields(probabilities: np.ndarray, volume: Propagation) -> np.ndarray:
    """Blend neighbouring slices.

    Args:
        probabilities: (Z, C, D, D) float16 of all slices of a volume, in order. **Overwritten.**
        volume: Registers its slices.

    Returns:
        The same array; nothing is blended between slices that are not alike.
    """
    share = math.exp(-volume.slice_mm / LENGTH_MM)
    depth, side = len(probabilities), probabilities.shape[-1]
    counts = np.ones(depth)

    def moved(what: Tensor, fixed: int, moving: int) -> Tensor | None:
        field, alike = volume.between(fixed, moving)
        return warped(what, _sized(field, side)) if alike else None

    for z in range(1, depth):  # upwards: each slice becomes the mean of itself and what is below it
        below = moved(_float(probabilities[z - 1]), z, z - 1)
        if below is not None:
            weight = share * counts[z - 1]
            counts[z] = 1 + weight
            probabilities[z] = ((_float(probabilities[z]) + weight * below) / counts[z]).numpy()
    above, weight_above = None, 0.0
    for z in range(depth - 1, -1, -1):  # downwards: what is above it comes in, and the slice itself goes on
        total = counts[z] * _float(probabilities[z])
        alone = total
        if counts[z] > 1:
            below = moved(_float(probabilities[z - 1]), z, z - 1)
            alone = total - (counts[z] - 1) * below if below is not None else total
        coming = moved(above, z, z + 1) if above is not None else None
        weight = share * weight_above if coming is not None else 0.0
        probabilities[z] = ((total + share * coming if coming is not None else total) / (counts[z] + weight)).numpy()
        above, weight_above = alone + (share * coming if coming is not None else 0), 1 + weight
    return probabilities


def _float(one: np.ndarray) -> Tensor:
    return torch.from_numpy(one.astype(np.float32))


def _sized(field: np.ndarray, side: int) -> Tensor:
    found = torch.from_numpy(field.astype(np.float32))[None]
    return F.interpolate(found, size=(side, side), mode="bilinear", align_corners=False)[0] * (side / field.shape[-1])
