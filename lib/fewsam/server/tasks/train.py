"""MONAI Label's training task. It runs in a process of its own, and tells the server by files how far it is."""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from monailabel.interfaces.datastore import Datastore
from monailabel.interfaces.tasks.train import TrainTask
from monailabel.utils.async_tasks.utils import tasks

from fewsam.core.atomic import write_atomically
from fewsam.core.config import Settings, load_settings
from fewsam.core.errors import FewSAMError, NotEncodedError, StorageError
from fewsam.encoders.cache import TRAINING
from fewsam.fewshot.model.views import LabelledSlice
from fewsam.fewshot.training.run import TrainProgress
from fewsam.fewshot.training.train import TrainResult, TrainStatus
from fewsam.server.paths import read_json
from fewsam.workspace.workspace import Workspace

logger = logging.getLogger(__name__)

SERVER_PROCESS = "FEWSAM_SERVER_PROCESS"  # environment variable: number of the server's process
STATS_FILE = "train_stats.json"
TRAINER = "segmentation"  # both viewers look for a model of this name
UNLABELLED = "unlabelled"  # in a request: learn from images that nobody labelled too; in the stats: such a run
LABELLED = "labelled"  # in the stats: a run that learns from labelled slices alone
NICE = 10  # of such a run
TUNABLE = ("steps", "batch", "learning_rate", "train_seconds", "seed")  # what a request may change
IMAGES_FILE = "unlabelled_images.json"  # what the server gives a run that learns from unlabelled images: paths by id
STOP_FILE = "unlabelled_stop"  # exists while such a run is to make way for a person
STALL_SECONDS = 180.0  # after so long without a newly encoded view the server is taken as gone
LOOK_SECONDS = 2.0


class DecoderTraining(TrainTask):
    """Trains the decoder on the collection's labelled slices."""

    def __init__(self, workspace: Workspace) -> None:
        super().__init__("Train the few-shot mask decoder on the labelled slices")
        self.workspace = workspace

    def config(self) -> dict[str, Any]:
        settings = self.workspace.settings
        return {"steps": settings.steps, "train_seconds": settings.train_seconds}

    def stats(self) -> dict[str, Any]:
        """Progress as the viewers read it: ``epoch``, ``total_epochs``, ``best_metric``, ``total_time`` at the end."""
        stats = read_json(self.workspace.folder / STATS_FILE)
        state = stats.get("state")
        if (state == "starting" and not is_training()) or (state in ("running", "waiting") and not _alive(stats)):
            stats.update(state="stopped", total_time=_duration(float(stats.get("seconds", 0))))
        return stats

    def offer_unlabelled(self, images: Mapping[str, str]) -> None:
        """Leave the paths of images, by id, for a run that learns from unlabelled ones too.

        Raises:
            StorageError: the disk is full.
        """
        folder = self.workspace.folder
        write_atomically(folder / IMAGES_FILE, json.dumps(dict(images)).encode())
        (folder / STOP_FILE).unlink(missing_ok=True)

    def make_way(self) -> None:
        """Have a run that learns from unlabelled images stop at its next step: somebody waits for the processor."""
        if is_training() and self.stats().get("kind") == UNLABELLED:
            (self.workspace.folder / STOP_FILE).touch()

    @property
    def is_making_way(self) -> bool:
        """Whether the run that is on learns from unlabelled images and was told to stop."""
        return self.stats().get("kind") == UNLABELLED and (self.workspace.folder / STOP_FILE).exists()

    def announce(self, kind: str = LABELLED) -> None:
        """Note that a run was asked for, so that the stats of the last one do not stand until its process reports.

        Its kind is noted too: a run on unlabelled images makes way from here on, before its process is there.
        """
        best = read_json(self.workspace.folder / STATS_FILE).get("best_metric", 0.0)
        values = {"state": "starting", "kind": kind, "epoch": 0, "total_epochs": 1, "best_metric": best}
        write_atomically(self.workspace.folder / STATS_FILE, json.dumps(values).encode())

    def __call__(self, request: Mapping[str, Any], datastore: Datastore) -> dict[str, Any]:
        """Train and publish; returns the final stats.

        Raises:
            SystemExit: the run could not be made; the reason is in the log and in the stats.
        """
        unlabelled = bool(request.get(UNLABELLED))
        report = _Report(self.workspace.folder / STATS_FILE, UNLABELLED if unlabelled else LABELLED)
        try:
            settings = requested_settings(self.workspace.settings, request)
            # Only the server builds a SAM encoder: it fills the cache and this process reads it.
            workspace = Workspace(settings, self.workspace.folder, cached_only=settings.encoder != "compact")
            gone, stop_file = server_gone(), self.workspace.folder / STOP_FILE
            stop = (lambda: gone() or stop_file.exists()) if unlabelled else gone
            with workspace:
                try:
                    if workspace.cached_only and not _wait_for_views(workspace, report, stop):
                        result = TrainResult(TrainStatus.STOPPED, workspace.store.version(), None, None, 0, 0.0, [])
                    elif unlabelled:
                        result = self._improve(workspace, report, stop)
                    else:
                        result = workspace.train(report.progress, stop)
                    if gone():
                        raise FewSAMError("the server ended: the run stops here, and the next one goes on from it")
                    return report.finished(result, workspace.store.info())
                finally:
                    if workspace.cached_only:
                        _hold(workspace, [])
        except FewSAMError as error:
            report.failed(str(error))
            logger.error("training was not possible: %s", error)
            raise SystemExit(1) from None
        except Exception:
            report.failed("unexpected error in the training process; the log says more")
            raise

    def _improve(self, workspace: Workspace, report: _Report, should_stop: Callable[[], bool]) -> TrainResult:
        """Learn from unlabelled images at low priority, and stop as soon as somebody needs the processor."""
        with suppress(OSError):
            os.nice(NICE)
        return workspace.improve(read_json(workspace.folder / IMAGES_FILE), report.progress, should_stop)


