"""Whether the uncertainty that people are shown tells where the answer is wrong."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from fewsam.evaluation.cells import Cell
from fewsam.metrics import dice


@dataclass(frozen=True)
class Calibration:
    """Spearman's rank correlation of uncertainty and error, NaN where one of them does not vary.

    Attributes:
        by_slice: Of what a viewer lists: each slice's highest uncertainty of any class, against the slice's mean error.
        by_structure: Of slice and class pairs.
        slices: How many slices.
        worst_found: Of the tenth of slices with the largest error, the share that is among the most uncertain tenth.
    """

    by_slice: float
    by_structure: float
    slices: int
    worst_found: float


def slice_errors(
    labelmap: np.ndarray,
    uncertainty: np.ndarray,
    truth: Mapping[str, np.ndarray],
    classes: Sequence[str],
    slices: Sequence[int],
) -> list[tuple[int, str, float, float]]:
    """Rows (slice, class, uncertainty, error) for the ``slices`` of a volume.

    The error is one minus Dice; 0 where a class is rightly nowhere.

    Args:
        labelmap: (Z, H, W), values in the order of ``classes``.
        uncertainty: (Z, C) in 0..1.
        truth: class -> bool (Z, H, W).
    """
    return [
        (int(z), name, float(uncertainty[z, c]), 1.0 - dice(labelmap[z] == c + 1, truth[name][z]))
        for z in slices
        for c, name in enumerate(classes)
    ]


def calibrate(cells: Sequence[Cell]) -> Calibration:
    """Over all slices of all ``cells``."""
    by_slice: dict[tuple, list[tuple[float, float]]] = {}
    for cell in cells:
        for volume, z, _, uncertainty, error in cell.calibration:
            by_slice.setdefault((*cell.key, volume, z), []).append((uncertainty, error))
    shown = np.array([max(u for u, _ in rows) for rows in by_slice.values()])
    # classes that are rightly nowhere say nothing of how good the slice is
    errors = np.array([_mean([e for u, e in rows if e > 0 or u > 0]) for rows in by_slice.values()])
    pairs = np.array([pair for rows in by_slice.values() for pair in rows]).reshape(-1, 2)
    worst = math.nan
    if len(shown) >= 10:
        tenth = len(shown) // 10
        most = set(np.argsort(-shown, kind="stable")[:tenth].tolist())
        worst = len(most & set(np.argsort(-errors, kind="stable")[:tenth].tolist())) / tenth
    return Calibration(rank_correlation(shown, errors), rank_correlation(pairs[:, 0], pairs[:, 1]), len(shown), worst)


def rank_correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Spearman's, NaN where one side does not vary."""
    if len(first) < 3 or np.ptp(first) == 0 or np.ptp(second) == 0:
        return math.nan
    return float(stats.spearmanr(first, second).statistic)


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else 0.0
