"""Encoder, prompts, decoder, training and clicks are computed on the device that the settings name, and no other."""

from __future__ import annotations

import pickle
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fewsam.collection import Collection
from fewsam.core.config import Settings
from fewsam.encoders.worker import built_encoder
from fewsam.fewshot.inference.clicks import Clicks
from fewsam.fewshot.inference.frozen import freeze, segment_frozen
from fewsam.fewshot.inference.predictor import Predictor
from fewsam.fewshot.model.decoder import FewShotMaskDecoder
from fewsam.fewshot.model.store import ModelStore
from fewsam.fewshot.training.train import train
from fewsam.images.volume import Volume
from helpers import tiny_volume as tiny
from helpers.second_device import SECOND, ExplicitDevices, SecondDevice

# Little, but of everything: two members of the ensemble, a slice held out, the embedding beside the image.
SETTINGS = {
    "input_size": 64, "detail_size": 64, "steps": 3, "ensemble": 2, "decoder_reads": "embedding", "prototypes": 1,
}  # fmt: skip
ASKED = [2, 5, 6]


@dataclass(frozen=True)
class Answers:
    untrained: np.ndarray
    trained: np.ndarray
    notes: list[str]
    corrected: np.ndarray


def drawn_on(folder: Path) -> tuple[Collection, Volume]:
    """A collection with slices drawn on the volume "scan" and one on another."""
    collection, volume, _ = tiny.labelled(folder, [3, 5, 7, 9])
    other, masks = tiny.scan(folder, "other", seed=5)
    collection.submit(other, "other", tiny.on_slices(masks, [6]), absent_classes="complete", complete_slices={6})
    return collection, volume


def everything(folder: Path, device: str) -> Answers:
    """Prediction and clicks before and after a training, with drawn slices and with another image's as atlases."""
    collection, volume = drawn_on(folder)
    given = tiny.settings(**SETTINGS, device=device)
    embedder, store = tiny.embedder(folder, given), ModelStore(folder)
    predictor = Predictor(given, embedder, collection, store)
    untrained = predictor.predict(volume, "scan", slices=ASKED)
    train(given, collection, embedder, store, folder=folder / "run")
    trained = predictor.predict(volume, "scan", slices=ASKED)
    clicked = Clicks(predictor).correct(volume, 4, "left", [(14, 20)], [(0, 0)])
    return Answers(untrained.labelmap, trained.labelmap, trained.notes, clicked.mask)


@pytest.fixture(scope="module")
def on_the_cpu(tmp_path_factory: pytest.TempPathFactory) -> tuple[Answers, set[str]]:
    """The answers of the CPU, and the places that made a tensor on a device that they did not name."""
    with ExplicitDevices() as watch:
        return everything(tmp_path_factory.mktemp("cpu"), "cpu"), watch.places


@pytest.mark.slow
def test_everything_runs_on_another_device_and_answers_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, on_the_cpu: tuple[Answers, set[str]]
) -> None:
    seen: set[str] = set()
    forward = FewShotMaskDecoder.forward

    def watched(self: FewShotMaskDecoder, embeddings: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        seen.update({embeddings.device.type, next(self.parameters()).device.type})
        return forward(self, embeddings, *args, **kwargs)

    monkeypatch.setattr(FewShotMaskDecoder, "forward", watched)
    with SecondDevice():
        found = everything(tmp_path, str(SECOND))
    expected, _ = on_the_cpu
    assert seen == {SECOND.type}
    assert np.array_equal(found.untrained, expected.untrained)
    assert np.mean(found.trained == expected.trained) > 0.99 and found.notes == expected.notes
    assert np.mean(found.corrected == expected.corrected) > 0.99


def test_no_tensor_is_made_on_a_device_that_is_not_named(on_the_cpu: tuple[Answers, set[str]]) -> None:
    _, places = on_the_cpu
    assert not places, sorted(places)


@pytest.mark.slow
@pytest.mark.parametrize(("head", "worker"), [("cpu", str(SECOND)), (str(SECOND), "cpu")])
def test_a_worker_segments_on_its_own_device_whatever_the_tasks_is(
    tmp_path: Path, on_the_cpu: tuple[Answers, set[str]], head: str, worker: str
) -> None:
    with SecondDevice():
        given = tiny.settings(**SETTINGS, device=head)
        collection, volume = drawn_on(tmp_path)
        embedder, store = tiny.embedder(tmp_path, given), ModelStore(tmp_path)
        train(given, collection, embedder, store, folder=tmp_path / "run")
        predictor = Predictor(given, embedder, collection, store)
        sent = pickle.loads(pickle.dumps(freeze(predictor)))
        there = replace(sent, settings={**sent.settings, "device": worker})  # as "auto" comes out on that machine
        # Built before the prediction, inside of whose inference mode the stand-in cannot move a network.
        built_encoder(Settings(**there.settings), torch.device(worker))
        found, _ = segment_frozen(there, volume, predictor.drawn(volume, "scan"), {}, ASKED)
    expected, _ = on_the_cpu
    assert np.mean(found.labelmap == expected.trained) > 0.99
