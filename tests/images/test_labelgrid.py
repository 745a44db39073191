"""Labels on grids other than the image's."""

import shutil

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fewsam.core.errors import LabelError
from fewsam.images.labelfile import read_label
from fewsam.images.volume import geometry_for, load_volume
from helpers.image_files import AFFINE, NAMES, SHAPE, SHARED, check, image_geometry, label_array, needs_shared, nifti


@pytest.fixture
def geometry():
    return image_geometry()


@pytest.fixture
def native():
    return label_array()


@settings(max_examples=60, deadline=None)
@given(permutation=st.permutations([0, 1, 2]), flips=st.tuples(*[st.booleans()] * 3))
def test_another_orientation_of_the_same_grid_is_exact(tmp_path_factory, permutation, flips):
    folder = tmp_path_factory.mktemp("turned")
    geometry = geometry_for(SHAPE, AFFINE)
    native = np.random.default_rng(0).integers(0, 4, SHAPE, dtype=np.uint8)
    image = nib.Nifti1Image(native, AFFINE)
    turned = image.as_reoriented(
        np.array([[axis, -1 if flip else 1] for axis, flip in zip(permutation, flips, strict=True)])
    )
    nib.save(turned, folder / "a.nii.gz")
    check(read_label(folder / "a.nii.gz", geometry, NAMES), geometry, native)
    shutil.rmtree(folder)


def test_a_label_cropped_to_its_frames_is_exact(tmp_path, geometry, native):
    cropped = nib.Nifti1Image(native, AFFINE).slicer[1:, 1:7, 1:5]
    nib.save(cropped, tmp_path / "a.nii.gz")
    check(read_label(tmp_path / "a.nii.gz", geometry, NAMES), geometry, native)
    turned = nib.as_closest_canonical(cropped)
    nib.save(turned, tmp_path / "b.nii.gz")
    check(read_label(tmp_path / "b.nii.gz", geometry, NAMES), geometry, native)


def test_a_label_larger_than_the_image(tmp_path, geometry, native, caplog):
    padded = np.pad(native, 2)
    padded[0, 0, 0] = 3  # one voxel outside of the image
    affine = AFFINE.copy()
    affine[:3, 3] = (AFFINE @ [-2, -2, -2, 1])[:3]
    check(read_label(nifti(tmp_path / "a.nii.gz", padded, affine), geometry, NAMES), geometry, native)
    assert "1 of 2 voxels of left kidney lie outside the image" in caplog.text


def test_another_grid_takes_the_nearest_voxel(tmp_path):
    geometry = geometry_for((40, 36, 12), np.diag([-1.0, -1.0, 3.0, 1.0]))
    i, j, k = np.meshgrid(*(np.arange(n) for n in geometry.shape), indexing="ij")

    def ball(x, y, z):
        return ((x + 18) ** 2 + (y + 16) ** 2 + (z - 17) ** 2) < 12**2

    truth = ball(-i, -j, 3 * k)
    # finer, shifted by half a voxel and turned
    angle = 0.3
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    affine = turn @ np.diag([0.5, 0.6, 1.1, 1.0])
    affine[:3, 3] = (-60, -60, -3.3)
    shape = (160, 140, 40)
    places = np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij"), -1) @ affine[:3, :3].T + affine[:3, 3]
    label = ball(*np.moveaxis(places, -1, 0)).astype(np.uint8)
    masks = read_label(nifti(tmp_path / "a.nii.gz", label, affine), geometry, {1: "ball"})
    found = geometry.to_native(masks["ball"])
    assert (found & truth).sum() / (found | truth).sum() > 0.95


def test_slices_with_places_of_their_own_take_the_nearest_voxel(tmp_path):
    heights = np.array([0.0, 3.0, 6.0, 15.0])  # two slices are missing
    places = np.stack([np.zeros(4), np.zeros(4), heights], axis=1)
    uneven = geometry_for((5, 4, 4), np.diag([2.0, 2.0, 5.0, 1.0]), "2", positions=places)
    fine = np.zeros((10, 8, 20), np.uint8)  # half the pixels, 1 mm apart, from -0.6 mm on
    fine[5:8, 3:4, 16:17] = 1  # around 15 mm; a voxel less on any side is another answer
    affine = np.diag([1.0, 1.0, 1.0, 1.0])
    affine[:3, 3] = -0.6
    path = tmp_path / "label.nii.gz"
    nib.save(nib.Nifti1Image(fine, affine), path)
    found = uneven.to_native(read_label(path, uneven, {1: "liver"})["liver"])
    centres = np.stack(np.meshgrid(*map(np.arange, (5, 4)), [3], indexing="ij"), axis=-1)[:, :, 0]
    nearest = np.round(uneven.world(centres) - affine[:3, 3]).astype(int)
    assert np.array_equal(found[:, :, 3], fine[tuple(nearest.reshape(-1, 3).T)].reshape(5, 4) == 1)
    assert found[:, :, 3].any() and not found[:, :, :3].any()


def test_a_part_of_the_even_grid_of_an_uneven_image_is_taken_slice_by_slice(tmp_path):
    heights = np.array([0.0, 2.0, 4.0, 6.0, 20.0, 22.0, 24.0, 26.0])  # slices are missing in the middle
    places = np.stack([np.zeros(8), np.zeros(8), heights], axis=1)
    even = np.diag([2.0, 2.0, 26 / 7, 1.0])
    uneven = geometry_for((5, 4, 8), even, "2", positions=places)
    whole = np.zeros((5, 4, 8), np.uint8)
    whole[1:3, 1:3, 2:5] = 1
    corner = np.eye(4)
    corner[:3, 3] = (0, 1, 1)
    for name, label, affine in (("whole", whole, even), ("part", whole[:4, 1:, 1:6], even @ corner)):
        path = nifti(tmp_path / f"{name}.nii.gz", label, affine)
        np.testing.assert_array_equal(
            uneven.to_native(read_label(path, uneven, {1: "liver"})["liver"]), whole == 1, name
        )


