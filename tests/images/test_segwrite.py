"""DICOM SEG for images of every kind: highdicom reads each mask on the image it was drawn on."""

from __future__ import annotations

from pathlib import Path

import highdicom
import numpy as np
import pydicom
import pytest

from fewsam.images.dicomseg import read_seg, write_seg
from fewsam.images.volume import load_volume
from helpers.dicom_series import (
    ULTRASOUND_CLIP,
    X_RAY,
    Slice,
    blank,
    set_pixels,
    write_multiframe,
    write_series,
)

ROWS, COLUMNS = 8, 10


def slices(heights: list[float], **more: object) -> list[Slice]:
    rng = np.random.default_rng(1)
    return [Slice(rng.integers(0, 4000, (ROWS, COLUMNS)), (-15.0, -20.0, z), **more) for z in heights]  # type: ignore[arg-type]


def drawn(folder: Path) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Masks of the image's middle slice, canonical, and the liver as native (i, j, k)."""
    geometry = load_volume(folder, axis="2").geometry
    native = np.zeros((2, *geometry.shape), bool)
    native[0, 1:4, 2:7, geometry.shape[2] // 2] = native[1, 5, 5, 0] = True
    return {"liver": geometry.to_slices(native[0]), "größe 3": geometry.to_slices(native[1])}, native[0]


def check(folder: Path, seg: Path) -> pydicom.Dataset:
    """Written, read back, and read by highdicom."""
    masks, _ = drawn(folder)
    geometry = load_volume(folder, axis="2").geometry
    write_seg(seg, masks, geometry, folder, annotator="Jörg", colours={"liver": (10, 200, 30)})
    back = read_seg(seg, geometry)
    assert set(back) == set(masks)
    for name, mask in masks.items():
        assert np.array_equal(back[name], mask), name
    assert highdicom.seg.segread(seg).number_of_segments == 2
    data = pydicom.dcmread(seg)
    assert str(data.ContentCreatorName) == "Jörg"
    assert [str(item.SegmentLabel) for item in data.SegmentSequence] == list(masks)
    assert data.SeriesDate == data.ContentDate != ""
    return data


def test_highdicom_finds_the_mask_on_each_image_of_a_series_with_gaps(tmp_path: Path) -> None:
    write_series(tmp_path / "ct", slices([0, 3, 6, 15, 18]))
    check(tmp_path / "ct", tmp_path / "seg.dcm")
    _, native = drawn(tmp_path / "ct")
    by_height = sorted(
        (pydicom.dcmread(f) for f in (tmp_path / "ct").iterdir()), key=lambda d: float(d.ImagePositionPatient[2])
    )
    found = highdicom.seg.segread(tmp_path / "seg.dcm").get_pixels_by_source_instance(
        [d.SOPInstanceUID for d in by_height], segment_numbers=[1], assert_missing_frames_are_empty=True
    )
    assert np.array_equal(found[..., 0] > 0, native.transpose(2, 1, 0))


def test_frames_of_a_multiframe_image_are_named(tmp_path: Path) -> None:
    write_multiframe(tmp_path / "ct" / "a.dcm", slices([6, 0, 12]))
    write_multiframe(tmp_path / "ct" / "b.dcm", slices([9, 3]))
    data = check(tmp_path / "ct", tmp_path / "seg.dcm")
    items = [g.DerivationImageSequence[0].SourceImageSequence[0] for g in data.PerFrameFunctionalGroupsSequence]
    a, b = (pydicom.dcmread(tmp_path / "ct" / name).SOPInstanceUID for name in ("a.dcm", "b.dcm"))
    # the liver at 6 mm is the first frame of a, the other structure at 0 mm the second
    assert [(i.ReferencedSOPInstanceUID, i.ReferencedFrameNumber) for i in items] == [(a, 1), (a, 2)]
    referenced = data.ReferencedSeriesSequence[0].ReferencedInstanceSequence
    assert {i.ReferencedSOPInstanceUID for i in referenced} == {a, b}


def test_x_ray_ultrasound_and_a_picture_get_theirs(tmp_path: Path) -> None:
    one = Slice(slices([0])[0].pixels, None)
    write_series(tmp_path / "dx", [one], X_RAY, "DX", ImagerPixelSpacing=["0.14", "0.14"])
    check(tmp_path / "dx", tmp_path / "dx.dcm")
    clip = blank(ULTRASOUND_CLIP, "US", NumberOfFrames=4, FrameTime=33)
    set_pixels(clip, np.random.default_rng(0).integers(0, 255, (4, ROWS, COLUMNS, 3)), bits=8)
    (tmp_path / "us").mkdir()
    clip.save_as(tmp_path / "us" / "clip.dcm", write_like_original=False)
    data = check(tmp_path / "us", tmp_path / "us.dcm")
    items = [g.DerivationImageSequence[0].SourceImageSequence[0] for g in data.PerFrameFunctionalGroupsSequence]
    assert [i.ReferencedFrameNumber for i in items] == [3, 1]


@pytest.mark.parametrize(
    ("header", "written"),
    [
        ({"PatientAge": "45"}, {}),
        ({"PatientSex": "Unknown"}, {"PatientSex": ""}),
        ({"StudyDate": "2024-01-01"}, {"StudyDate": ""}),
        ({"PatientID": "A" * 80}, {"PatientID": "A" * 80}),
        ({"SpecificCharacterSet": "ISO_IR 144", "PatientName": "Иванов^Иван"}, {"PatientName": "Иванов^Иван"}),
        ({"FrameOfReferenceUID": ""}, {"PatientID": "T1"}),
        ({"StudyInstanceUID": ""}, {"PatientID": "T1"}),
        ({"PatientBirthDate": "19700101"}, {"PatientBirthDate": "19700101"}),
    ],
)
def test_headers_that_break_rules_hold_up_no_label(
    tmp_path: Path, header: dict[str, object], written: dict[str, str]
) -> None:
    write_series(tmp_path / "ct", slices([0, 3, 6]), **header)
    data = check(tmp_path / "ct", tmp_path / "seg.dcm")
    for keyword, value in written.items():
        assert str(data[keyword].value) == value
    assert "PatientAge" not in data


def test_the_colour_is_the_one_asked_for(tmp_path: Path) -> None:
    write_series(tmp_path / "ct", slices([0, 3, 6]))
    data = check(tmp_path / "ct", tmp_path / "seg.dcm")
    light, green_red, blue_yellow = data.SegmentSequence[0].RecommendedDisplayCIELabValue
    lab = (light / 65535 * 100, green_red / 65535 * 255 - 128, blue_yellow / 65535 * 255 - 128)
    np.testing.assert_allclose(lab, (70.56, -65.01, 63.33), atol=0.5)  # of sRGB (10, 200, 30), by CIE's formulas


def test_names_that_dicom_would_part_or_cut_stay_apart(tmp_path: Path) -> None:
    write_series(tmp_path / "ct", slices([0, 3, 6]))
    geometry = load_volume(tmp_path / "ct").geometry
    names = ["left\\right", "x" * 70 + "1", "x" * 70 + "2"]
    masks = {name: np.zeros(geometry.slices_shape, bool) for name in names}
    for place, mask in enumerate(masks.values()):
        mask[1, place + 1, 2:4] = True
    write_seg(tmp_path / "seg.dcm", masks, geometry, tmp_path / "ct")
    back = read_seg(tmp_path / "seg.dcm", geometry)
    assert list(back) == ["left\\right", "x" * 64, "x" * 60 + " (2)"]
    for mask, read in zip(masks.values(), back.values(), strict=True):
        assert np.array_equal(mask, read)
