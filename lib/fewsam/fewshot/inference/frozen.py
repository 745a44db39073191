"""What a task knows at one moment, as it is sent to a worker, which segments with it as the task's own process does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from fewsam.collection import Shot
from fewsam.collection.structures import steadily
from fewsam.core.config import Settings
from fewsam.encoders.cache import MemoryCache
from fewsam.encoders.embedder import Embedder
from fewsam.encoders.worker import built_encoder, check_encoder
from fewsam.fewshot.inference.prediction import Prediction
from fewsam.fewshot.inference.predictor import Predictor
from fewsam.fewshot.inference.task import FewShotTask
from fewsam.fewshot.registration.registration import Fields
from fewsam.images.volume import Volume


@dataclass(frozen=True)
class FrozenTask:
    """Attributes:
    settings: Of the task, as JSON has them.
    fingerprint: Of its encoder.
    structures: What its structures are called, by key, in the order of the labelmap's values.
    task: Its labelled slices and its decoder; None without any label.
    """

    settings: dict[str, Any]
    fingerprint: str
    structures: dict[str, str]
    task: FewShotTask | None


def freeze(predictor: Predictor) -> FrozenTask:
    """What ``predictor`` would segment with now, on the CPU: a worker may have no device like the task's own."""
    structures, task = steadily(lambda: predictor.structures, predictor.ready)
    on_cpu = None if task is None else task.to(torch.device("cpu"))
    settings = predictor.settings.model_dump(mode="json")
    return FrozenTask(settings, predictor.embedder.info.fingerprint, structures, on_cpu)


def drawn_for(frozen: FrozenTask, predictor: Predictor, volume: Volume, image_id: str | None) -> dict[int, Shot]:
    """The labelled slices of a volume, with structures called as they were when the task was frozen."""
    structures, drawn = steadily(lambda: predictor.structures, lambda: predictor.drawn(volume, image_id))
    then = {structures[key]: name for key, name in frozen.structures.items() if key in structures}
    return {z: shot.called_as(then) for z, shot in drawn.items()}


def segment_frozen(
    frozen: FrozenTask,
    volume: Volume,
    drawn: Mapping[int, Shot],
    embeddings: Mapping[str, np.ndarray],
    slices: Sequence[int] | None = None,
    time_limit: float | None = None,
    unencoded: Sequence[int] = (),
) -> tuple[Prediction, dict[str, np.ndarray]]:
    """The prediction for ``volume``, and the embeddings of its slices that had to be computed, by key.

    Args:
        drawn: The labelled slices of the volume.
        embeddings: Those of its slices that are known, by key.
        slices, time_limit, unencoded: As in `Predictor.predict`.

    Raises:
        ConfigError: this process has other weights of the encoder.
        CheckpointError: it has none.
    """
    settings = Settings(**frozen.settings)
    check_encoder(settings, frozen.fingerprint)
    cache = MemoryCache(embeddings)
    predictor = _FrozenPredictor(frozen, Embedder(settings, cache, build=built_encoder), settings, drawn)
    return predictor.predict(volume, slices=slices, time_limit=time_limit, unencoded=unencoded), cache.new


class _FrozenPredictor(Predictor):
    """A predictor that has no collection, but what was frozen of it."""

    def __init__(self, frozen: FrozenTask, embedder: Embedder, settings: Settings, drawn: Mapping[int, Shot]) -> None:
        self.settings, self.embedder, self.fields = settings, embedder, Fields()
        self._frozen, self._drawn = frozen, dict(drawn)
        self._here = None if frozen.task is None else frozen.task.to(embedder.device)

    @property
    def structures(self) -> dict[str, str]:
        return self._frozen.structures

    def ready(self) -> FewShotTask | None:
        return self._here

    def drawn(self, volume: Volume, image_id: str | None) -> dict[int, Shot]:
        return self._drawn
