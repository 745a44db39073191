"""Embeddings on disk: a bounded store which several processes share and a crash leaves whole.

Beside the embeddings there are small tables: when each entry was last used (`cache_order`), and which keys are pinned
(those of labelled slices, which training needs) and for whom. Every embedding has one size, so that the entry count
bounds the bytes. Whoever pins states all that it needs, and so lets go of what it needs no longer.
"""

from __future__ import annotations

import hashlib
import logging
import struct
import threading
import time
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Protocol

import lmdb
import numpy as np

from fewsam.core.errors import StorageError
from fewsam.encoders import cache_order, lmdb_env
from fewsam.images.preprocess import PREPROCESS_VERSION

logger = logging.getLogger(__name__)

EMBEDDING_SHAPE = (256, 64, 64)
EMBEDDING_BYTES = 2 * 256 * 64 * 64
_CHECKSUM = struct.Struct("<I")
_TABLES = (*cache_order.TABLES, "pins")
_EVICTED = 64  # entries at once at most, so that no put waits long
_HELD = b":"  # between a pin's holder and its key
_FLUSH_AFTER = 256  # reads remembered in memory before their times are written

VIEWS = "views"  # holds the views of the labelled slices in force
TRAINING = "training"  # holds those that a training run began with, whatever is drawn meanwhile


def embedding_key(slice_uint8: np.ndarray, fingerprint: str) -> str:
    """Cache key of a preprocessed slice: what it shows, how it was preprocessed, which encoder reads it.

    Args:
        slice_uint8: (3, S, S) uint8, as `preprocess.to_uint8` makes it.
        fingerprint: `EncoderInfo.fingerprint`.
    """
    if slice_uint8.dtype != np.uint8 or slice_uint8.ndim != 3 or slice_uint8.shape[0] != 3:
        raise ValueError(f"expected a (3, S, S) uint8 slice, got {slice_uint8.shape} {slice_uint8.dtype}")
    digest = hashlib.blake2b(digest_size=32)
    digest.update(f"{PREPROCESS_VERSION}|{fingerprint}|{slice_uint8.shape}|".encode())
    digest.update(np.ascontiguousarray(slice_uint8).data)
    return digest.hexdigest()


class Embeddings(Protocol):
    """Where embeddings are kept by key; the methods are those of `EmbeddingCache`."""

    def get(self, key: str) -> np.ndarray | None: ...

    def get_many(self, keys: Sequence[str]) -> list[np.ndarray | None]: ...

    def contains(self, keys: Sequence[str]) -> list[bool]: ...

    def put(self, key: str, array: np.ndarray) -> None: ...

    def pin(self, keys: Iterable[str], holder: str = VIEWS) -> None: ...

    def pin_only(self, keys: Iterable[str], holder: str = VIEWS) -> None: ...


class MemoryCache:
    """Embeddings in memory, for a worker that answers with what it encoded and keeps nothing.

    Args:
        known: What is there from the beginning.

    Attributes:
        new: What came since.
    """

    def __init__(self, known: Mapping[str, np.ndarray]) -> None:
        self._known = dict(known)
        self.new: dict[str, np.ndarray] = {}

    def get(self, key: str) -> np.ndarray | None:
        return self._known[key] if key in self._known else self.new.get(key)

    def get_many(self, keys: Sequence[str]) -> list[np.ndarray | None]:
        return [self.get(key) for key in keys]

    def contains(self, keys: Sequence[str]) -> list[bool]:
        return [key in self._known or key in self.new for key in keys]

    def put(self, key: str, array: np.ndarray) -> None:
        self.new[key] = np.ascontiguousarray(array, np.float16)

    def pin(self, keys: Iterable[str], holder: str = VIEWS) -> None:
        """Nothing is evicted from memory."""

    def pin_only(self, keys: Iterable[str], holder: str = VIEWS) -> None:
        """Nothing is evicted from memory."""


