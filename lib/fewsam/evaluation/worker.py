"""What cells and curves find on a worker: the cases, read once, and a cache of embeddings on a disk of its own."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache, lru_cache
from pathlib import Path

from fewsam.core.config import Settings
from fewsam.core.pool import Pool
from fewsam.encoders.cache import EmbeddingCache
from fewsam.encoders.embedder import Embedder
from fewsam.encoders.worker import built_encoder, check_encoder
from fewsam.evaluation.data.cases import Case, load_cases
from fewsam.evaluation.data.tasks import Task


def cache_for(pool: Pool, folder: Path) -> str | None:
    """The cache that workers use: the run's own where they are processes of this machine, else one of each worker."""
    return str(folder / "cache") if pool.is_here else None


@contextmanager
def embedder_on_worker(settings: Settings, fingerprint: str, cache_folder: str | None) -> Iterator[Embedder]:
    """An embedder in this worker, on the cache that `cache_for` named.

    Raises:
        ConfigError: this worker has other weights of the encoder.
    """
    check_encoder(settings, fingerprint)
    with EmbeddingCache(cache_folder or _scratch().name, int(settings.cache_gb * 1e9)) as opened:
        yield Embedder(settings, opened, build=built_encoder)


def cases_on_worker(task: Task, root: str, axis: str) -> Sequence[Case]:
    """The cases of a task, kept in memory until another task's are asked for."""
    return _cases(task.model_dump_json(), root, axis)


@lru_cache(1)
def _cases(task: str, root: str, axis: str) -> Sequence[Case]:
    return load_cases(Task.model_validate_json(task), Path(root), axis)


@cache
def _scratch() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="fewsam-worker-", ignore_cleanup_errors=True)
