"""TensorBoardWriter of a run, and the disk that does not take them."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from fewsam.evaluation.reliability.disk import NoDiskError, filled, small_disk
from fewsam.fewshot.training.tensorboard import TensorBoardWriter


def test_curves_are_there_to_be_read(tmp_path: Path) -> None:
    curves = TensorBoardWriter(tmp_path / "events", 0)
    for step in (1, 2):
        curves.add("loss", 0.5 * step, step)
    curves.close()
    events = EventAccumulator(str(tmp_path / "events")).Reload()
    assert [(point.step, point.value) for point in events.Scalars("loss")] == [(1, 0.5), (2, 1.0)]


def test_a_restarted_run_drops_what_the_killed_one_wrote_beyond_its_step(tmp_path: Path) -> None:
    for first, value in ((0, 1.0), (2, 5.0)):
        curves = TensorBoardWriter(tmp_path / "events", first)
        for step in range(first, 4):
            curves.add("loss", value, step)
        curves.close()
        time.sleep(1.1)  # TensorBoard reads the files of a folder in the order of their seconds
    events = EventAccumulator(str(tmp_path / "events")).Reload()
    assert [(point.step, point.value) for point in events.Scalars("loss")] == [(0, 1), (1, 1), (2, 5), (3, 5)]


def test_a_full_disk_ends_the_curves_without_a_traceback(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    fallen: list[object] = []
    monkeypatch.setattr(threading, "excepthook", fallen.append)
    try:
        with small_disk(tmp_path / "disk", 2) as disk, filled(disk, 0):
            curves = TensorBoardWriter(disk / "events", 0)
            for step in range(3):
                curves.add("loss", 1.0, step)
            curves.close()
    except NoDiskError as error:
        pytest.skip(str(error))
    assert "curves of this run end here" in caplog.text
    assert fallen == []


def test_a_place_that_takes_no_events_ends_no_run(tmp_path: Path, caplog) -> None:
    (tmp_path / "events").write_text("a file where the folder should be")
    curves = TensorBoardWriter(tmp_path / "events", 0)
    curves.add("loss", 1.0, 1)
    curves.close()
    assert "curves of this run end here" in caplog.text
