"""Where a NIfTI file lies: its header may say it in two ways, and the one that ITK and Slicer follow counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import SimpleITK as sitk

from fewsam.images.endings import NIFTI, has_suffix
from fewsam.images.imagebounds import check_nifti
from fewsam.images.native import LPS, NativeImage

_SAME_PLACE = 0.1  # voxels
TWO_PLACES = (
    "its header places it in two ways (sform, qform or unit of length); it is placed as ITK and Slicer do, a label in "
    "either place is taken"
)


def placed_as_itk_does(path: Path, image: NativeImage, header: nib.Nifti1Header) -> NativeImage:
    """The image in the place where ITK and Slicer show it.

    A NIfTI header holds two forms and a unit of length, and libraries choose between them in different ways. Labels on
    any of these grids are the image's.
    """
    shape = image.array.shape[:3]
    found = _other_place(path, image.affine, shape)
    if found is None:
        return image
    others = [image.affine, *(form for form in (header.get_sform(), header.get_qform()) if _usable(form))]
    readings: list[np.ndarray] = []
    for other in filter(_usable, others):
        if not any(_same_place(other, known, shape) for known in (found, *readings)):
            readings.append(np.asarray(other, dtype=np.float64))
    return replace(image, affine=found, readings=tuple(readings), notes=(*image.notes, TWO_PLACES))


def header_note(path: Path) -> str:
    """What a person should know of a NIfTI file by its header alone; empty for others, and where it cannot be read."""
    if not has_suffix(path, NIFTI):
        return ""
    try:
        kind = nib.Nifti2Image if check_nifti(path) == 540 else nib.Nifti1Image
        image = kind.from_file_map(kind.make_file_map({"image": str(path)}))
        found = _other_place(path, np.asarray(image.affine, dtype=np.float64), (*image.shape, 1, 1)[:3])
    except Exception:  # reading it says what is wrong with it
        return ""
    return TWO_PLACES if found is not None else ""


def _other_place(path: Path, affine: np.ndarray, shape: Sequence[int]) -> np.ndarray | None:
    """The affine by which ITK places a NIfTI file, where that is another place than ``affine``."""
    found = _itk_affine(path)
    same = found is None or (_usable(affine) and _same_place(found, affine, shape))
    return None if same else found


def _itk_affine(path: Path) -> np.ndarray | None:
    """Affine to RAS by which ITK places a NIfTI file; None where it refuses or has fewer than three dimensions."""
    reader = sitk.ImageFileReader()
    reader.SetImageIO("NiftiImageIO")
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError:
        return None
    dimension = reader.GetDimension()
    if dimension < 3:
        return None
    affine = np.eye(4)
    direction = np.asarray(reader.GetDirection()).reshape(dimension, dimension)[:3, :3]
    affine[:3, :3] = direction * np.asarray(reader.GetSpacing()[:3])
    affine[:3, 3] = reader.GetOrigin()[:3]
    return LPS @ affine if _usable(affine) else None


def _usable(affine: np.ndarray) -> bool:
    return bool(np.isfinite(affine).all() and abs(np.linalg.det(affine[:3, :3])) > 1e-12)


def _same_place(one: np.ndarray, other: np.ndarray, shape: Sequence[int]) -> bool:
    """Whether two affines put the corners of a grid within a tenth of a voxel."""
    corners = np.array([[i, j, k, 1] for i in (0, shape[0]) for j in (0, shape[1]) for k in (0, shape[2])])
    away = np.linalg.norm(corners @ (np.asarray(one) - other).T, axis=1).max()
    smallest = min(float(np.linalg.norm(affine[:3, :3], axis=0).min()) for affine in (one, other))
    return bool(away <= _SAME_PLACE * smallest)
