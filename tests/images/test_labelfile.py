"""Label files of every kind: values and names."""

import shutil

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from fewsam.core.errors import EmptyLabelError, FewSAMError, LabelError
from fewsam.images.labelfile import read_label
from fewsam.images.volume import geometry_for, load_volume, save_labelmap
from helpers.image_files import (
    AFFINE,
    NAMES,
    SHAPE,
    SHARED,
    check,
    image_geometry,
    label_array,
    needs_shared,
    nifti,
    seg_nrrd,
)


@pytest.fixture
def geometry():
    return image_geometry()


@pytest.fixture
def native():
    return label_array()


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.int64, np.float32, np.float64])
def test_same_grid_is_exact_whatever_the_type(tmp_path, geometry, native, dtype):
    image = nib.Nifti1Image(native.astype(dtype), AFFINE, dtype=dtype)
    nib.save(image, tmp_path / "a.nii.gz")
    check(read_label(tmp_path / "a.nii.gz", geometry, NAMES), geometry, native)


@pytest.mark.parametrize("ending", [".nrrd", ".mha"])
def test_other_3d_formats(tmp_path, native, ending):
    straight = np.diag([-1.0, 2.0, 3.0, 1.0])
    geometry = geometry_for(SHAPE, straight)
    image = sitk.ReadImage(str(nifti(tmp_path / "a.nii.gz", native, straight)))
    sitk.WriteImage(image, str(tmp_path / f"a{ending}"))
    check(read_label(tmp_path / f"a{ending}", geometry, NAMES), geometry, native)


@pytest.mark.parametrize("ending", [".nii.gz", ".nrrd", ".seg.nrrd"])
def test_what_was_saved_is_read_back(tmp_path, geometry, native, ending):
    save_labelmap(tmp_path / f"a{ending}", geometry.to_slices(native), geometry, NAMES)
    check(read_label(tmp_path / f"a{ending}", geometry, NAMES), geometry, native)
    if ending != ".nii.gz":  # holds its names
        check(read_label(tmp_path / f"a{ending}", geometry), geometry, native)


def test_raw_bytes_are_the_image_grid_with_i_fastest(tmp_path, geometry, native):
    (tmp_path / "label.bin").write_bytes(native.tobytes(order="F"))
    info = [{"name": name, "idx": value} for value, name in NAMES.items()]
    check(read_label(tmp_path / "label.bin", geometry, label_info=info), geometry, native)
    (tmp_path / "short.bin").write_bytes(native.tobytes()[:-1])
    with pytest.raises(LabelError, match="335 bytes do not fit .* 336 voxels"):
        read_label(tmp_path / "short.bin", geometry, NAMES)


@pytest.fixture
def picture(tmp_path):
    Image.fromarray(np.arange(35, dtype=np.uint8).reshape(5, 7)).save(tmp_path / "image.png")
    return load_volume(tmp_path / "image.png")


def test_png_labels(tmp_path, picture):
    values = np.arange(35, dtype=np.uint8).reshape(5, 7) % 3
    Image.fromarray(values).save(tmp_path / "grey.png")
    palette = Image.fromarray(values, mode="P")
    palette.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0])
    palette.save(tmp_path / "palette.png")
    Image.fromarray(np.repeat(values[..., None], 3, 2)).save(tmp_path / "rgb.png")
    for name in ("grey", "palette", "rgb"):
        masks = read_label(tmp_path / f"{name}.png", picture.geometry, {1: "a", 2: "b"})
        np.testing.assert_array_equal(masks["a"][0], values == 1)
        np.testing.assert_array_equal(masks["b"][0], values == 2)
    palette.convert("RGB").save(tmp_path / "colour.png")
    with pytest.raises(LabelError, match="in colour"):
        read_label(tmp_path / "colour.png", picture.geometry, {1: "a", 2: "b"})
    Image.fromarray(values[:-1]).save(tmp_path / "small.png")
    with pytest.raises(LabelError, match="does not fit"):
        read_label(tmp_path / "small.png", picture.geometry, {1: "a", 2: "b"})


@pytest.mark.parametrize("ending", [".png", ".jpg"])
def test_black_and_white_masks_are_the_only_class(tmp_path, picture, ending):
    mask = np.zeros((5, 7), bool)
    mask[1:4, 2:6] = True
    Image.fromarray(mask.astype(np.uint8) * 255).save(tmp_path / f"a{ending}", quality=95)
    for hints in ({"names": {1: "lung"}}, {"label_info": [{"name": "lung", "idx": 1}]}):
        np.testing.assert_array_equal(read_label(tmp_path / f"a{ending}", picture.geometry, **hints)["lung"][0], mask)
    with pytest.raises(LabelError, match="255 have no name"):
        read_label(tmp_path / f"a{ending}", picture.geometry, {1: "lung", 2: "heart"})


