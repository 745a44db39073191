"""One run of self-training: is it worth it on slices held back, and if so, the served decoder learns further.

A labelled slice that the decoder has learnt from says nothing of what it would answer elsewhere. So each fold of the
labelled slices is held back once: a decoder learns from the rest as in a first training, then further from unlabelled
slices, and is measured before and after. Only where the folds got better together does the served decoder learn further
in the same way. It is published unless it then does worse than the served one on the labelled slices: folds begin from
nothing, and say little of a decoder that has learnt much before.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fewsam.core.config import Settings
from fewsam.core.device import chance_state, restore_chance
from fewsam.fewshot.model.decoder import FewShotMaskDecoder
from fewsam.fewshot.model.store import build_decoder
from fewsam.fewshot.selftraining.constants import SELF_TRAINING
from fewsam.fewshot.selftraining.learner import SelfLearner
from fewsam.fewshot.selftraining.pool import Hints, UnlabelledSlice
from fewsam.fewshot.training.checkpoint import (
    RunCheckpoint,
    generator_from,
    optimiser_state,
    optimiser_tensors,
    prefixed,
    without_prefix,
)
from fewsam.fewshot.training.constants import TRAINING
from fewsam.fewshot.training.plan import Plan, initialise_from_sam
from fewsam.fewshot.training.run import TrainProgress
from fewsam.fewshot.training.schedule import Moment, coarse_share
from fewsam.fewshot.training.selection import weights_of
from fewsam.fewshot.training.steps import Learner
from fewsam.fewshot.training.validation import measure, measure_undertrained

logger = logging.getLogger(__name__)

FIRST_STEPS = 120  # of a fold's own first training
HintsFor = Callable[[Sequence[int]], list[Hints]]  # what the labelled slices with these indices say of the pool


@dataclass(frozen=True)
class Measured:
    """Mean Dice on some labelled slices, before and after learning from unlabelled slices."""

    before: float
    after: float


@dataclass(frozen=True)
class Outcome:
    """What a run came to.

    Attributes:
        weights: None where nothing is to be published.
        folds: What was measured on each fold, with decoders that had not learnt from it.
        served: The served decoder and the new one on slices that both learnt from; None where it did not come to that.
    """

    weights: dict[str, Tensor] | None
    folds: list[Measured]
    served: Measured | None = None

    @property
    def before(self) -> float | None:
        """Mean over the folds; None without any."""
        return float(np.mean([fold.before for fold in self.folds])) if self.folds else None

    @property
    def after(self) -> float | None:
        """Mean over the folds; None without any."""
        return float(np.mean([fold.after for fold in self.folds])) if self.folds else None

    @property
    def helped(self) -> bool:
        """Whether the folds got better; true where none was measured."""
        if self.before is None or self.after is None:
            return True
        return self.after > self.before + SELF_TRAINING.gain


class SelfTraining:
    """A run that can be stopped at any step, and goes on from there.

    Args:
        plan: Its labelled slices, and the served decoder.
        folds: Indices of the labelled slices held back, fold by fold; without any the result is not measured.
        unlabelled: Slices that nobody labelled, at least one.
        hints_for: What given labelled slices say of each of them.
        checkpoint: Where the unfinished run is kept.
    """

    def __init__(
        self,
        settings: Settings,
        plan: Plan,
        folds: Sequence[Sequence[int]],
        unlabelled: Sequence[UnlabelledSlice],
        hints_for: HintsFor,
        checkpoint: RunCheckpoint,
    ) -> None:
        if plan.served is None:
            raise ValueError("self-training goes on from a served decoder")
        self.settings, self.plan, self.served, self.episodes = settings, plan, plan.served, plan.episodes
        self.folds, self.unlabelled, self.hints_for, self.checkpoint = folds, unlabelled, hints_for, checkpoint
        self.first_steps = min(FIRST_STEPS, settings.steps)
        self.further_steps = SELF_TRAINING.steps
        self.measured: list[Measured] = []
        self._resumed: tuple[dict[str, Any], dict[str, Tensor]] | None = None
        self._saved = time.monotonic()

    @property
    def total_steps(self) -> int:
        """Steps of the whole run, if the folds get better."""
        return len(self.folds) * (self.first_steps + self.further_steps) + self.further_steps

    def run(
        self, progress: Callable[[TrainProgress], None] | None, should_stop: Callable[[], bool] | None
    ) -> Outcome | None:
        """Run to the end; None when told to stop before."""
        watch = _Watch(self.total_steps, progress, should_stop or (lambda: False))
        begin = self._resume()
        for fold, held in enumerate(self.folds):
            if fold < begin:
                watch.done += self.first_steps + self.further_steps
                continue
            rest = [i for i in range(len(self.plan.shots)) if i not in set(held)]
            measured = self._fold(fold, held, rest, watch)
            if measured is None:
                return None
            self.measured.append(measured)
            logger.info("fold %d: Dice %.3f before, %.3f after", fold + 1, measured.before, measured.after)
        outcome = Outcome(None, self.measured)
        if not outcome.helped:
            return outcome
        decoder = build_decoder(self.served.card.switches).to(self.episodes.embedder.device)
        decoder.load_state_dict(self.served.decoder.state_dict())
        learnt = self.plan.split.final or self.plan.split.train  # what is held back for good stays so
        better = self._further(len(self.folds), decoder, learnt, self.served.card.undertrained, None, watch)
        if better is None:
            return None
        if not self.folds:
            return Outcome(weights_of(better), self.measured)
        served = self._beside_served(better, learnt)
        fell = served.after < served.before - TRAINING.tolerance_few
        return Outcome(None if fell else weights_of(better), self.measured, served)

    def _beside_served(self, better: FewShotMaskDecoder, learnt: Sequence[int]) -> Measured:
        """Both decoders on some of the slices that they learnt from."""
        some = [
            learnt[i] for i in np.unique(np.linspace(0, len(learnt) - 1, SELF_TRAINING.compared).round().astype(int))
        ]
        undertrained = self.served.card.undertrained
        before, after = (
            measure(decoder, self.episodes, some, learnt, undertrained).metric
            for decoder in (self.served.decoder, better)
        )
        return Measured(before, after)

    def _fold(self, fold: int, held: Sequence[int], rest: Sequence[int], watch: _Watch) -> Measured | None:
        """Measure one fold; None when told to stop."""
        kept = self._resumed[0] if self._resumed else {}
        before = kept.get("before")
        torch.manual_seed(self.settings.seed)
        decoder = build_decoder(self.served.card.switches).to(self.episodes.embedder.device)
        if before is None:
            initialise_from_sam(decoder, self.settings)
            if not self._first(fold, decoder, rest, watch):
                return None
            undertrained = measure_undertrained(decoder, self.episodes, rest)
            before = measure(decoder, self.episodes, held, rest, undertrained).metric
        else:  # the first part is over: its result is in the checkpoint
            watch.done += self.first_steps
            undertrained = float(kept["undertrained"])
        better = self._further(fold, decoder, rest, undertrained, before, watch)
        if better is None:
            return None
        return Measured(before, measure(better, self.episodes, held, rest, undertrained).metric)

    def _first(self, fold: int, decoder: FewShotMaskDecoder, labelled: Sequence[int], watch: _Watch) -> bool:
        """Learn from labelled slices alone, as in a first training; False when told to stop."""
        learner = Learner(self.settings, self.episodes, decoder)
        begin = self._restored(learner, None)
        coarse_until = coarse_share(decoder, self.episodes.detail_size)
        for step in range(begin, self.first_steps):
            if self._stop(watch, fold, step, learner, None, None, 0.0):
                return False
            learner.step(labelled, _moment(step / self.first_steps, coarse_until))
            watch.done += 1
        return True

    def _further(
        self,
        fold: int,
        decoder: FewShotMaskDecoder,
        labelled: Sequence[int],
        undertrained: float,
        before: float | None,
        watch: _Watch,
    ) -> FewShotMaskDecoder | None:
        """Learn from unlabelled slices too: the teacher's decoder; None when told to stop."""
        hints = self.hints_for(labelled)
        if len(hints) < len(self.unlabelled):
            return None  # stopped meanwhile
        learner = SelfLearner(self.settings, self.episodes, decoder, labelled, self.unlabelled, hints, undertrained)
        begin = self._restored(learner.learner, learner)
        for step in range(begin, self.further_steps):
            if self._stop(watch, fold, step, learner.learner, learner, before, undertrained):
                return None
            learner.step(step, self.further_steps)
            watch.done += 1
        return learner.teacher.decoder.eval()

    def _stop(
        self,
        watch: _Watch,
        fold: int,
        step: int,
        learner: Learner,
        further: SelfLearner | None,
        before: float | None,
        undertrained: float,
    ) -> bool:
        """Show the progress, keep the state now and then, and tell whether to stop here."""
        stop = watch.look()
        if not stop and time.monotonic() - self._saved < SELF_TRAINING.checkpoint_seconds:
            return False
        values = {
            "fold": fold,
            "step": step,
            "further": further is not None,
            "before": before if further is not None else None,
            "undertrained": undertrained,
            "measured": [[one.before, one.after] for one in self.measured],
            "generator": learner.rng.bit_generator.state,
        }
        tensors = {
            **prefixed("student", learner.decoder.state_dict()),
            **prefixed("optimiser", optimiser_tensors(learner.optimiser)),
            **prefixed("teacher", further.teacher.decoder.state_dict() if further else {}),
            **chance_state(learner.device),
        }
        self.checkpoint.save(values, tensors)
        self._saved = time.monotonic()
        return stop

    def _resume(self) -> int:
        """The fold to go on with; 0 where there is no unfinished run of this kind."""
        self._resumed = self.checkpoint.load()
        if self._resumed is None:
            return 0
        values = self._resumed[0]
        try:
            self.measured = [Measured(float(before), float(after)) for before, after in values["measured"]]
            fold, step = int(values["fold"]), int(values["step"])
        except (KeyError, TypeError, ValueError) as error:
            self.checkpoint.refuse(error)
            self._resumed, self.measured = None, []
            return 0
        logger.info("going on from step %d of fold %d of a run that did not end", step, fold + 1)
        return fold

    def _restored(self, learner: Learner, further: SelfLearner | None) -> int:
        """Put back what `_stop` kept of this part of the run, and return its step; 0 where it begins anew."""
        if self._resumed is None or bool(self._resumed[0]["further"]) != (further is not None):
            return 0
        values, tensors = self._resumed
        self._resumed = None
        learner.decoder.load_state_dict(without_prefix("student", tensors))
        learner.optimiser.load_state_dict(optimiser_state(learner.optimiser, without_prefix("optimiser", tensors)))
        learner.rng = generator_from(values["generator"])
        if further is not None:
            further.teacher.decoder.load_state_dict(without_prefix("teacher", tensors))
        restore_chance(learner.device, tensors)
        return int(values["step"])


class _Watch:
    """Shows how far a run is, and knows when it is to stop."""

    def __init__(
        self, total: int, progress: Callable[[TrainProgress], None] | None, should_stop: Callable[[], bool]
    ) -> None:
        self.total, self.done, self._progress, self._should_stop = total, 0, progress, should_stop

    def look(self) -> bool:
        if self._progress:
            self._progress(TrainProgress(self.done, self.total, self.done, math.nan, None))
        return self._should_stop()


def _moment(done: float, coarse_until: float) -> Moment:
    rate = max(TRAINING.last_rate, 0.5 * (1 + math.cos(math.pi * done)))
    return Moment(done=done, selecting=False, coarse=done < coarse_until, elapsed=0.0, rate=rate)
