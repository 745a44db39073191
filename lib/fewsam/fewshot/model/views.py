"""Labelled slices as the encoder and the decoder see them, and augmented views of them.

A view is a pure function of the slice's pixels and the view's number: any process computes the same
bytes, so that views encoded ahead by the server are found in the cache by the training process.
View 0 is the slice itself. No view is mirrored: left and right are anatomy. All is computed on the CPU, so that the
bytes do not depend on the device.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from fewsam.collection import Shot
from fewsam.core.config import Settings
from fewsam.images.frame import make_frame
from fewsam.images.preprocess import choose_intensity, detail_bytes, to_uint8

FRESH_VIEWS = (1_000, 2**31)  # numbers of views that no cache holds and that do not come again


@dataclass(frozen=True)
class ViewConstants:
    """How far an augmented view may differ from the slice. Embeddings in caches rest on these numbers.

    Attributes:
        rotation: Degrees.
        scale: Share of the size; half of it for the stretch.
        shift: Share of the side.
        elastic: Standard deviation of the smooth field on a 5 x 5 grid, where the side is 2.
        gamma: Of its logarithm.
        contrast: Share.
        brightness: Grey values of 255.
        noise: Standard deviation, grey values of 255.
    """

    rotation: float = 12.0
    scale: float = 0.15
    shift: float = 0.06
    elastic: float = 0.035
    gamma: float = 0.3
    contrast: float = 0.2
    brightness: float = 15.0
    noise: float = 6.0


VIEWS = ViewConstants()


@dataclass(frozen=True)
class View:
    """One view of a labelled slice.

    Attributes:
        image: (3, S, S) uint8, the encoder's input.
        detail: (D, D) uint8, the slice as the detail branch reads it (colours averaged).
        mask: (C, D, D) float in [0, 1], background first.
    """

    image: np.ndarray
    detail: np.ndarray
    mask: Tensor

    @property
    def nbytes(self) -> int:
        """Bytes of its arrays."""
        return self.image.nbytes + self.detail.nbytes + self.mask.nbytes


class DetailSlice:
    """A shot as the detail branch sees it, its geometry and its class order fixed.

    Args:
        shot: From the collection.
        classes: Drawn classes in order; background comes before them as class 0.
        settings: Intensity and channels.
        detail_size: Side D of detail and masks.
    """

    def __init__(self, shot: Shot, classes: Sequence[str], settings: Settings, detail_size: int) -> None:
        self.annotated_classes = torch.tensor([True, *(name in shot.known for name in classes)], device="cpu")
        self._shot, self._classes = shot, tuple(classes)
        self.intensity = choose_intensity(shot.image.stats, settings)
        frame = make_frame(shot.image.shape, shot.image.spacing, detail_size)
        self._detail = detail_bytes(shot.pixels[None], self.intensity, frame)[0]
        drawn = torch.from_numpy(frame.to_square(self.stencil.astype(np.float32), detail_size)).float()
        drawn = drawn / drawn.sum(0, keepdim=True).clamp_min(1)  # where drawn classes overlap they share the pixel
        self._mask = torch.cat([1 - drawn.sum(0, keepdim=True), drawn])
        self._seed = _seed_of(self._detail)

    @property
    def stencil(self) -> np.ndarray:
        """The classes as they were drawn, bool (classes, H, W); made anew, since of many classes it is large."""
        drawn = np.zeros((len(self._classes), *self._shot.pixels.shape[1:]), bool)
        for place, name in enumerate(self._classes):
            drawn[place] = self._shot.masks.get(name, False)
        return drawn

    def detail_view(self, number: int) -> tuple[np.ndarray, Tensor]:
        """Detail and mask, warped and toned as view ``number`` is: uint8 (D, D) and (C, D, D)."""
        generator = torch.Generator("cpu").manual_seed(self._seed + number)
        warp, tone = _Warp(generator), _Tone(generator)
        detail = tone(_sample(torch.from_numpy(self._detail).float()[None], warp))[0]
        drawn = _sample(self._mask[1:], warp)
        return _to_bytes(detail), torch.cat([1 - drawn.sum(0, keepdim=True), drawn]).clamp(0, 1)


class LabelledSlice(DetailSlice):
    """The same with the encoder's input, from which whole views are drawn.

    Args:
        shot, classes, settings, detail_size: As `DetailSlice` has them.
        size: Side S of the encoder's input.
    """

    def __init__(self, shot: Shot, classes: Sequence[str], settings: Settings, size: int, detail_size: int) -> None:
        super().__init__(shot, classes, settings, detail_size)
        self.shot_id, self.image_id, self.slice = shot.shot_id, shot.image_id, shot.slice
        self.split = shot.split
        depth = shot.image.shape[0]
        self.relative_z = shot.slice / max(1, depth - 1)
        self.is_2d_image = depth == 1  # an image of its own, no slice of a volume
        frame = make_frame(shot.image.shape, shot.image.spacing, size)
        self._image = to_uint8(shot.pixels[None], self.intensity, frame, settings.channels)[0]
        self._seed = _seed_of(self._image)  # what views in the cache were made with

    def view(self, number: int) -> View:
        """View ``number``; 0 is the slice as it is."""
        if number == 0:
            return View(self._image, self._detail, self._mask)
        generator = torch.Generator("cpu").manual_seed(self._seed + number)
        warp = _Warp(generator)
        tone = _Tone(generator)
        image = tone(_sample(torch.from_numpy(self._image).float(), warp))
        detail = tone(_sample(torch.from_numpy(self._detail).float()[None], warp))[0]
        drawn = _sample(self._mask[1:], warp)
        mask = torch.cat([1 - drawn.sum(0, keepdim=True), drawn]).clamp(0, 1)
        return View(_to_bytes(image), _to_bytes(detail), mask)


def detail_size_for(shots: Sequence[Shot], settings: Settings) -> int:
    """Side D of a task: that of its largest slice, between 64 and 256 (SAM's own mask size)."""
    if settings.detail_size is not None:
        return settings.detail_size
    longest = max(max(shot.pixels.shape[1:]) for shot in shots)
    return min(256, max(64, 32 * math.ceil(longest / 32)))


class _Warp:
    """A random rotation, scale, shift and smooth elastic field, drawn once, sampled at any size."""

    def __init__(self, generator: torch.Generator) -> None:
        u = torch.rand(5, generator=generator, device=generator.device) * 2 - 1
        angle = math.radians(VIEWS.rotation) * float(u[0])
        scale = 1 + VIEWS.scale * float(u[1])
        stretch = 1 + VIEWS.scale / 2 * float(u[2])
        cos, sin = math.cos(angle) / scale, math.sin(angle) / scale
        self.theta = torch.tensor(
            [[cos * stretch, -sin, 2 * VIEWS.shift * float(u[3])], [sin, cos / stretch, 2 * VIEWS.shift * float(u[4])]],
            device=generator.device,
        )
        self.field = torch.randn(1, 2, 5, 5, generator=generator, device=generator.device) * VIEWS.elastic

    def grid(self, size: int) -> Tensor:
        base = F.affine_grid(self.theta[None], [1, 1, size, size], align_corners=False)
        field = F.interpolate(self.field, size=(size, size), mode="bicubic", align_corners=True)
        return base + field.permute(0, 2, 3, 1)


class _Tone:
    """Random gamma, contrast, brightness and noise on 0..255 pixels."""

    def __init__(self, generator: torch.Generator) -> None:
        u = torch.rand(4, generator=generator, device=generator.device) * 2 - 1
        self.gamma = math.exp(VIEWS.gamma * float(u[0]))
        self.contrast = 1 + VIEWS.contrast * float(u[1])
        self.brightness = VIEWS.brightness * float(u[2])
        self.noise = VIEWS.noise * max(0.0, float(u[3]))
        self.generator = generator

    def __call__(self, pixels: Tensor) -> Tensor:
        toned = 255 * (pixels / 255).clamp(0, 1) ** self.gamma
        toned = (toned - 128) * self.contrast + 128 + self.brightness
        noise = torch.randn(pixels.shape[1:], generator=self.generator, device=pixels.device) * self.noise
        return torch.where(pixels.amax(0, keepdim=True) > 0, toned + noise, pixels)  # padding stays black


def _seed_of(pixels: np.ndarray) -> int:
    return int.from_bytes(hashlib.blake2b(pixels.tobytes(), digest_size=6).digest(), "big")


def _sample(pixels: Tensor, warp: _Warp) -> Tensor:
    grid = warp.grid(pixels.shape[-1])
    return F.grid_sample(pixels[None], grid, mode="bilinear", padding_mode="zeros", align_corners=False)[0]


def _to_bytes(pixels: Tensor) -> np.ndarray:
    return pixels.round().clamp(0, 255).to(torch.uint8).numpy()
