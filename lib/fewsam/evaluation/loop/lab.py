"""The loop's other side in this process: the library does what the server would."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Protocol

import numpy as np

from fewsam.collection import Collection
from fewsam.core.class_values import masks_by_class
from fewsam.core.config import Settings
from fewsam.core.errors import ConfigError, LabelError
from fewsam.encoders.embedder import Embedder
from fewsam.encoders.slices import embed_volume
from fewsam.evaluation.loop.plan import Plan
from fewsam.fewshot.inference.acquisition import Candidate, rank
from fewsam.fewshot.inference.prediction import Prediction
from fewsam.fewshot.inference.predictor import Predictor
from fewsam.fewshot.model.store import ModelStore
from fewsam.fewshot.selftraining.improve import improve
from fewsam.fewshot.training.train import TrainStatus, train

logger = logging.getLogger(__name__)

# "foreground_truth": foreground-aware random by somebody who sees where the structures are; the server cannot know.
STRATEGIES = ("informative", "foreground_random", "foreground_truth", "random", "interval", "first")

# Added to a strategy's name: after each training, the decoder learns from the images that nobody labelled, too.
UNLABELLED = "+unlabelled"

Masks = dict[str, np.ndarray]  # class -> bool (H, W)


class Lab(Protocol):
    """What an annotator works with."""

    def next_slice(self, strategy: str) -> tuple[int, int] | None:
        """Case and slice to label next; None where all are labelled."""

    def served(self, index: int, z: int) -> Masks | None:
        """The answer shown on a slice; None before the first label."""

    def submit(self, index: int, z: int, masks: Masks) -> None:
        """Take in a complete drawing of a slice."""

    def train_if_due(self, last: bool) -> bool:
        """Train where the rule says so, or where this was the ``last`` label; whether the answers are new."""

    def improve(self) -> bool:
        """Learn from images that nobody labelled, as when nobody waits; whether the answers are new."""

    def segment(self, index: int) -> dict[str, np.ndarray]:
        """class -> bool (Z, H, W) of a case."""

    def close(self) -> None:
        """End it."""


class DirectLab:
    """Without a server.

    Args:
        settings: ``auto_train`` is the rule: ``every:N``, or ``off``, where the untrained answer is measured.
        folder: Of its own.
        seed: Of strategies and training.
    """

    def __init__(self, plan: Plan, settings: Settings, embedder: Embedder, folder: Path, seed: int) -> None:
        self.plan, self.embedder, self.folder = plan, embedder, folder
        self.settings = settings.model_copy(update={"seed": seed})
        kind, _, amount = settings.auto_train.partition(":")
        if kind == "idle":
            raise ConfigError("auto_train idle:SECONDS means nothing without a person; give every:N or off")
        self.every = int(amount or 0)
        self.rng = np.random.default_rng(seed)
        self.collection = Collection(folder, tuple(plan.cases[0].truth))
        self.store = ModelStore(folder)
        self.predictor = Predictor(self.settings, embedder, self.collection, self.store)
        self.waiting = 0
        self.labelled: dict[str, set[int]] = {str(index): set() for index in plan.offered}
        self.descriptors = {i: embed_volume(plan.cases[i].volume, self.settings, embedder) for i in plan.offered}
        self._answers: dict[int, Prediction] = {}

    def next_slice(self, strategy: str) -> tuple[int, int] | None:
        if strategy not in STRATEGIES:
            raise ConfigError(f"no strategy {strategy!r}; known: {', '.join(STRATEGIES)}")
        candidates = [self._candidate(i, z, strategy) for i, slices in self.plan.offered.items() for z in slices]
        told = "foreground_random" if strategy == "foreground_truth" else strategy
        ranked = rank(candidates, self.labelled, told, self.rng)
        return (int(ranked[0].image_id), ranked[0].slice) if ranked else None

    def _candidate(self, index: int, z: int, strategy: str) -> Candidate:
        case, answer = self.plan.cases[index], self._answers.get(index)
        foreground = None if answer is None else answer.foreground[z]
        if strategy == "foreground_truth":
            foreground = np.array([mask[z].mean() for mask in case.truth.values()])
        doubt = None if answer is None else answer.uncertainty[z]
        return Candidate(str(index), z, case.volume.depth, self.descriptors[index][z], doubt, foreground)

    def served(self, index: int, z: int) -> Masks | None:
        answer = self._answers.get(index)
        return None if answer is None else masks_by_class(answer.labelmap[z], answer.classes)

    def submit(self, index: int, z: int, masks: Masks) -> None:
        case = self.plan.cases[index]
        label = {name: np.zeros_like(mask) for name, mask in case.truth.items()}
        for name, mask in masks.items():
            label[name][z] = mask
        self.collection.submit(
            case.volume, f"case{index}", label, source="simulate", absent_classes="complete", complete_slices={z}
        )
        self.labelled[str(index)].add(z)
        self.waiting += 1

    def train_if_due(self, last: bool) -> bool:
        drawn = any(shot.masks for shot in self.collection.iter_shots())
        if not drawn or (self.every and self.waiting < self.every and not last):
            return False
        if self.every:
            train(self.settings, self.collection, self.embedder, self.store, folder=self.folder / "run")
        self.waiting = 0
        self._answers = {i: self._predict(i) for i in self.plan.offered}
        return True

    def improve(self) -> bool:
        """Every image is there to learn from, labelled or not: those whose answers are measured, too."""
        volumes = {f"case{index}": self.plan.cases[index].volume for index in {*self.plan.offered, *self.plan.tested}}
        try:
            result = improve(
                self.settings, self.collection, self.embedder, self.store, sorted(volumes), volumes.__getitem__,
                folder=self.folder / "run",
            )  # fmt: skip
        except LabelError as error:  # too few labelled slices so far
            logger.info("not learnt from unlabelled images: %s", error)
            return False
        if result.status is not TrainStatus.PUBLISHED:
            return False
        self._answers = {i: self._predict(i) for i in self.plan.offered}
        return True

    def segment(self, index: int) -> dict[str, np.ndarray]:
        answer = self._answers.get(index) or self._predict(index)
        return masks_by_class(answer.labelmap, answer.classes)

    def _predict(self, index: int) -> Prediction:
        return self.predictor.predict(self.plan.cases[index].volume, f"case{index}")

    def close(self) -> None:
        self.collection.close()
