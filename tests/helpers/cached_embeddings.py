"""Embeddings to put into a cache, for the tests of the cache and of the store below it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from fewsam.encoders.cache import EMBEDDING_BYTES, EMBEDDING_SHAPE, EmbeddingCache

BIG = 100 * EMBEDDING_BYTES


def embedding(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(EMBEDDING_SHAPE, np.float32).astype(np.float16)


def constant(value: int) -> np.ndarray:
    return np.full(EMBEDDING_SHAPE, value, np.float16)


def filled(folder: Path) -> bytes:
    """The data file of a cache with the embeddings 0 to 3, closed again."""
    with EmbeddingCache(folder, BIG) as cache:
        for n in range(4):
            cache.put(str(n), embedding(n))
    return (folder / "data.mdb").read_bytes()
