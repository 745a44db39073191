"""What became of each DICOM SEG, over restarts."""

from __future__ import annotations

from pathlib import Path

from fewsam.server.storage.segrecord import SegRecord


def test_outcomes_outlive_a_restart_and_refusals_alone_are_tried_again(tmp_path: Path) -> None:
    file = tmp_path / "pacs" / "segs.json"
    record = SegRecord(file)
    assert record.outcome("1.2.1") is None
    for uid, outcome in (("1.2.1", "sent"), ("1.2.2", "taken"), ("1.2.3", "refused")):
        record.add(uid, outcome)
    again = SegRecord(file)
    assert [again.outcome(uid) for uid in ("1.2.1", "1.2.2", "1.2.3")] == ["sent", "taken", "refused"]
    again.forget_refusals()
    assert [again.outcome(uid) for uid in ("1.2.1", "1.2.2", "1.2.3")] == ["sent", "taken", None]
