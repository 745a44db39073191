"""What cells and curves find on a worker: the cases, read once, and embeddings.

The process that has the pool is the only one that writes the run's cache. It has the slices of all cases encoded first
(`encode_ahead`). Workers of its machine read that cache; those of a cluster are sent what their cells need. What they
encode themselves, such as views of labelled slices, goes into a cache of each worker's own, from which the first
process takes it over where both see the same disk (`take_over`).
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path

import numpy as np

from fewsam.core.config import Settings
from fewsam.core.jobs import Job, as_finished
from fewsam.core.pool import Pool
from fewsam.encoders.cache import EmbeddingCache, Embeddings, MemoryCache
from fewsam.encoders.embedder import BATCH, Embedder
from fewsam.encoders.layered import LayeredCache
from fewsam.encoders.slices import EncoderSlices
from fewsam.encoders.worker import built_encoder, check_encoder, encode_batch, packed
from fewsam.evaluation.data.cases import Case, load_cases
from fewsam.evaluation.data.tasks import Task

SENT_BYTES = 512 << 20  # embeddings of a task at most that a cluster's workers are sent: they keep them in memory


@dataclass(frozen=True)
class Caches:
    """Folders of caches that all processes of this machine see: the run's own, and where workers have theirs."""

    run: str
    workers: str


@dataclass(frozen=True)
class Fresh:
    """Embeddings that a worker of this machine has encoded: their keys in the cache of its own."""

    folder: str
    keys: tuple[str, ...]


@contextmanager
def caches_for(pool: Pool, embedder: Embedder, folder: Path) -> Iterator[Caches | None]:
    """The caches of a run in ``folder``, while it goes on; None where workers see other disks."""
    if not pool.is_here or not isinstance(embedder.cache, EmbeddingCache):
        yield None
        return
    with tempfile.TemporaryDirectory(prefix=".workers-", dir=folder, ignore_cleanup_errors=True) as name:
        try:
            yield Caches(str(embedder.cache.folder), name)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)  # nobody writes there when it is removed
            raise


def encode_ahead(pool: Pool, embedder: Embedder, settings: Settings, cases: Iterable[Case]) -> None:
    """Have the workers encode the slices of cases that the cache lacks, and write them to it.

    A slice that cannot be encoded now is left to the cell that needs it, which says why.
    """
    for done in as_finished(pool, _missing(embedder, settings, cases)):
        for key, embedding in zip(done.job.about, done.value if done.error is None else (), strict=False):
            embedder.cache.put(key, embedding)


def embeddings_of(embedder: Embedder, settings: Settings, cases: Iterable[Case]) -> dict[str, np.ndarray]:
    """The embeddings of the cases' slices that the cache holds; none where they are too many to be sent."""
    found: dict[str, np.ndarray] = {}
    for case in cases:
        for keys, _ in _slices(embedder, settings, case):
            cached = zip(keys, embedder.cache.get_many(keys), strict=True)
            found |= {key: one for key, one in cached if one is not None}
            if sum(one.nbytes for one in found.values()) > SENT_BYTES:
                return {}
    return found


def take_over(store: Embeddings, fresh: Fresh | None, settings: Settings) -> None:
    """Put what a worker has encoded into the run's cache."""
    if fresh is None:
        return
    with EmbeddingCache(fresh.folder, _bytes(settings), read_only=True) as theirs:
        for key in fresh.keys:
            embedding = theirs.get(key)
            if embedding is not None and not store.contains([key])[0]:
                store.put(key, embedding)


@contextmanager
def embedder_on_worker(
    settings: Settings, fingerprint: str, caches: Caches | None, sent: Mapping[str, np.ndarray]
) -> Iterator[tuple[Embedder, Callable[[], Fresh | None]]]:
    """An embedder in this worker, and a function that says what it has encoded that the run's cache may want.

    Args:
        caches: As `caches_for` has them.
        sent: Embeddings by key.

    Raises:
        ConfigError: this worker has other weights of the encoder.
    """
    check_encoder(settings, fingerprint)
    folder = _scratch().name if caches is None else str(Path(caches.workers) / str(os.getpid()))
    with ExitStack() as stack:
        below: Embeddings = MemoryCache(sent)
        if caches is not None:
            below = stack.enter_context(EmbeddingCache(caches.run, _bytes(settings), read_only=True))
        layered = LayeredCache(stack.enter_context(EmbeddingCache(folder, _bytes(settings))), below)

        def fresh() -> Fresh | None:
            return Fresh(folder, tuple(layered.new)) if caches is not None and layered.new else None

        yield Embedder(settings, layered, build=built_encoder), fresh


def cases_on_worker(task: Task, root: str, axis: str) -> Sequence[Case]:
    """The cases of a task, kept in memory until another task's are asked for."""
    return _cases(task.model_dump_json(), root, axis)


def _missing(embedder: Embedder, settings: Settings, cases: Iterable[Case]) -> Iterator[Job]:
    """Jobs that encode the slices that are neither cached nor under way."""
    seen: set[str] = set()
    given = settings.model_dump(mode="json"), embedder.info.fingerprint
    for case in cases:
        todo: list[tuple[str, np.ndarray]] = []
        for keys, inputs in _slices(embedder, settings, case):
            there = embedder.cache.contains(keys)
            todo += [(k, x) for k, x, known in zip(keys, inputs, there, strict=True) if not known and k not in seen]
            seen.update(keys)
            while len(todo) >= BATCH:
                yield _job(case, given, todo[:BATCH])
                todo = todo[BATCH:]
        if todo:
            yield _job(case, given, todo)


def _job(case: Case, given: tuple[dict, str], todo: Sequence[tuple[str, np.ndarray]]) -> Job:
    keys, pixels = zip(*todo, strict=True)
    return Job(case.name, encode_batch, (*given, packed(np.stack(pixels))), about=keys)


def _slices(embedder: Embedder, settings: Settings, case: Case) -> Iterator[tuple[list[str], np.ndarray]]:
    slices = EncoderSlices(case.volume, settings, embedder)
    for chunk in slices.chunks():
        inputs = slices.inputs(slices.raw(chunk))
        yield embedder.keys(inputs), inputs


def _bytes(settings: Settings) -> int:
    return int(settings.cache_gb * 1e9)


@lru_cache(1)
def _cases(task: str, root: str, axis: str) -> Sequence[Case]:
    return load_cases(Task.model_validate_json(task), Path(root), axis)


@cache
def _scratch() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="fewsam-worker-", ignore_cleanup_errors=True)
