"""What waits for the PACS: in order, with its reason, and holding up no other."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from fewsam.core.errors import LabelError
from fewsam.server.errors import PacsError, RefusedError
from fewsam.server.storage.outbox import LONGEST_RETRY, Outbox
from fewsam.server.storage.pacs import Pacs
from helpers.pacs_stand_in import NOWHERE, Taking, write_dicom


def never_written(image_id: str, said: dict[str, Any], path: Path) -> None:
    raise AssertionError("nothing waits to be written")


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


def test_a_label_that_comes_while_an_older_one_is_written_is_sent_too(tmp_path: Path) -> None:
    said, pacs = {"annotator": "nora"}, Taking()

    def write(image_id: str, given: dict[str, Any], path: Path) -> None:
        if len(written) == 0:
            outbox.put(image_id, said)  # the same is said of the newer one
        written.append(given)
        write_dicom(path)

    written: list[dict[str, Any]] = []
    outbox = Outbox(tmp_path, pacs, lambda uid: None, write)
    outbox.put("a", said)
    outbox.send()
    outbox.send()
    assert len(written) == 2 and len(pacs.sent) == 2 and outbox.waiting() == []


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


def test_a_slow_pacs_holds_nobody_up(tmp_path: Path) -> None:
    """Labels are answered under one lock, and this is asked while it is held."""
    begun, answers = threading.Event(), threading.Event()
    stored: list[str] = []

    class Slow(Pacs):
        def store(self, file: Path) -> None:
            begun.set()
            assert answers.wait(60)
            stored.append(file.name)

    outbox = Outbox(tmp_path, Slow(NOWHERE), lambda uid: None, lambda image_id, said, path: write_dicom(path))
    outbox.put("a", {})
    outbox.send_soon(0.05)
    assert begun.wait(60) and not stored
    outbox.put("b", {})  # the run under way does not know of it
    outbox.send_soon(0.05)
    assert not stored and len(outbox.waiting()) == 2
    answers.set()
    while outbox.waiting():
        outbox.send_soon(60)
    assert [name.partition("_")[2] for name in stored] == ["a.dcm", "b.dcm"]


def test_what_the_pacs_takes_at_once_is_there_when_the_answer_comes(tmp_path: Path) -> None:
    pacs = Taking()
    outbox = Outbox(tmp_path, pacs, lambda uid: None, lambda image_id, said, path: write_dicom(path))
    outbox.put("a", {})
    outbox.send_soon(60)
    assert not outbox.waiting() and pacs.sent == ["a.dcm"]
