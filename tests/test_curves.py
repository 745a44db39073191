"""Curves of a run, and the disk that does not take them."""

from __future__ import annotations

from pathlib import Path

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from fewsam.curves import Curves


def test_curves_are_there_to_be_read(tmp_path: Path) -> None:
    curves = Curves(tmp_path / "events", 0)
    for step in (1, 2):
        curves.add("loss", 0.5 * step, step)
    curves.close()
    events = EventAccumulator(str(tmp_path / "events")).Reload()
    assert [(point.step, point.value) for point in events.Scalars("loss")] == [(1, 0.5), (2, 1.0)]


def test_a_place_that_takes_no_events_ends_no_run(tmp_path: Path, caplog) -> None:
    (tmp_path / "events").write_text("a file where the folder should be")
    curves = Curves(tmp_path / "events", 0)
    curves.add("loss", 1.0, 1)
    curves.close()
    assert "curves of this run end here" in caplog.text
