"""NIfTI headers that programs read in different ways, against ITK's and nibabel's own reading."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from fewsam.core.errors import LabelError
from fewsam.images.labelfile import read_label
from fewsam.images.volume import load_volume, save_image, save_labelmap
from helpers.dicom_series import Slice, write_series

SHAPE = (6, 5, 4)
PLAIN = np.array([[-0.8, 0, 0, 15], [0, -0.9, 0, 20], [0, 0, 3, 100], [0, 0, 0, 1.0]])
_TURN = np.array([[0.98481, -0.17365, 0, 0], [0.17365, 0.98481, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
TURNED = _TURN @ PLAIN + np.array([[0, 0, 0, 12], [0, 0, 0, -7], [0, 0, 0, 4], [0, 0, 0, 0]])
MICRONS = np.diag([1000, 1000, 1000, 1]) @ PLAIN


def write(path: Path, sform: np.ndarray, qform: np.ndarray, codes: tuple[int, int], unit: str = "mm") -> Path:
    image = nib.Nifti1Image(np.arange(np.prod(SHAPE), dtype=np.int16).reshape(SHAPE), None)
    image.set_sform(sform, codes[0])
    image.set_qform(qform, codes[1])
    image.header.set_xyzt_units(unit)
    nib.save(image, path)
    return path


AMBIGUOUS = {
    "aligned": (TURNED, PLAIN, (2, 1), "mm"),
    "no form": (PLAIN, PLAIN, (0, 0), "mm"),
    "microns": (MICRONS, MICRONS, (1, 1), "micron"),
}
CLEAR = {
    "one form": (PLAIN, PLAIN, (1, 1), "mm"),
    "rounded": (PLAIN, PLAIN + 1e-4, (2, 1), "mm"),
    "no qform": (TURNED, PLAIN, (1, 0), "mm"),
}


def by_itk(path: Path) -> np.ndarray:
    """RAS places of the grid's corners as ITK has them."""
    image = sitk.ReadImage(str(path))
    corners = [(0, 0, 0), (5, 0, 0), (0, 4, 0), (0, 0, 3), (5, 4, 3)]
    return np.array([image.TransformIndexToPhysicalPoint(corner) for corner in corners]) * [-1, -1, 1]


def by_us(path: Path) -> np.ndarray:
    return load_volume(path).geometry.world(np.array([(0, 0, 0), (5, 0, 0), (0, 4, 0), (0, 0, 3), (5, 4, 3)]))


@pytest.mark.parametrize("name", [*AMBIGUOUS, *CLEAR])
def test_an_image_lies_where_itk_has_it_and_ambiguity_is_said(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / "image.nii.gz", *{**AMBIGUOUS, **CLEAR}[name])
    np.testing.assert_allclose(by_us(path), by_itk(path), atol=0.02)
    notes = load_volume(path).notes
    assert [note[:38] for note in notes] == (["its header places it in two ways (sfor"] if name in AMBIGUOUS else [])


@pytest.mark.parametrize("name", [*AMBIGUOUS, *CLEAR])
def test_labels_of_slicer_and_of_nibabel_fit_and_the_answer_lies_on_the_image(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / "image.nii.gz", *{**AMBIGUOUS, **CLEAR}[name])
    drawn = np.zeros(SHAPE, np.uint8)
    drawn[1:3, 2, 1] = drawn[4, 1:4, 3] = 1
    by_slicer = sitk.GetImageFromArray(drawn.T)
    by_slicer.CopyInformation(sitk.ReadImage(str(path)))
    sitk.WriteImage(by_slicer, str(tmp_path / "slicer.nii.gz"))
    sitk.WriteImage(by_slicer, str(tmp_path / "slicer.nrrd"))
    image = nib.load(path)
    nib.save(nib.Nifti1Image(drawn, image.affine), tmp_path / "nibabel.nii.gz")
    nib.save(nib.Nifti1Image(drawn, None, image.header), tmp_path / "header.nii.gz")
    geometry = load_volume(path).geometry
    for label in ("slicer.nii.gz", "slicer.nrrd", "nibabel.nii.gz", "header.nii.gz"):
        found = read_label(tmp_path / label, geometry, names={1: "liver"})["liver"]
        assert np.array_equal(geometry.to_native(found), drawn > 0), label
    save_labelmap(tmp_path / "answer.nii.gz", geometry.to_slices(drawn), geometry, {1: "liver"})
    np.testing.assert_allclose(by_itk(tmp_path / "answer.nii.gz"), by_itk(path), atol=0.02)


