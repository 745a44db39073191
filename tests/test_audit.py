"""The audit of the pins: what it could not look up is never called safe."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
_spec = importlib.util.spec_from_file_location("audit", REPOSITORY / "tools" / "audit.py")
assert _spec is not None and _spec.loader is not None
audit = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(audit)

WHOLE = {"name": "a", "version": "1", "vulns": []}
BAD = {"name": "b", "version": "2", "vulns": [{"id": "PYSEC-1", "fix_versions": ["3"]}]}
SKIPPED = {"name": "c", "skip_reason": "not found"}


@pytest.mark.parametrize(
    ("packages", "known", "code", "words"),
    [
        ([WHOLE], {}, 0, "1 of 1 packages looked up"),
        ([WHOLE, BAD], {}, 1, "VULNERABLE: b 2: PYSEC-1, mended in 3"),
        ([BAD], {"PYSEC-1": "not reachable"}, 0, "known: b 2: PYSEC-1, mended in 3; not reachable"),
        ([WHOLE], {"PYSEC-9": "x"}, 0, "remove it from KNOWN: PYSEC-9"),
        ([SKIPPED, SKIPPED], {}, 0, "audit skipped: no vulnerability data"),
        ([], {}, 0, "audit skipped"),
        ([WHOLE, SKIPPED], {}, 0, "not looked up: c"),
    ],
)
def test_a_report_is_judged(packages: list[dict], known: dict[str, str], code: int, words: str) -> None:
    ended, lines = audit.judge({"dependencies": packages}, known)
    assert ended == code
    assert words in "\n".join(lines)


def test_every_pin_of_the_lists_is_looked_up() -> None:
    text = (REPOSITORY / "requirements.txt").read_text(encoding="utf-8")
    names = [pin.partition("==")[0] for pin in audit.pins(text)]
    lines = [line for line in text.splitlines() if line and line[0] not in "#-."]
    assert len(names) == len(lines) > 100 and {"torch", "PyYAML", "exceptiongroup"} <= set(names)
