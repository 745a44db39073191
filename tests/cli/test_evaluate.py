"""``fewsam evaluate`` as a person types it: what it prints and writes, how it resumes, and what it refuses."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from fewsam.cli.common import parse_numbers
from fewsam.core.errors import ConfigError
from fewsam.evaluation.methods.registry import split_methods
from helpers.command_line import refusal, run
from helpers.tiny_task import NAMES, conf_arguments, write_case


@pytest.fixture
def task_list(tmp_path: Path) -> Path:
    """An evaluation of one volume with its paths relative to the list."""
    write_case(tmp_path / "data", "a")
    names = dict(enumerate(NAMES, 1))
    good = {"name": "tiny", "images": ["images/a.nii.gz"], "labels": ["labels/a.nii.gz"], "names": names}
    path = tmp_path / "list.yaml"
    path.write_text(yaml.safe_dump({"root": "data", "tasks": [good]}))
    return path


@pytest.mark.slow
def test_evaluate_prints_and_writes_and_resumes(
    task_list: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    conf = [part for part in conf_arguments() if part != "--conf" and not part.startswith("labels")]
    line = ["evaluate", "--tasks", task_list, "--k", "1,2", "--seeds", "1", "--out", tmp_path / "out"]
    line += [part for value in conf for part in ("--conf", value)]
    assert run(*line, "--methods", "prototypes,fewsam-cold[ensemble=1]") == 0
    shown = capsys.readouterr().out
    assert "tiny" in shown
    assert re.search(r"1\W+prototypes\W+0\.\d{3}", shown)
    cells = (tmp_path / "out" / "cells.jsonl").read_text().splitlines()
    assert len(cells) == 4
    report = (tmp_path / "out" / "report.md").read_text()
    assert re.search(r"\| 2 \| fewsam-cold\[ensemble=1\] \| 0\.\d{3} ± 0\.000 \|", report)
    assert "| K | method | mean IoU | heart | liver | bead |" in report
    assert (tmp_path / "out" / "cells.csv").read_text().count("tiny") == 12
    assert run(*line, "--methods", "prototypes") == 0
    assert "fewsam-cold" not in capsys.readouterr().out  # only what was asked for is shown
    assert (tmp_path / "out" / "cells.jsonl").read_text().splitlines() == cells
    assert "other settings" in refusal(capsys, *line, "--methods", "prototypes", "--conf", "prototypes=2")


@pytest.mark.slow
def test_a_failed_cell_is_told_and_the_others_stand(
    task_list: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = ["evaluate", "--tasks", task_list, "--seeds", "1", "--out", tmp_path / "out", "--methods", "prototypes"]
    assert run(*line, "--k", "1,12", "--conf", "input_size=128") == 1
    assert "error: 1 of the cells failed; the others stand" in capsys.readouterr().err
    report = (tmp_path / "out" / "report.md").read_text()
    assert "| 1 | prototypes |" in report
    assert re.search(r"K=12, seed 0: LabelError: a has fewer than 12 slices", report)


def test_evaluate_says_where_data_should_be(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "no folder" in refusal(capsys, "evaluate", "--root", tmp_path / "none", "--out", tmp_path / "out")
    line = refusal(capsys, "evaluate", "--root", tmp_path, "--out", tmp_path / "out")
    assert "none of the tasks" in line


def test_small_parsers() -> None:
    assert parse_numbers("3,5-7, 5", "--k") == [3, 5, 6, 7]
    with pytest.raises(ConfigError, match="no range"):
        parse_numbers("7-5", "--k")
    assert split_methods("unet,fewsam[detail=false,ensemble=1]") == ["unet", "fewsam[detail=false,ensemble=1]"]
    with pytest.raises(ConfigError, match="nosuch"):
        split_methods("nosuch")
