"""Canonical slices, their exact inverse, and what a volume is."""

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fewsam.core.errors import ImageError
from fewsam.images.volume import Volume, geometry_for, load_volume, save_labelmap
from helpers.image_files import ORIENTATIONS, SHARED, affine_of, native_index, needs_shared, ramp


def test_there_are_48_orientations():
    assert len(set(ORIENTATIONS)) == 48


@pytest.mark.parametrize("codes", ORIENTATIONS, ids="".join)
@pytest.mark.parametrize("axis", ["auto", "0", "1", "2"])
def test_slices_look_as_a_radiologist_expects_in_every_orientation(codes, axis):
    geometry = geometry_for((4, 5, 6), affine_of(codes, spacing=(1, 1, 1)), axis)
    direction = geometry.affine[:3, :3]
    rows = direction @ (native_index(geometry, 1, 2, 1) - native_index(geometry, 1, 1, 1))
    cols = direction @ (native_index(geometry, 1, 1, 2) - native_index(geometry, 1, 1, 1))
    deep = direction @ (native_index(geometry, 2, 1, 1) - native_index(geometry, 1, 1, 1))
    cut = int(np.flatnonzero(deep)[0])
    left, posterior, inferior, superior, anterior = (-1, 0, 0), (0, -1, 0), (0, 0, -1), (0, 0, 1), (0, 1, 0)
    expected = {
        2: (superior, posterior, left),  # axial
        1: (anterior, inferior, left),  # coronal
        0: (left, inferior, posterior),  # sagittal
    }[cut]
    assert (tuple(deep), tuple(rows), tuple(cols)) == expected
    if axis == "auto":
        assert cut == 2  # equally coarse: axial
    else:
        assert geometry.permutation[0] == int(axis)


@pytest.mark.parametrize("codes", ORIENTATIONS, ids="".join)
def test_round_trip_is_bit_exact_in_every_orientation(codes):
    shape = (4, 5, 6)
    native = np.arange(120, dtype=np.int16).reshape(shape)
    for axis in ("auto", "0", "1", "2"):
        geometry = geometry_for(shape, affine_of(codes), axis)
        slices = geometry.to_slices(native)
        assert slices.shape == geometry.slices_shape
        np.testing.assert_array_equal(geometry.to_native(slices), native)
        for index in np.ndindex(*shape):
            canonical = geometry.canonical_index(*index)
            assert slices[canonical] == native[index]


@settings(max_examples=150, deadline=None)
@given(
    shape=st.tuples(*[st.integers(1, 7)] * 3),
    codes=st.sampled_from(ORIENTATIONS),
    spacing=st.tuples(*[st.floats(0.1, 10)] * 3),
    tilt=st.floats(-0.7, 0.7),
    axis=st.sampled_from(["auto", "0", "1", "2"]),
    channels=st.sampled_from([(), (3,)]),
)
def test_round_trip_for_any_grid(shape, codes, spacing, tilt, axis, channels):
    affine = affine_of(codes, spacing, tilt=tilt)
    geometry = geometry_for(shape, affine, axis)
    native = np.random.default_rng(0).integers(0, 255, (*shape, *channels), dtype=np.uint8)
    slices = geometry.to_slices(native)
    assert slices.shape[:3] == geometry.slices_shape
    np.testing.assert_array_equal(geometry.to_native(slices), native)
    np.testing.assert_array_equal(geometry.affine, affine)
    voxel = tuple(n - 1 for n in shape)
    np.testing.assert_array_equal(slices[geometry.canonical_index(*voxel)], native[voxel])
    np.testing.assert_allclose(sorted(geometry.spacing), sorted(spacing), rtol=1e-6)


def test_cuts_along_the_coarsest_spacing():
    geometry = geometry_for((40, 20, 30), affine_of("PIR", (1.0, 5.0, 1.0)))
    assert geometry.permutation[0] == 1
    assert geometry.spacing == (5.0, 1.0, 1.0)
    assert geometry.slices_shape == (20, 40, 30)
    # half a percent is noise of the header, not a coarser axis: axial
    assert geometry_for((40, 20, 30), affine_of("RAS", (1.005, 1.0, 1.0))).permutation[0] == 2


def test_a_single_slice_is_cut_as_it_lies():
    assert geometry_for((1, 20, 30), affine_of("RAS", (1.0, 1.0, 1.0))).slices_shape == (1, 30, 20)
    assert geometry_for((20, 1, 30), affine_of("RAS", (1.0, 0.2, 1.0))).slices_shape == (1, 30, 20)
    assert geometry_for((20, 30), np.diag([-1, -1, 1, 1])).slices_shape == (1, 30, 20)