def runs_on() -> int:
    """How many training runs of this server are on or queued."""
    return sum(task["status"] in ("SUBMITTED", "RUNNING") for task in list(tasks("train")))


def is_training() -> bool:
    """Whether this server has a training run on or queued."""
    return runs_on() > 0


def _alive(stats: Mapping[str, Any]) -> bool:
    """Whether the process that wrote ``stats`` still runs; another may have its number by now."""
    try:
        return abs(psutil.Process(int(stats["pid"])).create_time() - float(stats["pid_started"])) < 1.0
    except (psutil.Error, KeyError, TypeError, ValueError):
        return False


def requested_settings(settings: Settings, request: Mapping[str, Any]) -> Settings:
    """``settings`` with what a train request changes.

    Raises:
        ConfigError: a value that does not fit.
    """
    changes = {key: request[key] for key in TUNABLE if key in request}
    return load_settings(None, {**settings.model_dump(), **changes}) if changes else settings


def server_gone() -> Callable[[], bool]:
    """Whether the server that started this process has ended, which leaves a run that nobody sees or can stop."""
    named = os.environ.get(SERVER_PROCESS, "")
    if not named.isdigit():  # not started by a server
        return lambda: False
    server = int(named)
    # Where a parent that ends is replaced (all but Windows), its number may be another's by now.
    return lambda: not psutil.pid_exists(server) or (os.name != "nt" and os.getppid() != server)


