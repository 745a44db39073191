"""The training that a request starts, which runs in a process of its own."""

from __future__ import annotations

import json
import os
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch

import fewsam.encoders.embedder
from fewsam.core.errors import ConfigError
from fewsam.evaluation.reliability.studies import make_studies
from fewsam.server.tasks.labels import LabelIntake
from fewsam.server.tasks.train import (
    STATS_FILE,
    UNLABELLED,
    DecoderTraining,
    _view_keys,
    requested_settings,
)
from helpers.server_harness import MODEL, workspace_of, write_label


def test_stats_of_a_killed_run_end(tmp_path: Path) -> None:
    task = DecoderTraining(workspace_of(tmp_path))
    assert task.stats() == {}
    file = tmp_path / "task" / STATS_FILE
    file.parent.mkdir(parents=True)
    me = {"pid": os.getpid(), "pid_started": psutil.Process().create_time(), "seconds": 61}
    file.write_text(json.dumps({"state": "running", **me}))
    assert "total_time" not in task.stats()
    file.write_text(json.dumps({"state": "running", **me, "pid_started": 12345.0}))  # the number was given out anew
    assert (task.stats()["state"], task.stats()["total_time"]) == ("stopped", "00:01:01")
    task.announce()
    assert task.stats()["state"] == "stopped"  # announced, but no run is on


def test_a_run_on_unlabelled_images_makes_way_before_its_process_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fewsam.server.tasks.train.is_training", lambda: True)
    workspace = workspace_of(tmp_path)
    workspace.folder.mkdir(parents=True, exist_ok=True)
    task = DecoderTraining(workspace)
    task.offer_unlabelled({})
    task.announce(UNLABELLED)
    assert not task.is_making_way
    task.make_way()
    assert task.is_making_way
    task.announce()  # a training that somebody waits for
    assert not task.is_making_way


def test_a_train_request_may_change_a_few_settings(tmp_path: Path) -> None:
    settings = workspace_of(tmp_path).settings
    assert requested_settings(settings, {"steps": "12", "model": "x", "encoder": "vit_h"}) == settings.model_copy(
        update={"steps": 12}
    )
    with pytest.raises(ConfigError, match="steps"):
        requested_settings(settings, {"steps": 0})


def test_training_with_a_sam_checkpoint_builds_no_encoder(
    tmp_path: Path, studies: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(*_: object, **__: object) -> None:
        raise AssertionError("the training process built the encoder")

    monkeypatch.setattr(fewsam.encoders.embedder, "build_encoder", forbidden)
    checkpoint = tmp_path / "sam.pth"
    torch.save({"mask_decoder.mask_tokens.weight": torch.randn(4, 256)}, checkpoint)
    quick = {"views": "1", "steps": "2", "batch": "1", "prototypes": "1", "input_size": "64", "detail_size": "64"}
    workspace = workspace_of(tmp_path, encoder="vit_b", checkpoint=str(checkpoint), **quick)
    truth = make_studies(tmp_path / "again", ("a",))["a"]
    label = write_label(tmp_path / "a.nii.gz", truth, [4, 6])
    LabelIntake(workspace).submit("a", str(studies / "a.nii.gz"), label, source="test")
    keys = _view_keys(workspace)
    assert len(keys) == 4
    task = DecoderTraining(workspace)

    pinned: list[int] = []

    def server() -> None:
        """Encodes while the training process already waits."""
        while task.stats().get("state") != "waiting":
            time.sleep(0.05)
        pinned.append(workspace.cache.stats()["pinned"])
        rng = np.random.default_rng(0)
        for key in keys:
            workspace.cache.put(key, rng.normal(size=(256, 64, 64)).astype(np.float16))

    thread = threading.Thread(target=server)
    thread.start()
    stats: dict[str, Any] = task({"model": MODEL}, None)
    thread.join()
    assert (stats["state"], stats["model_version"]) == ("done", 1)
    assert pinned == [4], "what the run reads stays in the cache, whatever is redrawn meanwhile"
    assert workspace.cache.stats()["pinned"] == 0


def test_training_without_labels_says_why(tmp_path: Path) -> None:
    task = DecoderTraining(workspace_of(tmp_path))
    with pytest.raises(SystemExit):
        task({"model": MODEL}, None)
    assert task.stats()["state"] == "failed"
    assert "submit a label" in task.stats()["error"]
