"""Few-shot training of the decoder: one loop over episodes drawn from the cache.

Some labelled slices are held back: those of validation images, every fourth, that the served decoder
has not seen, else one slice; a shorter second part of the run learns from all. Where there are many
validation images they are never learnt from, and the weights that do best on them are kept. The served
decoder (before the first training: the prior) stays where it did clearly better on the slices held back.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

import torch
from filelock import FileLock, Timeout

from fewsam.collection import Collection
from fewsam.core.config import Settings
from fewsam.core.errors import StorageError
from fewsam.encoders.embedder import Embedder
from fewsam.fewshot.model.store import ModelStore
from fewsam.fewshot.training.checkpoint import RunCheckpoint
from fewsam.fewshot.training.plan import plan_run
from fewsam.fewshot.training.run import TrainingRun, TrainProgress

WAIT_SECONDS = 300.0  # for another process that trains in the same folder


class TrainStatus(str, Enum):
    """How a run ended."""

    PUBLISHED = "published"  # the new decoder is served
    SERVED_KEPT = "served kept"  # what was served before did clearly better and stays
    STOPPED = "stopped"  # told to stop: the next run goes on from there


@dataclass(frozen=True)
class TrainResult:
    """How a run ended.

    Attributes:
        version: The decoder served afterwards.
        metric: Dice of the new decoder on the slices held out; None where there are none.
        previous_metric: Dice of what was served before; None where it cannot be compared.
        steps: Steps of this run.
        seconds: Seconds that this process took.
        notes: What the person should be told.
    """

    status: TrainStatus
    version: int
    metric: float | None
    previous_metric: float | None
    steps: int
    seconds: float
    notes: list[str] = field(default_factory=list)

    @property
    def published(self) -> bool:
        """Whether the new decoder is served."""
        return self.status is TrainStatus.PUBLISHED


def train(
    settings: Settings,
    collection: Collection,
    embedder: Embedder,
    store: ModelStore,
    *,
    folder: Path,
    progress: Callable[[TrainProgress], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> TrainResult:
    """Train on the collection as it is now and publish the result.

    Args:
        folder: For the run's own checkpoint, which a killed run goes on from, and ``tensorboard/``, its curves.
        progress: Called about every second.
        should_stop: Polled every step; when true, the run ends without publishing and can be resumed.

    Raises:
        LabelError: there is no labelled slice yet.
        NotEncodedError: the cache lacks the labelled slices and the encoder may not be built here.
        StorageError: the disk is full, or another run on this folder does not end.
    """
    with alone(folder):
        return _train(settings, collection, embedder, store, folder, progress, should_stop)


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """One run on a folder at a time: one that a killed server left behind ends first, or is waited for."""
    lock = FileLock(folder / "run.lock", timeout=WAIT_SECONDS)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout:
        raise StorageError(
            f"another process trains in {folder} and did not end within {WAIT_SECONDS:.0f} s; wait for it, or end it"
        ) from None
    except OSError as error:
        raise StorageError(f"cannot use {folder}: {error.strerror or error}; free space or check permissions") from None
    try:
        yield
    finally:
        lock.release()


def _train(
    settings: Settings,
    collection: Collection,
    embedder: Embedder,
    store: ModelStore,
    folder: Path,
    progress: Callable[[TrainProgress], None] | None,
    should_stop: Callable[[], bool] | None,
) -> TrainResult:
    """One run: prepare, fit, compare with what is served, publish."""
    started = time.monotonic()
    torch.manual_seed(settings.seed)
    plan = plan_run(settings, collection, embedder, store)
    run = TrainingRun(
        settings,
        plan.episodes,
        plan.decoder,
        plan.split,
        RunCheckpoint(folder / "run.safetensors", plan.signature()),
        folder / "tensorboard" / f"version-{store.version() + 1:04d}",
        started,
        plan.served.card.undertrained if plan.served else None,
    )
    trained = run.fit(progress, should_stop)
    seconds = time.monotonic() - started
    if trained is None:
        return TrainResult(TrainStatus.STOPPED, store.version(), None, None, run.step, seconds, plan.notes)
    known = plan.served_has_seen_val()
    previous, metric = (None, None) if known else (run.selection.start_metric, trained.metric)
    notes = list(plan.notes)
    if settings.keep_better and previous is not None and metric is not None and previous > metric + plan.tolerance():
        what = "served decoder" if plan.served else "untrained answer"
        notes.append(f"the {what} did better on the slices held back (Dice {previous:.3f} > {metric:.3f}): kept")
        status, version = TrainStatus.SERVED_KEPT, store.version()
    else:
        status, version = TrainStatus.PUBLISHED, store.publish(trained.weights, plan.card_of(trained, seconds))
    run.checkpoint.forget()
    return TrainResult(status, version, metric, previous, run.step, seconds, notes)
