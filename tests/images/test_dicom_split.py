"""A time series becomes one series for each of its images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest

from fewsam.core.errors import ImageError, StorageError
from fewsam.images.dicom_split import split_series
from fewsam.images.volume import load_volume
from helpers.dicom_series import Slice, write_series


def cine(folder: Path, keyword: str = "TriggerTime") -> Path:
    """Three phases of four slices; the value of a pixel says which."""
    return write_series(
        folder,
        [
            Slice(np.full((2, 4), 10 * phase + z), (0, 0, z), extra={keyword: str(phase * 40), "EchoTime": "2"})
            for z in range(4)
            for phase in range(3)
        ],
    )


@pytest.mark.parametrize("keyword", ["TriggerTime", "AcquisitionNumber", "TemporalPositionIdentifier"])
def test_each_phase_is_an_image_of_its_own(tmp_path: Path, keyword: str) -> None:
    folder = cine(tmp_path / "cine", keyword)
    with pytest.raises(ImageError, match=rf"told apart by {keyword}.*fewsam split"):
        load_volume(folder)
    folders = split_series(folder, tmp_path / "phases")
    assert [load_volume(one).slices[:, 0, 0].tolist() for one in folders] == [
        [10 * phase + z for z in range(4)] for phase in range(3)
    ]
    headers = [pydicom.dcmread(next(one.iterdir())) for one in folders]
    assert len({h.SeriesInstanceUID for h in headers}) == 3
    assert len({h.StudyInstanceUID for h in headers}) == 1
    assert headers[1].SeriesDescription == f"{keyword} 40"
    again = split_series(folder, tmp_path / "again")
    assert [sorted(pydicom.dcmread(f).SOPInstanceUID for f in one.iterdir()) for one in again] == [
        sorted(pydicom.dcmread(f).SOPInstanceUID for f in one.iterdir()) for one in folders
    ]


def test_one_image_and_a_folder_that_is_there_are_refused(tmp_path: Path) -> None:
    one = write_series(tmp_path / "ct", [Slice(np.ones((2, 2)), (0, 0, z)) for z in range(3)])
    with pytest.raises(ImageError, match="nothing to split"):
        split_series(one, tmp_path / "out")
    (tmp_path / "out").mkdir()
    with pytest.raises(StorageError, match="is there already"):
        split_series(cine(tmp_path / "cine"), tmp_path / "out")
