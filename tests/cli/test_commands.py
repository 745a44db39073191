"""The commands as a person types them: what they write, what they say, and what they refuse."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import nibabel as nib
import nrrd
import numpy as np
import pytest
import yaml
from rich.progress import Progress

import fewsam.synthetic.phantom
from fewsam.cli import main
from fewsam.cli.train import _bar, _interrupted
from fewsam.core.config import load_settings
from fewsam.fewshot.selftraining.constants import SELF_TRAINING
from fewsam.fewshot.training.run import TrainProgress
from fewsam.workspace.workspace import Workspace, open_task
from helpers.command_line import refusal, run
from helpers.tiny_task import AFFINE, NAMES, conf_arguments, truth_of, voxels, write_case

COMMANDS = ("encode", "train", "segment", "evaluate", "simulate", "info", "export", "import", "phantom")
SLICES = [4, 6]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """A task trained by the command line on two slices of image a; image b is unlabelled."""
    root = tmp_path_factory.mktemp("trained")
    image, label = write_case(root, "a")
    other, _ = write_case(root, "b", shift=1.0)
    task = root / "task"
    line = ["train", image, "--labels", root / "labels", "--slices", "4,6", "--complete", "--task", task]
    code = main([*map(str, line), *conf_arguments(decoder_reads="embedding"), "--annotator", "ann"])
    return SimpleNamespace(root=root, image=image, label=label, other=other, task=task, code=code)


def test_version_and_an_example_in_each_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--version") == 0
    assert capsys.readouterr().out.strip() == f"fewsam {fewsam.__version__}"
    for command in COMMANDS:
        assert run(command, "--help") == 0
        assert re.search(rf"Examples?: fewsam {command} ", capsys.readouterr().out), command


def test_an_unknown_option_is_exit_code_two(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("info", "--nonsense") == 2
    assert "nonsense" in capsys.readouterr().err


def test_the_program_refuses_in_one_line_without_a_traceback(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-m", "fewsam.cli", "info", "--task", str(tmp_path / "none")],
        capture_output=True, text=True, env=environment, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stdout == ""
    assert re.fullmatch(r"error: .*none holds no task; .*\n", done.stderr)


def test_encode_fills_the_cache_and_resumes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_case(tmp_path, "a")
    line = ["encode", tmp_path / "images", "--task", tmp_path / "task", *conf_arguments()]
    assert run(*line) == 0
    assert "12 slices of 1 images: 12 encoded, 0 cached already" in capsys.readouterr().out
    write_case(tmp_path, "b", shift=1.0)
    assert run(*line) == 0
    assert "24 slices of 2 images: 12 encoded, 12 cached already" in capsys.readouterr().out
    assert not list((tmp_path / "task").glob("collection*"))


def test_encode_goes_on_after_a_bad_image_and_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_case(tmp_path, "b")
    (tmp_path / "images" / "a.nii.gz").write_bytes(b"no image")
    line = refusal(capsys, "encode", tmp_path / "images", "--task", tmp_path / "task", *conf_arguments())
    assert "1 of 2 images were left out" in line
    assert "a.nii.gz" in line
    with open_task(tmp_path / "task") as workspace:
        assert workspace.cache.stats()["entries"] == 12


def test_train_takes_the_named_slices_and_publishes(
    trained: SimpleNamespace, capsys: pytest.CaptureFixture[str]
) -> None:
    assert trained.code == 0
    with open_task(trained.task) as workspace:
        shots = workspace.collection.shots()
        assert [(shot.image_id, shot.slice, shot.annotator) for shot in shots] == [("a", z, "ann") for z in SLICES]
        assert all(shot.known == set(NAMES) for shot in shots)
        assert workspace.store.version() == 1
    capsys.readouterr()
    assert run("info", "--task", trained.task) == 0
    shown = capsys.readouterr().out
    assert re.search(r"model +1, .*2 labelled slices, 4 steps", shown)
    assert re.search(r"heart\W+1\W+2\b", shown)
    assert re.search(r"a\W+train\W+12\W+2: 4, 6", shown)
    assert "UNTRAINED" in shown


def test_settings_of_the_first_command_stay(trained: SimpleNamespace, capsys: pytest.CaptureFixture[str]) -> None:
    with open_task(trained.task) as workspace:
        assert workspace.settings.labels == NAMES
        assert workspace.settings.input_size == 128
    with open_task(trained.task, conf={"steps": "9"}) as workspace:
        assert (workspace.settings.steps, workspace.settings.input_size) == (9, 128)
    assert open_task(trained.task).settings.steps == 4
    line = refusal(capsys, "encode", trained.image, "--task", trained.task, "--preset", "ct-abdomen")
    assert "leave --preset out" in line


def test_segment_keeps_the_grid_and_the_drawn_slices(
    trained: SimpleNamespace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("segment", trained.image, trained.other, "--task", trained.task, "-o", tmp_path / "out", "--json") == 0
    printed = capsys.readouterr().out
    assert printed.count("(model 1, 2 labelled slices") == 2
    truth = voxels(trained.label)
    for name in ("a", "b"):
        result = nib.load(tmp_path / "out" / f"{name}.nii.gz")
        np.testing.assert_allclose(result.affine, AFFINE)
        assert result.shape == truth.shape
    np.testing.assert_array_equal(voxels(tmp_path / "out" / "a.nii.gz")[..., SLICES], truth[..., SLICES])
    told = json.loads((tmp_path / "out" / "a.json").read_text())
    assert (told["pasted"], told["model_version"], told["trained"]) == (SLICES, 1, True)
    assert told["label_names"] == {name: value for value, name in enumerate(NAMES, 1)}
    assert json.loads((tmp_path / "out" / "b.json").read_text())["pasted"] == []


def test_segment_knows_an_image_under_another_name(trained: SimpleNamespace, tmp_path: Path) -> None:
    renamed = tmp_path / "renamed.nii.gz"
    shutil.copy(trained.image, renamed)
    target = tmp_path / "out.seg.nrrd"
    assert run("segment", renamed, "--task", trained.task, "-o", target) == 0
    labels, header = nrrd.read(str(target))
    assert header["Segment1_Name"] == "liver"
    np.testing.assert_array_equal(labels[..., SLICES], voxels(trained.label)[..., SLICES])


def test_segment_overwrites_nothing_unasked(
    trained: SimpleNamespace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "a.nii.gz"
    target.write_bytes(b"corrected by hand")
    assert "already" in refusal(capsys, "segment", trained.image, "--task", trained.task, "-o", target)
    assert target.read_bytes() == b"corrected by hand"
    copy = tmp_path / "images" / "a.nii.gz"
    copy.parent.mkdir()
    shutil.copy(trained.image, copy)
    line = refusal(capsys, "segment", copy, "--task", trained.task, "-o", copy.parent, "--overwrite")
    assert "is one of the images" in line
    assert copy.read_bytes() == trained.image.read_bytes()


def test_segment_without_labels_is_empty_and_says_why(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image, _ = write_case(tmp_path, "a")
    assert run("encode", image, "--task", tmp_path / "task", *conf_arguments()) == 0
    assert run("segment", image, "--task", tmp_path / "task", "-o", tmp_path / "out") == 0
    assert "no labelled slice yet" in capsys.readouterr().err
    assert not voxels(tmp_path / "out" / "a.nii.gz").any()


@pytest.mark.slow
def test_a_corrected_segmentation_teaches_by_its_corrections_alone(
    trained: SimpleNamespace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    task = tmp_path / "task"
    shutil.copytree(trained.task, task)
    assert run("segment", trained.other, "--task", task, "-o", tmp_path / "out") == 0
    result = tmp_path / "out" / "b.nii.gz"
    labels = voxels(result).copy()
    labels[..., 5] = truth_of(1.0)[..., 5]
    labels[0, 0, 5] = 1
    nib.save(nib.Nifti1Image(labels, AFFINE), result)
    assert run("train", trained.other, "--labels", result, "--task", task) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert re.search(r"model [12] (is live|stays): 3 labelled slices, 4 of 4 steps in \d+ s\. Dice: ", told), told
    with open_task(task) as workspace:
        assert workspace.collection.labelled_slices("b") == [5]
        assert workspace.store.version() >= 1


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--slices", "4,99"], "slices [99] do not exist, it has slices 0 to 11"),
        (["--slices", "0"], "nothing is drawn on slices [0]"),
        (["--slices", "four"], "must be numbers"),
        (["--names", "1=heart,2=liver,3=pearl"], "'pearl', which this task does not have"),
        (["--names", "1=heart"], "values 2, 3 have no name"),
        (["--conf", "stepz=3"], "did you mean 'steps'?"),
        (["--conf", "steps"], "must look like key=value"),
    ],
)
def test_train_refuses(
    trained: SimpleNamespace, capsys: pytest.CaptureFixture[str], arguments: list[str], told: str
) -> None:
    with open_task(trained.task) as workspace:
        before = workspace.collection.version
    line = refusal(capsys, "train", trained.image, "--labels", trained.label, "--task", trained.task, *arguments)
    assert told in line
    with open_task(trained.task) as workspace:
        assert workspace.collection.version == before


def test_train_needs_labels_that_fit(
    trained: SimpleNamespace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "belong together" in refusal(capsys, "train", trained.image, "--task", trained.task)
    (tmp_path / "labels").mkdir()
    shutil.copy(trained.label, tmp_path / "labels" / "other.nii.gz")
    line = refusal(capsys, "train", trained.image, "--labels", tmp_path / "labels", "--task", trained.task)
    assert "a.nii.gz" in line
    for name in ("a_seg.nii.gz", "a.seg.nrrd"):
        (tmp_path / "labels" / name).write_bytes(b"")
    line = refusal(capsys, "train", trained.image, "--labels", tmp_path / "labels", "--task", trained.task)
    assert "both fit" in line


def test_names_come_from_a_list_beside_the_labels(tmp_path: Path) -> None:
    image, _ = write_case(tmp_path, "a")
    (tmp_path / "labels.json").write_text(json.dumps({"1": "bead", "2": "heart", "3": "liver"}))
    line = ["train", image, "--labels", tmp_path / "labels", "--slices", "4", "--task", tmp_path / "task"]
    assert run(*line, *conf_arguments()) == 0
    with open_task(tmp_path / "task") as workspace:
        (shot,) = workspace.collection.shots()
        drawn = {name: int(mask.sum()) for name, mask in shot.masks.items()}
    counts = np.bincount(truth_of(0.0)[..., 4].ravel())
    assert drawn == {"bead": counts[1], "heart": counts[2], "liver": counts[3]}


def test_a_training_shows_how_far_it_is_in_percent_by_its_steps_or_by_its_time() -> None:
    bars = Progress(disable=True)
    show = _bar(bars, 600)
    (bar,) = bars.tasks
    for step, epoch, percent in ((30, 0, 5), (60, 3, 50), (480, 3, 80), (900, 6, 100)):
        show(TrainProgress(epoch, 6, step, 0.5, 0.91))
        assert (bar.completed, bar.total) == (percent, 100)
    assert bar.fields["note"] == "step 900, loss 0.500, Dice 0.910"


def test_ctrl_c_asks_training_to_end_after_its_step() -> None:
    before = signal.getsignal(signal.SIGINT)
    with _interrupted() as should_stop:
        assert not should_stop()
        os.kill(os.getpid(), signal.SIGINT)
        assert should_stop()
        assert signal.getsignal(signal.SIGINT) is before  # a second one ends it at once
    assert signal.getsignal(signal.SIGINT) is before


def test_training_with_sam_gets_an_embedder_that_cannot_build_the_encoder(tmp_path: Path) -> None:
    with Workspace(load_settings(None, {"encoder": "vit_b"}), tmp_path) as workspace:
        assert workspace.for_training().cached_only
    with Workspace(load_settings(None, {"encoder": "compact"}), tmp_path) as workspace:
        assert not workspace.for_training().cached_only


def test_export_and_import_carry_the_task_over(
    trained: SimpleNamespace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, task = tmp_path / "t.fewsam", tmp_path / "task"
    assert run("export", file, "--task", trained.task) == 0
    assert "already" in refusal(capsys, "export", file, "--task", trained.task)
    assert run("import", file, "--task", task) == 0
    for name in (trained.task, task):
        out = tmp_path / name.parent.name
        # What was imported without its pixels has no vote.
        assert run("segment", trained.other, "--task", name, "-o", out, "--overwrite", "--conf", "atlas=false") == 0
    mine, theirs = (voxels(tmp_path / parent / "b.nii.gz") for parent in (trained.task.parent.name, task.parent.name))
    assert mine.any()
    np.testing.assert_array_equal(mine, theirs)
    capsys.readouterr()
    assert run("info", "--task", task) == 0
    assert "2 labelled slices (0 with images)" in capsys.readouterr().out


def test_export_says_what_it_needs(
    trained: SimpleNamespace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "say what to export" in refusal(capsys, "export", "--task", trained.task)
    assert "needs --images" in refusal(capsys, "export", "--nnunet", tmp_path / "d", "--task", trained.task)
    line = ["export", "--nnunet", tmp_path / "d", "--images", trained.root / "images", "--task", trained.task]
    assert run(*line) == 0
    assert "1 case with 2 labelled slices" in capsys.readouterr().out
    labels = voxels(tmp_path / "d" / "labelsTr" / "a.nii.gz")
    truth = voxels(trained.label)
    np.testing.assert_array_equal(labels[..., SLICES], truth[..., SLICES])
    assert (np.delete(labels, SLICES, axis=2) == len(NAMES) + 1).all()


def test_phantom_writes_what_the_sample_evaluation_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = partial(fewsam.synthetic.phantom.write_dataset, shape=(32, 26, 16))
    monkeypatch.setattr(fewsam.synthetic.phantom, "write_dataset", small)
    assert run("phantom", tmp_path, "--patients", "1", "--seed", "3") == 0
    listed = yaml.safe_load((Path(__file__).parents[2] / "configs" / "evaluate" / "sample.yaml").read_text())["tasks"]
    for task in listed[:2]:
        assert (tmp_path / task["images"][0]).is_file()
        assert (tmp_path / task["labels"][0]).is_file()
        assert task["names"] == {int(k): v for k, v in json.loads((tmp_path / "truth/labels.json").read_text()).items()}


@pytest.mark.slow
def test_train_learns_from_unlabelled_images(
    trained: SimpleNamespace, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is trained again where the decoder knows every labelled slice; the outcome is told."""
    task = shutil.copytree(trained.task, tmp_path / "task")
    third = ("--labels", trained.root / "labels", "--slices", "5", "--complete")  # two do not tell whether it helps
    assert run("train", trained.image, *third, "--task", task) == 0
    few = replace(SELF_TRAINING, steps=1, folds=2, slices=3, candidates=3)
    for module in ("run", "learner", "pool", "folds", "sampling"):
        monkeypatch.setattr(f"fewsam.fewshot.selftraining.{module}.SELF_TRAINING", few)
    monkeypatch.setattr("fewsam.fewshot.selftraining.run.FIRST_STEPS", 1)
    assert run("train", "--unlabelled", trained.other, "--task", task) == 0
    shown = capsys.readouterr()
    told = " ".join((shown.err + shown.out).split())
    assert re.search("(learnt from 3 unlabelled slices|unlabelled images did not help).*Dice", told), told
    assert re.search(r"model [23] (is live|stays)", told)
