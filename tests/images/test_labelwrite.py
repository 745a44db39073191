"""Labelmaps on disk lie where their image lies."""

from pathlib import Path

import nibabel as nib
import nrrd
import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image

from fewsam.core.errors import LabelError, StorageError
from fewsam.images.imageio import read_nrrd
from fewsam.images.labelfile import read_label
from fewsam.images.labelwrite import write_native_masks
from fewsam.images.volume import geometry_for, load_volume, save_labelmap
from helpers.image_files import ORIENTATIONS, affine_of, native_index, ramp


@pytest.mark.parametrize("codes", ORIENTATIONS[::5], ids="".join)
@pytest.mark.parametrize("ending", [".nii", ".nii.gz", ".nrrd", ".seg.nrrd"])
def test_saved_labelmap_lies_where_the_image_lies(tmp_path, ending, codes):
    affine = affine_of(codes, (1.1, 2.3, 0.7), tilt=0.3)
    geometry = geometry_for((4, 5, 6), affine)
    labelmap = np.zeros(geometry.slices_shape, np.uint8)
    labelmap[1, 2, 3], labelmap[0, 3, 1] = 1, 2
    path = tmp_path / f"a{ending}"
    save_labelmap(path, labelmap, geometry, {1: "liver", 2: "spleen"})
    voxel = tuple(native_index(geometry, 1, 2, 3).tolist())
    place = affine @ [*voxel, 1]

    itk = sitk.ReadImage(str(path))
    index = itk.TransformPhysicalPointToIndex([-place[0], -place[1], place[2]])
    assert index == voxel
    assert itk.GetPixel(index) == 1
    assert itk.GetPixel(native_index(geometry, 0, 3, 1).tolist()) == 2
    assert itk.GetSize() == geometry.shape
    assert np.count_nonzero(sitk.GetArrayFromImage(itk)) == 2

    again = load_volume(path)
    np.testing.assert_array_equal(again.geometry.to_native(again.slices), geometry.to_native(labelmap))
    np.testing.assert_allclose(again.geometry.affine, affine, atol=1e-5)
    if ending.startswith(".nii"):
        image = nib.load(path)
        assert image.get_data_dtype() == np.uint8
        np.testing.assert_allclose(image.get_qform(coded=True)[0], affine, atol=1e-5)  # for readers that prefer it
        np.testing.assert_array_equal(np.asarray(image.dataobj), geometry.to_native(labelmap))
    else:
        np.testing.assert_array_equal(again.geometry.affine, affine)  # NRRD keeps every digit


def test_an_oblique_affine_comes_back_digit_by_digit(tmp_path):
    affine = affine_of("LPS", (0.7, 0.7, 3.3), tilt=0.2).astype(np.float32).astype(np.float64)
    nib.save(nib.Nifti1Image(ramp(), affine), tmp_path / "a.nii.gz")
    volume = load_volume(tmp_path / "a.nii.gz")
    save_labelmap(tmp_path / "b.nii.gz", volume.slices.astype(np.uint8), volume.geometry, {})
    np.testing.assert_array_equal(nib.load(tmp_path / "b.nii.gz").affine, nib.load(tmp_path / "a.nii.gz").affine)


def test_nrrd_is_raw_and_named(tmp_path):
    geometry = geometry_for((4, 5, 6), np.eye(4))
    labelmap = np.random.default_rng(0).integers(0, 3, geometry.slices_shape, dtype=np.uint8)
    save_labelmap(tmp_path / "a.nrrd", labelmap, geometry, {1: "liver", 2: "Milz größer\n"})
    payload = (tmp_path / "a.nrrd").read_bytes()[-120:]
    np.testing.assert_array_equal(np.frombuffer(payload, np.uint8), geometry.to_native(labelmap).ravel(order="F"))
    header = nrrd.read_header(str(tmp_path / "a.nrrd"))
    assert header["encoding"] == "raw"
    save_labelmap(tmp_path / "b.seg.nrrd", labelmap, geometry, {1: "liver", 2: "Milz größer\n"})
    assert "Segment1_Name:=Milz größer\n".encode() in (tmp_path / "b.seg.nrrd").read_bytes()
    _, header = read_nrrd(tmp_path / "b.seg.nrrd")
    assert (header["Segment0_Name"], header["Segment0_LabelValue"]) == ("liver", "1")
    assert (header["Segment1_Name"], header["Segment1_LabelValue"]) == ("Milz größer", "2")


