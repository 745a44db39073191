"""The list of a PACS: an odd entry hides no other."""

from __future__ import annotations

from fewsam.server.storage.pacs import _by_uid


def entry(series: str, **more: object) -> dict[str, object]:
    return {
        "0020000D": {"vr": "UI", "Value": ["1.2"]},
        "0020000E": {"vr": "UI", "Value": [series]},
        "00080060": {"vr": "CS", "Value": ["CT"]},
        **more,
    }


def test_entries_without_a_uid_or_that_cannot_be_read_hide_no_other() -> None:
    odd = [
        entry(""),
        {"00080060": {"vr": "CS", "Value": ["CT"]}},
        entry("1.2.9", **{"0020000D": {"vr": "UI"}}),
        entry("1.2.8", **{"00201209": {"vr": "XX", "Value": [{}]}}),
        {"nonsense": 3},
    ]
    found = _by_uid([*odd, entry("1.2.3"), entry("1.2.4")])  # type: ignore[list-item]
    assert {"1.2.3", "1.2.4"} <= set(found) <= {"1.2.3", "1.2.4", "1.2.8"}
    assert found["1.2.3"]["Modality"] == "CT"
