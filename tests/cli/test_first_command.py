"""A first command that fails leaves nothing which would refuse the corrected one, and is refused before the work."""

from __future__ import annotations

import re
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from fewsam.core.errors import LabelError, StorageError
from fewsam.workspace.workspace import open_task
from helpers import tiny_volume as tiny
from helpers.command_line import refusal, run
from helpers.tiny_task import AFFINE, QUICK, SHAPE, conf_arguments, write_case


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--names", "1=heart,2=liver,3=pearl"], "'pearl', which this task does not have"),
        (["--slices", "99"], "slices [99] do not exist"),
        (["--slices", "four"], "must be numbers"),
        (["--names", "one=heart"], "must look like"),
        (["--conf", "device=nonsense"], "'nonsense' is not usable here"),
        (["--conf", "labels=spleen"], "which this task does not have"),
    ],
)
def test_a_first_training_that_is_refused_leaves_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], told: str
) -> None:
    image, label = write_case(tmp_path, "a")
    task = tmp_path / "tasks" / "mine"
    names = [] if "--names" in arguments else ["--names", "1=heart,2=liver,3=bead"]
    line = ["train", image, "--labels", label, "--task", task, *conf_arguments(), *names, *arguments]
    assert told in refusal(capsys, *line)
    assert not (tmp_path / "tasks").exists()


def test_the_corrected_command_works_with_another_preset(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image, label = write_case(tmp_path, "a")
    line = ["train", image, "--labels", label, "--task", tmp_path / "task", "--slices", "4", "--names", "1=heart"]
    assert "have no name" in refusal(capsys, *line, *conf_arguments())
    corrected = [*line[:-1], "1=spleen,2=liver,3=aorta", "--preset", "ct-abdomen"]
    quick = conf_arguments()
    others = [pair for pair in zip(quick[::2], quick[1::2], strict=True) if not pair[1].startswith("labels=")]
    assert run(*corrected, *(part for pair in others for part in pair)) == 0


def test_what_lay_in_the_folder_stays(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image, label = write_case(tmp_path, "a")
    task = tmp_path / "task"
    task.mkdir()
    (task / "notes.txt").write_text("mine")
    refusal(capsys, "train", image, "--labels", label, "--task", task, "--slices", "99", *conf_arguments())
    assert [path.name for path in task.iterdir()] == ["notes.txt"]


def test_a_second_command_that_is_refused_keeps_the_task(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image, label = write_case(tmp_path, "a")
    task = tmp_path / "task"
    assert run("train", image, "--labels", label, "--slices", "4,6", "--task", task, *conf_arguments()) == 0
    refusal(capsys, "train", image, "--labels", label, "--task", task, "--slices", "99")
    with open_task(task) as workspace:
        assert workspace.collection.labelled_slices("a") == [4, 6]


def test_of_several_labels_all_are_taken_or_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image, label = write_case(tmp_path, "a")
    task = tmp_path / "task"
    assert run("train", image, "--labels", label, "--slices", "4", "--task", task, *conf_arguments()) == 0
    write_case(tmp_path, "b", shift=1.0)
    nib.save(nib.Nifti1Image(np.full(SHAPE, 9, np.uint8), AFFINE), tmp_path / "labels" / "b.nii.gz")
    line = ["train", tmp_path / "images", "--labels", tmp_path / "labels", "--slices", "4,6", "--task", task]
    assert "b.nii.gz" in refusal(capsys, *line)
    with open_task(task) as workspace:
        assert workspace.collection.labelled_slices("a") == [4]


def test_a_training_that_fails_later_keeps_the_labels_and_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise StorageError("the disk is full")

    image, label = write_case(tmp_path, "a")
    task = tmp_path / "task"
    line = ["train", image, "--labels", label, "--slices", "4", "--task", task, *conf_arguments()]
    with monkeypatch.context() as patch:
        patch.setattr("fewsam.workspace.workspace.Workspace.train", full)
        assert run(*line) == 1
    assert f"fewsam train --task {task}" in " ".join(capsys.readouterr().err.split())
    assert run("train", "--task", task) == 0


def test_a_first_encode_of_nothing_leaves_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_case(tmp_path, "a")[0].write_bytes(b"no image")
    line = refusal(capsys, "encode", tmp_path / "images", "--task", tmp_path / "task", *conf_arguments())
    assert "a.nii.gz" in line
    assert not (tmp_path / "task").exists()


@pytest.mark.parametrize(
    ("output", "told"),
    [
        ("x.jpg", "labelmaps are written as"),
        ("x.dcm", "labelmaps are written as"),
        ("new.folder/", "make it first"),
        ("x.png", "does not fit into a PNG"),
        ("taken", "is a file"),
        ("taken/x.nii.gz", "is a file"),
        ("sub", "is a folder"),
        ("noted.nii.gz", "noted.json is there already"),
    ],
)
def test_segment_checks_where_it_writes_before_it_works(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, output: str, told: str
) -> None:
    def works(*_: object, **__: object) -> None:
        raise AssertionError("the work began")

    image, _ = write_case(tmp_path, "a")
    task = tmp_path / "task"
    assert run("encode", image, "--task", task, *conf_arguments()) == 0
    out = tmp_path / "out"
    (out / "sub" / "a.nii.gz").mkdir(parents=True)
    for name in ("taken", "noted.json"):
        (out / name).write_text("mine")
    before = sorted(out.rglob("*"))
    monkeypatch.setattr("fewsam.fewshot.inference.predictor.Predictor.predict", works)
    assert told in refusal(capsys, "segment", image, "--task", task, "-o", out / output, "--json")
    assert sorted(out.rglob("*")) == before


def test_help_says_which_end_is_slice_0_and_refusals_name_options_that_are_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for command in ("train", "info"):
        assert run(command, "--help") == 0
        words = " ".join(re.sub(r"[^\w.,:']+", " ", capsys.readouterr().out).split())
        assert "of axial slices 0 is the one nearest the feet" in words, command
    image, label = write_case(tmp_path, "a")
    line = ["train", image, "--labels", label, "--task", tmp_path / "task", *conf_arguments()]
    told = refusal(capsys, *line, "--names", "1=heart")
    assert "--names" in told and "labels.json" in told and "label_info" not in told


@pytest.mark.parametrize("who", ["a colleague", "nobody"])
def test_what_others_did_in_the_folder_meanwhile_stays(tmp_path: Path, who: str) -> None:
    volume, masks = tiny.scan(tmp_path / "scan")
    folder = tmp_path / "task"

    def refused() -> None:
        with open_task(folder, None, QUICK, create=True):
            (folder / "drawing.nrrd").write_text("drawn meanwhile")
            if who == "a colleague":
                with open_task(folder) as other:
                    other.collection.submit(volume, "scan", {"heart": masks["left"]})
            raise LabelError("this command is refused")

    with pytest.raises(LabelError):
        refused()
    assert (folder / "drawing.nrrd").exists()
    assert (folder / "task.yaml").exists() == (who == "a colleague")
    if who == "a colleague":
        with open_task(folder) as workspace:
            assert workspace.collection.labelled_slices("scan")


def test_labels_that_were_taken_in_stay_when_encoding_is_interrupted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    image, label = write_case(tmp_path, "a")
    task = tmp_path / "task"
    with monkeypatch.context() as patch:
        patch.setattr("fewsam.encoders.embedder.Embedder.ensure", interrupted)
        assert run("train", image, "--labels", label, "--slices", "4", "--task", task, *conf_arguments()) != 0
    assert "1 labelled slices taken in" in capsys.readouterr().out
    with open_task(task) as workspace:
        assert workspace.collection.labelled_slices("a") == [4]
