"""The audit of the pins: what it could not look up is never called safe."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
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


@pytest.mark.parametrize(
    ("stderr", "code", "words"),
    [
        ("/usr/bin/python: No module named pip_audit", 0, "audit skipped: pip-audit is not installed"),
        (
            "Traceback\nrequests.exceptions.ConnectionError: HTTPSConnectionPool(...): Max retries exceeded",
            0,
            "skipped",
        ),
        ("ERROR:pip_audit._cli:Could not connect to PyPI's vulnerability feed", 0, "Could not connect"),
        ("a\nb\nc\nd\ne\nTypeError: unexpected keyword 'x'", 1, "audit failed: pip-audit gave no report:\n  b"),
        ("ERROR:pip_audit._cli:requirement is not pinned", 1, "requirement is not pinned"),
        ("", 1, "audit failed"),
    ],
)
def test_no_report_is_skipped_only_where_nothing_can_be_reached(stderr: str, code: int, words: str) -> None:
    ended, lines = audit.without_report(stderr)
    assert ended == code
    assert words in "\n".join(lines)


@pytest.mark.parametrize(
    ("body", "code", "said"),
    [
        ("raise SystemExit('broken')", 1, "  broken"),
        ("print('[]')", 1, "audit failed"),
        ("print('{}')", 1, "audit failed"),
        ('print(\'{"dependencies": [{"name": "a", "version": "1", "vulns": []}]}\')', 0, "1 of 1 packages looked up"),
    ],
)
def test_an_audit_that_breaks_is_no_audit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], body: str, code: int, said: str
) -> None:
    (tmp_path / "pip_audit.py").write_text(body)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert audit.main() == code
    assert said in capsys.readouterr().out


def test_every_pin_of_the_lists_is_looked_up() -> None:
    text = "".join((REPOSITORY / name).read_text(encoding="utf-8") for name in audit.LISTS[:2])
    names = [pin.partition("==")[0] for pin in audit.pins(text)]
    lines = [line for line in text.splitlines() if line and line[0] not in "#-."]
    assert len(names) == len(lines) > 100 and {"torch", "PyYAML", "exceptiongroup"} <= set(names)
