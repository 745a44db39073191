"""The embedding cache with many entries: seconds of a start, a get, a put, and a put into a full cache."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fewsam.encoders import cache as cache_module
from fewsam.encoders.cache import EmbeddingCache
from fewsam.encoders.lmdb_seal import SEAL

SAMPLES = 200  # gets and puts that are timed at each number of entries
SMALL = (256, 8, 4)  # 16 kB: as many keys and pages of keys as real embeddings have, in a hundredth of the disk


@dataclass(frozen=True)
class Stage:
    """Seconds with this many entries.

    Attributes:
        start: Of a start after the last process closed the cache.
        checked_start: Of one after a process that was killed: the whole file is read.
        worst_put: The longest put into a full cache, which evicts others.
    """

    entries: int
    start: float
    checked_start: float
    get: float
    put: float
    worst_put: float


def measure_cache(folder: Path, counts: Sequence[int], shape: tuple[int, ...] | None = None) -> list[dict[str, Any]]:
    """Fill a cache with made-up embeddings up to each of ``counts`` in turn, and measure there.

    Args:
        shape: Of the embeddings, if smaller than real ones. The process then has caches of that shape only.
    """
    if shape is not None:
        cache_module.EMBEDDING_SHAPE = shape  # type: ignore[assignment]
        cache_module.EMBEDDING_BYTES = 2 * int(np.prod(shape))
    rng = np.random.default_rng(0)
    embedding = rng.normal(size=cache_module.EMBEDDING_SHAPE).astype(np.float16)
    room = 2 * max(counts) * cache_module.EMBEDDING_BYTES
    stages, written = [], 0
    for count in counts:
        with EmbeddingCache(folder, room) as cache:
            while written < count - SAMPLES:
                cache.put(_key(written), embedding)
                written += 1
            began = time.monotonic()
            for number in range(SAMPLES):
                cache.put(_key(written + number), embedding)
            put, written = (time.monotonic() - began) / SAMPLES, written + SAMPLES
        start = _start(folder, room)
        (folder / SEAL).unlink()
        checked = _start(folder, room)
        with EmbeddingCache(folder, room) as cache:
            wanted = [_key(int(number)) for number in rng.integers(0, count, SAMPLES)]
            began = time.monotonic()
            found = cache.get_many(wanted)
            get = (time.monotonic() - began) / SAMPLES
            assert all(one is not None for one in found)
        worst = _full(folder, count, embedding)
        with EmbeddingCache(folder, room) as cache:  # what was evicted comes back
            missing = [n for n, there in enumerate(cache.contains([_key(n) for n in range(count)])) if not there]
            for number in missing:
                cache.put(_key(number), embedding)
        stages.append(asdict(Stage(count, start, checked, get, put, worst)))
    return stages


def _start(folder: Path, room: int) -> float:
    began = time.monotonic()
    with EmbeddingCache(folder, room):
        return time.monotonic() - began


def _full(folder: Path, count: int, embedding: np.ndarray) -> float:
    """The longest seconds of puts into a cache whose bound is ``count`` entries."""
    seconds = []
    with EmbeddingCache(folder, count * cache_module.EMBEDDING_BYTES) as cache:
        for number in range(SAMPLES // 4):
            began = time.monotonic()
            cache.put(f"{'f' * 56}{number:08x}", embedding)
            seconds.append(time.monotonic() - began)
    return max(seconds)


def _key(number: int) -> str:
    """A key that is as scattered as a hash."""
    return f"{(number * 0x9E3779B97F4A7C15) % 2**64:016x}{number:048x}"
