"""What the server's log says of DICOM UIDs."""

from __future__ import annotations

import logging

import pytest

from fewsam.server.guard import log_redaction

SERIES = "1.2.826.0.1.3680043.8.498.11111"


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        (f"image {SERIES} is encoded", "image uid-{} is encoded"),
        (f"/a/{SERIES}.nii.gz, '{SERIES}':{SERIES}", "/a/uid-{}.nii.gz, 'uid-{}':uid-{}"),
        ("127.0.0.1:8042, torch 2.13.0, 1.25 s, 0.1.2.3, v1.2.3.4.5.6", None),
    ],
)
def test_uids_and_nothing_else_are_replaced(text: str, kept: str | None) -> None:
    digits = log_redaction.pseudonym(SERIES).removeprefix("uid-")
    assert log_redaction.without_uids(text) == (text if kept is None else kept.replace("{}", digits))


def test_messages_arguments_and_tracebacks_go_through_it(monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[str] = []

    class Kept(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(self.format(record))

    handler, log = Kept(), logging.getLogger("test_log_redaction")
    log.addHandler(handler)
    try:
        monkeypatch.setenv(log_redaction.ASKED, "true")
        log_redaction.install()
        log.warning("series %s", SERIES)
        monkeypatch.delenv(log_redaction.ASKED)
        log_redaction.install()
        log_redaction.install()
        assert len(handler.filters) == 1
        log.warning("series %s of %d", SERIES, 3)
        try:
            raise ValueError(f"no {SERIES}")
        except ValueError:
            log.exception("failed")
        log.warning("50 % done")
    finally:
        log.removeHandler(handler)
        for other in {h for name in logging.root.manager.loggerDict for h in logging.getLogger(name).handlers}:
            for old in [f for f in other.filters if isinstance(f, log_redaction.NoUids)]:
                other.removeFilter(old)
    assert SERIES in lines[0]
    name = log_redaction.pseudonym(SERIES)
    assert lines[1] == f"series {name} of 3"
    assert f"ValueError: no {name}" in lines[2]
    assert SERIES not in "".join(lines[1:])
    assert lines[3] == "50 % done"
