"""A label file that names no structures is read by their values, as long as these are sure."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from fewsam.core.errors import LabelError
from fewsam.server.tasks.labels import LabelIntake, LabelParams
from fewsam.workspace.workspace import open_task
from helpers import tiny_volume as tiny

LEFT, RIGHT, SMALL = tiny.CLASSES


def test_values_that_a_deletion_has_moved_are_refused_without_names(tmp_path: Path) -> None:
    path, truth = tiny.write_scan(tmp_path)

    def written(name: str, *values: int) -> Path:
        label = np.where(np.isin(truth, values), truth, 0).astype(np.uint8)
        nib.save(nib.Nifti1Image(label, nib.load(path).affine), tmp_path / f"{name}.nii.gz")
        return tmp_path / f"{name}.nii.gz"

    right, left = written("right", 2), written("left", 1)
    with open_task(tmp_path / "task", None, {"encoder": "compact", "labels": ",".join(tiny.CLASSES)}, create=True) as w:
        intake, collection = LabelIntake(w), w.collection
        intake.submit("before", str(path), right, source="rest:final")
        assert set(collection.shots("before")[0].masks) == {RIGHT}
        collection.delete_structure(LEFT)
        with pytest.raises(LabelError, match="values 2 have no name.*some were deleted"):
            intake.submit("after", str(path), right, source="rest:final")
        with pytest.raises(LabelError, match="values 1 have no name"):  # which is RIGHT's value now
            intake.submit("after", str(path), left, source="rest:final")
        named = LabelParams(label_info=[{"name": RIGHT, "idx": 2}])
        intake.submit("after", str(path), right, named, source="rest:final")
        assert set(collection.shots("after")[0].masks) == {RIGHT}


def test_values_before_the_deleted_one_stay_sure(tmp_path: Path) -> None:
    collection = tiny.Collection(tmp_path, tiny.CLASSES)
    assert collection.names.lasting() == {1: LEFT, 2: RIGHT, 3: SMALL}
    collection.delete_structure(RIGHT)
    assert collection.names.lasting() == {1: LEFT, 2: ""}
    collection.add_structure(RIGHT)
    assert collection.names.lasting() == {1: LEFT, 2: RIGHT, 3: SMALL}
    collection.delete_structure(SMALL)
    collection.add_structure("new")
    assert collection.names.lasting() == {1: LEFT, 2: RIGHT, 3: ""}
