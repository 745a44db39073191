"""One task folder opened: each part is made once, whichever threads ask for it, and images are decoded once."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import fewsam.workspace.workspace as module
from fewsam.core.config import load_settings
from fewsam.core.errors import StorageError
from fewsam.workspace.workspace import Workspace

PARTS = {
    "collection": "TaskCollection",
    "cache": "EmbeddingCache",
    "embedder": "Embedder",
    "store": "ModelStore",
    "predictor": "Predictor",
    "clicks": "Clicks",
}
LONG_ENOUGH = 0.3  # seconds in which a second thread, if nothing holds it, begins to make the part too


@pytest.mark.parametrize("part", PARTS)
def test_two_threads_get_one_object(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: str) -> None:
    made: list[int] = []
    first, second = threading.Event(), threading.Event()
    original: type[Any] = getattr(module, PARTS[part])

    class Slow(original):  # type: ignore[misc, valid-type]
        """The part itself, which waits while it is made for a second one that must not come."""

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            made.append(threading.get_ident())
            (first if len(made) == 1 else second).set()
            second.wait(LONG_ENOUGH)
            super().__init__(*args, **kwargs)

    monkeypatch.setattr(module, PARTS[part], Slow)
    with Workspace(load_settings(None, {"labels": ["liver"]}), tmp_path) as workspace, ThreadPoolExecutor(2) as pool:
        asked = pool.submit(getattr, workspace, part)
        assert first.wait(60)
        also = pool.submit(getattr, workspace, part)
        assert asked.result() is also.result()
        assert len(made) == 1


def test_a_closed_workspace_opens_its_parts_anew(tmp_path: Path) -> None:
    workspace = Workspace(load_settings(None, {"labels": ["liver"]}), tmp_path)
    before = workspace.collection, workspace.cache
    workspace.close()
    assert workspace.collection is not before[0] and workspace.cache is not before[1]
    workspace.close()


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(StorageError, match="choose another one"):
        _ = Workspace(load_settings(), tmp_path / "file" / "task").collection
