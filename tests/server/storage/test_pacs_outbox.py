"""What waits for the PACS, and what is known of it while it is away or refuses."""

from __future__ import annotations

from pathlib import Path

import pydicom
import pytest

from fewsam.server.background.pacs_watch import PacsWatch
from fewsam.server.errors import PacsError, RefusedError
from fewsam.server.storage.pacs import Outbox, Pacs
from fewsam.server.storage.pacs_datastore import PacsDatastore
from fewsam.server.tasks.labels import LabelIntake
from helpers.server_harness import workspace_of

NOWHERE = "http://127.0.0.1:9/dicom-web"


def test_series_are_known_over_a_restart_while_the_pacs_is_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = {"StudyInstanceUID": "1.2", "SeriesInstanceUID": "1.2.3", "Modality": "CT"}
    there = PacsDatastore(Pacs(NOWHERE), tmp_path)
    monkeypatch.setattr(there.pacs, "series", lambda fresh=False: {"1.2.3": entry})
    assert there.list_images() == ["1.2.3"]
    away = PacsDatastore(Pacs(NOWHERE), tmp_path)
    assert away.list_images() == ["1.2.3"] and "does not answer" in away.problem
    assert away.get_image_info("1.2.3")["StudyInstanceUID"] == "1.2"
    with pytest.raises(PacsError):
        away.image_folder("1.2.3")  # it was never downloaded
    (tmp_path / "images" / "1.2.3").mkdir(parents=True)
    (tmp_path / "images" / "1.2.3" / "00000.dcm").write_bytes(b"x")
    assert away.image_folder("1.2.3").is_dir()


def write_dicom(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    whole = pydicom.Dataset()
    whole.SOPClassUID, whole.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.66.4", "1.2.3"
    whole.file_meta = pydicom.dataset.FileMetaDataset()
    whole.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    whole.save_as(path, write_like_original=False)


def test_what_the_pacs_refuses_holds_up_no_label_of_other_tools(tmp_path: Path) -> None:
    looked: list[str] = []

    class Refusing(Pacs):
        def series(self, fresh: bool = False) -> dict[str, dict[str, str]]:
            return {"1.2.9": {"Modality": "SEG", "StudyInstanceUID": "1.2", "NumberOfSeriesRelatedInstances": "1"}}

        def instances(self, study: str, series: str) -> list[pydicom.Dataset]:
            looked.append(series)
            return []

        def store(self, file: Path) -> None:
            raise RefusedError("the PACS refused to store the segmentation")

    datastore = PacsDatastore(Refusing(NOWHERE), tmp_path / "pacs")
    write_dicom(datastore.outbox.folder / "1.dcm")
    watch = PacsWatch(datastore, LabelIntake(workspace_of(tmp_path)))
    with pytest.raises(PacsError, match="refused"):
        watch.scan()
    assert looked == ["1.2.9"] and len(datastore.outbox.waiting()) == 1


def test_one_that_the_pacs_refuses_holds_up_no_other_and_one_that_is_away_is_asked_once(tmp_path: Path) -> None:
    asked: list[str] = []

    class Choosy(Pacs):
        away = False

        def store(self, file: Path) -> None:
            asked.append(file.name)
            if self.away:
                raise PacsError("the PACS does not answer")
            if file.name == "1.dcm":
                raise RefusedError("the PACS refused to store the segmentation")

    pacs = Choosy(NOWHERE)
    outbox = Outbox(tmp_path, pacs, lambda uid: None)
    for name in ("1.dcm", "2.dcm", "3.dcm"):
        write_dicom(tmp_path / name)
    with pytest.raises(RefusedError, match="refused"):
        outbox.send()
    assert asked == ["1.dcm", "2.dcm", "3.dcm"] and [path.name for path in outbox.waiting()] == ["1.dcm"]
    write_dicom(tmp_path / "4.dcm")
    asked.clear()
    pacs.away = True
    with pytest.raises(PacsError, match="does not answer"):
        outbox.send()
    assert asked == ["1.dcm"] and len(outbox.waiting()) == 2


def test_a_damaged_file_in_the_outbox_holds_up_no_other(tmp_path: Path) -> None:
    """What stood there once was answered with 500 for each further label, which was stored all the same."""
    sent: list[str] = []

    class Taking(Pacs):
        def store(self, file: Path) -> None:
            sent.append(file.name)

    outbox = Outbox(tmp_path, Taking(NOWHERE), lambda uid: None)
    (tmp_path / "1.dcm").write_bytes(b"half of a file")
    (tmp_path / "2.dcm").write_bytes(b"")
    write_dicom(tmp_path / "3.dcm")
    outbox.send()
    assert sent == ["3.dcm"] and outbox.waiting() == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1.dcm.damaged", "2.dcm.damaged"]
