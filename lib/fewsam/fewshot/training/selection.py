"""The evaluations of a training run on the slices held out, and the weights that they choose."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from fewsam.fewshot.model.decoder import FewShotMaskDecoder
from fewsam.fewshot.training.constants import TRAINING
from fewsam.fewshot.training.episodes import Episodes
from fewsam.fewshot.training.schedule import Moment
from fewsam.fewshot.training.split import Split
from fewsam.fewshot.training.validation import measure, measure_undertrained


@dataclass(frozen=True)
class Trained:
    """What a run that came to its end gives.

    Attributes:
        weights: State dict of the decoder.
        metric: Its Dice on the slices held out; None where there are none.
        largest_component: Classes for which the largest component alone did better there.
        step: The step of the run that the weights are from.
        undertrained: How much they have still to learn, 0 to 1.
    """

    weights: dict[str, Tensor]
    metric: float | None
    largest_component: tuple[str, ...]
    step: int
    undertrained: float


class Selection:
    """Evaluates a decoder now and then, and remembers the weights that did best.

    Where the slices held out are few they are too noisy to choose a step by, and they are learnt from in the end: there
    the latest weights are taken, and the metric is that of the last evaluation.

    Attributes:
        start_metric: Dice of the served decoder on the slices held out, or of the prior where none is served.
        metric: Dice of the weights chosen so far.
        weights: These weights; None where the latest ones are taken in any case.
    """

    def __init__(self, episodes: Episodes, split: Split, select_until: float) -> None:
        self.episodes, self.split, self.select_until = episodes, split, select_until
        self.start_metric: float | None = None
        self.metric: float | None = None
        self.largest_component: tuple[str, ...] = ()
        self.step = 0
        self.evaluations = 0
        self.weights: dict[str, Tensor] | None = None

    def measure_start(self, served: FewShotMaskDecoder | None, undertrained: float) -> None:
        """Measure what is served before the run, which its result is compared with."""
        if self.split.val:
            self.start_metric = measure(served, self.episodes, self.split.val, self.split.train, undertrained).metric

    def due(self, now: Moment) -> bool:
        """Whether the slices held out are to be evaluated before the next step."""
        if not self.split.val or now.coarse or self.evaluations >= TRAINING.evaluations:
            return False
        next_at = (self.evaluations + 1) / TRAINING.evaluations * self.select_until
        return now.done >= next_at or not now.selecting

    def evaluate(self, decoder: FewShotMaskDecoder, step: int, now: Moment) -> float:
        """Dice of ``decoder`` on the slices held out; its weights are kept if they are the best so far."""
        self.evaluations = max(self.evaluations + 1, int(now.done / self.select_until * TRAINING.evaluations))
        undertrained = 0.0
        if self.split.final and not now.selecting:  # the last evaluation is what the person is told
            undertrained = measure_undertrained(decoder, self.episodes, self.split.train)
        measured = measure(decoder, self.episodes, self.split.val, self.split.train, undertrained)
        if self.metric is None or measured.metric >= self.metric or self.split.final:
            self.metric, self.largest_component, self.step = measured.metric, measured.largest_component, step
            self.weights = None if self.split.final else weights_of(decoder)
        return measured.metric

    def finish(self, decoder: FewShotMaskDecoder, step: int) -> Trained:
        """The chosen weights, which ``decoder`` then has, and what is told of them."""
        if self.weights is None:
            self.weights, self.step = weights_of(decoder), step
        decoder.load_state_dict(self.weights)
        train, val = self.split.train, self.split.val
        undertrained = measure_undertrained(decoder, self.episodes, self.split.final or train)
        if undertrained and val and not self.split.final:
            self.metric = measure(decoder, self.episodes, val, train, undertrained).metric
        return Trained(self.weights, self.metric, self.largest_component, self.step, undertrained)

    def state(self) -> dict[str, Any]:
        """What `restore` needs beside the weights, as plain types."""
        return {
            "start_metric": self.start_metric,
            "metric": self.metric,
            "largest_component": list(self.largest_component),
            "step": self.step,
            "evaluations": self.evaluations,
        }

    def restore(self, state: Mapping[str, Any], weights: dict[str, Tensor]) -> None:
        """Go on from an earlier `state`; no ``weights`` where none were kept.

        Raises:
            KeyError, TypeError, ValueError: it is no such state; nothing is changed then.
        """
        start, metric = (None if state[name] is None else float(state[name]) for name in ("start_metric", "metric"))
        component, step = tuple(map(str, state["largest_component"])), int(state["step"])
        evaluations = int(state["evaluations"])
        self.start_metric, self.metric, self.largest_component = start, metric, component
        self.step, self.evaluations, self.weights = step, evaluations, weights or None


def weights_of(decoder: FewShotMaskDecoder) -> dict[str, Tensor]:
    """A copy of the decoder's state dict that further steps do not change."""
    return {name: value.detach().clone() for name, value in decoder.state_dict().items()}
