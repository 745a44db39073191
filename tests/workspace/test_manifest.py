"""What a run over many images notes, and what the next one takes for done."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fewsam.core.errors import StorageError
from fewsam.workspace.manifest import Manifest
from fewsam.workspace.workspace import open_task
from helpers import tiny_volume as tiny
from helpers.tiny_task import QUICK


def state(folder: Path, shift: int = 0, **settings: str) -> str:
    """The state of a task with one label, some pixels beside the truth."""
    volume, masks = tiny.scan(folder / "scan")
    with open_task(folder / "task", None, {**QUICK, "labels": "left", **settings}, create=True) as workspace:
        left = np.roll(tiny.on_slices(masks, [5])["left"], shift, axis=2)
        workspace.collection.submit(volume, "scan", {"left": left})
        return Manifest(folder / "out", workspace).task


def test_a_task_of_as_many_labels_is_another_one(tmp_path: Path) -> None:
    assert state(tmp_path / "a") == state(tmp_path / "b")
    assert len({state(tmp_path / "a"), state(tmp_path / "c", shift=2), state(tmp_path / "d", labels="left,right")}) == 3


def test_another_decoder_of_the_same_number_is_another_task(tmp_path: Path) -> None:
    with open_task(tmp_path / "task", None, QUICK, create=True) as workspace:
        found = []
        for content in (b"one", b"two"):
            workspace.store.versions.mkdir(exist_ok=True)
            workspace.store._path(1).write_bytes(content)
            workspace.store.pointer.write_text('{"version": 1}')
            found.append(Manifest(tmp_path / "out", workspace).task)
    assert found[0] != found[1]


def test_an_answer_that_a_time_limit_has_ended_is_not_done(tmp_path: Path) -> None:
    with open_task(tmp_path / "task", None, QUICK, create=True) as workspace:
        manifest = Manifest(tmp_path / "out", workspace)
        for remaining in ([], [3]):
            manifest._write({"image": "a", "task": manifest.task, "remaining": remaining})
            assert (Manifest(tmp_path / "out", workspace).made("a") is None) == bool(remaining)


def test_no_labelmap_is_there_without_its_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed in between, the next run would take it for somebody else's and refuse to begin."""
    image, _ = tiny.write_scan(tmp_path)
    draft, result = tmp_path / "out" / ".a.nii.gz", tmp_path / "out" / "a.nii.gz"
    draft.parent.mkdir()
    draft.write_bytes(b"a labelmap")
    with open_task(tmp_path / "task", None, QUICK, create=True) as workspace:
        manifest, seen = Manifest(tmp_path / "out", workspace), []
        monkeypatch.setattr(manifest, "note", lambda *given: seen.append((given[1]["result"], result.exists())))
        nothing: Any = None
        manifest.add(image, draft, result, nothing, nothing)
    assert seen == [("a.nii.gz", False)]
    assert result.read_bytes() == b"a labelmap" and not draft.exists()


def test_a_full_disk_is_said_and_what_was_noted_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_task(tmp_path / "task", None, QUICK, create=True) as workspace:
        manifest = Manifest(tmp_path / "out", workspace)
        manifest.fail("a", "no image")

        def full(*_: Any, **__: Any) -> None:
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(Path, "open", full)
            with pytest.raises(StorageError, match=r"manifest.jsonl: No space left.*free space"):
                manifest.fail("b", "no image")
        manifest.fail("c", "no image")
        assert {"a", "c"} <= Manifest(tmp_path / "out", workspace)._lines.keys()
