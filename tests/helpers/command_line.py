"""Commands as a person types them, for the tests of the command line."""

from __future__ import annotations

import pytest

from fewsam.cli import main


def run(*arguments: object) -> int:
    """A command in this process: its exit code."""
    return main([str(argument) for argument in arguments])


def refusal(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """The one line on standard error of a command that must refuse."""
    capsys.readouterr()
    assert run(*arguments) == 1
    printed = capsys.readouterr()
    lines = [line for line in printed.err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, printed.err
    assert "Traceback" not in printed.err
    return lines[0]
