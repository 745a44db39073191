"""A cache of a worker's own above embeddings that belong to another process, and are only read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from fewsam.encoders.cache import VIEWS, EmbeddingCache, Embeddings


class LayeredCache:
    """Embeddings by key; the methods are those of `Embeddings`.

    Args:
        own: Takes all that is stored and pinned here.
        below: What others have. It is never written.

    Attributes:
        new: Keys that were stored here.
    """

    def __init__(self, own: EmbeddingCache, below: Embeddings | None) -> None:
        self._own, self._below = own, below
        self.new: set[str] = set()

    def get(self, key: str) -> np.ndarray | None:
        found = self._own.get(key)
        return self._below.get(key) if found is None and self._below is not None else found

    def get_many(self, keys: Sequence[str]) -> list[np.ndarray | None]:
        return [self.get(key) for key in keys]

    def contains(self, keys: Sequence[str]) -> list[bool]:
        here = self._own.contains(keys)
        below = self._below.contains(keys) if self._below is not None else [False] * len(keys)
        return [one or other for one, other in zip(here, below, strict=True)]

    def put(self, key: str, array: np.ndarray) -> None:
        self._own.put(key, array)
        self.new.add(key)

    def pin(self, keys: Iterable[str], holder: str = VIEWS) -> None:
        self._own.pin(keys, holder)

    def pin_only(self, keys: Iterable[str], holder: str = VIEWS) -> None:
        self._own.pin_only(keys, holder)
