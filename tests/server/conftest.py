"""Small images for the tests of the server's parts."""

from __future__ import annotations

from pathlib import Path

import pytest

from fewsam.evaluation.reliability.studies import make_studies


@pytest.fixture
def studies(tmp_path: Path) -> Path:
    """A folder with the images a and b."""
    make_studies(tmp_path / "studies", ("a", "b"))
    return tmp_path / "studies"