def test_a_png_label_fits_a_flat_volume_of_any_format(tmp_path):
    geometry = geometry_for((1, 7, 5), np.diag([2.0, 1.0, 1.0, 1.0]))  # sagittal
    labelmap = (np.arange(35).reshape(geometry.slices_shape) % 3).astype(np.uint8)
    save_labelmap(tmp_path / "a.png", labelmap, geometry, {})
    masks = read_label(tmp_path / "a.png", geometry, {1: "a", 2: "b"})
    np.testing.assert_array_equal(masks["b"], labelmap == 2)


def test_segmentation_with_layers(tmp_path, geometry, native):
    array = np.zeros((2, *SHAPE), np.uint8)
    array[0][native == 1], array[0][native == 2] = 1, 2
    array[1][native == 3] = 1
    array[1, 1:3, 1:3, 1:3] = 2  # overlaps the liver
    segments = [
        {"Name": "liver", "LabelValue": 1, "Layer": 0},
        {"Name": "tumour é", "LabelValue": 2, "Layer": 1},
        {"Name": "left kidney", "LabelValue": 1, "Layer": 1},
        {"Name": "spleen", "LabelValue": 2, "Layer": 0},
        {"Name": "never drawn", "LabelValue": 3, "Layer": 0},
        {"Name": "background_scribbles", "LabelValue": 4, "Layer": 0},
    ]
    array[0, 0, 0, 0] = 4
    path = seg_nrrd(tmp_path / "a.seg.nrrd", array, [s | {"Name": s["Name"].replace("é", "@")} for s in segments])
    path.write_bytes(path.read_bytes().replace(b"tumour @", "tumour é".encode()))
    # the file's own names win over what else is sent
    masks = read_label(path, geometry, {1: "wrong"}, [{"name": "wrong", "idx": 1}])
    assert set(masks) == {"liver", "spleen", "left kidney", "tumour é"}
    for value, name in NAMES.items():
        np.testing.assert_array_equal(geometry.to_native(masks[name]), native == value)
    np.testing.assert_array_equal(geometry.to_native(masks["tumour é"]), array[1] == 2)


def test_old_segmentations_with_a_layer_for_each_segment(tmp_path, geometry, native):
    array = np.stack([native == 1, native == 2]).astype(np.uint8)
    path = seg_nrrd(tmp_path / "a.seg.nrrd", array, [{"ID": "liver", "Name": "liver"}, {"ID": "spleen"}])
    check(read_label(path, geometry), geometry, native, {1: "liver", 2: "spleen"})


def test_segmentation_cropped_and_in_ras(tmp_path, geometry, native):
    affine = AFFINE.copy()
    affine[:3, 3] = (AFFINE @ [1, 1, 1, 1])[:3]
    segments = [{"Name": name, "LabelValue": value, "Layer": 0} for value, name in NAMES.items()]
    path = seg_nrrd(tmp_path / "a.seg.nrrd", native[1:7, 1:6, 1:5], segments, affine, "right-anterior-superior")
    check(read_label(path, geometry), geometry, native)


def test_two_segments_of_one_name_are_one_class(tmp_path, geometry, native):
    segments = [{"Name": "liver", "LabelValue": 1}, {"Name": "liver", "LabelValue": 2}, {"Name": "x", "LabelValue": 3}]
    masks = read_label(seg_nrrd(tmp_path / "a.seg.nrrd", native, segments), geometry)
    np.testing.assert_array_equal(geometry.to_native(masks["liver"]), (native == 1) | (native == 2))


def test_segmentation_with_unnamed_values_or_nothing_in_it(tmp_path, geometry, native):
    with pytest.raises(LabelError, match="values 2, 3 have no name in the file's own segments"):
        read_label(seg_nrrd(tmp_path / "a.seg.nrrd", native, [{"Name": "liver", "LabelValue": 1}]), geometry)
    # Slicer writes a segmentation without a drawn voxel as one voxel
    path = seg_nrrd(tmp_path / "b.seg.nrrd", np.zeros((1, 1, 1), np.uint8), [{"Name": "liver", "LabelValue": 1}])
    with pytest.raises(LabelError, match="empty"):
        read_label(path, geometry)


