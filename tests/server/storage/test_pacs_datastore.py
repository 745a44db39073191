"""Images and labels of a PACS, while it is away, refuses or is slow."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from fewsam.server.errors import PacsError, RefusedError
from fewsam.server.storage.pacs import PARTIAL, Pacs
from fewsam.server.storage.pacs_datastore import PacsDatastore
from helpers.pacs_stand_in import NOWHERE, Taking, write_dicom


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


def test_while_a_series_is_downloaded_the_list_is_there_for_others(tmp_path: Path) -> None:
    begun, go_on = threading.Event(), threading.Event()

    class Slow(Pacs):
        def series(self, fresh: bool = False) -> dict[str, dict[str, str]]:
            return {"1.2.5": {"Modality": "CT", "StudyInstanceUID": "1.2"}}

        def download(self, study: str, series: str, folder: Path) -> None:
            begun.set()
            assert go_on.wait(30)
            folder.mkdir(parents=True)

    pacs = Slow(NOWHERE)
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


def test_what_a_kill_left_of_a_download_goes_at_the_next_start(tmp_path: Path) -> None:
    datastore = PacsDatastore(Pacs(NOWHERE), tmp_path)
    (tmp_path / "images" / f"{PARTIAL}x1").mkdir(parents=True)
    (tmp_path / "images" / f"{PARTIAL}x1" / "00000.dcm").write_bytes(b"x")
    (tmp_path / "images" / "1.2.3").mkdir()
    datastore.clear_downloads()
    assert [path.name for path in (tmp_path / "images").iterdir()] == ["1.2.3"]
