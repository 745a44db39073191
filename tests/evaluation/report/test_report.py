"""What report.md says, from cells made by hand."""

import pytest

from fewsam.core.config import load_settings
from fewsam.evaluation.report.cells import Cell
from fewsam.evaluation.report.measures import Score
from fewsam.evaluation.report.report import calibration_table, markdown, probability, write_report
from fewsam.evaluation.report.statistics import Comparison
from fewsam.evaluation.report.summary import TaskTable

ENCODER = {"name": "compact", "input_size": 256, "trained": False}


def cell(method: str, value: float, seed: int = 0, task: str = "one", **fields: object) -> Cell:
    made = Cell(task, method, 3, seed, {"liver": value}, 2.0, 1.0, **fields)  # type: ignore[arg-type]
    made.scores = [Score("v", "liver", value, value, value, 4.0, 10, 10)]
    made.stages = {"fit": {"seconds": 2.0, "peak_mb": 100.0}, "predict": {"seconds": 1.0, "peak_mb": 50.0}}
    return made


def report(tmp_path, cells: list[Cell]) -> str:
    write_report(cells, tmp_path / "report.md", ENCODER, load_settings(None, {"steps": 7}))
    return (tmp_path / "report.md").read_text()


def test_means_spread_and_settings(tmp_path):
    text = report(tmp_path, [cell("fewsam", 0.4), cell("fewsam", 0.6, 1), cell("unet", 0.3), cell("unet", 0.4, 1)])
    assert "| 3 | fewsam | 0.500 ± 0.100 | 0.50 | 2 | 2.0 | 1.0 |" in text
    assert "| one | 3 | unet | +0.150 |" in text
    assert '{"steps": 7}' in text and "UNTRAINED" in text
    assert "All tasks" not in text and "Failed" not in text and "sam-" not in text


def test_failures_are_told_unless_they_succeeded_later(tmp_path):
    broken, mended = cell("unet", 0.3), cell("unet", 0.3, 1)
    broken.iou, broken.error = {}, "OSError: disk full"
    tried = cell("unet", 0.3, 1)
    tried.error = "OSError: once"
    text = report(tmp_path, [cell("fewsam", 0.4), broken, tried, mended])
    assert "- one, unet, K=3, seed 0: OSError: disk full" in text and "once" not in text


def test_the_best_of_each_row_is_bold_and_tasks_stand_together(tmp_path):
    text = report(tmp_path, [cell(m, v, task=t) for t in ("one", "two") for m, v in (("fewsam", 0.4), ("unet", 0.5))])
    assert "## All tasks" in text and "| two | 3 | 0.400 | **0.500** |" in text


def test_points_from_the_truth_are_said_to_be_so(tmp_path):
    assert "from the truth" in report(tmp_path, [cell("sam-box", 0.9)])
    even = report(tmp_path, [cell("fewsam", 0.9, choice="even")])
    assert "## one, slices chosen: even" in even and "foreground-aware random unless a heading says otherwise" in even


def test_a_row_of_calibration():
    given = cell("fewsam", 0.5)
    assert calibration_table([given]).rows == []
    given.calibration = [("v", z, "liver", z / 20, z / 10, 3, 3) for z in range(10)]
    (row,) = calibration_table([given]).rows
    assert row == ("one", "3", "fewsam", "1.00", "1.00", "1.00", "1.00", "0.23", "0.45", "10")


@pytest.mark.parametrize(
    ("p", "smallest", "told"),
    [(0.0002, 0.0001, "<0.001"), (0.03, 0.01, "0.030"), (0.25, 0.25, "0.250 (cannot be below 0.25)")],
)
def test_probabilities(p, smallest, told):
    assert probability(Comparison(0.1, 0.0, 0.2, p, 3, smallest)) == told


def test_bars_in_names_do_not_break_tables():
    assert markdown(TaskTable("", ("a|b",), [("c|d",)])) == ["| a\\|b |", "| --- |", "| c\\|d |"]
