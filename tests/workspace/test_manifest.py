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


def test_what_was_not_finished_is_not_done_and_may_be_replaced(tmp_path: Path) -> None:
    image, result = tmp_path / "a.nii.gz", tmp_path / "out" / "a.nii.gz"
    with open_task(tmp_path / "task", None, QUICK, create=True) as workspace:
        first = Manifest(tmp_path / "out", workspace)
        assert not first.began(image, result)
        first.begin(image, result)
        again = Manifest(tmp_path / "out", workspace)
        assert again.began(image, result) and again.made(str(image)) is None
        assert not again.began(image, tmp_path / "out" / "another.nii.gz")
        again._write({"image": str(image), "task": again.task, "remaining": [3]})
        assert again.made(str(image)) is None, "a time limit has ended it"
        again._write({"image": str(image), "task": again.task, "remaining": []})
        assert again.made(str(image)) is not None and not again.began(image, result)


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