def drawn(tmp_path, *values):
    labelmap = np.zeros(SHAPE, np.uint8)
    for n, value in enumerate(values):
        labelmap[n] = value
    return nifti(tmp_path / "a.nii.gz", labelmap)


def info_of(*entries):
    return [{"name": name, "idx": idx} for name, idx in entries]


@pytest.mark.parametrize(
    ("values", "info", "names", "expected"),
    [
        # idx is the value
        ((1, 2), info_of(("a", 1), ("b", 2)), None, {1: "a", 2: "b"}),
        ((2,), info_of(("a", 1), ("b", 2), ("c", 3)), None, {2: "b"}),
        ((5, 9), info_of(("a", 9), ("b", 5)), None, {9: "a", 5: "b"}),
        ((2,), info_of(("b", 2)), None, {2: "b"}),
        # Slicer skipped its background segment: idx 2, 3, 4 for the values 1, 2, 3
        ((1, 2, 3), info_of(("a", 2), ("b", 3), ("c", 4)), None, {1: "a", 2: "b", 3: "c"}),
        ((1, 3), info_of(("a", 2), ("b", 3), ("c", 4)), None, {1: "a", 3: "c"}),
        # both would do: the task's classes tell
        ((2,), info_of(("liver", 2), ("spleen", 3)), {1: "Liver", 2: "Spleen"}, {2: "spleen"}),
        ((2,), info_of(("spleen", 2), ("kidney", 3)), {1: "Liver", 2: "Spleen"}, {2: "spleen"}),
        # without idx, with background, with blanks
        ((1, 2), [{"name": " a "}, {"name": "b"}], None, {1: "a", 2: "b"}),
        ((1,), info_of(("background", 0), ("a", 1)), None, {1: "a"}),
        ((1, 2), info_of(("background", 1), ("a", 2)), None, {2: "a"}),
        # no label_info
        ((2,), None, {1: "a", 2: "b"}, {2: "b"}),
        ((2,), [], {1: "a", 2: "b"}, {2: "b"}),
    ],
)
def test_values_get_their_names(tmp_path, geometry, values, info, names, expected):
    masks = read_label(drawn(tmp_path, *values), geometry, names, info)
    assert set(masks) == set(expected.values())
    for value, name in expected.items():
        np.testing.assert_array_equal(geometry.to_native(masks[name])[:, 0, 0].nonzero()[0], [values.index(value)])


@pytest.mark.parametrize(
    ("values", "info", "names", "told"),
    [
        ((1, 4), info_of(("a", 1), ("b", 2)), None, "values 4 have no name in the names that came with it"),
        ((1, 4), None, {1: "a"}, "values 4 have no name in the class list"),
        ((1,), None, None, "values 1 have no name in the class list"),
        ((1,), info_of(("  ", 1)), None, "values 1 have no name"),
        ((1,), [{"idx": 1}], None, "must be a list of"),
        ((1,), info_of(("a", "one")), None, "must be a list of"),
        ((1,), ["a"], None, "must be a list of"),
        # either reading is possible, and nothing tells: never guess whose mask it is
        ((2,), info_of(("a", 2), ("b", 3)), None, "value 2 may be 'a' .* or 'b'"),
    ],
)
def test_values_without_a_certain_name_are_refused(tmp_path, geometry, values, info, names, told):
    with pytest.raises(LabelError, match=told):
        read_label(drawn(tmp_path, *values), geometry, names, info)


def test_raw_bytes_hold_idx_as_value(tmp_path, geometry):
    labelmap = np.zeros(SHAPE, np.uint8)
    labelmap[0] = 2
    (tmp_path / "label.bin").write_bytes(labelmap.tobytes(order="F"))
    assert list(read_label(tmp_path / "label.bin", geometry, label_info=info_of(("a", 2), ("b", 3)))) == ["a"]


def test_classes_that_a_program_kept_as_scaled_whole_numbers_are_read(tmp_path, geometry, native):
    header = nib.Nifti1Header()
    header.set_data_dtype(np.int16)
    native = np.minimum(native, 2)
    nib.save(nib.Nifti1Image(native.astype(float), geometry.affine, header), tmp_path / "scaled.nii.gz")
    kept = nib.load(tmp_path / "scaled.nii.gz").get_fdata(dtype=np.float32)
    assert (kept != np.rint(kept)).any()  # 1.0000153 in place of 1
    whole = tmp_path / "whole.nii.gz"
    nifti(whole, native.astype(np.uint8))
    found, expected = (read_label(file, geometry, NAMES) for file in (tmp_path / "scaled.nii.gz", whole))
    assert found.keys() == expected.keys()
    for name, mask in expected.items():
        np.testing.assert_array_equal(found[name], mask)