@pytest.mark.parametrize(
    ("shape", "affine", "axis", "told"),
    [
        ((0, 3, 3), np.eye(4), "auto", "at least one voxel"),
        ((3, 3, 3, 3), np.eye(4), "auto", "no 2D or 3D image"),
        ((3, 3, 3), np.diag([1, 1, 0, 1]), "auto", "spacing and direction"),
        ((3, 3, 3), np.full((4, 4), np.nan), "auto", "spacing and direction"),
        ((3, 3, 3), np.eye(4), "3", "use auto, 0, 1 or 2"),
    ],
)
def test_impossible_grids_are_refused(shape, affine, axis, told):
    with pytest.raises(ImageError, match=told):
        geometry_for(shape, affine, axis)


def test_an_array_of_another_shape_is_refused():
    geometry = geometry_for((4, 5, 6), np.eye(4))
    with pytest.raises(ImageError, match="does not fit"):
        geometry.to_slices(np.zeros((4, 5, 7)))
    with pytest.raises(ImageError, match="does not fit"):
        geometry.to_native(np.zeros((4, 5, 6)))


def test_raw_slice_takes_the_neighbours_and_repeats_the_edges(tmp_path):
    nib.save(nib.Nifti1Image(ramp(), affine_of("LPS")), tmp_path / "a.nii.gz")
    volume = load_volume(tmp_path / "a.nii.gz")
    assert volume.depth == 6
    np.testing.assert_array_equal(volume.raw_slice(2), volume.slices[1:4])
    np.testing.assert_array_equal(volume.raw_slice(0), volume.slices[[0, 0, 1]])
    np.testing.assert_array_equal(volume.raw_slice(5), volume.slices[[4, 5, 5]])
    with pytest.raises(ImageError, match=r"slice 6 .* \(0 to 5\)"):
        volume.raw_slice(6)


def test_content_hash_follows_pixels_not_path_or_place(tmp_path):
    def saved(name, native, affine):
        nib.save(nib.Nifti1Image(native, affine), tmp_path / name)
        return load_volume(tmp_path / name).content_hash

    first = saved("a.nii.gz", ramp(), affine_of("RAS"))
    assert saved("b.nii", ramp(), affine_of("RAS", origin=(1, 2, 3))) == first
    other = ramp()
    other[3, 4, 5] += 1
    assert saved("c.nii.gz", other, affine_of("RAS")) != first
    assert saved("d.nii.gz", ramp(dtype=np.int32), affine_of("RAS")) != first
    assert saved("e.nii.gz", ramp((5, 4, 6)), affine_of("RAS")) != first


def test_content_hash_tells_the_same_bytes_of_another_shape_or_type_apart():
    def hashed(slices):
        geometry = geometry_for(slices.shape[::-1], np.eye(4), "2")
        return Volume(slices=slices, geometry=geometry, modality=None, source="test").content_hash

    zeros = np.zeros((4, 5, 6), np.int16)
    assert len({hashed(zeros), hashed(zeros.reshape(4, 6, 5)), hashed(zeros.view(np.uint16))}) == 3
    assert hashed(zeros) == hashed(zeros.copy())


def test_a_file_changed_after_loading_changes_no_pixels(tmp_path):
    path = tmp_path / "a.nii"
    nib.save(nib.Nifti1Image(ramp((64, 64, 6)), affine_of("LPS")), path)  # needs no turning, so no copy
    volume = load_volume(path)
    with path.open("r+b") as stream:
        stream.write(b"\0" * path.stat().st_size)
    np.testing.assert_array_equal(volume.geometry.to_native(volume.slices), ramp((64, 64, 6)))


def test_nan_and_infinite_voxels_are_counted(tmp_path):
    native = np.zeros((4, 5, 6), np.float32)
    native[0, 0, :2] = np.nan
    native[1, 1, 1] = np.inf
    nib.save(nib.Nifti1Image(native, np.eye(4)), tmp_path / "a.nii.gz")
    with pytest.raises(ImageError, match="3 of 120 voxels are NaN or infinite"):
        load_volume(tmp_path / "a.nii.gz")
    native = np.zeros((4, 5, 6), np.float64)
    native[0, 0, 0] = 1e300  # no float32
    nib.save(nib.Nifti1Image(native, np.eye(4)), tmp_path / "b.nii.gz")
    with pytest.raises(ImageError, match="1 of 120"):
        load_volume(tmp_path / "b.nii.gz")


@needs_shared
@pytest.mark.parametrize(
    "image", ["ts_ct_abdomen/example_ct", "tptbox_ct_vertebrae/sub-ct_label-22_ct", "ts_mr_abdomen/example_mr_sm"]
)
def test_real_nifti_round_trip(tmp_path, image):
    volume = load_volume(SHARED / f"{image}.nii.gz")
    original = nib.load(SHARED / f"{image}.nii.gz")
    np.testing.assert_array_equal(volume.geometry.to_native(volume.slices), np.asarray(original.dataobj))
    save_labelmap(tmp_path / "a.nii.gz", (volume.slices > 100).astype(np.uint8), volume.geometry, {1: "bright"})
    saved = nib.load(tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(saved.affine, original.affine)
    np.testing.assert_array_equal(np.asarray(saved.dataobj), np.asarray(original.dataobj) > 100)
