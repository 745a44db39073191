"""The interface for notebooks: the example of docs/guides/python.md as it is written, and what it refuses."""

from __future__ import annotations

import contextlib
import io
import re
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

import fewsam
from fewsam.images.volume import load_volume
from fewsam.workspace.arrays import canonical_slice, name_of
from helpers.tiny_task import AFFINE, NAMES, QUICK, truth_of, voxels, write_case

EXAMPLE = Path(__file__).resolve().parents[2] / "docs" / "guides" / "python.md"
CONF = {key: value for key, value in QUICK.items() if key != "labels"} | {"encoder": "compact"}


def masks_on(slices: list[int]) -> dict[str, np.ndarray]:
    """Native masks of the tiny case, empty but on ``slices`` (along k)."""
    kept = np.isin(np.arange(12), slices)
    return {name: (truth_of(0) == value) & kept for value, name in enumerate(NAMES, 1)}


def test_the_example_runs_as_it_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", EXAMPLE.read_text(encoding="utf-8"), re.S)
    monkeypatch.chdir(tmp_path)
    printed, names = io.StringIO(), {}
    with contextlib.redirect_stdout(printed):
        exec(compile(code, str(EXAMPLE), "exec"), names)
    said = re.findall(r"print\(.*?\)  # (.*)", code)
    assert len(said) == 2
    for line, told in zip(printed.getvalue().splitlines(), said, strict=True):
        assert line == told.partition(":")[0]
    found, ball = names["result"].masks["ball"], names["ball"]
    assert 2 * (found & ball).sum() / (found.sum() + ball.sum()) > 0.8
    for k in (6, 10, 14):
        assert np.array_equal(found[:, :, k], ball[:, :, k])


def test_importing_fewsam_imports_nothing_heavy() -> None:
    program = "import sys, fewsam; print(fewsam.__version__, {'torch', 'numpy', 'monai'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [fewsam.__version__, "set()"]
    assert {"Task", "Segmentation", "FewSAMError"} <= set(dir(fewsam))
    with pytest.raises(AttributeError, match="no attribute 'Tusk'"):
        _ = fewsam.Tusk


def test_arrays_and_files_are_one_image(tmp_path: Path) -> None:
    image, label = write_case(tmp_path, "a")
    array, drawn = voxels(image), [3, 6, 8]
    with fewsam.Task(tmp_path / "task", labels=NAMES, **CONF) as task:
        assert task.slice_axis(array, affine=AFFINE) == task.slice_axis(image) == 2
        assert task.add_labels(array, voxels(label), slices=drawn, affine=AFFINE, annotator="ann") == drawn
        assert task.add_labels(image, voxels(label), slices=drawn, image_id="the same") == drawn
        shots = task.workspace.collection.shots()
        assert {shot.image.content_hash for shot in shots} == {load_volume(image).content_hash}
        assert sorted(shot.image_id for shot in shots)[-1] == "the same"
        found = task.segment(image)
        again = task.segment(array, affine=AFFINE)
    assert np.array_equal(found.labelmap, again.labelmap)
    assert found.labelmap.shape == array.shape and not found.trained
    for k in drawn:
        assert np.array_equal(found.labelmap[:, :, k], voxels(label)[:, :, k])
        assert not found.uncertainty[k].any()
    found.save(tmp_path / "found.nii.gz")
    assert np.array_equal(voxels(tmp_path / "found.nii.gz"), found.labelmap)
    assert np.allclose(nib.load(tmp_path / "found.nii.gz").affine, AFFINE)


def test_slices_are_numbered_by_the_array_whichever_way_it_lies(tmp_path: Path) -> None:
    image, _ = write_case(tmp_path, "a")
    array, masks, flipped = voxels(image)[:, :, ::-1], masks_on([2]), AFFINE @ np.diag([1, 1, -1, 1])
    masks = {name: mask[:, :, ::-1] for name, mask in masks.items()}
    with fewsam.Task(tmp_path / "task", labels=NAMES, **CONF) as task:
        assert task.add_labels(array, masks, affine=flipped) == [9]
        assert task.add_labels(array, masks, affine=flipped, slices=[0, 9], complete=True) == [0]
        found = task.segment(array, affine=flipped)
    assert [not row.any() for row in found.uncertainty] == [k in (0, 9) for k in range(12)]
    assert not found.labelmap[:, :, 0].any()


def test_a_flat_image(tmp_path: Path) -> None:
    image = np.random.default_rng(0).integers(0, 255, (48, 40), dtype=np.uint8)
    spot = np.zeros((48, 40), bool)
    spot[10:20, 12:25] = True
    with fewsam.Task(tmp_path / "task", **CONF) as task:  # without labels the first ones name the classes
        assert task.add_labels(image, {"spot": spot}) == [0]
        found = task.segment(image)
    assert found.classes == ("spot",)
    assert np.array_equal(found.labelmap, spot.astype(np.uint8))


