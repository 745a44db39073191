"""Segmenting on workers: the same answers as in this process, a manifest, and a run that goes on where it ended."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from fewsam.core.pool import Pool, ProcessPool
from fewsam.images.volume import load_volume
from fewsam.workspace.segment import Segmented, predict_on, segment_images
from fewsam.workspace.workspace import Workspace, open_task
from helpers import tiny_volume as tiny
from helpers.command_line import refusal, run
from helpers.tiny_task import conf_arguments, voxels, write_case


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a task trained on two slices of image a; b and c are unlabelled, d is no image."""
    root = tmp_path_factory.mktemp("segment")
    for number, name in enumerate("abc"):
        write_case(root, name, shift=float(number))
    line = ["train", root / "images/a.nii.gz", "--labels", root / "labels", "--slices", "4,6", "--complete"]
    assert run(*line, "--task", root / "task", *conf_arguments()) == 0
    (root / "images/d.nii.gz").write_bytes(b"no image")
    return root


@pytest.fixture(scope="module")
def pool() -> Iterator[Pool]:
    with ProcessPool(1) as one:
        yield one


@pytest.mark.slow
def test_the_folder_is_segmented_as_in_this_process_and_resumed(
    task: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images, alone, pooled = task / "images", tmp_path / "alone", tmp_path / "pooled"
    assert run("segment", *(images / f"{name}.nii.gz" for name in "ab"), "-t", task / "task", "-o", alone) == 0
    line = ["segment", images, "--task", task / "task", "--output", pooled, "--workers", "1"]
    assert "1 of 4 images have no labelmap" in refusal(capsys, *line)
    for name in "ab":
        assert np.array_equal(voxels(alone / f"{name}.nii.gz"), voxels(pooled / f"{name}.nii.gz"))
    entries = {Path(entry["image"]).name: entry for entry in lines(pooled)}
    assert "cannot be read" in entries["d.nii.gz"]["error"]
    one = entries["b.nii.gz"]
    assert one["trained"] and one["model_version"] == 1 and one["shots"] == 2 and 0 <= one["uncertainty"] <= 1
    assert one["volumes_ml"]["heart"] == pytest.approx((voxels(pooled / "b.nii.gz") == 1).sum() * 2 * 2 * 5 / 1000)
    before = {path.name: path.stat().st_mtime_ns for path in pooled.glob("*.nii.gz")}
    (pooled / "c.nii.gz").rename(pooled / ".c.nii.gz")  # as if the run had been killed there
    with (pooled / "manifest.jsonl").open("a") as file:
        file.write('{"image": "half')
    capsys.readouterr()
    assert run(*line) == 1
    assert "1 of 4 images segmented, 2 were done before" in capsys.readouterr().out
    after = {path.name: path.stat().st_mtime_ns for path in pooled.glob("*.nii.gz")}
    assert {name for name in before if before[name] != after[name]} == {"c.nii.gz"}
    assert not list(pooled.glob(".*.nii.gz"))
    assert sorted(Path(e["image"]).name for e in lines(pooled)) == sorted([f"{n}.nii.gz" for n in "abcdcd"])
    capsys.readouterr()
    assert run(*line, "--json") == 1, "what the run before did not write is written now"
    assert "3 of 4 images segmented, 0 were done before" in capsys.readouterr().out
    assert sorted(path.name for path in pooled.glob("*.json")) == ["a.json", "b.json", "c.json"]


def test_what_is_not_of_the_run_is_not_replaced(task: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "b.nii.gz").write_bytes(b"somebody's")
    line = ["segment", task / "images/b.nii.gz", "--task", task / "task", "--workers", "1", "--output"]
    assert "is there already" in refusal(capsys, *line, tmp_path)
    assert (tmp_path / "b.nii.gz").read_bytes() == b"somebody's"
    assert "give a folder" in refusal(capsys, *line, tmp_path / "x.nii.gz")


@pytest.mark.slow
def test_one_request_on_a_worker_is_what_the_predictor_answers(task: Path, pool: Pool) -> None:
    volume = load_volume(task / "images/a.nii.gz")
    with open_task(task / "task") as workspace:
        here = workspace.predictor.predict(volume, "a")
        there = predict_on(workspace, pool, volume, "a")
        some = predict_on(workspace, pool, volume, "a", slices=[0, 1])
    assert np.array_equal(here.labelmap, there.labelmap) and np.array_equal(here.uncertainty, there.uncertainty)
    assert here.pasted == there.pasted == [4, 6] and here.notes == there.notes
    assert np.array_equal(some.labelmap[4], here.labelmap[4]), "drawn slices come back as drawn"


def test_without_a_label_the_answer_is_empty_and_is_not_remembered(tmp_path: Path, pool: Pool) -> None:
    path, _ = tiny.write_scan(tmp_path)
    found: list[Segmented] = []
    with Workspace(tiny.settings(input_size=64), tmp_path / "task") as workspace:
        segment_images(workspace, pool, [path], found.append)
        assert workspace.cache.stats()["entries"] == 0, "nothing had to be encoded"
    (one,) = found
    assert one.prediction is not None and not one.prediction.labelmap.any()
    assert "no labelled slice yet" in one.prediction.notes[0]


def lines(folder: Path) -> list[dict]:
    """The whole lines of a manifest."""
    found = []
    for line in (folder / "manifest.jsonl").read_text().splitlines():
        try:
            found.append(json.loads(line))
        except ValueError:
            assert line == '{"image": "half'
    return found
