"""``fewsam ohif`` before it starts anything; tests/server/viewer runs what it starts."""

from __future__ import annotations

import socket

import pytest

from fewsam.cli.ohif import _pacs_port
from fewsam.core.processes import unused_port


def test_a_taken_port_of_the_pacs_is_replaced_and_said(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = other.getsockname()[1]
        assert _pacs_port(taken) != taken
        said = " ".join(capsys.readouterr().err.split())
    assert f"Port {taken} is taken" in said
    assert "still on the disk" in said
    free = unused_port()
    assert _pacs_port(free) == free
    assert _pacs_port(0)
    assert capsys.readouterr().err == ""
