"""Runs cells one after the other, or on a pool; a cell that fails is recorded, and the others go on."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from fewsam.core.atomic import write_atomically
from fewsam.core.config import Settings, load_settings
from fewsam.core.errors import FewSAMError
from fewsam.core.jobs import Job, as_finished
from fewsam.core.pool import Pool
from fewsam.encoders.embedder import Embedder
from fewsam.evaluation.cell import attempt, involved
from fewsam.evaluation.data.cases import Case, load_cases
from fewsam.evaluation.data.sampling import draw
from fewsam.evaluation.data.tasks import Task
from fewsam.evaluation.methods.registry import NO_EMBEDDING, find_method
from fewsam.evaluation.report.cells import Cell, append_cell, read_cells, write_tables
from fewsam.evaluation.report.provenance import code_hash
from fewsam.evaluation.worker import (
    Caches,
    Fresh,
    caches_for,
    cases_on_worker,
    embedder_on_worker,
    embeddings_of,
    encode_ahead,
    take_over,
)

logger = logging.getLogger(__name__)


def evaluate(
    tasks: Iterable[tuple[Task, Path]],
    methods: Sequence[str],
    ks: Sequence[int],
    seeds: Sequence[int],
    settings: Settings,
    embedder: Embedder,
    folder: Path,
    progress: Callable[[Cell], None] | None = None,
    choice: str = "random",
    pool: Pool | None = None,
) -> list[Cell]:
    """Run all cells that are not in ``folder`` yet, and write each there as it ends; all cells of the folder.

    Args:
        pool: Workers that run them; without, this process does, one after the other.
    """
    folder.mkdir(parents=True, exist_ok=True)
    cells = read_cells(folder)
    done = {cell.key for cell in cells if not cell.error}

    def todo_of(task: Task) -> list[Cell]:
        each = [(k, s, m) for k in ks for s in seeds for m in methods]
        wanted = [Cell(task.name, m, k, s, protocol=task.protocol, choice=choice) for k, s, m in each]
        return [cell for cell in wanted if cell.key not in done]

    if pool is not None:
        new = _on_pool(
            pool, [(task, root, todo_of(task)) for task, root in tasks], settings, embedder, folder, progress
        )
        cells += new
        write_tables(cells, folder)
        return cells
    for task, root in tasks:
        todo = todo_of(task)
        if not todo:
            continue
        try:
            cases = load_cases(task, root, str(task.settings.get("axis", settings.axis)))
            why = ""
        except Exception as error:  # all of its cells fail, the other tasks go on
            cases, why = [], f"{type(error).__name__}: {error}"
        for cell in todo:
            if why:
                cell.error, cell.code = why, code_hash()
            else:
                attempt(cell, cases, task, settings, embedder, folder)
            cells.append(cell)
            append_cell(folder, cell)
            if progress:
                progress(cell)
    write_tables(cells, folder)
    return cells


def _on_pool(
    pool: Pool,
    todo: Sequence[tuple[Task, Path, list[Cell]]],
    settings: Settings,
    embedder: Embedder,
    folder: Path,
    progress: Callable[[Cell], None] | None,
) -> list[Cell]:
    """Run cells on a pool, and write each as it ends; the cells in the order in which one process would run them."""
    ended: dict[tuple, Cell] = {}
    with caches_for(pool, embedder, folder) as caches:
        for done in as_finished(pool, _jobs(pool, todo, settings, embedder, caches)):
            cell, examples, fresh = done.value if done.error is None else (done.job.about, {}, None)
            if done.error is not None:
                cell.error, cell.code = done.why, code_hash()
            take_over(embedder.cache, fresh, settings)
            for name, body in examples.items():
                write_atomically(folder / name, body)
            ended[cell.key] = cell
            append_cell(folder, cell)
            if progress:
                progress(cell)
    return [ended[cell.key] for _, _, cells in todo for cell in cells]


def _jobs(
    pool: Pool,
    todo: Sequence[tuple[Task, Path, list[Cell]]],
    settings: Settings,
    embedder: Embedder,
    caches: Caches | None,
) -> Iterator[Job]:
    """The cells of each task, once the slices that they need are encoded."""
    for task, root, cells in todo:
        sent: Mapping[str, np.ndarray] = {}
        try:
            common = load_settings(None, {**settings.model_dump(), **task.settings})
            cases = load_cases(task, root, common.axis) if cells else []
        except Exception as error:  # its cells say so themselves
            logger.debug("%s is not encoded ahead: %s", task.name, error)
        else:
            needed = [cases[index] for index in _needed(cases, task, cells)]
            encode_ahead(pool, embedder.like(common), common, needed)
            if caches is None:
                sent = pool.share(embeddings_of(embedder.like(common), common, needed))
        for cell in cells:
            given = (cell, task, str(root.absolute()), settings, embedder.info.fingerprint, caches, sent)
            yield Job(cell.title, cell_on_worker, given, about=cell)


def _needed(cases: Sequence[Case], task: Task, cells: Sequence[Cell]) -> list[int]:
    """The cases whose slices any of the cells needs encoded."""
    numbers: set[int] = set()
    draws = {(cell.k, cell.seed, cell.choice) for cell in cells if find_method(cell.method)[1] not in NO_EMBEDDING}
    for k, seed, choice in draws:
        if choice == "acquisition":
            return list(range(len(cases)))
        try:
            numbers |= involved(draw(cases, task, k, seed, choice))
        except FewSAMError as error:  # its cells say so themselves
            logger.debug("no slices of %s with K=%d: %s", task.name, k, error)
    return sorted(numbers)


def cell_on_worker(
    cell: Cell,
    task: Task,
    root: str,
    settings: Settings,
    fingerprint: str,
    caches: Caches | None,
    sent: Mapping[str, np.ndarray],
) -> tuple[Cell, dict[str, bytes], Fresh | None]:
    """The cell, run in this worker, the files of its examples by their names in the run's folder, and what it encoded.

    Args:
        root: Of the task's files, as this worker sees them.
        fingerprint: Of the run's encoder.
        caches, sent: As in `embedder_on_worker`.
    """
    cases = cases_on_worker(task, root, str(task.settings.get("axis", settings.axis)))
    with (
        embedder_on_worker(settings, fingerprint, caches, sent) as (embedder, fresh),
        tempfile.TemporaryDirectory() as name,
    ):
        attempt(cell, cases, task, settings, embedder, Path(name))
        files = [path for path in Path(name).rglob("*") if path.is_file()]
        return cell, {path.relative_to(name).as_posix(): path.read_bytes() for path in files}, fresh()
