"""What an annotator reads names no flag and no environment variable: nobody can type those into a browser."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import fewsam.server

SERVER = Path(fewsam.server.__file__).parent
ANSWER_THE_PANEL = [*sorted((SERVER / "routes").glob("panel*.py")), SERVER / "background" / "seg_image.py"]
NOT_THERE = re.compile(r"--[a-z]|\b(MONAI_LABEL|FEWSAM)_[A-Z]+")


def messages(file: Path) -> Iterator[str]:
    """Texts of the refusals that a module raises."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Raise):
            for part in ast.walk(node):
                if isinstance(part, ast.Constant) and isinstance(part.value, str):
                    yield part.value


@pytest.mark.parametrize("file", ANSWER_THE_PANEL, ids=lambda file: file.stem)
def test_refusals_offer_what_is_there(file: Path) -> None:
    assert [text for text in messages(file) if NOT_THERE.search(text)] == []


def test_refusals_are_found_at_all() -> None:
    assert sum(len(list(messages(file))) for file in ANSWER_THE_PANEL) > 20
    assert NOT_THERE.search("start it with --conf axis 2") and not NOT_THERE.search("half of it -- all")
