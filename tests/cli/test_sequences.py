"""Two sequences of a study on the command line: trained on, segmented and exported as the channels of one image."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from fewsam.cli import train
from fewsam.workspace.workspace import open_task
from helpers.command_line import refusal, run
from helpers.tiny_task import AFFINE, conf_arguments, voxels, write_case


def write_study(folder: Path, name: str, shift: float = 0.0) -> None:
    """``images/NAME_t1``, which tells nothing, and ``images/NAME_t2``, which tells all; ``labels/NAME``."""
    image, _ = write_case(folder, name, shift)
    image.rename(image.with_name(f"{name}_t2.nii.gz"))
    noise = np.random.default_rng(0).normal(0, 8, voxels(image.with_name(f"{name}_t2.nii.gz")).shape)
    nib.save(nib.Nifti1Image((100 + noise).astype(np.int16), AFFINE), image.with_name(f"{name}_t1.nii.gz"))


@pytest.mark.slow
def test_a_task_on_two_sequences(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, shift in (("a", 0.0), ("b", 2.0)):
        write_study(tmp_path, name, shift)
    images, labels, task = tmp_path / "images", tmp_path / "labels", tmp_path / "task"
    quick = conf_arguments(sequences="_t1,_t2")
    assert run("train", images, "--labels", labels, "--task", task, "--slices", "4,6", *quick) == 0
    with open_task(task) as workspace:
        assert sorted(shot.image.image_id for shot in workspace.collection.shots()) == ["a_t1", "a_t1", "b_t1", "b_t1"]
        assert workspace.settings.sequences == ("_t1", "_t2"), "the task keeps them"
    assert run("segment", images, "--task", task, "-o", tmp_path / "out") == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a_t1.nii.gz", "b_t1.nii.gz"]
    found, truth = voxels(tmp_path / "out" / "a_t1.nii.gz"), voxels(labels / "a.nii.gz")
    assert np.array_equal(found[..., [4, 6]], truth[..., [4, 6]])
    beside = found[..., 5] > 0
    assert (beside & (truth[..., 5] > 0)).sum() > 0.6 * (truth[..., 5] > 0).sum(), "only the second sequence shows it"

    assert run("export", "--nnunet", tmp_path / "Dataset501_x", "--images", images, "--task", task) == 0
    told = json.loads((tmp_path / "Dataset501_x" / "dataset.json").read_text())
    assert told["channel_names"] == {"0": "t1", "1": "t2"}
    names = sorted(path.name for path in (tmp_path / "Dataset501_x" / "imagesTr").iterdir())
    assert names == [f"{case}_t1_000{channel}.nii.gz" for case in "ab" for channel in (0, 1)]
    second = voxels(tmp_path / "Dataset501_x" / "imagesTr" / "a_t1_0001.nii.gz")
    assert np.array_equal(second, voxels(images / "a_t2.nii.gz"))

    assert run("export", tmp_path / "two.fewsam", "--task", task) == 0
    assert run("import", tmp_path / "two.fewsam", "--task", tmp_path / "elsewhere") == 0
    with open_task(tmp_path / "elsewhere") as workspace:
        assert workspace.settings.sequences == ("_t1", "_t2"), "the decoder has learnt from both"

    learnt_from: list[str] = []
    monkeypatch.setattr(train, "_improve", lambda _, images, __: learnt_from.extend(images.values()))
    assert run("train", "--unlabelled", images, "--task", task) == 0
    assert learnt_from == [str(images / "a_t1.nii.gz"), str(images / "b_t1.nii.gz")], (
        "the other sequence is a channel of the same images"
    )

    (images / "b_t2.nii.gz").unlink()
    assert "b_t1.nii.gz: the sequence '_t2'" in refusal(
        capsys, "segment", images / "b_t1.nii.gz", "--task", task, "-o", tmp_path / "b.nii.gz"
    )
