"""A server with the setting ``workers``: a worker process answers as the server itself does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fewsam.core.config import load_settings
from fewsam.core.errors import ConfigError
from fewsam.server.routes import threads
from fewsam.server.tasks.infer import SegmentationTask
from fewsam.workspace.workspace import Workspace
from helpers import tiny_volume as tiny


@pytest.mark.slow
def test_a_worker_answers_as_the_server_itself(tmp_path: Path) -> None:
    collection, volume, _ = tiny.labelled(tmp_path / "task", [4, 6])
    collection.close()
    answers = []
    for workers in (None, "1"):
        with Workspace(tiny.settings(input_size=64, workers=workers), tmp_path / "task") as workspace:
            assert (workspace.pool is not None) == (workers is not None)
            answers.append(SegmentationTask(workspace).predict({"image_id": "scan"}, volume))
            served = workspace.collection.served("scan")
            assert served is not None
    assert np.array_equal(answers[0].labelmap, answers[1].labelmap) and answers[1].labelmap.any()
    assert np.array_equal(answers[0].uncertainty, answers[1].uncertainty)
    assert answers[1].pasted == [4, 6]


def test_as_many_requests_run_at_once_as_there_are_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "INFER_THREADS", threads.BoundedPool())
    for given, running in ((None, 2), ("4", 5), ("tcp://127.0.0.1:8786", 17)):
        threads.for_workers(load_settings(None, {"workers": given}).workers)
        assert threads.INFER_THREADS.status()["workers"] == running
    for odd in ("0", "many", -1):
        with pytest.raises(ConfigError, match="number of processes"):
            load_settings(None, {"workers": odd})
