"""Slices to the encoder's square uint8 input.

The pixels made here are hashed into the embedding cache's keys: they must not depend on the process, the number of
threads or how many slices are made at once. Whatever changes them raises `PREPROCESS_VERSION`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch

from fewsam.core.config import Settings
from fewsam.images.frame import Frame
from fewsam.images.resize import resize
from fewsam.images.volume import Volume

PREPROCESS_VERSION = 1

# Dense at both ends, where percentiles are chosen; those between are interpolated.
_PERCENTILES = (0, 0.1, 0.5, 1, 2, 3, 5, 10, 25, 50, 75, 90, 95, 97, 98, 99, 99.5, 99.9, 100)
_SAMPLES = 4_000_000  # voxels that percentiles are taken from
_AIR, _BONE = -200.0, 5000.0  # only CT holds values below the one, and no CT has its bulk above the other
_NO_UNITS = 1000.0  # where no value is below 0, Hounsfield units have no bulk up to here: they lack their intercept


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
        ``p0`` to ``p100`` (percentiles of all voxels), ``min``, ``max``, and as 0 or 1 ``ct`` (Hounsfield units,
        by its modality and values, or by its values alone where the format tells no modality), ``rgb`` (three channels
        that belong together) and ``eight_bit``. For an image of several sequences the same of each channel, as
        ``0:p50``.
    """
    stats = _stats(volume.slices, volume, volume.modality)
    modalities = volume.modalities or (volume.modality,) * 3
    for channel in range(3) if volume.sequences else ():
        own = _stats(volume.slices[..., channel], volume, modalities[channel])
        stats |= {f"{channel}:{key}": value for key, value in own.items()}
    return stats


def _stats(voxels: np.ndarray, volume: Volume, modality: str | None) -> dict[str, float]:
    pixels = voxels.reshape(-1)
    step = -(-pixels.size // _SAMPLES)
    levels = np.percentile(pixels[::step].astype(np.float64), _PERCENTILES)
    stats = {f"p{p:g}": float(level) for p, level in zip(_PERCENTILES, levels, strict=True)}
    stats |= {"min": float(pixels.min()), "max": float(pixels.max())}
    looks_ct = stats["p0.5"] <= _AIR and stats["p99.9"] <= _BONE and stats["max"] > 0
    eight_bit = volume.slices.dtype == np.uint8
    # a CT that was exported for looking at it, or before its values were scaled
    without_units = eight_bit or (stats["min"] >= 0 and stats["p99.9"] > _NO_UNITS)
    stats["ct"] = float(modality == "CT" and not without_units if modality else looks_ct)
    stats["rgb"] = float(volume.slices.ndim == 4)
    stats["eight_bit"] = float(eight_bit)
    return stats


def choose_intensity(stats: Mapping[str, float], settings: Settings) -> Intensity:
    """Range to show: as `Settings.intensity` says; "auto" takes the window for CT in Hounsfield units, the full range
    for 8-bit images (they were made for looking at) and percentiles for all others. Of several sequences each has a
    range of its own.
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
