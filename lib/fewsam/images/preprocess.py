"""Slices to the encoder's square uint8 input, and masks to and from that square.

The pixels made here are hashed into the embedding cache's keys: they must not depend on the process, the number of
threads or how many slices are made at once. Whatever changes them raises `PREPROCESS_VERSION`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeVar

import numpy as np
import torch
import torch.nn.functional as F

from fewsam.core.config import Settings
from fewsam.images.resize import resize
from fewsam.images.volume import Volume

PREPROCESS_VERSION = 1

Array = TypeVar("Array", np.ndarray, torch.Tensor)

# Dense at both ends, where percentiles are chosen; those between are interpolated.
_PERCENTILES = (0, 0.1, 0.5, 1, 2, 3, 5, 10, 25, 50, 75, 90, 95, 97, 98, 99, 99.5, 99.9, 100)
_SAMPLES = 4_000_000  # voxels that percentiles are taken from
_AIR, _BONE = -200.0, 5000.0  # only CT holds values below the one, and no CT has its bulk above the other


@dataclass(frozen=True)
class Intensity:
    """Values shown as black and as white.

    Attributes:
        colour: The three raw channels are colours or sequences, not neighbours.
        channels: Black and white of each raw channel, where they are sequences; else empty.
    """

    low: float
    high: float
    colour: bool = False
    channels: tuple[tuple[float, float], ...] = ()

    def of_channel(self, channel: int) -> tuple[float, float]:
        """Values of a raw channel that are shown as black and as white."""
        return self.channels[channel] if self.channels else (self.low, self.high)


def image_stats(volume: Volume) -> dict[str, float]:
    """What choosing an intensity range needs, as plain floats that can be stored beside the image's name.

    Returns:
        ``p0`` to ``p100`` (percentiles of all voxels), ``min``, ``max``, and as 0 or 1 ``ct`` (by its modality, or by
        its values where the format tells no modality), ``rgb`` (three channels that belong together) and
        ``eight_bit``. For an image of several sequences the same of each channel, as ``0:p50``.
    """
    stats = _stats(volume.slices, volume)
    for channel in range(3) if volume.sequences else ():
        stats |= {f"{channel}:{key}": value for key, value in _stats(volume.slices[..., channel], volume).items()}
    return stats


def _stats(voxels: np.ndarray, volume: Volume) -> dict[str, float]:
    pixels = voxels.reshape(-1)
    step = -(-pixels.size // _SAMPLES)
    levels = np.percentile(pixels[::step].astype(np.float64), _PERCENTILES)
    stats = {f"p{p:g}": float(level) for p, level in zip(_PERCENTILES, levels, strict=True)}
    stats |= {"min": float(pixels.min()), "max": float(pixels.max())}
    looks_ct = stats["p0.5"] <= _AIR and stats["p99.9"] <= _BONE and stats["max"] > 0
    stats["ct"] = float(volume.modality == "CT" if volume.modality else looks_ct)
    stats["rgb"] = float(volume.slices.ndim == 4)
    stats["eight_bit"] = float(volume.slices.dtype == np.uint8)
    return stats


def choose_intensity(stats: Mapping[str, float], settings: Settings) -> Intensity:
    """Range to show: as `Settings.intensity` says; "auto" takes the window for CT, the full range for 8-bit images
    (they were made for looking at) and percentiles for all others. Of several sequences each has its own range.
    """
    low, high = _range(stats, settings)
    parts = [{key[2:]: level for key, level in stats.items() if key.startswith(f"{channel}:")} for channel in range(3)]
    channels = tuple(_range(part, settings) for part in parts) if all(parts) else ()
    return Intensity(low, high, colour=bool(stats["rgb"]), channels=channels)


def _range(stats: Mapping[str, float], settings: Settings) -> tuple[float, float]:
    mode = settings.intensity
    eight_bit = bool(stats["eight_bit"])
    if mode == "auto":
        # an 8-bit copy that uses less than half of its range was not made for looking at
        bright = eight_bit and stats["max"] >= 128
        mode = "window" if stats["ct"] else "full" if bright else "percentile"
    if mode == "window":
        low, high = settings.window
    elif mode == "full":
        low, high = (0.0, 255.0) if eight_bit else (stats["min"], stats["max"])
    else:
        levels = [stats[f"p{p:g}"] for p in _PERCENTILES]
        low, high = (float(np.interp(p, _PERCENTILES, levels)) for p in settings.percentiles)
        if high <= low:  # a few bright voxels on nothing
            low, high = stats["min"], stats["max"]
    if high <= low:  # constant
        high = low + 1.0
    return low, high


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
    return torch.nn.functional.grid_sample(maps, grid, mode="bilinear", padding_mode="border", align_corners=False)


def to_uint8(raw: np.ndarray, intensity: Intensity, frame: Frame, channels: str) -> np.ndarray:
    """Raw slices as the encoder takes them.

    Args:
        raw: ``(N, 3, H, W)`` of any dtype, as `Volume.raw_slice` gives them.
        intensity: mapped to 0..255, clipped.
        frame: of these slices, with the encoder's S.
        channels: "grey" repeats the middle channel, "neighbours" keeps all three; colours are always kept.

    Returns:
        ``(N, 3, S, S)`` uint8.
    """
    keep = (0, 1, 2) if intensity.colour or channels == "neighbours" else (1,)
    h, w = frame.content
    out = np.zeros((len(raw), 3, frame.size, frame.size), dtype=np.uint8)
    ranges = [intensity.of_channel(channel) for channel in range(3)]
    for image, target in zip(raw, out, strict=True):
        for channel in keep:
            low, scale = np.float32(ranges[channel][0]), np.float32(255.0 / (ranges[channel][1] - ranges[channel][0]))
            shown = np.nan_to_num((image[channel].astype(np.float32) - low) * scale)
            # one channel at a time: the kernel, and with it the last bit, may depend on the shape of a batch
            plane = torch.from_numpy(np.clip(shown, 0.0, 255.0))[None, None]
            plane = resize(plane, (h, w), antialias=True)
            target[channel, :h, :w] = plane[0, 0].round().clamp(0, 255).to(torch.uint8).numpy()
        if len(keep) == 1:
            target[:] = target[1]
    return out


def detail_bytes(raw: np.ndarray, intensity: Intensity, frame: Frame) -> np.ndarray:
    """Raw slices (N, 3, H, W) as the decoder's detail branch reads them: uint8 (N, D, D), D the frame's side."""
    pixels = to_uint8(raw, intensity, frame, "grey")
    return pixels.mean(axis=1).round().astype(np.uint8) if intensity.colour else pixels[:, 0]


def detail_tensor(detail: np.ndarray) -> torch.Tensor:
    """The decoder's detail input: uint8 (N, D, D) -> float (N, 1, D, D) in [-1, 1]."""
    return torch.from_numpy(np.ascontiguousarray(detail[:, None])).float() / 127.5 - 1


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
