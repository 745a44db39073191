"""Several sequences of a study in a PACS as one image."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from fewsam.images.sequences import load_image
from fewsam.server.storage.pacs import Pacs
from fewsam.server.storage.pacs_datastore import PacsDatastore
from helpers.dicom_series import MR, Slice, write_series


class OneStudy(Pacs):
    """A PACS with a T1, a T2 and a scout of one study."""

    def __init__(self, folder: Path) -> None:
        super().__init__("http://127.0.0.1:9/dicom-web")
        self.folder, self.asked = folder, 0
        self.entries: dict[str, dict[str, str]] = {}
        for number, description in enumerate(("T1 axial", "T2 axial", "scout"), 1):
            uid = f"1.2.3.{number}"
            slices = [Slice(np.full((10, 12), number, np.uint16), (0, 0, 3.0 * k)) for k in range(3)]
            write_series(folder / uid, slices, MR, "MR", SeriesDescription=description, SeriesInstanceUID=uid)
            self.entries[uid] = {"StudyInstanceUID": "1.2.3.4", "Modality": "MR", "SeriesDescription": description}

    def series(self, fresh: bool = False) -> dict[str, dict[str, str]]:
        return self.entries

    known_series = series  # type: ignore[assignment]

    def download(self, study: str, series: str, folder: Path) -> None:
        self.asked += 1
        shutil.copytree(self.folder / series, folder)


@pytest.mark.parametrize("sequences", [(), ("T1", "T2")])
def test_the_first_is_listed_and_brings_the_others(tmp_path: Path, sequences: tuple[str, ...]) -> None:
    pacs = OneStudy(tmp_path / "pacs")
    datastore = PacsDatastore(pacs, tmp_path / "own", sequences)
    assert datastore.list_images() == (["1.2.3.1"] if sequences else ["1.2.3.1", "1.2.3.2", "1.2.3.3"])
    folder = datastore.image_folder("1.2.3.1")
    assert pacs.asked == max(1, len(sequences)), "the scout is not needed"
    voxel = load_image(folder, "2", sequences).slices[0, 5, 5]
    assert voxel.tolist() == ([1, 2, 1] if sequences else 1)
    for started in (datastore, PacsDatastore(pacs, tmp_path / "own", sequences)):
        assert started.downloaded() == {"1.2.3.1": str(folder)}, "the server knows after a restart what was opened"
    handed_out = Path(datastore.get_image_uri("1.2.3.1"))
    assert handed_out.stat().st_size and load_image(handed_out, "2").slices.max() == 1, "Slicer shows the first alone"


def test_what_is_no_longer_in_the_pacs_or_no_image_is_not_downloaded(tmp_path: Path) -> None:
    pacs = OneStudy(tmp_path / "pacs")
    datastore = PacsDatastore(pacs, tmp_path / "own")
    assert datastore.downloaded() == {}
    for uid in ("1.2.3.1", "1.2.3.2"):
        datastore.image_folder(uid)
    (tmp_path / "own" / "images" / ".part-x").mkdir()
    assert set(datastore.downloaded()) == {"1.2.3.1", "1.2.3.2"}
    del pacs.entries["1.2.3.1"]
    pacs.entries["1.2.3.2"]["Modality"] = "SEG"
    assert datastore.downloaded() == {}
