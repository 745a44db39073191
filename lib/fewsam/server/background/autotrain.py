"""Trainings that the server starts by itself: after every N labels, or when nobody has submitted one for a while.

While nobody works at all, the server that trains when it is idle also has the decoder learn from unlabelled images.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from fewsam.core.atomic import write_atomically
from fewsam.core.errors import StorageError
from fewsam.server.background.worker import Worker
from fewsam.server.paths import read_json

logger = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
STATE_FILE = "auto_train.json"


class Unlabelled(NamedTuple):
    """What a run on unlabelled images learns from.

    Attributes:
        labels: Which labels: the collection's version.
        images: How many images are encoded.
        all_encoded: Whether these are all that there are.
    """

    labels: int
    images: int
    all_encoded: bool

    def differs(self, learnt: Unlabelled | None) -> bool:
        """Whether a run may find what the one on ``learnt`` did not; while images are still encoded, it would not."""
        if learnt is None or self.labels != learnt.labels:
            return True
        return self.all_encoded and (self.images != learnt.images or not learnt.all_encoded)


class AutoTrain:
    """Counts labels since the last training, and starts a run when one is due. Never more than one run waits.

    The count outlives a restart, and so does what the last run on unlabelled images came to its verdict on. Labels
    that come while a run is on are counted for the next one, so that any number of them leads to one further run.

    Args:
        rule: ``off``, ``every:N`` (labels) or ``idle:SECONDS``.
        folder: For the count.
        is_training: Whether a run is on or queued.
        start: Starts a run.
        start_unlabelled: Starts one that learns from unlabelled images too.
        unlabelled_state: What such a run would learn from; None where none is possible.
    """

    def __init__(
        self,
        rule: str,
        folder: Path,
        is_training: Callable[[], bool],
        start: Callable[[], object],
        start_unlabelled: Callable[[], object] = lambda: None,
        unlabelled_state: Callable[[], Unlabelled | None] = lambda: None,
    ) -> None:
        self.kind, _, amount = rule.partition(":")
        self.amount = int(amount or 0)
        self._path = folder / STATE_FILE
        self._is_training = is_training
        self._start, self._start_unlabelled, self._unlabelled_state = start, start_unlabelled, unlabelled_state
        kept = read_json(self._path)
        count, learnt = kept.get("labels_since_training"), kept.get("learnt_unlabelled")
        self._count = count if isinstance(count, int) and count > 0 else 0
        # What the last run on unlabelled images began with, and whether that run has ended.
        self._learnt = _unlabelled(learnt)
        self._ended = self._learnt is not None
        self._last = time.monotonic()
        self._lock = threading.Lock()
        self._worker = Worker("auto-train", self.look, LOOK_SECONDS, wait_first=True)

    def start(self) -> None:
        if self.kind != "off":
            self._worker.start()

    def stop(self) -> None:
        self._worker.stop()

    def label_stored(self) -> None:
        """Count one more label to learn from."""
        with self._lock:
            self._count += 1
            self._last = time.monotonic()
            self._save()

    def training_started(self) -> None:
        """Count from zero: a run began, whoever asked for it, and learns from all labels so far."""
        with self._lock:
            self._count = 0
            self._save()

    @property
    def waiting(self) -> int:
        """Labels that no training run has seen."""
        return self._count

    def due(self) -> bool:
        with self._lock:
            if self._count == 0:
                return False
            if self.kind == "every":
                return self._count >= self.amount
            return self.kind == "idle" and time.monotonic() - self._last >= self.amount

    def look(self) -> bool:
        """Start a run if one is due and none is on, and return whether it did."""
        self._note_verdict()
        if not self.due():
            return self._look_at_unlabelled()
        if self._is_training():
            return False
        logger.info("training starts by itself after %d new labels", self._count)
        self._start()
        self.training_started()
        return True

    def somebody_works(self) -> None:
        """Count idle seconds from here; a run on unlabelled images, which makes way now, is taken up again later.

        One that has ended is not: it would come to the same verdict, and teach the decoder its own answers once more.
        """
        with self._lock:
            self._last = time.monotonic()
            if self._is_training():
                self._learnt, self._ended = None, False

    def _note_verdict(self) -> None:
        """Keep what a run on unlabelled images began with once it has ended: after a kill it is made again."""
        with self._lock:
            if self._learnt is not None and not self._ended and not self._is_training():
                self._ended = True
                self._save()

    def _look_at_unlabelled(self) -> bool:
        """Start a run on unlabelled images where nobody works, and none was made with what there is."""
        if self.kind != "idle" or time.monotonic() - self._last < self.amount or self._is_training():
            return False
        state = self._unlabelled_state()
        if state is None or not state.differs(self._learnt):
            return False
        logger.info("nobody works: learning from unlabelled images")
        self._start_unlabelled()
        self._learnt, self._ended = state, False
        return True

    def _save(self) -> None:
        try:
            learnt = self._learnt if self._ended else None
            kept = {"labels_since_training": self._count, "learnt_unlabelled": learnt}
            write_atomically(self._path, json.dumps(kept).encode())
        except StorageError as error:  # a full disk must not refuse a label or a training
            logger.warning("the number of new labels is not kept over a restart: %s", error)


def _unlabelled(kept: object) -> Unlabelled | None:
    whole = isinstance(kept, list) and len(kept) == 3 and all(isinstance(part, int) for part in kept)
    return Unlabelled(*kept) if whole else None  # type: ignore[misc]
