"""Labels of other tools are taken from the PACS, and none holds up another."""

from __future__ import annotations

from pathlib import Path

import pydicom
import pytest

from fewsam.server.background.pacs_watch import PacsWatch
from fewsam.server.errors import PacsError, RefusedError, UnreadableError
from fewsam.server.storage.pacs import Pacs
from fewsam.server.storage.pacs_datastore import PacsDatastore
from fewsam.server.tasks.labels import LabelIntake
from helpers.pacs_stand_in import NOWHERE, write_dicom
from helpers.server_harness import workspace_of


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


def seg_header(series: str, time: str) -> pydicom.Dataset:
    header = pydicom.Dataset()
    header.SOPInstanceUID, header.SeriesInstanceUID, header.StudyInstanceUID = f"{series}.1", series, "1.2"
    header.ContentDate, header.ContentTime = "20240102", time
    return header


class Segs(Pacs):
    """A PACS with these SEG series, in this order."""

    def __init__(self, *headers: pydicom.Dataset) -> None:
        super().__init__(NOWHERE)
        self.headers = {str(header.SeriesInstanceUID): header for header in headers}

    def series(self, fresh: bool = False) -> dict[str, dict[str, str]]:
        entry = {"Modality": "SEG", "StudyInstanceUID": "1.2", "NumberOfSeriesRelatedInstances": "1"}
        return dict.fromkeys(self.headers, entry)

    def instances(self, study: str, series: str) -> list[pydicom.Dataset]:
        return [self.headers[series]]


def test_labels_of_other_tools_are_taken_in_the_order_in_which_they_were_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pacs = Segs(seg_header("1.2.9", "120000.5"), seg_header("1.2.7", "110000"), seg_header("1.2.8", "120000.25"))
    watch = PacsWatch(PacsDatastore(pacs, tmp_path / "pacs"), LabelIntake(workspace_of(tmp_path)))
    looked: list[str] = []

    def look(header: pydicom.Dataset, count: str) -> bool:
        looked.append(str(header.SeriesInstanceUID))
        return True

    monkeypatch.setattr(watch, "_look", look)
    watch.scan()
    assert looked == ["1.2.7", "1.2.8", "1.2.9"]
    watch.scan()
    assert len(looked) == 3


@pytest.mark.parametrize(
    ("error", "said"),
    [(RefusedError("not handed out"), "not handed out"), (ZeroDivisionError("spacing"), "ZeroDivision")],
)
def test_a_label_of_another_tool_that_cannot_be_had_or_read_holds_up_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, said: str
) -> None:
    pacs = Segs(seg_header("1.2.7", "110000"), seg_header("1.2.9", "120000"))
    watch = PacsWatch(PacsDatastore(pacs, tmp_path / "pacs"), LabelIntake(workspace_of(tmp_path)))
    looked: list[str] = []

    def look(header: pydicom.Dataset, count: str) -> bool:
        looked.append(str(header.SeriesInstanceUID))
        if looked[-1] == "1.2.7":
            raise error
        return True

    monkeypatch.setattr(watch, "_look", look)
    watch.scan()
    assert looked == ["1.2.7", "1.2.9"]
    assert any(said in problem["problem"] for problem in watch.problems)


def test_a_series_whose_headers_cannot_be_read_holds_up_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nameless = seg_header("1.2.8", "113000")
    del nameless.SOPInstanceUID
    pacs = Segs(seg_header("1.2.7", "110000"), nameless, seg_header("1.2.9", "120000"))
    instances = pacs.instances

    def some(study: str, series: str) -> list[pydicom.Dataset]:
        if series == "1.2.7":
            raise UnreadableError("not DICOMweb")
        return instances(study, series)

    monkeypatch.setattr(pacs, "instances", some)
    watch = PacsWatch(PacsDatastore(pacs, tmp_path / "pacs"), LabelIntake(workspace_of(tmp_path)))
    looked: list[str] = []
    monkeypatch.setattr(watch, "_look", lambda header, _: looked.append(str(header.SeriesInstanceUID)) or True)
    watch.scan()
    assert looked == ["1.2.9"]
    said = " ".join(problem["problem"] for problem in watch.problems)
    assert "not DICOMweb" in said and "lack SOPInstanceUID" in said
