"""DICOM SEG: names, codes and geometry, whatever the order and the gaps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pydicom_seg
import pytest
import SimpleITK as sitk

from fewsam.core.errors import LabelError
from fewsam.images.dicomseg import code_of, read_seg, write_seg
from fewsam.images.volume import Volume, load_volume
from fewsam.synthetic.phantom import write_dataset
from helpers.highdicom_seg import write_other_seg


@pytest.fixture(scope="module")
def scan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scan")
    write_dataset(folder, patients=1, shape=(48, 38, 16))
    return folder / "dicom" / "mr-patient01"


@pytest.fixture(scope="module")
def image(scan: Path) -> Volume:
    return load_volume(scan, axis="2")


def blobs(image: Volume) -> dict[str, np.ndarray]:
    """Overlapping, with gaps between slices, in no order of anything."""
    masks = {name: np.zeros(image.slices.shape, bool) for name in ("spleen", "größe 3", "kidney_left")}
    masks["spleen"][3, 5:15, 20:30] = masks["spleen"][9, 4:9, 21:30] = True
    masks["größe 3"][9:12, 6:20, 25:40] = True
    masks["kidney_left"][15, 0, 0] = True
    return masks


def test_masks_come_back_by_name(scan: Path, image: Volume, tmp_path: Path) -> None:
    masks = blobs(image)
    write_seg(tmp_path / "seg.dcm", {**masks, "never drawn": np.zeros_like(masks["spleen"])}, image.geometry, scan)
    back = read_seg(tmp_path / "seg.dcm", image.geometry)
    assert set(back) == set(masks)
    for name, mask in masks.items():
        assert np.array_equal(back[name], mask)


def test_another_reader_sees_the_same_voxels_in_the_same_place(scan: Path, image: Volume, tmp_path: Path) -> None:
    masks = blobs(image)
    write_seg(tmp_path / "seg.dcm", masks, image.geometry, scan)
    data = pydicom.dcmread(tmp_path / "seg.dcm")
    result = pydicom_seg.SegmentReader().read(data)
    assert [str(item.SegmentLabel) for item in data.SegmentSequence] == list(masks)
    assert (
        data.ReferencedSeriesSequence[0].SeriesInstanceUID == pydicom.dcmread(scan / "slice001.dcm").SeriesInstanceUID
    )
    for number, mask in enumerate(masks.values(), start=1):
        segment = result.segment_image(number)
        voxels = sitk.GetArrayFromImage(segment)
        assert int(voxels.sum()) == int(mask.sum())
        z, row, col = np.argwhere(voxels)[0]
        world = np.array(segment.TransformIndexToPhysicalPoint([int(col), int(row), int(z)]))
        index = np.linalg.inv(image.geometry.affine) @ [-world[0], -world[1], world[2], 1]
        assert mask[image.geometry.canonical_index(*np.rint(index[:3]).astype(int))]


def test_a_seg_on_a_coarser_grid_is_resampled(scan: Path, image: Volume, tmp_path: Path) -> None:
    coarse = tmp_path / "coarse"
    coarse.mkdir()
    for file in sorted(scan.glob("*.dcm")):  # every second row and column: pixels twice as large
        data = pydicom.dcmread(file)
        pixels = data.pixel_array[::2, ::2]
        data.Rows, data.Columns = pixels.shape
        spacing = [float(v) for v in data.PixelSpacing]
        data.PixelSpacing = [2 * v for v in spacing]
        corner = [float(v) for v in data.ImagePositionPatient]
        data.ImagePositionPatient = [corner[0] + spacing[1] / 2, corner[1] + spacing[0] / 2, corner[2]]
        data.PixelData = pixels.tobytes()
        data.save_as(coarse / file.name)
    small = load_volume(coarse, axis="2")
    mask = np.zeros(small.slices.shape, bool)
    mask[4:8, 3:9, 5:12] = True
    write_seg(tmp_path / "seg.dcm", {"liver": mask}, small.geometry, coarse)
    wanted = np.zeros(image.slices.shape, bool)
    wanted[4:8, 6:18, 10:24] = True
    assert np.array_equal(read_seg(tmp_path / "seg.dcm", image.geometry)["liver"], wanted)


def test_a_seg_of_another_tool_on_a_flipped_and_cropped_grid_is_read(scan: Path, image: Volume, tmp_path: Path) -> None:
    masks = blobs(image)
    masks["kidney_left"][12, 10, 4:9] = True
    rows = slice(4, 30)
    inside = np.zeros(image.slices.shape, bool)
    inside[:, rows] = True
    if image.geometry.flips[1]:
        inside = inside[:, ::-1]
    wanted = {name: mask & inside for name, mask in masks.items()}
    order = ["kidney_left", "spleen", "größe 3"]
    write_other_seg(tmp_path / "seg.dcm", {name: masks[name] for name in order}, image, scan, rows=rows)
    back = read_seg(tmp_path / "seg.dcm", image.geometry)
    assert set(back) == set(masks)
    assert (wanted["spleen"] & wanted["größe 3"]).any()  # they overlap
    for name in masks:
        assert np.array_equal(back[name], wanted[name]), name


@pytest.mark.parametrize(
    ("name", "value", "scheme", "side"),
    [
        ("liver", "10200004", "SCT", None),
        ("Kidney_Left", "64033007", "SCT", "7771000"),
        ("kidney right", "64033007", "SCT", "24028007"),
        ("left_atrium", "82471001", "SCT", None),
        ("vertebrae", "51282000", "SCT", None),
        ("my own thing of great length", "my_own_thing_of_", "99FEWSAM", None),
    ],
)
def test_codes(name: str, value: str, scheme: str, side: str | None) -> None:
    code = code_of(name)
    assert code["SegmentedPropertyTypeCodeSequence"]["CodeValue"] == value
    assert code["SegmentedPropertyTypeCodeSequence"]["CodingSchemeDesignator"] == scheme
    assert code.get("SegmentedPropertyTypeModifierCodeSequence", {}).get("CodeValue") == side


def test_what_is_no_segmentation_is_refused(scan: Path, image: Volume, tmp_path: Path) -> None:
    with pytest.raises(LabelError, match="at least one voxel"):
        write_seg(tmp_path / "seg.dcm", {"liver": np.zeros(image.slices.shape, bool)}, image.geometry, scan)
    (tmp_path / "text.dcm").write_text("no DICOM")
    with pytest.raises(LabelError, match="not a DICOM SEG"):
        read_seg(tmp_path / "text.dcm", image.geometry)
    with pytest.raises(LabelError, match="is no DICOM SEG"):
        read_seg(scan / "slice001.dcm", image.geometry)
