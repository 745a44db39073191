"""A training step where the device's memory does not suffice for all its slices."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
import torch

from fewsam.core.errors import ConfigError
from fewsam.fewshot.model.decoder import FewShotMaskDecoder
from fewsam.fewshot.model.store import ModelStore
from fewsam.fewshot.training.train import TrainResult, train
from helpers import tiny_volume as tiny


def train_with_memory_for(
    most: int, folder: Path, monkeypatch: pytest.MonkeyPatch, **values: object
) -> tuple[TrainResult, list[int]]:
    """Train where the memory ends beyond ``most`` slices; the result, and the slices of each attempt at a step."""
    attempts: list[int] = []

    def limited(forward: Any) -> Any:
        def call(decoder: FewShotMaskDecoder, *given: Any, **how: Any) -> torch.Tensor:
            if not decoder.training:  # measured on slices held back
                return forward(decoder, *given, **how)
            attempts.append(len(given[0]))
            if len(given[0]) > most:
                raise torch.OutOfMemoryError("out of memory")
            return forward(decoder, *given, **how)

        return call

    monkeypatch.setattr(FewShotMaskDecoder, "forward", limited(FewShotMaskDecoder.forward))
    monkeypatch.setattr(FewShotMaskDecoder, "detail_alone", limited(FewShotMaskDecoder.detail_alone))
    collection, _, _ = tiny.labelled(folder, [3, 5, 7])
    given = tiny.settings(input_size=64, detail_size=64, prototypes=1, **values)
    embedder = tiny.embedder(folder, given)
    return train(given, collection, embedder, ModelStore(folder), folder=folder / "run"), attempts


def test_a_step_is_halved_until_it_fits_and_the_training_goes_on_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        result, attempts = train_with_memory_for(2, tmp_path, monkeypatch, batch=8, steps=5)
    assert attempts == [8, 4, 2, 2, 2, 2, 2]  # the five steps all took place, and none tried more slices again
    assert result.steps == 5 and result.published and ModelStore(tmp_path).load() is not None
    said = [record.getMessage() for record in caplog.records if "does not suffice" in record.getMessage()]
    assert [line.rsplit("a step has ", 1)[1] for line in said] == ["4 slices", "2 slices"]


def test_where_one_slice_is_too_much_it_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="does not suffice to learn from one slice at a time; set device to cpu"):
        train_with_memory_for(0, tmp_path, monkeypatch, batch=4)
    assert ModelStore(tmp_path).version() == 0
