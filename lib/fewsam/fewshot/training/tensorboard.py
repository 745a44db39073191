"""Curves of a training run for TensorBoard."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter

logger = logging.getLogger(__name__)


class TensorBoardWriter:
    """Writes curves that are there to be looked at: a full disk ends them, and not the run.

    Each record is written at once and by no thread: TensorBoard's own writer ends with a traceback where the disk is
    full.

    Args:
        events: Folder for the events.
        step: What a killed run wrote beyond this step is dropped.
    """

    def __init__(self, events: Path, step: int) -> None:
        self._file: BinaryIO | None = None
        with self._tolerant():
            events.mkdir(parents=True, exist_ok=True)
            name = f"events.out.tfevents.{time.time_ns() // 10**9:010d}.fewsam.{os.getpid()}.{time.time_ns() % 10**9}"
            self._file = (events / name).open("wb", buffering=0)
            self._write(Event(file_version="brain.Event:2"))
            self._write(Event(step=step, session_log=SessionLog(status=SessionLog.START)))

    def add(self, name: str, value: float, step: int) -> None:
        self._write(Event(step=step, summary=Summary(value=[Summary.Value(tag=name, simple_value=value)])))

    def __enter__(self) -> TensorBoardWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _write(self, event: Event) -> None:
        with self._tolerant():
            if self._file is not None:
                event.wall_time = time.time()
                RecordWriter(self._file).write(event.SerializeToString())

    @contextmanager
    def _tolerant(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self.close()
            logger.warning("the curves of this run end here: %s", error)