def test_a_part_of_an_image_of_two_places_is_taken_in_the_one_it_lies_in_or_refused(tmp_path):
    other = np.diag([1.0, 1.0, 3.0, 1.0])
    whole = np.zeros((8, 9, 6), np.uint8)
    whole[3:5, 4:6, 2:4] = 1
    corner = np.eye(4)
    corner[:3, 3] = (2, 3, 1)
    for shift, taken in ((2.5, True), (2.0, False)):
        own = other.copy()
        own[1, 3] += shift  # mm; whole voxels cannot be told apart
        image = geometry_for((8, 9, 6), own, "2", readings=(other,))
        path = nifti(tmp_path / "a.nii.gz", whole[2:6, 3:7, 1:5], other @ corner)
        if taken:
            np.testing.assert_array_equal(image.to_native(read_label(path, image, {1: "liver"})["liver"]), whole == 1)
        else:
            with pytest.raises(LabelError, match="lies in both; save the label at the image's full size"):
                read_label(path, image, {1: "liver"})


def test_a_coarser_label_covers_the_image_to_its_edges(tmp_path):
    geometry = geometry_for((8, 6, 4), np.diag([-1.0, -1.0, 1.0, 1.0]))
    affine = np.diag([-2.0, -2.0, 2.0, 1.0])
    affine[:3, 3] = (-0.5, -0.5, 0.5)
    label = np.array([1, 2], np.uint8).repeat(12).reshape(4, 3, 2)
    masks = read_label(nifti(tmp_path / "a.nii.gz", label, affine), geometry, NAMES)
    np.testing.assert_array_equal(
        geometry.to_native(masks["liver"]), (np.arange(8) < 4)[:, None, None] & np.ones((8, 6, 4), bool)
    )
    np.testing.assert_array_equal(masks["spleen"], ~masks["liver"])


def test_labels_elsewhere_are_refused(tmp_path, geometry, native):
    def refused(array, affine, told):
        with pytest.raises(LabelError, match=told):
            read_label(nifti(tmp_path / "a.nii.gz", array, affine), geometry, NAMES)

    refused(native, np.eye(4), "as many voxels as the image, but in another place")
    shifted = AFFINE.copy()
    shifted[:3, 3] = (AFFINE @ [1, 0, 0, 1])[:3]  # by a whole voxel: a lost origin, not a crop
    refused(native, shifted, "as many voxels as the image")
    shifted[:3, 3] = (AFFINE @ [0.4, 0, 0, 1])[:3]
    refused(native, shifted, "as many voxels as the image")
    far = AFFINE.copy()
    far[:3, 3] += 900
    refused(native[1:], far, "'liver' lies outside the image")
    near = AFFINE.copy()
    near[:3, 3] += 1e-4  # what a header's float32 may cost
    check(read_label(nifti(tmp_path / "b.nii.gz", native, near), geometry, NAMES), geometry, native)


def test_a_single_slice_has_no_thickness(tmp_path):
    geometry = geometry_for((8, 7, 1), np.diag([-1.0, -1.0, 1.0, 1.0]))
    label = np.zeros((8, 7, 1), np.uint8)
    label[2, 3] = 1
    masks = read_label(nifti(tmp_path / "a.nii.gz", label, np.diag([-1.0, -1.0, 5.0, 1.0])), geometry, {1: "a"})
    assert np.argwhere(geometry.to_native(masks["a"])).tolist() == [[2, 3, 0]]
    # but one slice drawn for a volume keeps to its own place
    volume = geometry_for((8, 7, 9), np.diag([-1.0, -1.0, 0.5, 1.0]))
    affine = np.diag([-1.0, -1.0, 5.0, 1.0])
    affine[2, 3] = 2.0
    masks = read_label(nifti(tmp_path / "b.nii.gz", label, affine), volume, {1: "a"})
    # 5 mm thick at 2 mm: all of the slices from 0 to 4 mm
    assert np.argwhere(volume.to_native(masks["a"])).tolist() == [[2, 3, k] for k in range(9)]


@needs_shared
def test_real_label_in_another_orientation_than_its_dicom_series():
    volume = load_volume(SHARED / "ts_ct_dicom" / "dicom")
    path = SHARED / "ts_ct_dicom" / "example_seg_dicom.nii.gz"
    stored = np.asarray(nib.load(path).dataobj)
    names = {int(value): f"class {value}" for value in np.unique(stored) if value}
    masks = read_label(path, volume.geometry, names)
    for value, name in names.items():
        assert masks[name].sum() == (stored == value).sum()  # every voxel, though the axes run otherwise
    assert 80 < np.median(volume.slices[masks["class 5"]]) < 140


@needs_shared
def test_a_label_of_part_of_a_real_volume_lands_in_that_part(tmp_path):
    volume = load_volume(SHARED / "ts_ct_abdomen" / "example_ct.nii.gz")
    spine = nib.load(SHARED / "ts_ct_abdomen" / "spine_report_totalseg.nii.gz")
    nib.save(spine.slicer[20:100, 10:90, 40:], tmp_path / "a.nii.gz")
    masks = read_label(tmp_path / "a.nii.gz", volume.geometry, {v: f"class {v}" for v in range(26, 34)})
    part = np.zeros(spine.shape, bool)
    part[20:100, 10:90, 40:] = True
    expected = (np.asarray(spine.dataobj) == 31) & part
    np.testing.assert_array_equal(volume.geometry.to_native(masks["class 31"]), expected)
