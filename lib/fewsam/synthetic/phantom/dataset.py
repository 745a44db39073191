"""The sample data set: generated patients as NIfTI, their truth beside, two of them as DICOM studies."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from fewsam.core.errors import ConfigError, StorageError
from fewsam.synthetic.phantom.anatomy import SHAPE, PatientAnatomy, generate_patient
from fewsam.synthetic.phantom.ct import render_ct
from fewsam.synthetic.phantom.dicom import write_series
from fewsam.synthetic.phantom.mr import render_mr
from fewsam.synthetic.phantom.tissues import LABELS

DICOM_PATIENTS = 2  # a second one, to see what was learnt on the first

_SETTINGS = "# Settings for a server over this folder, where it is given no others.\nlabels: [{labels}]\n"


def write_dataset(
    folder: str | os.PathLike[str],
    patients: int = 6,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
    *,
    shape: Sequence[int] = SHAPE,
) -> None:
    """Write the data set; the same seed gives the same voxels.

    ``ct/patientNN.nii.gz`` and ``mr/patientNN.nii.gz`` are the studies folders, each with a
    ``fewsam.yaml`` that names its classes to the server; ``truth/ct`` and ``truth/mr`` hold
    the labelmaps under the same names, where no datastore over a studies folder finds them; ``truth/labels.json``
    maps their values to names and is written last, so that its presence says that the set is whole; ``dicom/``
    holds the CT of patients 1 and 2 and the MR of patient 1 as DICOM studies. Files that are there already are
    replaced one by one.

    Args:
        folder: made where missing.
        patients: how many to generate.
        seed: of the whole set.
        progress: called with (patients done, patients in all), first with (0, patients).
        shape: voxels (i, j, k) of each volume.

    Raises:
        ConfigError: ``patients`` is below 1, or ``shape`` is too small.
        StorageError: a file cannot be written.
    """
    if patients < 1:
        raise ConfigError(f"cannot generate {patients} patients: ask for 1 or more")
    root = Path(folder)
    report = progress or (lambda done, total: None)
    try:
        (root / "truth" / "labels.json").unlink(missing_ok=True)
        for stale in (root / "dicom").glob("slice*.dcm"):  # where an earlier version put its one series
            stale.unlink()
        report(0, patients)
        for patient in range(1, patients + 1):
            _write_patient(root, seed, patient, shape)
            report(patient, patients)
        for modality in ("ct", "mr"):
            _replace(root / modality / "fewsam.yaml", _SETTINGS.format(labels=", ".join(LABELS.values())).encode())
        names = {str(value): name for value, name in LABELS.items()}
        _replace(root / "truth" / "labels.json", (json.dumps(names, indent=2) + "\n").encode())
    except OSError as error:
        where = error.filename or root
        raise StorageError(f"cannot write the sample data at {where}: {error.strerror or error}; "
                           "free space or choose another folder") from error  # fmt: skip


def _write_patient(root: Path, seed: int, patient: int, shape: Sequence[int]) -> None:
    name = f"patient{patient:02d}.nii.gz"
    anatomy = generate_patient(seed, patient, shape)
    ct = render_ct(anatomy, np.random.default_rng([seed, patient, 1]))
    mr = render_mr(anatomy, np.random.default_rng([seed, patient, 2]))
    truth = _nifti(anatomy.labels, anatomy)
    for modality, volume in (("ct", ct), ("mr", mr)):
        _replace(root / modality / name, _nifti(volume, anatomy))
        _replace(root / "truth" / modality / name, truth)
    if patient <= DICOM_PATIENTS:
        write_series(root / "dicom" / f"ct-patient{patient:02d}", ct, anatomy, seed, patient)
    if patient == 1:
        write_series(root / "dicom" / "mr-patient01", mr, anatomy, seed, patient, "MR")


def _nifti(volume: NDArray[np.generic], anatomy: PatientAnatomy) -> bytes:
    """A compressed NIfTI file without a time stamp, so that equal voxels give equal bytes."""
    image = nib.Nifti1Image(volume, anatomy.affine)
    image.set_qform(anatomy.affine, code=1)
    image.set_sform(anatomy.affine, code=1)
    image.header.set_xyzt_units("mm")
    image.header["descrip"] = b"generated phantom, no patient"
    return gzip.compress(image.to_bytes(), compresslevel=9, mtime=0)


def _replace(path: Path, content: bytes) -> None:
    """Write a file so that a reader sees the old or the new one, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.part")
    draft.write_bytes(content)
    os.replace(draft, path)
