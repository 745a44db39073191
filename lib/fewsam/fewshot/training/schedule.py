"""How far a training run is, by steps or by time, and what follows for the next step."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

from fewsam.core.config import Settings
from fewsam.fewshot.model.decoder import FewShotMaskDecoder
from fewsam.fewshot.training.constants import TRAINING


@dataclass(frozen=True)
class Moment:
    """Where a run is before its next step.

    Attributes:
        done: Share of the run that is over, 0 to 1.
        selecting: The slices held out are not learnt from now.
        coarse: Slices are learnt from at half their size now.
        elapsed: Seconds that the run has taken, in all processes that worked on it.
        rate: Factor on the learning rates.
    """

    done: float
    selecting: bool
    coarse: bool
    elapsed: float
    rate: float


def coarse_share(decoder: FewShotMaskDecoder, detail_size: int) -> float:
    """The share of a first training, from its start, in which this decoder learns at half the size of its slices.

    Their side is ``detail_size`` pixels. Features that read the embedding have a working size of their own, which is
    large enough to halve.
    """
    return TRAINING.coarse_share if decoder.use_embedding or detail_size > TRAINING.coarse_above else 0.0


class Schedule:
    """The course of one run. It ends by its steps or by its time, whichever comes first.

    A run that its steps end must come out the same on a busy machine too, where one step, mostly the first, may take
    many times as long as the others: the clock is looked at only where the steps are clearly behind it.

    Args:
        started: When this process began with the run, as `time.monotonic` tells it.
        select_until: Share of the run after which the slices held out are learnt from too; 1 for never.
        coarse_until: Share of the run before which slices are learnt from at half their size; 0 for never.
    """

    def __init__(self, settings: Settings, started: float, *, select_until: float, coarse_until: float) -> None:
        self.steps, self.seconds, self.started = settings.steps, settings.train_seconds, started
        self.select_until, self.coarse_until = select_until, coarse_until
        self.spent = 0.0  # seconds that earlier processes took
        self.prepared = 0.0  # seconds of the run that came before steps

    def begin(self) -> None:
        """The first step of this process comes now.

        What came before takes of the run's time, of which a share is left for steps in any case, and has no part in its
        schedule: a run that is ended by its steps is then the same again, however long its preparation took.
        """
        self.prepared += time.monotonic() - self.started

    def at(self, step: int) -> Moment:
        """Where the run is now that ``step`` steps are made."""
        elapsed = time.monotonic() - self.started + self.spent
        by_steps, by_time = step / self.steps, self._time_share(elapsed)
        done = min(1.0, by_time if by_time >= min(1.0, by_steps + TRAINING.clock_slack) else by_steps)
        return Moment(
            done=done,
            selecting=done < self.select_until,
            coarse=done < self.coarse_until,
            elapsed=elapsed,
            rate=TRAINING.last_rate + (1 - TRAINING.last_rate) * 0.5 * (1 + math.cos(math.pi * done)),
        )

    def _time_share(self, elapsed: float) -> float:
        """How much of the time for steps is over."""
        left = max(self.seconds - self.prepared, TRAINING.least_share * self.seconds)
        return (elapsed - self.prepared) / left