class EmbeddingCache(AbstractContextManager["EmbeddingCache"]):
    """Embeddings (256, 64, 64) float16 by key, on a local disk.

    Threads and processes may share a folder, each through an object of its own. What is in it can always be computed
    again: a damaged file is set aside with a warning, and the cache starts empty.

    Args:
        folder: made if missing.
        max_bytes: bound of the entries; the least recently used one that is not pinned goes first. The file itself
            is a little larger, and does not shrink.
        read_only: Another process is the one that writes: nothing is stored here, and reading counts as no use.

    Raises:
        StorageError: the folder cannot be made or written, or (in any method) the disk is full.
    """

    def __init__(self, folder: Path | str, max_bytes: int, *, read_only: bool = False) -> None:
        self._read_only = read_only
        self._capacity = max(1, int(max_bytes) // EMBEDDING_BYTES)
        map_bytes = int(1.5 * self._capacity * EMBEDDING_BYTES) + (64 << 20)
        self._env: lmdb_env.Environment | None = lmdb_env.acquire(
            Path(folder), map_bytes, ("data", "used", "pins", "order")
        )
        self._reads: dict[bytes, int] = {}  # times of reads not written yet
        self._reads_lock = threading.Lock()
        self._overfull = False

    @property
    def folder(self) -> Path:
        """Where it lies."""
        return self._opened().folder

    @property
    def notices(self) -> list[str]:
        """What of the file had to be set aside, for people; usually empty."""
        return list(self._opened().notices)

    def get(self, key: str) -> np.ndarray | None:
        """The embedding (256, 64, 64) float16 under ``key``, or None."""
        return self.get_many([key])[0]

    def get_many(self, keys: Sequence[str]) -> list[np.ndarray | None]:
        """The embeddings under ``keys``, None where there is none; the arrays are the caller's own."""
        env = self._opened()
        damaged: list[bytes] = []

        def work(key: bytes, txn: lmdb.Transaction) -> np.ndarray | None:
            value = txn.get(key, db=env.tables["data"])
            if value is None:
                return None
            payload = value[_CHECKSUM.size :]
            if len(payload) != EMBEDDING_BYTES or zlib.crc32(payload) != _CHECKSUM.unpack_from(value)[0]:
                logger.warning("cache entry %s in %s is damaged; it will be computed again", key.decode(), env.folder)
                damaged.append(key)
                return None
            return np.frombuffer(payload, "<f2").reshape(EMBEDDING_SHAPE).copy()

        # One short transaction an entry: others of this process need not wait for a whole volume.
        found = [env.read(partial(work, key.encode())) for key in keys]
        if self._read_only:
            return found
        if damaged:  # whoever asks what is missing is told of it, and computes it
            with suppress(StorageError):  # a full disk
                env.write(partial(cache_order.forget, tables=env.tables, keys=damaged))
        with self._reads_lock:
            now = time.time_ns()
            self._reads.update({key.encode(): now for key, value in zip(keys, found, strict=True) if value is not None})
            due = len(self._reads) >= _FLUSH_AFTER
        if due:
            self._flush_reads()
        return found

    def contains(self, keys: Sequence[str]) -> list[bool]:
        """Whether each key has an entry; does not count as a use."""
        env = self._opened()
        return env.read(lambda txn: [txn.get(key.encode(), db=env.tables["data"]) is not None for key in keys])

    def put(self, key: str, array: np.ndarray) -> None:
        """Store an embedding (256, 64, 64), as float16; what was least recently used makes room.

        Raises:
            StorageError: the disk is full. What was stored before stays.
        """
        if self._read_only:
            raise StorageError(f"the cache {self._opened().folder} belongs to another process, and is only read here")
        if array.shape != EMBEDDING_SHAPE:
            raise ValueError(f"an embedding is {EMBEDDING_SHAPE}, got {array.shape}")
        env = self._opened()
        payload = np.ascontiguousarray(array, dtype="<f2").tobytes()
        value = _CHECKSUM.pack(zlib.crc32(payload)) + payload
        with self._reads_lock:
            reads, self._reads = self._reads, {}

        def work(txn: lmdb.Transaction) -> None:
            self._write_times(txn, reads)
            txn.put(key.encode(), value, db=env.tables["data"])
            cache_order.note_use(txn, env.tables, key.encode(), time.time_ns())
            self._evict(txn, keep=key.encode())

        env.write(work)

    def pin(self, keys: Iterable[str], holder: str = VIEWS) -> None:
        """Never evict these, whether they are there yet or not. Pinning twice is the same as once."""
        env = self._opened()
        listed = [_pin_of(key, holder) for key in keys]
        env.write(lambda txn: [txn.put(pin, b"", db=env.tables["pins"]) for pin in listed])

    def pin_only(self, keys: Iterable[str], holder: str = VIEWS) -> None:
        """Pin these, and let go of everything else that was pinned for ``holder``; nobody else's pins change.

        What is let go may be evicted, which happens at once where the cache is above its bound.
        """
        env = self._opened()
        wanted = {_pin_of(key, holder) for key in keys}

        def work(txn: lmdb.Transaction) -> None:
            before = {pin for pin in self._pins(txn) if _holder_of(pin) == holder}
            for pin in before - wanted:
                txn.delete(pin, db=env.tables["pins"])
            for pin in wanted - before:
                txn.put(pin, b"", db=env.tables["pins"])
            self._evict(txn)

        env.write(work)

    def stats(self) -> dict[str, int]:
        """Counts: ``entries``, ``bytes`` of them, ``max_bytes``, ``pinned`` keys."""
        env = self._opened()

        def work(txn: lmdb.Transaction) -> tuple[int, int]:
            pinned = {pin.rpartition(_HELD)[2] for pin in self._pins(txn)}
            return int(txn.stat(env.tables["data"])["entries"]), len(pinned)

        entries, pinned = env.read(work)
        return {
            "entries": entries,
            "bytes": entries * EMBEDDING_BYTES,
            "max_bytes": self._capacity * EMBEDDING_BYTES,
            "pinned": pinned,
        }

    def close(self) -> None:
        """Write what is due and let the file go; closing twice is fine."""
        if self._env is not None:
            self._flush_reads()
            env, self._env = self._env, None
            lmdb_env.release(env)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _opened(self) -> lmdb_env.Environment:
        if self._env is None:
            raise StorageError("the embedding cache was closed; open it again to use it")
        return self._env

    def _flush_reads(self) -> None:
        with self._reads_lock:
            reads, self._reads = self._reads, {}
        if reads:
            try:
                self._opened().write(lambda txn: self._write_times(txn, reads))
            except StorageError as error:
                logger.warning("the order of use was not written: %s", error)  # a read must not fail for it

    def _write_times(self, txn: lmdb.Transaction, reads: dict[bytes, int]) -> None:
        tables = self._opened().tables
        for key, when in reads.items():
            if txn.get(key, db=tables["used"]) is not None:  # else evicted meanwhile
                cache_order.note_use(txn, tables, key, when)

    def _pins(self, txn: lmdb.Transaction) -> Iterator[bytes]:
        cursor = txn.cursor(self._opened().tables["pins"])
        return (bytes(pin) for pin in cursor.iternext(keys=True, values=False))

    def _evict(self, txn: lmdb.Transaction, keep: bytes = b"") -> None:
        tables = self._opened().tables
        entries = txn.stat(tables["data"])["entries"]
        if entries <= self._capacity:
            return
        # Some at once, so that a full cache does not begin anew with every entry.
        excess = entries - (self._capacity - min(self._capacity // 20, _EVICTED))
        pinned = {pin.rpartition(_HELD)[2] for pin in self._pins(txn)}
        gone = cache_order.evict(txn, tables, excess, lambda key: key in pinned or key == keep)
        overfull = entries - gone > self._capacity
        if overfull and not self._overfull:
            logger.warning(
                "the embedding cache %s holds more than its bound: %d pinned entries of labelled slices stay; "
                "raise the setting cache_gb above %.1f to cache other slices too",
                self._opened().folder,
                len(pinned),
                len(pinned) * EMBEDDING_BYTES / 1e9,
            )
        self._overfull = overfull


def _pin_of(key: str, holder: str) -> bytes:
    """A pin as the table has it: those of views are bare keys, as all pins once were."""
    return key.encode() if holder == VIEWS else holder.encode() + _HELD + key.encode()


def _holder_of(pin: bytes) -> str:
    return pin.rpartition(_HELD)[0].decode() or VIEWS
