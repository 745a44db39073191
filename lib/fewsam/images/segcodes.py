"""Codes of anatomical structures from their names: SNOMED CT from DICOM's own lists, else a private code."""

from __future__ import annotations

import re
from contextlib import suppress
from functools import cache

from pydicom.sr.codedict import codes

_SIDES = {"right": ("24028007", "Right"), "left": ("7771000", "Left")}
_OWN_SCHEME = "99FEWSAM"  # for what DICOM's own lists have no code for: private schemes begin with 99


def code_of(name: str) -> dict[str, dict[str, str]]:
    """Type and side of a class name such as ``kidney_right``: SNOMED CT from DICOM's own lists, else a code of ours."""
    words = _words(name)
    side = words & _SIDES.keys() if len(words) > 1 else frozenset()
    found = _sct().get(words) or (_sct().get(words - side) if len(side) == 1 else None)
    if found is None:
        value = re.sub(r"[^A-Za-z0-9_-]+", "_", name)[:16] or "structure"
        code = {"CodeValue": value, "CodingSchemeDesignator": _OWN_SCHEME, "CodeMeaning": name[:64]}
        return {"SegmentedPropertyTypeCodeSequence": code}
    sequences = {"SegmentedPropertyTypeCodeSequence": _code(*found)}
    if words not in _sct():
        sequences["SegmentedPropertyTypeModifierCodeSequence"] = _code(*_SIDES[min(side)])
    return sequences


def _code(value: str, meaning: str) -> dict[str, str]:
    return {"CodeValue": value, "CodingSchemeDesignator": "SCT", "CodeMeaning": meaning}


@cache
def _sct() -> dict[frozenset[str], tuple[str, str]]:
    table: dict[frozenset[str], tuple[str, str]] = {}
    for keyword in (word for word in dir(codes.SCT) if word[0].isupper()):
        with suppress(RuntimeError):  # one word with several codes: rather none
            code = getattr(codes.SCT, keyword)
            table.setdefault(_words(" ".join(re.findall(r"[A-Z][a-z]+|[0-9]+", keyword))), (code.value, code.meaning))
    return table


def _words(name: str) -> frozenset[str]:
    words = re.findall(r"[a-z0-9]+", name.casefold())
    singular = {"vertebrae": "vertebra", "lungs": "lung", "kidneys": "kidney"}
    return frozenset(singular.get(word, word) for word in words)
