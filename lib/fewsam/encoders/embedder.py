"""From preprocessed slices to embeddings: out of the cache, else through the encoder, one slice at a time."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from fewsam.core.config import Settings
from fewsam.core.device import in_smaller_steps, resolve_device
from fewsam.core.errors import NotEncodedError, StorageError
from fewsam.encoders import Encoder, EncoderInfo, build_encoder, encoder_info
from fewsam.encoders.cache import EMBEDDING_SHAPE, Embeddings, embedding_key
from fewsam.encoders.priority_lock import PriorityLock

logger = logging.getLogger(__name__)

Progress = Callable[[int, int], None]

BATCH = 8  # slices that an accelerator encodes at once; a CPU is no faster with several


class Embedder:
    """Embeddings of preprocessed slices; the encoder is built at the first slice that the cache does not hold.

    One object serves any number of threads.

    Args:
        device: what the encoder, and all that reads its embeddings, is computed on; None takes it from the settings.
        cached_only: never build the encoder; what is not cached is an error.
        build: makes the encoder; `build_encoder` by default.
    """

    def __init__(
        self,
        settings: Settings,
        cache: Embeddings,
        *,
        device: str | torch.device | None = None,
        cached_only: bool = False,
        build: Callable[[Settings, torch.device], Encoder] | None = None,
    ) -> None:
        self.info: EncoderInfo = encoder_info(settings)
        self.cache = cache
        self._settings = settings
        self._device = device
        self.cached_only = cached_only
        self._lock = PriorityLock()
        self._encoder: Encoder | None = None
        self._build = build
        self._unsaved = False

    @cached_property
    def device(self) -> torch.device:
        """The one device of the task.

        Raises:
            ConfigError: this machine has no such device.
        """
        return resolve_device(self._settings.device if self._device is None else str(self._device))

    def tensor(self, slices: np.ndarray, *, priority: bool = True, store: bool = True) -> Tensor:
        """What `embed` gives, (N, 256, 64, 64) float32 on the task's device, where prompts and decoder read it."""
        return torch.from_numpy(self.embed(slices, priority=priority, store=store)).to(self.device).float()

    def like(self, settings: Settings) -> Embedder:
        """This one where ``settings`` name its encoder, else one for theirs on the same cache."""
        if encoder_info(settings).fingerprint == self.info.fingerprint:
            return self
        return Embedder(settings, self.cache, device=self._device, cached_only=self.cached_only, build=self._build)

    def keys(self, slices: np.ndarray) -> list[str]:
        """Cache keys of slices (N, 3, S, S) uint8."""
        return [embedding_key(one, self.info.fingerprint) for one in slices]

    def missing(self, slices: np.ndarray) -> int:
        """How many different slices (N, 3, S, S) uint8 the cache does not hold."""
        keys = list(dict.fromkeys(self.keys(slices)))
        return self.cache.contains(keys).count(False)

    @contextmanager
    def request(self) -> Iterator[None]:
        """Keep background encoding from beginning a slice while a person waits, also between calls of `embed`."""
        with self._lock.request():
            yield

    def embed(
        self, slices: np.ndarray, progress: Progress | None = None, priority: bool = True, store: bool = True
    ) -> np.ndarray:
        """Embeddings of preprocessed slices, each of which is encoded once in its life.

        Args:
            slices: (N, 3, S, S) uint8, S the encoder's input size.
            progress: called with slices done and in all, after each step.
            priority: False for background work, which lets every request go first.
            store: False for slices that will not be asked for again, such as fresh views in training.

        Returns:
            (N, 256, 64, 64) float16.

        Raises:
            NotEncodedError: some are not in the cache, and this embedder may not encode.
            CheckpointError: the encoder's weights cannot be had.
        """
        places = self._places(slices)
        result = np.empty((len(slices), *EMBEDDING_SHAPE), np.float16)
        done = 0

        def keep(key: str, embedding: np.ndarray) -> None:
            nonlocal done
            result[places[key]] = embedding
            done += len(places[key])
            if progress:
                progress(done, len(slices))

        pending: dict[str, np.ndarray] = {}
        for key, where in places.items():
            cached = self.cache.get(key)
            if cached is None:
                pending[key] = slices[where[0]]
            else:
                keep(key, cached)
        self._encode(pending, keep, priority, self._try_to_store if store else None)
        return result

    def ensure(self, slices: np.ndarray, progress: Progress | None = None, priority: bool = False) -> int:
        """Fill the cache with the embeddings of slices (N, 3, S, S) uint8; returns how many were not there.

        Raises:
            NotEncodedError, CheckpointError: as in `embed`.
            StorageError: the disk is full.
        """
        places = self._places(slices)
        there = self.cache.contains(list(places))
        missing = [key for key, known in zip(places, there, strict=True) if not known]
        pending = {key: slices[places[key][0]] for key in missing}
        done = len(slices) - sum(len(places[key]) for key in pending)
        if progress and done:
            progress(done, len(slices))

        def count(key: str, _: np.ndarray) -> None:
            nonlocal done
            done += len(places[key])
            if progress:
                progress(done, len(slices))

        self._encode(pending, count, priority, self.cache.put)
        return len(pending)

    def _places(self, slices: np.ndarray) -> dict[str, list[int]]:
        """Key -> indices of the slices that are this one: equal slices are encoded once."""
        size = self.info.input_size
        if slices.dtype != np.uint8 or slices.shape[1:] != (3, size, size):
            raise ValueError(f"expected uint8 (N, 3, {size}, {size}), got {slices.dtype} {slices.shape}")
        places: dict[str, list[int]] = {}
        for index, key in enumerate(self.keys(slices)):
            places.setdefault(key, []).append(index)
        return places

    def _encode(
        self,
        pending: dict[str, np.ndarray],
        keep: Callable[[str, np.ndarray], None],
        priority: bool,
        store: Callable[[str, np.ndarray], None] | None,
    ) -> None:
        """Encode, store and hand over each of ``pending`` (key -> slice); the lock is held for one step at a time."""
        if not pending:
            return
        if self.cached_only:
            raise NotEncodedError(
                f"{len(pending)} slices are not in the embedding cache for the encoder {self.info.name} at "
                f"{self.info.input_size} px; encode them first (fewsam encode, or let the server's precompute finish)"
            )
        todo = list(pending)
        with self._lock.request() if priority else nullcontext():
            while todo:
                with self._lock.hold(priority):
                    encoder = self._built()
                    count = 1 if encoder.device.type == "cpu" or not priority else BATCH
                    now, todo = todo[:count], todo[count:]
                    found = dict(zip(now, self.cache.get_many(now), strict=True))  # another thread may have been here
                    fresh = [key for key in now if found[key] is None]
                    if fresh:
                        embeddings = embed_batch(encoder, np.stack([pending[key] for key in fresh]))
                        for key, embedding in zip(fresh, embeddings, strict=True):
                            if store is not None:
                                store(key, embedding)
                            found[key] = embedding
                for key in now:
                    embedding = found[key]
                    assert embedding is not None
                    keep(key, embedding)

    def _built(self) -> Encoder:
        """The encoder; only the holder of the lock calls this."""
        if self._encoder is None:
            self._encoder = (self._build or build_encoder)(self._settings, self.device)
        return self._encoder

    def _try_to_store(self, key: str, embedding: np.ndarray) -> None:
        try:
            self.cache.put(key, embedding)
        except StorageError as error:  # a person waits for this result: it is as good without the cache
            if not self._unsaved:
                logger.warning("embeddings are not cached: %s", error)
            self._unsaved = True


def embed_batch(encoder: Encoder, slices: np.ndarray) -> np.ndarray:
    """(n, 3, S, S) uint8 -> (n, 256, 64, 64) float16, in smaller steps where the device's memory does not suffice."""

    def some(part: Sequence[np.ndarray]) -> np.ndarray:
        found: np.ndarray = encoder.embed(torch.from_numpy(np.stack(part))).to(torch.float16).cpu().numpy()
        return found

    info = encoder.info
    what = f"{info.name} at {info.input_size} px; set device to cpu, or a smaller input_size or encoder"
    return np.concatenate(in_smaller_steps(some, list(slices), encoder.device, what))