def test_refusals_name_the_file_and_the_way_out(tmp_path, geometry, native):
    def refused(name, told):
        with pytest.raises(LabelError, match=told) as caught:
            read_label(tmp_path / name, geometry, NAMES)
        assert name in str(caught.value)

    refused("missing.nii.gz", "no such label")
    (tmp_path / "none.nii.gz").touch()
    refused("none.nii.gz", "file is empty")
    for name in ("junk.nii.gz", "junk.nrrd", "junk.seg.nrrd", "junk.png", "junk.mha"):
        (tmp_path / name).write_bytes(b"junk" * 99)
        refused(name, "cannot be read")
    (tmp_path / "notes.txt").write_text("hello")
    refused("notes.txt", "supported kind")
    (tmp_path / "seg.dcm").write_bytes(b"\0" * 128 + b"DICM")
    refused("seg.dcm", "DICOM labels cannot be read")
    (tmp_path / "1.2.3").write_bytes(b"\0" * 128 + b"DICM")
    refused("1.2.3", "DICOM labels cannot be read")
    refused(".", "DICOM labels cannot be read")
    nifti(tmp_path / "blank.nii.gz", native * 0)
    refused("blank.nii.gz", "the label is empty")
    nifti(tmp_path / "soft.nii.gz", native * np.float32(0.5))
    refused("soft.nii.gz", "not whole numbers")
    nifti(tmp_path / "negative.nii.gz", native.astype(np.int16) - 1)
    refused("negative.nii.gz", "run from -1 to 2")
    nifti(tmp_path / "nan.nii.gz", np.where(native == 1, np.nan, 1).astype(np.float32))
    refused("nan.nii.gz", "run from nan to nan")
    nifti(tmp_path / "stack.nii.gz", np.stack([native] * 2, -1))
    refused("stack.nii.gz", "several values a voxel")


@settings(max_examples=200, deadline=None)
@given(
    data=st.binary(min_size=1, max_size=600),
    ending=st.sampled_from([".nii", ".nii.gz", ".nrrd", ".seg.nrrd", ".mha", ".png", ".bin", ".jpg"]),
    info=st.none()
    | st.lists(st.dictionaries(st.sampled_from(["name", "idx"]), st.text() | st.integers() | st.none()), max_size=3),
)
def test_no_bytes_crash_the_reader(tmp_path_factory, data, ending, info):
    path = tmp_path_factory.mktemp("fuzz") / f"a{ending}"
    magic = {".nrrd": b"NRRD0004\n", ".seg.nrrd": b"NRRD0004\ntype: uchar\ndimension: 3\nsizes: 2 2 2\nencoding: raw\n"}
    path.write_bytes(magic.get(ending, b"") + data)
    told = str(path)
    try:
        read_label(path, geometry_for(SHAPE, AFFINE), NAMES, info)
    except FewSAMError as error:
        told = str(error)
    assert str(path) in told
    shutil.rmtree(path.parent)


@needs_shared
@pytest.mark.parametrize(
    ("image", "label", "values"),
    [
        ("ts_ct_abdomen/example_ct_sm", "ts_ct_abdomen/example_seg", {5: "liver", 52: "aorta"}),
        ("ts_mr_abdomen/example_mr_sm", "ts_mr_abdomen/example_seg_mr", {5: "liver", 23: "aorta"}),
        ("ts_ct_abdomen/example_ct", "ts_ct_abdomen/spine_report_totalseg", {31: "L1"}),
    ],
)
def test_real_labels_of_real_images(image, label, values):
    volume = load_volume(SHARED / f"{image}.nii.gz")
    stored = np.asarray(nib.load(SHARED / f"{label}.nii.gz").dataobj)
    names = {int(value): values.get(int(value), f"class {value}") for value in np.unique(stored) if value}
    masks = read_label(SHARED / f"{label}.nii.gz", volume.geometry, names)
    assert len(masks) == len(names)
    for value, name in values.items():
        np.testing.assert_array_equal(volume.geometry.to_native(masks[name]), stored == value)


def test_a_structure_that_is_called_as_slicers_helper_is_no_helper(tmp_path, geometry, native):
    file = nifti(tmp_path / "label.nii.gz", (native > 0).astype(np.uint8))
    info = [{"name": "Background", "idx": 1}]
    with pytest.raises(EmptyLabelError):
        read_label(file, geometry, {1: "liver"}, info)
    assert list(read_label(file, geometry, {1: "liver", 2: "background"}, info)) == ["Background"]
