"""The list of a PACS: an odd entry hides no other."""

from __future__ import annotations

import pytest
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError

from fewsam.server.errors import UnreadableError
from fewsam.server.storage.pacs import Pacs, _by_uid
from helpers.pacs_stand_in import NOWHERE


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


def test_headers_and_parts_that_are_not_dicom_are_an_answer_of_the_pacs_and_no_error_of_ours() -> None:
    def no_part(_: object) -> None:
        raise InvalidDicomError("File is missing DICOM File Meta Information header")

    for broken in (
        {"00080018": {"vr": "UI", "Value": "1.2.3"}},
        {"00080018": []},
        {"00080018": {"vr": "OB", "InlineBinary": 3}},
    ):
        with pytest.raises(UnreadableError, match="is not DICOMweb"):
            Pacs(NOWHERE)._asked(lambda _, broken=broken: Dataset.from_json(broken))
    with pytest.raises(UnreadableError, match="is not DICOMweb"):
        Pacs(NOWHERE)._asked(no_part)
