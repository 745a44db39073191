"""Four scans with their truths, which the tests of the loop share."""

import pytest

from fewsam.evaluation.data.tasks import Task
from helpers import tiny_volume as tiny

NAMES = {1: "left", 2: "right", 3: "small"}


@pytest.fixture
def task(tmp_path):
    """Four scans with their truths, of four patients."""
    import nibabel as nib

    for number in range(4):
        path, truth = tiny.write_scan(tmp_path, f"p{number}", seed=number)
        nib.save(nib.Nifti1Image(truth, nib.load(path).affine), tmp_path / f"p{number}-truth.nii.gz")
    return Task(
        name="tiny",
        images=[f"p{n}.nii.gz" for n in range(4)],
        labels=[f"p{n}-truth.nii.gz" for n in range(4)],
        names=NAMES,
    )
