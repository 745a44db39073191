"""The loop of one training run: evaluations, checkpoints to go on from, steps."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from fewsam.core.config import Settings
from fewsam.core.device import chance_state, restore_chance
from fewsam.fewshot.model.decoder import FewShotMaskDecoder
from fewsam.fewshot.training.checkpoint import (
    RunCheckpoint,
    generator_from,
    optimiser_state,
    optimiser_tensors,
    prefixed,
    without_prefix,
)
from fewsam.fewshot.training.constants import TRAINING
from fewsam.fewshot.training.episodes import Episodes
from fewsam.fewshot.training.schedule import Moment, Schedule, coarse_share
from fewsam.fewshot.training.selection import Selection, Trained
from fewsam.fewshot.training.split import Split
from fewsam.fewshot.training.steps import Learner
from fewsam.fewshot.training.tensorboard import TensorBoardWriter

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainProgress:
    """Where a run is: ``epoch`` of ``total_epochs`` evaluations' worth of steps, loss and metric so far."""

    epoch: int
    total_epochs: int
    step: int
    loss: float
    metric: float | None


class TrainingRun:
    """One run of a decoder over episodes. A run that was killed or told to stop goes on where it was.

    Args:
        decoder: Trained in place.
        split: Which slices are learnt from and which are held out.
        checkpoint: Where the unfinished run is kept.
        events: Folder for the curves of TensorBoard.
        started: When this process began with the run, as `time.monotonic` tells it.
        served_undertrained: How much ``decoder`` has still to learn where it is the served one; None on a first
            training, where the training-free prior is served.

    Attributes:
        step: Steps made so far.
        selection: What was measured on the slices held out.
    """

    def __init__(
        self,
        settings: Settings,
        episodes: Episodes,
        decoder: FewShotMaskDecoder,
        split: Split,
        checkpoint: RunCheckpoint,
        events: Path,
        started: float,
        served_undertrained: float | None,
    ) -> None:
        self.decoder, self.split, self.checkpoint, self.events = decoder, split, checkpoint, events
        self.served_undertrained = served_undertrained
        first, select_until = served_undertrained is None, TRAINING.select_share if split.final else 1.0
        coarse_until = coarse_share(decoder, episodes.detail_size) if first else 0.0
        self.schedule = Schedule(settings, started, select_until=select_until, coarse_until=coarse_until)
        self.selection = Selection(episodes, split, select_until)
        self.learner = Learner(settings, episodes, decoder)
        self.step = 0

    def fit(
        self, progress: Callable[[TrainProgress], None] | None, should_stop: Callable[[], bool] | None
    ) -> Trained | None:
        """Train to the end of the schedule; None when told to stop before."""
        if not self._resume():
            served = None if self.served_undertrained is None else self.decoder
            self.selection.measure_start(served, self.served_undertrained or 0.0)
        self.schedule.begin()
        loss, saved = math.nan, time.monotonic()
        with TensorBoardWriter(self.events, self.step) as board:
            while True:
                now = self.schedule.at(self.step)
                if self.selection.due(now):
                    board.add("dice/held_back", self.selection.evaluate(self.decoder, self.step, now), self.step)
                if progress:
                    progress(self._progress(now, loss))
                if now.done >= 1.0:
                    return self.selection.finish(self.decoder, self.step)
                stop = should_stop is not None and should_stop()
                if stop or time.monotonic() - saved > TRAINING.checkpoint_seconds:
                    self._save(now)
                    saved = time.monotonic()
                if stop:
                    return None
                loss = self.learner.step(self.split.train if now.selecting else self.split.final, now)
                self.step += 1
                if self.step % TRAINING.log_steps == 0:
                    board.add("loss", loss, self.step)

    def _progress(self, now: Moment, loss: float) -> TrainProgress:
        total = TRAINING.evaluations
        return TrainProgress(min(total, int(now.done * total)), total, self.step, loss, self.selection.metric)

    def _save(self, now: Moment) -> None:
        """Keep all that the next step depends on."""
        values = {
            "step": self.step,
            "elapsed": now.elapsed,
            "prepared": self.schedule.prepared,
            "selection": self.selection.state(),
            "generator": self.learner.rng.bit_generator.state,
        }
        tensors = {
            **prefixed("decoder", self.decoder.state_dict()),
            **prefixed("optimiser", optimiser_tensors(self.learner.optimiser)),
            **prefixed("best", self.selection.weights or {}),
            **chance_state(self.learner.device),
        }
        self.checkpoint.save(values, tensors)

    def _resume(self) -> bool:
        """Go on from the unfinished run, if there is one of this kind."""
        kept = self.checkpoint.load()
        if kept is None:
            return False
        fresh = {name: value.clone() for name, value in self.decoder.state_dict().items()}
        try:
            self._restore(*kept)
        except Exception as error:  # a whole file that does not fit this run
            self.decoder.load_state_dict(fresh)
            self.checkpoint.refuse(error)
            return False
        logger.info("going on from step %d of a run that did not end", self.step)
        return True

    def _restore(self, values: dict[str, Any], tensors: dict[str, Tensor]) -> None:
        """Take over what `_save` kept. Nothing but the decoder has changed where its weights do not fit."""
        step, elapsed, prepared = int(values["step"]), float(values["elapsed"]), float(values["prepared"])
        rng = generator_from(values["generator"])
        optimiser = optimiser_state(self.learner.optimiser, without_prefix("optimiser", tensors))
        self.decoder.load_state_dict(without_prefix("decoder", tensors))
        self.selection.restore(values["selection"], without_prefix("best", tensors))
        self.learner.optimiser.load_state_dict(optimiser)
        self.learner.rng = rng
        restore_chance(self.learner.device, tensors)
        self.step, self.schedule.spent, self.schedule.prepared = step, elapsed, prepared