def test_a_label_that_lies_elsewhere_is_still_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "image.nii.gz", *AMBIGUOUS["aligned"])
    moved = PLAIN + np.array([[0, 0, 0, 30], [0] * 4, [0] * 4, [0] * 4])
    nib.save(nib.Nifti1Image(np.ones(SHAPE, np.uint8), moved), tmp_path / "label.nii.gz")
    with pytest.raises(LabelError, match="in another place"):
        read_label(tmp_path / "label.nii.gz", load_volume(path).geometry, names={1: "liver"})


def series(tmp_path: Path, positions: list[tuple[float, float, float]], colour: bool = False) -> Path:
    rng = np.random.default_rng(0)
    shape = (5, 6, 3) if colour else (5, 6)
    bits = 8 if colour else 16
    slices = [Slice(rng.integers(0, 255, shape), place, bits=bits, slope=None) for place in positions]
    return write_series(tmp_path / "scan", slices)


@pytest.mark.parametrize(
    "positions", [[(0, 0.8 * z, 3 * z) for z in range(4)], [(0, 0, z) for z in (0, 3, 6, 15)]], ids=["tilt", "gap"]
)
def test_a_label_drawn_in_slicer_on_what_was_handed_out_comes_back_slice_by_slice(
    tmp_path: Path, positions: list[tuple[float, float, float]]
) -> None:
    volume = load_volume(series(tmp_path, positions), axis="2")
    save_image(tmp_path / "image.nii.gz", volume)
    handed_out = sitk.ReadImage(str(tmp_path / "image.nii.gz"))
    assert np.array_equal(sitk.GetArrayFromImage(handed_out).T, volume.geometry.to_native(volume.slices))
    drawn = np.zeros((4, 5, 6), np.uint8)
    drawn[1, 2:4, 1:3] = drawn[3, 0, 0] = 1
    label = sitk.GetImageFromArray(drawn)
    label.CopyInformation(handed_out)
    for ending in (".nii.gz", ".nrrd"):
        sitk.WriteImage(label, str(tmp_path / f"label{ending}"))
        found = read_label(tmp_path / f"label{ending}", volume.geometry, names={1: "liver"})["liver"]
        assert np.array_equal(volume.geometry.to_native(found).T, drawn > 0), ending


def test_a_label_on_an_even_grid_meets_slices_where_they_are(tmp_path: Path) -> None:
    volume = load_volume(series(tmp_path, [(0, 0, z) for z in (0, 3, 6, 15)]), axis="2")
    grid = np.zeros((6, 5, 17), np.uint8)  # every mm
    grid[1:3, 2, 14:17] = 1
    affine = np.array([[-0.6, 0, 0, 0], [0, -0.8, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]])
    nib.save(nib.Nifti1Image(grid, affine), tmp_path / "label.nii.gz")
    found = read_label(tmp_path / "label.nii.gz", volume.geometry, names={1: "liver"})["liver"]
    assert np.argwhere(volume.geometry.to_native(found)).tolist() == [[1, 2, 3], [2, 2, 3]]


def test_a_colour_image_is_handed_out_in_colour(tmp_path: Path) -> None:
    volume = load_volume(series(tmp_path, [(0, 0, z) for z in range(4)], colour=True), axis="2")
    assert volume.is_rgb
    save_image(tmp_path / "image.nii.gz", volume)
    shown = sitk.ReadImage(str(tmp_path / "image.nii.gz"))
    assert (shown.GetDimension(), shown.GetNumberOfComponentsPerPixel(), shown.GetSize()) == (3, 3, (6, 5, 4))
    native = volume.geometry.to_native(volume.slices)
    assert np.array_equal(sitk.GetArrayFromImage(shown), native.transpose(2, 1, 0, 3))
    assert np.array_equal(load_volume(tmp_path / "image.nii.gz").slices, volume.slices)