def test_png_labelmap_of_a_2d_image(tmp_path):
    pixels = np.arange(35, dtype=np.uint8).reshape(5, 7)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    volume = load_volume(tmp_path / "a.png")
    save_labelmap(tmp_path / "b.png", (volume.slices % 3).astype(np.uint16), volume.geometry, {})
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "b.png")), pixels % 3)
    save_labelmap(tmp_path / "c.nii.gz", volume.slices, volume.geometry, {})
    again = load_volume(tmp_path / "c.nii.gz")
    np.testing.assert_array_equal(again.slices, volume.slices)


def test_labelmaps_that_cannot_be_written_are_refused(tmp_path):
    geometry = geometry_for((4, 5, 6), np.eye(4))
    labelmap = np.ones(geometry.slices_shape, np.uint8)
    with pytest.raises(LabelError, match="must be uint8 or uint16"):
        save_labelmap(tmp_path / "a.nii.gz", labelmap.astype(np.int64), geometry, {})
    with pytest.raises(LabelError, match="does not fit"):
        save_labelmap(tmp_path / "a.nii.gz", labelmap[:-1], geometry, {})
    with pytest.raises(LabelError, match="into a PNG"):
        save_labelmap(tmp_path / "a.png", labelmap, geometry, {})
    with pytest.raises(LabelError, match="choose one of these"):
        save_labelmap(tmp_path / "a.mat", labelmap, geometry, {})
    assert not list(tmp_path.iterdir())


def test_a_failed_write_keeps_the_file_that_was_there(tmp_path, monkeypatch):
    geometry = geometry_for((4, 5, 6), np.eye(4))
    labelmap = np.ones(geometry.slices_shape, np.uint8)
    save_labelmap(tmp_path / "a.nii.gz", labelmap, geometry, {})
    before = (tmp_path / "a.nii.gz").read_bytes()

    def full(image, path):
        Path(path).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("fewsam.images.labelwrite.nib.save", full)
    with pytest.raises(StorageError, match="disk is full"):
        save_labelmap(tmp_path / "a.nii.gz", labelmap * 2, geometry, {})
    assert (tmp_path / "a.nii.gz").read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["a.nii.gz"]


def test_masks_that_overlap_come_back_from_their_layers(tmp_path):
    affine = affine_of(("L", "P", "S"), (1.1, 2.3, 0.7), tilt=0.3)
    geometry = geometry_for((4, 5, 6), affine)
    masks = {"größe": np.zeros((4, 5, 6), bool), "liver": np.zeros((4, 5, 6), bool)}
    masks["größe"][1:3, 2:4, 1:3] = masks["liver"][2:4, 3:5, 2:5] = True
    assert (masks["größe"] & masks["liver"]).any()
    write_native_masks(tmp_path / "a.seg.nrrd", masks, affine)
    back = read_label(tmp_path / "a.seg.nrrd", geometry)
    assert list(back) == list(masks)
    for name, mask in masks.items():
        np.testing.assert_array_equal(geometry.to_native(back[name]), mask)


def test_a_name_is_written_as_it_is(tmp_path):
    geometry = geometry_for((6, 5, 4), np.eye(4), axis="2")
    masks = {"left  kidney": np.zeros((6, 5, 4), bool)}
    masks["left  kidney"][1:3, 1:3, 2] = True
    write_native_masks(tmp_path / "label.seg.nrrd", masks, geometry.affine)
    assert list(read_label(tmp_path / "label.seg.nrrd", geometry)) == ["left  kidney"]
