"""All curves of a comparison, resumed from what is there."""

from __future__ import annotations

import csv
import logging
import tempfile
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from fewsam.core.config import Settings, load_settings
from fewsam.core.errors import ConfigError, FewSAMError
from fewsam.core.jobs import Job, as_finished
from fewsam.core.pool import Pool
from fewsam.encoders.embedder import Embedder
from fewsam.evaluation.data.cases import Case, load_cases
from fewsam.evaluation.data.tasks import Task
from fewsam.evaluation.loop.annotator import Noise, Pace
from fewsam.evaluation.loop.lab import DirectLab, Lab
from fewsam.evaluation.loop.loop import Curve, full_supervision, run_loop
from fewsam.evaluation.loop.plan import Plan, plan
from fewsam.evaluation.loop.rest import RestLab
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

LOG = "curves.jsonl"
THROUGH = ("direct", "rest")
FULL = "full supervision"  # a curve of one point: every slice labelled


def simulate(
    tasks: Iterable[tuple[Task, Path]],
    strategies: Sequence[str],
    seeds: Sequence[int],
    budget: int,
    settings: Settings,
    embedder: Embedder,
    folder: Path,
    *,
    noise: Noise,
    pace: Pace,
    through: str = "direct",
    full: bool = True,
    progress: Callable[[Curve], None] | None = None,
    pool: Pool | None = None,
) -> list[Curve]:
    """Run the curves that ``folder`` lacks; all of the folder's curves.

    Args:
        full: Measure full supervision too, once a seed: every slice that may be offered labelled, and trained on.
        progress: Called with each curve at each of its points, and at its end; with a pool, at its end.
        pool: Workers that run them; without, this process does, one after the other.
    """
    if through not in THROUGH:
        raise ConfigError(f"no way {through!r} to the annotator; known: {', '.join(THROUGH)}")
    folder.mkdir(parents=True, exist_ok=True)
    curves = read_curves(folder)
    done = {curve.key for curve in curves if not curve.error}

    def todo_of(task: Task) -> list[Curve]:
        names = [*strategies, *([FULL] if full else [])]
        wanted = [
            Curve(task.name, name, seed, budget, through, protocol=task.protocol) for seed in seeds for name in names
        ]
        return [curve for curve in wanted if curve.key not in done]

    def keep(curve: Curve) -> None:
        with (folder / LOG).open("a", encoding="utf-8") as file:
            file.write(curve.as_json() + "\n")
        if progress:
            progress(curve)

    if pool is not None:
        todo_by_task = [(task, root, todo_of(task)) for task, root in tasks]
        curves += _on_pool(pool, todo_by_task, settings, embedder, folder, noise, pace, keep)
        write_table(curves, folder / "curves.csv")
        return curves
    for task, root in tasks:
        todo = todo_of(task)
        if not todo:
            continue
        mine, cases, why = settings, [], ""
        try:
            mine = load_settings(None, {**settings.model_dump(), **task.settings})
            cases = load_cases(task, root, mine.axis)
        except Exception as error:  # all of its curves fail, the other tasks go on
            why = f"{type(error).__name__}: {error}"
        for curve in todo:
            if why:
                curve.error = why
            else:
                _attempt(curve, cases, task, mine, embedder.like(mine), noise, pace, progress)
            curves.append(curve)
            keep(curve)
    write_table(curves, folder / "curves.csv")
    return curves


def _on_pool(
    pool: Pool,
    todo: Sequence[tuple[Task, Path, list[Curve]]],
    settings: Settings,
    embedder: Embedder,
    folder: Path,
    noise: Noise,
    pace: Pace,
    keep: Callable[[Curve], None],
) -> list[Curve]:
    """Run curves on a pool; the curves in the order in which one process would run them."""
    ended: dict[tuple, Curve] = {}
    with caches_for(pool, embedder, folder) as caches:
        for done in as_finished(pool, _jobs(pool, todo, settings, embedder, caches, noise, pace)):
            curve, fresh = done.value if done.error is None else (done.job.about, None)
            if done.error is not None:
                curve.error = done.why
            take_over(embedder.cache, fresh, settings)
            ended[curve.key] = curve
            keep(curve)
    return [ended[curve.key] for _, _, curves in todo for curve in curves]


