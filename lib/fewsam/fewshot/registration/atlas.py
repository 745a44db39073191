"""Labelled slices of other images, registered to a slice that nobody drew: multi-atlas segmentation.

Iglesias and Sabuncu 2015 survey it. Each labelled slice (an atlas) is registered to the slice asked for, its contours
follow as signed distances, and the atlases vote, each where it looks like that slice (local weighted voting:
Artaechevarria et al. 2009). Nothing is trained. The volume's own drawn slices: `propagation`.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import lru_cache, partial

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
from fewsam.images.preprocess import Intensity, choose_intensity, detail_bytes, make_frame
from fewsam.images.resize import resize
from fewsam.images.volume import Volume

ATLASES = 5  # registered to a slice: those most like it
BLUR = 2.0  # cells of SIDE: of an atlas's contours
ALL_LIKE, HERE_LIKE = 5.0, 8.0  # weight exp(5 * likeness of the whole), and exp(-difference / 8 grey values) at a cell
WINDOW = 5  # cells of ACROSS_SIDE, twice: what "at a cell" takes in
THUMBNAIL = 16  # side of what likeness is first judged on
KEPT = 64  # atlases in memory


@dataclass(frozen=True)
class _Picture:
    """A slice to be registered. ``name`` tells its pixels and window; ``place``: along the volume, 0 to 1."""

    name: tuple[object, ...]
    grey: np.ndarray  # (ACROSS_SIDE, ACROSS_SIDE) float32, 0..255: 16 kB
    thumbnail: np.ndarray
    place: float


class Atlases:
    """The labelled slices of a task, for slices of other images.

    Args:
        shots: All of the task. Of their pixels a small picture is kept, of their masks a bit a pixel.
        classes: In the order of the answer, background left out.
    """

    def __init__(self, shots: Sequence[Shot], classes: Sequence[str], settings: Settings) -> None:
        self.classes = tuple(classes)
        self._pictures = [_of_shot(shot, settings) for shot in shots]
        self._masks = [{name: np.packbits(mask) for name, mask in shot.masks.items()} for shot in shots]
        self._shots = [replace(shot, pixels=shot.pixels[:, :0, :0].copy(), masks={}) for shot in shots]
        self._distances = lru_cache(KEPT)(self._drawn)

    def log_probs(self, volume: Volume, slices: Sequence[int], intensity: Intensity, fields: Fields) -> Tensor | None:
        """Class log-probabilities (N, C, SIDE, SIDE), background first; None where no other image has a label.

        Args:
            intensity: As the encoder's input of the volume has it.
            fields: Kept by the caller from request to request.
        """
        usable = self._usable(volume)
        if not usable:
            return None
        pictures = [_picture(volume, z, intensity) for z in slices]
        with ThreadPoolExecutor(torch.get_num_threads()) as pool:
            return torch.stack(list(pool.map(lambda picture: self._one(picture, usable, fields), pictures)))

    def num_atlases(self, volume: Volume) -> int:
        """How many labelled slices of other images there are."""
        return len(self._usable(volume))

    def _usable(self, volume: Volume) -> list[int]:
        return [k for k, shot in enumerate(self._shots) if shot.image.content_hash != volume.content_hash]

    def _one(self, fixed: _Picture, usable: list[int], fields: Fields) -> Tensor:
        pictures = self._pictures
        like = {k: correlation(fixed.thumbnail, pictures[k].thumbnail) - _apart(fixed, pictures[k]) for k in usable}
        votes, weights = [], []
        for k in sorted(usable, key=lambda k: -like[k])[:ATLASES]:
            moving = pictures[k]
            field, _ = fields.get((*fixed.name, *moving.name), partial(_registered, fixed, moving))
            there = torch.from_numpy(field.astype(np.float32))
            warped_grey = warped(torch.from_numpy(moving.grey)[None], there)
            whole = correlation(fixed.grey, warped_grey[0].numpy()) - _apart(fixed, moving)
            off = _blurred((torch.from_numpy(fixed.grey) - warped_grey).square()).sqrt()
            weights.append(ALL_LIKE * whole - _sized(off, SIDE) / HERE_LIKE)
            enlarged = _sized(there, SIDE) * (SIDE / ACROSS_SIDE)
            votes.append((warped(self._distances(k), enlarged) / BLUR).softmax(0))
        share = torch.stack(weights).softmax(0)
        return (share * torch.stack(votes)).sum(0).clamp_min(1e-6).log()

    def _drawn(self, k: int) -> Tensor:
        shape, spacing = self._shots[k].image.shape, self._shots[k].image.spacing
        size = shape[1] * shape[2]
        masks = {
            name: np.unpackbits(packed, count=size).reshape(shape[1:]).astype(bool)
            for name, packed in self._masks[k].items()
        }
        shot = replace(self._shots[k], masks=masks)
        cell_mm = max(n * mm for n, mm in zip(shape[1:], spacing[1:], strict=True)) / SIDE
        return drawn_distances(shot, make_frame(shape, spacing, SIDE), self.classes, SIDE) / cell_mm


def _registered(fixed: _Picture, moving: _Picture) -> Field:
    return register_across(fixed.grey, moving.grey), True


def _of_shot(shot: Shot, settings: Settings) -> _Picture:
    frame = make_frame(shot.image.shape, shot.image.spacing, ACROSS_SIDE)
    intensity = choose_intensity(shot.image.stats, settings)
    grey = detail_bytes(shot.pixels[None], intensity, frame)[0]
    place = shot.slice / max(1, shot.image.shape[0] - 1)
    return _made((shot.image.content_hash, shot.slice, str(intensity)), grey, place)


def _picture(volume: Volume, z: int, intensity: Intensity) -> _Picture:
    geometry = volume.geometry
    frame = make_frame(geometry.slices_shape, geometry.spacing, ACROSS_SIDE)
    grey = detail_bytes(volume.raw_slice(z)[None], intensity, frame)[0]
    return _made((volume.content_hash, z, str(intensity)), grey, z / max(1, volume.depth - 1))


def _made(name: tuple[object, ...], grey: np.ndarray, place: float) -> _Picture:
    grey = grey.astype(np.float32)
    thumbnail = F.avg_pool2d(torch.from_numpy(grey)[None], ACROSS_SIDE // THUMBNAIL)[0].numpy()
    return _Picture(name, grey, thumbnail, place)


def _apart(a: _Picture, b: _Picture) -> float:
    return abs(a.place - b.place)


def _blurred(maps: Tensor) -> Tensor:
    for _ in range(2):
        maps = F.avg_pool2d(maps[None], WINDOW, 1, WINDOW // 2, count_include_pad=False)[0]
    return maps


def _sized(maps: Tensor, side: int) -> Tensor:
    return resize(maps[None], side)[0]
