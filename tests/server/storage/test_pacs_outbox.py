"""What waits for the PACS, and what is known of it while it is away or refuses."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pydicom
import pytest

from fewsam.core.errors import LabelError
from fewsam.server.background.pacs_watch import PacsWatch
from fewsam.server.errors import PacsError, RefusedError, UnreadableError
from fewsam.server.storage.outbox import LONGEST_RETRY, Outbox
from fewsam.server.storage.pacs import Pacs
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


def never_written(image_id: str, said: dict[str, Any], path: Path) -> None:
    raise AssertionError("nothing waits to be written")


class Taking(Pacs):
    """A PACS that takes everything; ``sent`` names it."""

    def __init__(self) -> None:
        super().__init__(NOWHERE)
        self.sent: list[str] = []

    def store(self, file: Path) -> None:
        self.sent.append(file.name.partition("_")[2])


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
    outbox = Outbox(tmp_path, pacs, lambda uid: None, never_written)
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


def test_an_object_is_known_as_ours_before_the_pacs_has_it(tmp_path: Path) -> None:
    done: list[str] = []

    class Told(Pacs):
        def store(self, file: Path) -> None:
            done.append("stored")

    write_dicom(tmp_path / "1_a.dcm")
    Outbox(tmp_path, Told(NOWHERE), lambda uid: done.append(f"{uid} is ours"), never_written).send()
    assert done == ["1.2.3 is ours", "stored"], "else the watch takes it for somebody else's label"


def test_a_damaged_file_in_the_outbox_holds_up_no_other(tmp_path: Path) -> None:
    """What stood there once was answered with 500 for each further label, which was stored all the same."""
    pacs = Taking()
    outbox = Outbox(tmp_path, pacs, lambda uid: None, never_written)
    (tmp_path / "1_a.dcm").write_bytes(b"half of a file")
    (tmp_path / "2_b.dcm").write_bytes(b"")
    write_dicom(tmp_path / "3_c.dcm")
    outbox.send()
    assert pacs.sent == ["c.dcm"] and outbox.waiting() == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1_a.dcm.damaged", "2_b.dcm.damaged"]


def test_what_has_no_form_as_seg_waits_with_its_reason_and_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr("fewsam.server.storage.outbox.time.monotonic", lambda: now[0])
    tried: list[str] = []
    fails: list[Exception] = [LabelError("this image has no place in space"), ZeroDivisionError("secret")]

    def write(image_id: str, said: dict[str, Any], path: Path) -> None:
        tried.append(f"{image_id} by {said['annotator']}")
        if image_id == "1.2.3" and fails:
            raise fails[0]
        write_dicom(path)

    pacs = Taking()
    outbox = Outbox(tmp_path, pacs, lambda uid: None, write)
    outbox.put("1.2.3", {"annotator": "eve"})
    outbox.put("1.2.4", {"annotator": "ann"})
    outbox.send()
    assert pacs.sent == ["1.2.4.dcm"], "one that cannot be written holds up no other"
    assert outbox.reasons() == {"1.2.3": "this image has no place in space"}
    assert [path.name for path in outbox.waiting()] == ["1.2.3.json"]
    fails.pop(0)
    outbox.send()
    assert len(tried) == 2, "not at every look: writing takes seconds"
    now[0] += 61
    outbox.send()
    assert len(tried) == 3 and "secret" not in outbox.reasons()["1.2.3"]
    now[0] += 61
    outbox.send()
    assert len(tried) == 3, "the second time twice as late"
    for _ in range(12):
        now[0] += LONGEST_RETRY + 1
        outbox.send()
    assert len(tried) == 15, "and never later than an hour"
    fails.clear()
    again = Outbox(tmp_path, pacs, lambda uid: None, write)  # after a restart
    again.send()
    assert tried[-1] == "1.2.3 by eve" and pacs.sent[-1] == "1.2.3.dcm"
    assert again.waiting() == [] and again.reasons() == {}


def test_a_newer_label_replaces_the_one_that_could_not_be_written(tmp_path: Path) -> None:
    said_last: list[dict[str, Any]] = []

    def write(image_id: str, said: dict[str, Any], path: Path) -> None:
        said_last.append(said)
        if said["number"] == 1:
            raise LabelError("no")
        if said["number"] == 2:  # a third label comes while the second is written
            outbox.put("1.2.3", {"number": 3})
        write_dicom(path)

    pacs = Taking()
    outbox = Outbox(tmp_path, pacs, lambda uid: None, write)
    outbox.put("1.2.3", {"number": 1})
    outbox.send()
    outbox.put("1.2.3", {"number": 2})
    outbox.send()
    assert len(pacs.sent) == 1 and [path.name for path in outbox.waiting()] == ["1.2.3.json"]
    outbox.send()
    assert [said["number"] for said in said_last] == [1, 2, 3]
    assert len(pacs.sent) == 2 and outbox.waiting() == []


def datastore_with_label(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pacs: Pacs) -> tuple[PacsDatastore, Path]:
    """A datastore over a PACS that knows one series, and a label file."""
    entry = {"StudyInstanceUID": "1.2", "SeriesInstanceUID": "1.2.3", "Modality": "CT", "PatientID": "P7",
             "SeriesDescription": "Abdomen"}  # fmt: skip
    monkeypatch.setattr(pacs, "series", lambda fresh=False: {"1.2.3": entry})
    monkeypatch.setattr(pacs, "known_series", lambda: {"1.2.3": entry})
    label = tmp_path / "sent.nii.gz"
    label.write_bytes(b"a label")
    return PacsDatastore(pacs, tmp_path / "pacs"), label


def test_a_stored_label_is_not_refused_for_its_seg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    datastore, label = datastore_with_label(tmp_path, monkeypatch, Taking())
    assert datastore.save_label("1.2.3", str(label), "final", {"label_state": "a"}) == "1.2.3"
    (problem,) = datastore.problems()
    assert problem["file"] == "label of CT Abdomen of patient P7"
    assert "not in the PACS" in problem["problem"]
    assert Path(datastore.get_label_uri("1.2.3", "final")).read_bytes() == b"a label"


def test_one_seg_for_each_state_of_the_labels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PacsDatastore, "_write_seg", lambda self, image_id, said, path: write_dicom(path))
    pacs = Taking()
    datastore, label = datastore_with_label(tmp_path, monkeypatch, pacs)

    def sent(state: str) -> int:
        datastore.save_label("1.2.3", str(label), "final", {"label_state": state})
        return len(pacs.sent)

    assert [sent(state) for state in ("a", "a", "b", "b")] == [1, 1, 2, 2]
    datastore = PacsDatastore(pacs, tmp_path / "pacs")  # after a restart
    assert sent("b") == 2
    datastore.note_state("1.2.3", "d", before="c")  # the PACS brought a label while "c" was not sent yet
    assert sent("d") == 3
    datastore.note_state("1.2.3", "e", before="d")  # and here it had all but what it brought
    assert sent("e") == 3


def test_why_the_pacs_refuses_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Refusing(Pacs):
        def store(self, file: Path) -> None:
            raise RefusedError("the PACS refused to store the segmentation (reason 43264)")

    monkeypatch.setattr(PacsDatastore, "_write_seg", lambda self, image_id, said, path: write_dicom(path))
    datastore, label = datastore_with_label(tmp_path, monkeypatch, Refusing(NOWHERE))
    datastore.save_label("1.2.3", str(label), "final", {})
    (problem,) = datastore.problems()
    assert "CT Abdomen" in problem["file"] and "reason 43264" in problem["problem"]
    write_dicom(datastore.outbox.folder / "1764000000.dcm")  # as files there were once named
    with pytest.raises(RefusedError):
        datastore.outbox.send()
    found = sorted(one["file"] for one in datastore.problems())
    assert found == ["label of CT Abdomen of patient P7", "label of an image"]


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


def test_while_a_series_is_downloaded_the_list_is_there_for_others(tmp_path: Path) -> None:
    begun, go_on = threading.Event(), threading.Event()

    class Slow(Segs):
        def series(self, fresh: bool = False) -> dict[str, dict[str, str]]:
            return {"1.2.5": {"Modality": "CT", "StudyInstanceUID": "1.2"}}

        def download(self, study: str, series: str, folder: Path) -> None:
            begun.set()
            assert go_on.wait(30)
            folder.mkdir(parents=True)

    pacs = Slow(seg_header("1.2.7", "110000"))
    datastore = PacsDatastore(pacs, tmp_path / "pacs")
    opening = threading.Thread(target=datastore.image_folder, args=("1.2.5",))
    opening.start()
    try:
        assert begun.wait(30)
        listing = threading.Thread(target=datastore.list_images, daemon=True)
        listing.start()
        listing.join(10)
        assert not listing.is_alive()
    finally:
        go_on.set()
        opening.join()
