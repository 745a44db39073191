"""Intervals and tests over seeds and volumes.

The unit is a volume under one seed, its structures averaged: structures of one volume are not independent, and more of
them must not make a difference look surer than it is.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

RESAMPLES = 2000
LEVEL = 0.95


@dataclass(frozen=True)
class Comparison:
    """A method against a baseline over the units both have.

    Attributes:
        difference: Mean of method minus baseline.
        low, high: Bootstrap interval of it, 95 %.
        p: Wilcoxon's signed-rank test, two-sided; NaN where there are fewer than two units.
        units: How many.
        smallest_p: What p could be at best with so few units.
    """

    difference: float
    low: float
    high: float
    p: float
    units: int
    smallest_p: float


def interval(values: Sequence[float], seed: int = 0) -> tuple[float, float]:
    """Percentile bootstrap interval (95 %) of the mean; NaN with fewer than two values."""
    given = np.asarray([v for v in values if not math.isnan(v)], float)
    if len(given) < 2:
        return math.nan, math.nan
    if np.ptp(given) == 0:
        return float(given[0]), float(given[0])
    found = stats.bootstrap(
        (given,), np.mean, n_resamples=RESAMPLES, confidence_level=LEVEL, method="percentile",
        rng=np.random.default_rng(seed),
    )  # fmt: skip
    return float(found.confidence_interval.low), float(found.confidence_interval.high)


def compare(method: Mapping[tuple, float], baseline: Mapping[tuple, float]) -> Comparison:
    """``method`` against ``baseline``, both unit -> value."""
    common = [unit for unit in method if unit in baseline]
    differences = [method[unit] - baseline[unit] for unit in common]
    differences = [d for d in differences if not math.isnan(d)]
    count = len(differences)
    if not count:
        return Comparison(math.nan, math.nan, math.nan, math.nan, 0, math.nan)
    p, smallest = math.nan, math.nan
    if count >= 2:
        smallest = min(1.0, 2.0 ** (1 - count))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # scipy warns of ties
            p = float(stats.wilcoxon(differences).pvalue) if any(differences) else 1.0
    low, high = interval(differences)
    return Comparison(float(np.mean(differences)), low, high, p, count, smallest)