def test_a_task_is_opened_again(tmp_path: Path) -> None:
    image, label = write_case(tmp_path, "a")
    with fewsam.Task(tmp_path / "task", labels=NAMES, **CONF) as task:
        task.add_labels(image, voxels(label), slices=[3, 6])
        result = task.train()
        assert result.steps == 4
    with fewsam.Task(tmp_path / "task") as task:
        assert task.classes == NAMES
        assert task.segment(image).model_version == result.version
    with pytest.raises(fewsam.FewSAMError, match=r"has the labels heart, liver, bead, not kidney"):
        fewsam.Task(tmp_path / "task", labels=["kidney"])


def test_what_does_not_fit_is_refused_with_the_way_out(tmp_path: Path) -> None:
    image, label = write_case(tmp_path, "a")
    array = voxels(image)
    with fewsam.Task(tmp_path / "task", labels=NAMES, **CONF) as task:
        for match, arguments in {
            "slice 12 does not exist; the image has the slices 0 to 11": {"label": voxels(label), "slices": [12]},
            r"mask of 'liver' has the shape \(3, 3\)": {"label": {"liver": np.ones((3, 3))}},
            "holds integers, this one float64": {"label": np.ones(array.shape)},
            r"values \[7\], which no class has": {"label": np.full(array.shape, 7)},
            "give one of them": {"label": voxels(label), "affine": AFFINE, "spacing": (1, 1, 1)},
            "along each axis": {"label": voxels(label), "spacing": (1, 0, 1)},
            "does not have": {"label": {"kidney": np.ones(array.shape)}},
        }.items():
            with pytest.raises(fewsam.FewSAMError, match=match):
                task.add_labels(array, **arguments)
        with pytest.raises(fewsam.FewSAMError, match="is a file"):
            task.segment(image, spacing=(1, 1, 1))
        with pytest.raises(fewsam.FewSAMError, match="no labelled slice"):
            task.train()
        assert not task.workspace.collection.shots()


def test_of_slices_that_are_not_named_nothing_is_said(tmp_path: Path) -> None:
    """One slice of an answer is corrected: the others are neither taken over as they are nor emptied."""
    image, label = write_case(tmp_path, "a")
    with fewsam.Task(tmp_path / "task", labels=NAMES, **CONF) as task:
        assert task.add_labels(image, voxels(label), slices=[4, 5]) == [4, 5]
        served = truth_of(0)
        served[20, 20, 6:] = 0
        collection, geometry = task.workspace.collection, load_volume(image).geometry
        collection.remember_served("a", geometry.to_slices(served), NAMES, 1)
        corrected = served.copy()
        corrected[10:14, 10:14, 7] = 3
        assert task.add_labels(image, corrected, slices=[7]) == [7]
        assert collection.labelled_slices("a") == sorted(canonical_slice(k, geometry) for k in (4, 5, 7))
        assert all(shot.masks for shot in collection.shots())


def test_an_answer_under_another_name_of_the_image_is_no_drawing(tmp_path: Path) -> None:
    image, _ = write_case(tmp_path, "a")
    array, served = voxels(image), truth_of(0)
    with fewsam.Task(tmp_path / "task", labels=NAMES, **CONF) as task:
        volume = task._opened(array, AFFINE, None, None)
        name, slices = name_of(array, volume), volume.geometry.to_slices(served)
        task.workspace.collection.remember_served(name, slices, NAMES, model_version=1)
        corrected = served.copy()
        corrected[10:14, 10:14, 7] = 3
        assert task.add_labels(array, corrected, affine=AFFINE, image_id="patient2") == [7]
        corrected[10:14, 10:14, 8] = 3
        assert task.add_labels(array, corrected, affine=AFFINE, image_id="the same patient") == [7, 8]


def test_values_that_a_deletion_has_moved_want_their_names(tmp_path: Path) -> None:
    image, label = write_case(tmp_path, "a")
    with fewsam.Task(tmp_path / "task", labels=NAMES, **CONF) as task:
        task.workspace.collection.delete_structure("heart")
        with pytest.raises(fewsam.FewSAMError, match="pass names="):
            task.add_labels(image, voxels(label) * (voxels(label) == 2), slices=[6])
        task.add_labels(image, voxels(label) * (voxels(label) == 2), slices=[6], names={2: "liver"})
        (shot,) = task.workspace.collection.shots()
        assert set(shot.masks) == {"liver"}
