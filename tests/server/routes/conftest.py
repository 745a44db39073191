"""The server's app on a tiny scan, in this process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fewsam.server.app import FewSAMApp
from helpers import tiny_volume as tiny


@pytest.fixture
def tiny_app(tmp_path: Path) -> Iterator[FewSAMApp]:
    """Its background runs; the image is called a."""
    tiny.write_scan(tmp_path / "studies", "a")
    conf = {"labels": ",".join(tiny.CLASSES), "encoder": "compact", "axis": "2", "precompute": "false"}
    app = FewSAMApp(str(tmp_path / "app"), str(tmp_path / "studies"), conf)
    app.start_background()
    yield app
    app.stop_background()
