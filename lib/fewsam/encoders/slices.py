"""A volume's slices as the encoder takes them, and their embeddings."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Sequence

import numpy as np

from fewsam.core.config import Settings
from fewsam.encoders.embedder import Embedder
from fewsam.images.frame import Frame, make_frame
from fewsam.images.preprocess import Intensity, choose_intensity, image_stats, to_uint8
from fewsam.images.volume import Volume

CHUNK = 4  # slices processed at once: it bounds the memory, and how long others wait


class EncoderSlices:
    """The slices of one volume on their way into the encoder.

    Args:
        intensity: What is shown as black and as white; chosen from the whole volume when it is not given.

    Attributes:
        intensity: As chosen.
        frame: Where a slice lies in the encoder's square.
    """

    def __init__(
        self, volume: Volume, settings: Settings, embedder: Embedder, intensity: Intensity | None = None
    ) -> None:
        self.volume, self.settings, self.embedder = volume, settings, embedder
        self.intensity = intensity or choose_intensity(image_stats(volume), settings)
        geometry = volume.geometry
        self.frame: Frame = make_frame(geometry.slices_shape, geometry.spacing, embedder.info.input_size)

    def chunks(self, size: int = CHUNK) -> Iterator[range]:
        """The numbers of all slices, ``size`` of them at a time."""
        depth = self.volume.depth
        return (range(start, min(start + size, depth)) for start in range(0, depth, size))

    def raw(self, chunk: Sequence[int]) -> np.ndarray:
        """The slices with these numbers as they are in the image, each between its neighbours: (N, 3, H, W)."""
        return np.stack([self.volume.raw_slice(z) for z in chunk])

    def inputs(self, raw: np.ndarray) -> np.ndarray:
        """Raw slices (N, 3, H, W) as the encoder takes them: (N, 3, S, S) uint8."""
        return to_uint8(raw, self.intensity, self.frame, self.settings.channels)

    def embed(self, chunk: Sequence[int], *, priority: bool = True) -> np.ndarray:
        """Embeddings (N, 256, 64, 64) float16 of the slices with these numbers; see `Embedder.embed`."""
        return self.embedder.embed(self.inputs(self.raw(chunk)), priority=priority)


def nearest(left: Collection[int], shown: int | None, depth: int) -> int:
    """Which of the slices ``left`` is to be encoded next: the one nearest to ``shown``, by default to the middle."""
    centre = depth // 2 if shown is None else shown
    return min(left, key=lambda z: (abs(z - centre), z))


def encode_until(slices: EncoderSlices, wanted: Sequence[int], shown: int | None, until: float) -> list[int]:
    """Encode slices from ``shown`` outwards, before background work, and return those that are left.

    Args:
        wanted: Numbers of slices.
        shown: As in `nearest`.
        until: Value of ``time.monotonic`` at which no other slice is begun.

    Raises:
        FewSAMError: as in `Embedder.ensure`.
    """
    embedder, left = slices.embedder, set()
    for start in range(0, len(wanted), CHUNK):
        chunk = wanted[start : start + CHUNK]
        there = embedder.cache.contains(embedder.keys(slices.inputs(slices.raw(chunk))))
        left |= {z for z, known in zip(chunk, there, strict=True) if not known}
    while left and time.monotonic() < until:
        z = nearest(left, shown, slices.volume.depth)
        embedder.ensure(slices.inputs(slices.raw([z])), priority=True)
        left.remove(z)
    return sorted(left)


def descriptors(embeddings: np.ndarray) -> np.ndarray:
    """One vector for each slice: embeddings (N, 256, 64, 64) -> their means (N, 256) float32."""
    return embeddings.astype(np.float32).mean(axis=(2, 3))


def embed_volume(volume: Volume, settings: Settings, embedder: Embedder) -> np.ndarray:
    """Encode the slices that the cache does not hold; the descriptors (Z, 256) of all slices."""
    slices = EncoderSlices(volume, settings, embedder)
    return np.concatenate([descriptors(slices.embed(chunk)) for chunk in slices.chunks()])
