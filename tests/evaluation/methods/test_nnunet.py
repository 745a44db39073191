"""What nnU-Net is given, and what is said where it is not installed; it itself runs only where it is."""

import json
import shutil

import nibabel as nib
import numpy as np
import pytest

from fewsam.core.errors import ConfigError
from fewsam.evaluation.cell import collect, run_cell
from fewsam.evaluation.data.cases import Case
from fewsam.evaluation.data.sampling import Draw
from fewsam.evaluation.data.tasks import Task
from fewsam.evaluation.methods.interface import MethodInput
from fewsam.evaluation.methods.nnunet import write_dataset
from fewsam.evaluation.report.cells import Cell
from helpers import tiny_volume as tiny

TASK = Task(name="t", images=["x"], labels=["y"], names={1: "left", 2: "right", 3: "small"})


def cases(folder):
    found = []
    for number in range(2):
        volume, masks = tiny.scan(folder, f"s{number}", number)
        found.append(Case(f"s{number}", volume, masks, f"s{number}"))
    return found


def test_only_labelled_slices_carry_labels_and_all_others_are_ignored(tmp_path):
    given = tiny.settings()
    mine, picked = cases(tmp_path), Draw({0: [4, 6], 1: []}, {0: [5]})
    collection = collect(mine, picked, tmp_path / "collection")
    job = MethodInput(mine, picked, given, collection, tiny.embedder(tmp_path, given), tmp_path, 0)
    classes = write_dataset(job, tmp_path / "Dataset001_fewsam")
    assert classes == ["left", "right", "small"]
    description = json.loads((tmp_path / "Dataset001_fewsam" / "dataset.json").read_text())
    assert description["labels"] == {"background": 0, "left": 1, "right": 2, "small": 3, "ignore": 4}
    assert description["numTraining"] == 1 and description["file_ending"] == ".nii.gz"
    label = np.asarray(nib.load(tmp_path / "Dataset001_fewsam" / "labelsTr" / "case000.nii.gz").dataobj)
    by_slice = mine[0].volume.geometry.to_slices(label)
    for z in range(mine[0].volume.depth):
        expected = sum(value * mine[0].truth[name][z] for value, name in enumerate(classes, 1))
        assert np.array_equal(by_slice[z], expected if z in (4, 6) else np.full_like(by_slice[z], 4))
    image = nib.load(tmp_path / "Dataset001_fewsam" / "imagesTr" / "case000_0000.nii.gz")
    assert np.array_equal(mine[0].volume.geometry.to_slices(np.asarray(image.dataobj)), mine[0].volume.slices)
    assert len(list((tmp_path / "Dataset001_fewsam" / "imagesTr").iterdir())) == 1


@pytest.mark.skipif(shutil.which("nnUNetv2_train") is not None, reason="nnU-Net is installed")
def test_without_nnunet_it_says_how_to_get_it(tmp_path):
    given = tiny.settings()
    with pytest.raises(ConfigError, match="pip install nnunetv2"):
        run_cell(Cell("t", "nnunet", 2, 0), cases(tmp_path), TASK, given, tiny.embedder(tmp_path, given))


@pytest.mark.timeout(1200)
@pytest.mark.skipif(shutil.which("nnUNetv2_train") is None, reason="nnU-Net is not installed (pip install nnunetv2)")
def test_nnunet_itself_learns(tmp_path):
    given = tiny.settings()
    cell = Cell("t", "nnunet[trainer=nnUNetTrainer_1epoch]", 4, 0)
    run_cell(cell, cases(tmp_path), TASK, given, tiny.embedder(tmp_path, given))
    assert set(cell.iou) == {"left", "right", "small"}
