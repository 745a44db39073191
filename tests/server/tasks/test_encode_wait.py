"""A request that waits only so long for the encoder, without a server around it."""

from __future__ import annotations

from pathlib import Path

import pytest

from fewsam.core.errors import StorageError
from fewsam.encoders.embedder import Embedder
from fewsam.server.tasks.infer import SegmentationTask
from fewsam.workspace.workspace import Workspace
from helpers import tiny_volume as tiny

ASK = {"image_id": "scan", "encode_wait": 1e-6, "shown": 6}


@pytest.mark.slow
@pytest.mark.parametrize("workers", [None, "1"])
def test_what_is_not_encoded_in_time_is_marked_and_better_once_it_is(tmp_path: Path, workers: str | None) -> None:
    collection, volume, _ = tiny.labelled(tmp_path / "task", [4, 8])
    collection.close()
    with Workspace(tiny.settings(input_size=64, workers=workers), tmp_path / "task") as workspace:
        task = SegmentationTask(workspace)
        first = task.predict(ASK, volume)
        assert first.unencoded == [z for z in range(12) if z not in (4, 8)] and first.labelmap.any()
        again = task.predict({**ASK, "encode_wait": 1e-6}, volume)
        assert again.unencoded == first.unencoded  # a worker encoded nothing on the way either
        whole = task.predict({**ASK, "encode_wait": 1000.0}, volume)
        assert whole.unencoded == [] and task.predict(ASK, volume).unencoded == []
        assert (whole.labelmap == task.predict({"image_id": "scan"}, volume).labelmap).all()


def test_slices_are_encoded_from_the_one_that_is_looked_at_outwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    collection, volume, _ = tiny.labelled(tmp_path / "task", [4, 8])
    collection.close()
    with Workspace(tiny.settings(input_size=64), tmp_path / "task") as workspace:
        now = [0.0]
        ensure = Embedder.ensure

        def a_second_each(self: Embedder, *given: object, **named: object) -> int:
            now[0] += 1.0
            return ensure(self, *given, **named)  # type: ignore[arg-type]

        monkeypatch.setattr(Embedder, "ensure", a_second_each)
        monkeypatch.setattr("fewsam.encoders.slices.time.monotonic", lambda: now[0])
        found = SegmentationTask(workspace).predict({**ASK, "encode_wait": 2.5}, volume)
        assert found.unencoded == [0, 1, 2, 3, 9, 10, 11]  # 6, 5 and 7 were encoded, and 4 and 8 are drawn


def test_where_nothing_can_be_kept_all_is_encoded_for_the_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    collection, volume, _ = tiny.labelled(tmp_path / "task", [4, 8])
    collection.close()
    with Workspace(tiny.settings(input_size=64), tmp_path / "task") as workspace:

        def full(*_: object) -> None:
            raise StorageError("the disk is full")

        monkeypatch.setattr(workspace.cache, "put", full)
        found = SegmentationTask(workspace).predict({**ASK, "encode_wait": 1000.0}, volume)
        assert found.unencoded == [] and found.labelmap.any()


def test_slices_that_were_not_asked_for_keep_what_is_known_of_them(tmp_path: Path) -> None:
    """Without an answer they are not taken for certain, and are offered to be labelled."""
    collection, volume, _ = tiny.labelled(tmp_path / "task", [4, 8])
    collection.close()
    with Workspace(tiny.settings(input_size=64), tmp_path / "task") as workspace:
        task, kept = SegmentationTask(workspace), workspace.collection
        task.predict({"image_id": "scan", "slices": [5, 6]}, volume)
        first, _ = kept.scores("scan") or ([], 0)
        assert [z for z, score in enumerate(first) if score["uncertainty"]] == [4, 5, 6, 8]
        task.predict({"image_id": "scan"}, volume)
        whole, _ = kept.scores("scan") or ([], 0)
        assert all(score["uncertainty"] for score in whole)
        task.predict({"image_id": "scan", "slices": [5, 6]}, volume)
        again, _ = kept.scores("scan") or ([], 0)
        others = [z for z in range(volume.depth) if z not in (4, 5, 6, 8)]
        assert [again[z] for z in others] == [whole[z] for z in others]