class _Report:
    """Writes the whole stats file at every change. On a full disk the run goes on without it."""

    def __init__(self, path: Path, kind: str) -> None:
        self._path = path
        self._started = time.monotonic()
        self._values: dict[str, Any] = {
            "state": "running",
            "kind": kind,
            "pid": os.getpid(),
            "pid_started": psutil.Process().create_time(),
            "start_ts": datetime.now().strftime("%Y-%m-%d %H:%M:%S"),
            "epoch": 0,
            "total_epochs": 1,
            "best_metric": 0.0,
        }
        self._write()

    def waiting(self, missing: int, total: int) -> None:
        self._write(state="waiting", waiting_for=f"{missing} of {total} views to be encoded by the server")

    def progress(self, now: TrainProgress) -> None:
        self._values.pop("waiting_for", None)
        self._write(
            state="running",
            epoch=now.epoch,
            total_epochs=now.total_epochs,
            step=now.step,
            loss=_finite(now.loss),
            best_metric=_finite(now.metric) or 0.0,
        )

    def finished(self, result: TrainResult, model: Mapping[str, Any]) -> dict[str, Any]:
        values = self._write(
            state="stopped" if result.status is TrainStatus.STOPPED else "done",
            epoch=self._values["total_epochs"],
            best_metric=_finite(result.metric) or 0.0,
            previous_metric=_finite(result.previous_metric),
            # What a run on unlabelled images was measured on is no longer held back; its notes say what came of it.
            measured_on=[] if self._values["kind"] == UNLABELLED else list(model.get("measured_on", ())),
            published=result.published,
            model_version=result.version,
            steps=result.steps,
            notes=list(result.notes),
            total_time=_duration(time.monotonic() - self._started),
        )
        logger.info("training done: model %s, published: %s, %d steps", result.version, result.published, result.steps)
        return values

    def failed(self, why: str) -> None:
        self._write(state="failed", error=why, total_time=_duration(time.monotonic() - self._started))

    def _write(self, **changes: Any) -> dict[str, Any]:
        self._values.update(changes, seconds=round(time.monotonic() - self._started, 2))
        try:
            write_atomically(self._path, json.dumps(self._values).encode())
        except StorageError as error:
            logger.warning("progress is not shown: %s", error)
        return dict(self._values)


def _wait_for_views(workspace: Workspace, report: _Report, should_stop: Callable[[], bool] = lambda: False) -> bool:
    """Wait until every view that training reads is in the cache; false where told to stop before.

    Raises:
        NotEncodedError: nothing was added for a long time, so that nobody seems to encode.
    """
    keys = _view_keys(workspace)
    _hold(workspace, keys)
    last_change, missing = time.monotonic(), len(keys) + 1
    while True:
        now = workspace.cache.contains(keys).count(False)
        if now == 0:
            return True
        if should_stop():
            return False
        if now < missing:
            last_change, missing = time.monotonic(), now
        if time.monotonic() - last_change > STALL_SECONDS:
            raise NotEncodedError(
                f"{missing} of {len(keys)} views of labelled slices are not encoded and nobody encodes them; "
                "train through the running server, or run `fewsam encode` first"
            )
        report.waiting(missing, len(keys))
        time.sleep(LOOK_SECONDS)


def _hold(workspace: Workspace, keys: Sequence[str]) -> None:
    """Keep these views in the cache for this run, also those of labels that are redrawn or removed meanwhile."""
    try:
        workspace.cache.pin_only(keys, TRAINING)
    except StorageError as error:  # the disk is full, and the run may still end well
        logger.warning("views are not pinned for this run: %s", error)


def _view_keys(workspace: Workspace) -> list[str]:
    settings, size = workspace.settings, workspace.embedder.info.input_size
    keys: list[str] = []
    for shot in workspace.collection.shots():
        labelled = LabelledSlice(shot, tuple(shot.masks), settings, size, 64)
        images = np.stack([labelled.view(number).image for number in range(settings.views + 1)])
        keys += workspace.embedder.keys(images)
    return list(dict.fromkeys(keys))


def _finite(value: float | None) -> float | None:
    return None if value is None or not np.isfinite(value) else round(float(value), 4)


def _duration(seconds: float) -> str:
    return time.strftime("%H:%M:%S", time.gmtime(seconds))