def _jobs(
    pool: Pool,
    todo: Sequence[tuple[Task, Path, list[Curve]]],
    settings: Settings,
    embedder: Embedder,
    caches: Caches | None,
    noise: Noise,
    pace: Pace,
) -> Iterator[Job]:
    """The curves of each task, once the slices that they need are encoded; a server of its own encodes itself."""
    for task, root, curves in todo:
        sent: Mapping[str, np.ndarray] = {}
        direct = [curve for curve in curves if curve.through == "direct"]
        try:
            mine = load_settings(None, {**settings.model_dump(), **task.settings})
            cases = load_cases(task, root, mine.axis) if direct else []
            plans = [plan(cases, task, seed) for seed in {curve.seed for curve in direct}]
        except Exception as error:  # its curves say so themselves
            logger.debug("%s is not encoded ahead: %s", task.name, error)
        else:
            needed = [cases[index] for index in sorted({i for one in plans for i in (*one.offered, *one.tested)})]
            encode_ahead(pool, embedder.like(mine), mine, needed)
            if caches is None:
                sent = pool.share(embeddings_of(embedder.like(mine), mine, needed))
        for curve in curves:
            given = (curve, task, str(root.absolute()), settings, embedder.info.fingerprint, caches, sent, noise, pace)
            yield Job(f"{curve.task}, {curve.strategy}, seed {curve.seed}", curve_on_worker, given, about=curve)


def curve_on_worker(
    curve: Curve,
    task: Task,
    root: str,
    settings: Settings,
    fingerprint: str,
    caches: Caches | None,
    sent: Mapping[str, np.ndarray],
    noise: Noise,
    pace: Pace,
) -> tuple[Curve, Fresh | None]:
    """The curve, run in this worker, and what it encoded.

    Args:
        root: Of the task's files, as this worker sees them.
        caches, sent: As in `embedder_on_worker`.
    """
    mine = load_settings(None, {**settings.model_dump(), **task.settings})
    cases = cases_on_worker(task, root, mine.axis)
    with embedder_on_worker(settings, fingerprint, caches, sent) as (embedder, fresh):
        _attempt(curve, cases, task, mine, embedder.like(mine), noise, pace, None)
        return curve, fresh()


def _attempt(
    curve: Curve,
    cases: Sequence[Case],
    task: Task,
    settings: Settings,
    embedder: Embedder,
    noise: Noise,
    pace: Pace,
    progress: Callable[[Curve], None] | None,
) -> None:
    with tempfile.TemporaryDirectory(prefix="fewsam-loop-") as name:
        try:
            planned = plan(cases, task, curve.seed)
            through = curve.through
            if curve.strategy == FULL:  # trained, even where the loop measures the untrained answer
                through, settings = "direct", _trained_once(settings, curve.budget)
            lab = _lab(through, planned, settings, embedder, Path(name), curve.seed)
            try:
                if curve.strategy == FULL:
                    curve.full_iou = full_supervision(lab, planned)
                else:
                    run_loop(lab, planned, curve, noise, pace, progress)
            finally:
                lab.close()
        except Exception as error:  # one bad curve must not take the others along
            why = str(error) if isinstance(error, FewSAMError) else traceback.format_exc()
            logger.error("%s, %s, seed %d failed: %s", curve.task, curve.strategy, curve.seed, why)
            curve.error = f"{type(error).__name__}: {error}"


def _trained_once(settings: Settings, budget: int) -> Settings:
    """For one training that takes as many steps as all those of a loop, each of which goes on where the last ended.

    The last label is learnt from even where fewer than the rule's number wait: a training more.
    """
    kind, _, amount = settings.auto_train.partition(":")
    trainings = -(-budget // int(amount)) if kind == "every" else 1
    longer = {"steps": settings.steps * trainings, "train_seconds": settings.train_seconds * trainings}
    return settings.model_copy(update={"auto_train": "every:1", **longer})


def _lab(through: str, planned: Plan, settings: Settings, embedder: Embedder, folder: Path, seed: int) -> Lab:
    if through == "rest":
        return RestLab(planned, settings, folder, seed)
    return DirectLab(planned, settings, embedder, folder, seed)


def read_curves(folder: Path) -> list[Curve]:
    """Curves of earlier runs; a last line that was half written is dropped."""
    path = folder / LOG
    if not path.is_file():
        return []
    curves = []
    lines = path.read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines, 1):
        try:
            curves.append(Curve.of(line))
        except (ValueError, TypeError, KeyError) as error:
            if number < len(lines):
                raise ConfigError(f"{path}, line {number} is damaged ({error}); remove the line") from None
            path.write_text("".join(f"{whole}\n" for whole in lines[:-1]), encoding="utf-8")
    return curves


def write_table(curves: Sequence[Curve], path: Path) -> None:
    """Tidy ``curves.csv``: a row a point."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        head = ["task", "protocol", "strategy", "seed", "budget", "through"]
        writer.writerow([*head, "slices", "minutes", "iou", "changed_pixels", "corrected_slices"])
        for curve in curves:
            for p in curve.points:
                writer.writerow([*curve.key, p.slices, round(p.minutes, 3), p.iou, p.changed, p.corrected])
