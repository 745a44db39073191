"""Labelled slices of other images, registered to a slice that nobody drew: multi-atlas segmentation.

Iglesias and Sabuncu 2015 survey it. Each labelled slice (an atlas) is registered to the slice asked for, its contours
follow as signed distances, and the atlases vote, each where it looks like that slice (local weighted voting:
Artaechevarria et al. 2009). Nothing is trained. The volume's own drawn slices are `propagation`'s part.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from fewsam.collection import Shot
from fewsam.core.config import Settings
from fewsam.fewshot.registration.registration import (
    ACROSS_SIDE,
    SIDE,
    Field,
    Fields,
    correlation,
    register_across,
    warped,
)
from fewsam.fewshot.registration.signed_distances import drawn_distances
from fewsam.images.frame import Frame, make_frame, relaid
from fewsam.images.preprocess import Intensity, choose_intensity, detail_bytes
from fewsam.images.resize import resize
from fewsam.images.volume import Volume


@dataclass(frozen=True)
class AtlasConstants:
    """How labelled slices of other images are used (docs/research/atlas.md has what this was chosen by).

    Attributes:
        num_atlases: Registered to a slice, at most: those most like it.
        blur: Cells of SIDE: how blurred an atlas's contours are.
        whole_weight: An atlas weighs exp(this times the correlation of the whole slice).
        cell_grey: Grey values of 255: at a cell it weighs exp(-difference / this).
        cell_window: Cells of ACROSS_SIDE that the difference at a cell is averaged over, twice.
        thumbnail: Cells a side on which the most likely atlases are first found.
        distances_kept: Atlases whose distances are kept in memory.
    """

    num_atlases: int = 5
    blur: float = 2.0
    whole_weight: float = 5.0
    cell_grey: float = 8.0
    cell_window: int = 5
    thumbnail: int = 16
    distances_kept: int = 64


ATLAS = AtlasConstants()


@dataclass(frozen=True)
class _Slice:
    """A slice to be registered. ``name`` tells its pixels and window, ``relative_z`` its place along the volume."""

    name: tuple[object, ...]
    grey: np.ndarray  # (ACROSS_SIDE, ACROSS_SIDE) float32, 0..255: 16 kB
    thumbnail: np.ndarray
    relative_z: float


class Atlases:
    """The labelled slices of a task, for slices of other images.

    Args:
        shots: All of the task. Of their pixels a small slice is kept, of their masks a bit a pixel.
        classes: In the order of the answer, background left out.
    """

    def __init__(self, shots: Sequence[Shot], classes: Sequence[str], settings: Settings) -> None:
        self.classes = tuple(classes)
        self._greys = [_of_shot(shot, settings) for shot in shots]
        self._masks = [{name: np.packbits(mask) for name, mask in shot.masks.items()} for shot in shots]
        self._shots = [replace(shot, pixels=shot.pixels[:, :0, :0].copy(), masks={}) for shot in shots]
        self._distances = lru_cache(ATLAS.distances_kept)(self._drawn)

    def __getstate__(self) -> dict[str, Any]:
        """For another process, which fills a memory of its own."""
        return {name: value for name, value in self.__dict__.items() if name != "_distances"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._distances = lru_cache(ATLAS.distances_kept)(self._drawn)

    def log_probs(
        self, volume: Volume, slices: Sequence[int], intensity: Intensity, fields: Fields, frame: Frame
    ) -> Tensor | None:
        """Class log-probabilities (N, C, SIDE, SIDE), background first; None where no other image has a label.

        Args:
            intensity: As the encoder's input of the volume has it.
            fields: Kept by the caller from request to request.
            frame: The square of the volume's slices that the answer lies on; it may be of another size.
        """
        usable = self._usable(volume)
        if not usable:
            return None
        asked = [_of_volume(volume, z, intensity) for z in slices]
        with ThreadPoolExecutor(torch.get_num_threads()) as pool:
            found = torch.stack(list(pool.map(lambda one: self._one(one, usable, fields), asked)))
        across = _across(volume.geometry.slices_shape, volume.geometry.spacing)
        return relaid(found, across, frame).clamp_min(1e-6).log()

    def num_atlases(self, volume: Volume) -> int:
        """How many labelled slices of other images there are."""
        return len(self._usable(volume))

    def _usable(self, volume: Volume) -> list[int]:
        return [k for k, shot in enumerate(self._shots) if shot.image.content_hash != volume.content_hash]

    def _one(self, fixed: _Slice, usable: list[int], fields: Fields) -> Tensor:
        """Class probabilities (C, SIDE, SIDE) on the square that the slice is registered on."""
        greys = self._greys
        like = {k: correlation(fixed.thumbnail, greys[k].thumbnail) - _apart(fixed, greys[k]) for k in usable}
        log_weights, probabilities = [], []
        for k in sorted(usable, key=lambda k: -like[k])[: ATLAS.num_atlases]:
            moving = greys[k]
            field, _ = fields.get((*fixed.name, *moving.name), partial(_registered, fixed, moving))
            there = torch.from_numpy(field.astype(np.float32))
            warped_grey = warped(torch.from_numpy(moving.grey)[None], there)
            whole = correlation(fixed.grey, warped_grey[0].numpy()) - _apart(fixed, moving)
            off = _blurred((torch.from_numpy(fixed.grey) - warped_grey).square()).sqrt()
            log_weights.append(ATLAS.whole_weight * whole - _sized(off, SIDE) / ATLAS.cell_grey)
            enlarged = _sized(there, SIDE) * (SIDE / ACROSS_SIDE)
            probabilities.append((warped(self._distances(k), enlarged) / ATLAS.blur).softmax(0))
        share = torch.stack(log_weights).softmax(0)
        return (share * torch.stack(probabilities)).sum(0)

    def _drawn(self, k: int) -> Tensor:
        shape, spacing = self._shots[k].image.shape, self._shots[k].image.spacing
        size = shape[1] * shape[2]
        masks = {
            name: np.unpackbits(packed, count=size).reshape(shape[1:]).astype(bool)
            for name, packed in self._masks[k].items()
        }
        shot = replace(self._shots[k], masks=masks)
        cell_mm = max(n * mm for n, mm in zip(shape[1:], spacing[1:], strict=True)) / SIDE
        # Of the square that the slice is registered on, not of SIDE's own, which rounds the slice's sides otherwise.
        return drawn_distances(shot, _across(shape, spacing), self.classes, SIDE) / cell_mm


def _across(slices_shape: tuple[int, int, int], spacing: tuple[float, float, float]) -> Frame:
    """The square on which slices of different patients are registered."""
    return make_frame(slices_shape, spacing, ACROSS_SIDE)


def _registered(fixed: _Slice, moving: _Slice) -> Field:
    return register_across(fixed.grey, moving.grey), True


def _of_shot(shot: Shot, settings: Settings) -> _Slice:
    frame = _across(shot.image.shape, shot.image.spacing)
    intensity = choose_intensity(shot.image.stats, settings)
    grey = detail_bytes(shot.pixels[None], intensity, frame)[0]
    relative_z = shot.slice / max(1, shot.image.shape[0] - 1)
    return _made((shot.image.content_hash, shot.slice, str(intensity)), grey, relative_z)


def _of_volume(volume: Volume, z: int, intensity: Intensity) -> _Slice:
    geometry = volume.geometry
    frame = _across(geometry.slices_shape, geometry.spacing)
    grey = detail_bytes(volume.raw_slice(z)[None], intensity, frame)[0]
    return _made((volume.content_hash, z, str(intensity)), grey, z / max(1, volume.depth - 1))


def _made(name: tuple[object, ...], grey: np.ndarray, relative_z: float) -> _Slice:
    grey = grey.astype(np.float32)
    thumbnail = F.avg_pool2d(torch.from_numpy(grey)[None], ACROSS_SIDE // ATLAS.thumbnail)[0].numpy()
    return _Slice(name, grey, thumbnail, relative_z)


def _apart(a: _Slice, b: _Slice) -> float:
    return abs(a.relative_z - b.relative_z)


def _blurred(maps: Tensor) -> Tensor:
    window = ATLAS.cell_window
    for _ in range(2):
        maps = F.avg_pool2d(maps[None], window, 1, window // 2, count_include_pad=False)[0]
    return maps


def _sized(maps: Tensor, side: int) -> Tensor:
    return resize(maps[None], side)[0]
