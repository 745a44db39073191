"""Environment variables that switch something on or off."""

from __future__ import annotations

import pytest

from fewsam.server.environment import switched_on


@pytest.mark.parametrize(
    ("text", "usually_off", "usually_on"),
    [
        (None, False, True),
        ("", False, True),
        ("perhaps", False, True),
        (" True ", True, True),
        ("1", True, True),
        ("ON", True, True),
        ("no", False, False),
        ("FALSE", False, False),
        ("0", False, False),
    ],
)
def test_words_for_on_and_off(
    monkeypatch: pytest.MonkeyPatch, text: str | None, usually_off: bool, usually_on: bool
) -> None:
    monkeypatch.delenv("FEWSAM_TRIAL", raising=False)
    if text is not None:
        monkeypatch.setenv("FEWSAM_TRIAL", text)
    assert switched_on("FEWSAM_TRIAL") is usually_off
    assert switched_on("FEWSAM_TRIAL", default=True) is usually_on
