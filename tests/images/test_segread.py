"""DICOM SEG of other tools: each frame on its slice, whatever the file leaves out."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import highdicom
import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes

from fewsam.core.errors import LabelError
from fewsam.images.dicomseg import read_seg
from fewsam.images.volume import Volume, load_volume
from helpers.dicom_series import Slice, write_series

COUNT, ROWS, COLUMNS = 9, 8, 10


def scan(folder: Path, heights: list[float] | None = None) -> tuple[Volume, list[Dataset]]:
    """An axial series with gaps, and its headers by height: `masks` are made in their order."""
    heights = heights or [3.0 * k for k in range(COUNT + 1) if k != 4]
    rng = np.random.default_rng(0)
    slices = [Slice(rng.integers(0, 4000, (ROWS, COLUMNS)), (-15.0, -20.0, z)) for z in heights]
    write_series(folder, slices, SliceThickness="3")
    sources = sorted((pydicom.dcmread(f) for f in folder.iterdir()), key=lambda d: float(d.ImagePositionPatient[2]))
    for source in sources:
        source.PatientBirthDate = source.AccessionNumber = source.StudyID = source.StudyTime = ""
    return load_volume(folder, axis="2"), sources


def masks() -> dict[str, np.ndarray]:
    """(slices, rows, columns) on the sources; they overlap, one has a gap."""
    liver, spleen = np.zeros((2, COUNT, ROWS, COLUMNS), bool)
    liver[1:4, 2:5, 3:9] = liver[7, 0, 0] = True
    spleen[3:6, 4:7, 1:5] = True
    return {"liver": liver, "spleen": spleen}


def canonical(image: Volume, drawn: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: image.geometry.to_slices(mask.transpose(2, 1, 0)) for name, mask in drawn.items()}


def write(path: Path, sources: list[Dataset], drawn: dict[str, np.ndarray], kind: str = "BINARY") -> Dataset:
    """By highdicom, as TotalSegmentator does: the series, and a mask of its shape."""
    algorithm = highdicom.AlgorithmIdentificationSequence("other", codes.DCM.ArtificialIntelligence, "1")
    data = highdicom.seg.Segmentation(
        source_images=sources,
        pixel_array=np.stack(list(drawn.values()), -1).astype(np.uint8 if kind == "BINARY" else np.float32),
        segmentation_type=kind,
        segment_descriptions=[
            highdicom.seg.SegmentDescription(n, name, codes.SCT.Organ, codes.SCT.Organ, "AUTOMATIC", algorithm)
            for n, name in enumerate(drawn, 1)
        ],
        series_instance_uid=highdicom.UID(),
        series_number=9,
        sop_instance_uid=highdicom.UID(),
        instance_number=1,
        manufacturer="other",
        manufacturer_model_name="other",
        software_versions="1",
        device_serial_number="1",
    )
    data.save_as(path)
    return pydicom.dcmread(path)


def without_measures(data: Dataset) -> None:
    measures = data.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    for keyword in ("SliceThickness", "SpacingBetweenSlices"):
        if keyword in measures:
            del measures[keyword]


def wrong_spacing(data: Dataset) -> None:
    data.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].SpacingBetweenSlices = "1"


def numbers_with_a_gap(data: Dataset) -> None:
    data.SegmentSequence[1].SegmentNumber = 7
    for group in data.PerFrameFunctionalGroupsSequence:
        item = group.SegmentIdentificationSequence[0]
        item.ReferencedSegmentNumber = {1: 1, 2: 7}[item.ReferencedSegmentNumber]


def no_algorithm(data: Dataset) -> None:
    for item in data.SegmentSequence:
        del item.SegmentAlgorithmType


def no_references(data: Dataset) -> None:
    del data.ReferencedSeriesSequence
    for group in data.PerFrameFunctionalGroupsSequence:
        del group.DerivationImageSequence


def no_places(data: Dataset) -> None:
    del data.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence
    for group in data.PerFrameFunctionalGroupsSequence:
        del group.PlanePositionSequence


@pytest.mark.parametrize(
    "change", [without_measures, wrong_spacing, numbers_with_a_gap, no_algorithm, no_references, no_places]
)
def test_what_tools_leave_out_or_get_wrong_moves_nothing(tmp_path: Path, change: Callable[[Dataset], None]) -> None:
    image, sources = scan(tmp_path / "scan")
    data = write(tmp_path / "seg.dcm", sources, masks())
    change(data)
    data.save_as(tmp_path / "seg.dcm")
    back = read_seg(tmp_path / "seg.dcm", image.geometry)
    wanted = canonical(image, masks())
    assert set(back) == set(wanted)
    for name, mask in wanted.items():
        assert np.array_equal(back[name], mask), name


def test_fractional_segments_count_from_one_half_and_that_is_said(tmp_path: Path) -> None:
    image, sources = scan(tmp_path / "scan")
    soft = {"liver": masks()["liver"] * 0.9}
    soft["liver"][5, 1:3, 1:3] = 0.2
    write(tmp_path / "seg.dcm", sources, soft, "FRACTIONAL")
    notes: list[str] = []
    back = read_seg(tmp_path / "seg.dcm", image.geometry, notes)
    assert np.array_equal(back["liver"], canonical(image, {"liver": masks()["liver"]})["liver"])
    assert notes == ["its segments are fractional; a voxel belongs to one from 0.5 on"]


@pytest.mark.parametrize("extra", [[], ["--usePalette"], ["--force16Bit"], ["--compress", "rle"]])
def test_label_maps_of_dcmqi(tmp_path: Path, extra: list[str]) -> None:
    image, sources = scan(tmp_path / "scan", [3.0 * k for k in range(COUNT)])
    drawn = masks()
    drawn["liver"] &= ~drawn["spleen"]
    write(tmp_path / "binary.dcm", sources, drawn)
    tool = shutil.which("bin2labelsegimage", path=str(Path(sys.executable).parent))
    assert tool is not None
    files = ["--inputDICOM", str(tmp_path / "binary.dcm"), "--outputDICOM", str(tmp_path / "seg.dcm")]
    subprocess.run([tool, *files, *extra], check=True, capture_output=True)
    back = read_seg(tmp_path / "seg.dcm", image.geometry)
    wanted = canonical(image, drawn)
    assert set(back) == set(wanted)
    for name, mask in wanted.items():
        assert np.array_equal(back[name], mask), name


def test_thick_planes_of_another_reconstruction_cover_all_slices_between(tmp_path: Path) -> None:
    image, _ = scan(tmp_path / "thin", [2.0 * k for k in range(COUNT)])
    _, thick = scan(tmp_path / "thick", [1.0 + 6.0 * k for k in range(3)])
    for source in thick:
        source.SOPInstanceUID = highdicom.UID()
        source.SliceThickness = "6"
    drawn = np.zeros((3, ROWS, COLUMNS), bool)
    drawn[1, 2:4, 5:8] = True  # at 7 mm, from 4 to 10
    write(tmp_path / "seg.dcm", thick, {"liver": drawn})
    back = read_seg(tmp_path / "seg.dcm", image.geometry)["liver"]
    native = image.geometry.to_native(back)
    assert np.flatnonzero(native.any(axis=(0, 1))).tolist() == [2, 3, 4, 5]
    for k in (2, 3, 4, 5):
        assert np.array_equal(native[:, :, k].T, drawn[1])


def test_a_segmentation_of_another_image_is_refused(tmp_path: Path) -> None:
    image, _ = scan(tmp_path / "scan")
    _, elsewhere = scan(tmp_path / "elsewhere", [500.0 + 3.0 * k for k in range(COUNT)])
    write(tmp_path / "seg.dcm", elsewhere, masks())
    with pytest.raises(LabelError, match="'liver' lies outside the image"):
        read_seg(tmp_path / "seg.dcm", image.geometry)


def test_a_frame_of_no_segment_and_a_cut_file_are_refused(tmp_path: Path) -> None:
    image, sources = scan(tmp_path / "scan")
    data = write(tmp_path / "seg.dcm", sources, masks())
    data.PixelData = data.PixelData[: len(data.PixelData) // 2]
    data.save_as(tmp_path / "cut.dcm")
    with pytest.raises(LabelError, match=r"cut\.dcm"):
        read_seg(tmp_path / "cut.dcm", image.geometry)
    data = pydicom.dcmread(tmp_path / "seg.dcm")
    del data.PerFrameFunctionalGroupsSequence[1].SegmentIdentificationSequence
    data.save_as(tmp_path / "nameless.dcm")
    with pytest.raises(LabelError, match="frame 2 does not say of which segment"):
        read_seg(tmp_path / "nameless.dcm", image.geometry)
