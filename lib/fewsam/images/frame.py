"""Where a slice lies in the square that a network sees, and the way there and back."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TypeVar

import numpy as np
import torch
import torch.nn.functional as F

Array = TypeVar("Array", np.ndarray, torch.Tensor)


@dataclass(frozen=True)
class Frame:
    """Where a slice lies in its square: resized with its physical aspect ratio to the top left, padded with zeros.

    Attributes:
        size: side S of the square.
        content: ``(h, w)`` of the resized slice inside it.
        source: ``(H, W)`` of the slice.
    """

    size: int
    content: tuple[int, int]
    source: tuple[int, int]

    def to_square(self, mask: Array, s: int) -> Array:
        """Masks ``(..., H, W)`` float on the square at resolution ``s``: ``(..., s, s)``, each cell the mean over its
        part of the slice, zero where it lies in the padding. numpy or torch, the kind comes back.
        """
        for axis in (0, 1):
            mask = _along(mask, axis - 2, _means(self.source[axis], self._extent(axis, s), s))
        return mask

    def to_slice(self, square: Array) -> Array:
        """Maps ``(..., s, s)`` float over the square, at any resolution, on the slice: ``(..., H, W)``; bilinear where
        that enlarges, mean over each pixel where it shrinks. numpy or torch, the kind comes back.
        """
        s = square.shape[-1]
        cells, scales = [s, s], [1.0, 1.0]
        for axis in (0, 1):
            extent, pixels = self._extent(axis, s), self.source[axis]
            reached = int(np.ceil(extent - 1e-6))
            if extent >= pixels:
                square = _along(square, axis - 2, _means_back(pixels, extent, s))
            elif reached == pixels:  # torch copies what keeps its size, whatever scale it is given
                square = _along(square, axis - 2, _lines(pixels, extent, s))
            else:
                cells[axis], scales[axis] = reached, pixels / extent
        return square if scales == [1.0, 1.0] else _enlarged(square, cells, scales, self.source)

    def _extent(self, axis: int, s: int) -> float:
        """Cells of a square at resolution ``s`` that the slice spans, the last one perhaps in part."""
        return self.content[axis] * s / self.size


def make_frame(slices_shape: tuple[int, int, int], spacing: tuple[float, float, float], size: int) -> Frame:
    """Frame of a volume's slices ``(Z, H, W)`` with spacing ``(z, row, col)`` in mm; the longer side fills ``size``."""
    high, wide = slices_shape[1] * spacing[1], slices_shape[2] * spacing[2]
    # rounded, so that headers that differ in the last bits of a spacing give the same frame
    shrink = [round(side / max(high, wide), 5) for side in (high, wide)]
    h, w = (max(1, round(size * part)) for part in shrink)
    return Frame(size=size, content=(h, w), source=(slices_shape[1], slices_shape[2]))


def relaid(maps: torch.Tensor, before: Frame, after: Frame) -> torch.Tensor:
    """Maps (N, C, t, t) on the square of one frame, on the square of another frame of the same slice: (N, C, t, t).

    Each frame rounds the sides of the slice to whole cells of its own, so that the same place of the slice lies up to
    half a cell apart in two of them. Bilinear; maps come back as they are where the frames agree.
    """
    scales = [(before.content[axis] * after.size) / (before.size * after.content[axis]) for axis in (0, 1)]
    if scales == [1.0, 1.0]:
        return maps
    side = maps.shape[-1]
    centres = (torch.arange(side, device=maps.device, dtype=maps.dtype) + 0.5) / side
    rows, columns = (centres * scale * 2 - 1 for scale in scales)
    grid = torch.stack([columns[None].expand(side, side), rows[:, None].expand(side, side)], dim=-1)
    grid = grid[None].expand(len(maps), -1, -1, -1)
    return F.grid_sample(maps, grid, mode="bilinear", padding_mode="border", align_corners=False)


def _along(array: Array, axis: int, matrix: np.ndarray) -> Array:
    """Resample one of the last two axes by a matrix ``(out, in)``."""
    if isinstance(array, np.ndarray):
        return _along(torch.from_numpy(np.ascontiguousarray(array)), axis, matrix).numpy()
    if not array.is_floating_point():
        array = array.float()
    weights = torch.from_numpy(matrix).to(array)
    return weights @ array if axis == -2 else array @ weights.T


def _enlarged(array: Array, cells: list[int], scales: list[float], shape: tuple[int, int]) -> Array:
    """Bilinear enlargement of the last two axes, of which only the first ``cells`` are read, cut to ``shape``."""
    if isinstance(array, np.ndarray):
        return _enlarged(torch.from_numpy(np.ascontiguousarray(array)), cells, scales, shape).numpy()
    if not array.is_floating_point():
        array = array.float()
    array = array[..., : cells[0], : cells[1]]
    planes = array.reshape(-1, 1, *array.shape[-2:])
    # a slice seldom ends where a cell does: given scales rather than a size, the centres fall where they lie. The
    # last bits added keep the size, which is rounded down from them, from losing a row.
    larger = F.interpolate(
        planes, scale_factor=[scale * (1 + 1e-9) for scale in scales], mode="bilinear", align_corners=False
    )
    return larger[..., : shape[0], : shape[1]].reshape(*array.shape[:-2], *shape)


def _overlaps(n: int, extent: float, s: int) -> np.ndarray:
    """``(s, n)``: length that cell c of s has in common with pixel p, where n pixels span 0..extent cells."""
    edges = np.arange(n + 1) * extent / n
    cells = np.arange(s)[:, None]
    return np.clip(np.minimum(cells + 1, edges[1:]) - np.maximum(cells, edges[:-1]), 0.0, None)


@lru_cache(maxsize=64)
def _means(n: int, extent: float, s: int) -> np.ndarray:
    """``(s, n)`` weights of the mean of n pixels in each of s cells; cells past the extent get nothing."""
    common = _overlaps(n, extent, s)
    return (common / np.maximum(common.sum(axis=1, keepdims=True), 1e-9)).astype(np.float32)


@lru_cache(maxsize=64)
def _means_back(n: int, extent: float, s: int) -> np.ndarray:
    """``(n, s)`` weights of the mean of s cells in each of n pixels."""
    common = _overlaps(n, extent, s).T
    return (common / common.sum(axis=1, keepdims=True)).astype(np.float32)


@lru_cache(maxsize=64)
def _lines(n: int, extent: float, s: int) -> np.ndarray:
    """``(n, s)`` weights of the two cells nearest to each of n pixel centres, none of them past the extent."""
    place = np.clip((np.arange(n) + 0.5) * extent / n - 0.5, 0.0, np.ceil(extent - 1e-6) - 1)
    return np.clip(1 - np.abs(place[:, None] - np.arange(s)), 0.0, None).astype(np.float32)
