"""Whether the uncertainty that people are shown tells where the answer is wrong."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy import stats

from fewsam.core.metrics import dice
from fewsam.evaluation.report.cells import Cell
from fewsam.fewshot.inference.uncertainty import by_slice

FEWEST = 5  # slices of a volume that a rank correlation within it needs


class SliceError(NamedTuple):
    """One structure on one tested slice: the uncertainty served, one minus Dice, and pixels of truth and answer."""

    slice: int
    structure: str
    uncertainty: float
    error: float
    truth_pixels: int
    predicted_pixels: int


@dataclass(frozen=True)
class Calibration:
    """Spearman's rank correlations of uncertainty and error, NaN where one of them does not vary.

    Attributes:
        by_slice: Of all slices together: what a viewer shows of a slice, against its `mean_error`.
        within: The same within each volume of each draw, averaged: what the strip beside the slices is worth.
        by_structure: Of slice and class pairs, those included where the class is rightly nowhere.
        worst_found: Of the tenth of slices with the largest error, the share that is among the most uncertain tenth.
        uncertainty, error: Their means over slices, which would be equal if the uncertainty were the error expected.
        slices: How many slices.
    """

    by_slice: float
    within: float
    by_structure: float
    worst_found: float
    uncertainty: float
    error: float
    slices: int


def slice_errors(
    labelmap: np.ndarray,
    uncertainty: np.ndarray,
    truth: Mapping[str, np.ndarray],
    classes: Sequence[str],
    slices: Sequence[int],
) -> list[SliceError]:
    """For the ``slices`` of a volume. The error is one minus Dice; 0 where a class is rightly nowhere.

    Args:
        labelmap: (Z, H, W), values in the order of ``classes``.
        uncertainty: (Z, C) in 0..1.
        truth: class -> bool (Z, H, W).
    """
    found = []
    for z in slices:
        for c, name in enumerate(classes):
            mask, right = labelmap[z] == c + 1, truth[name][z]
            error = 1.0 - dice(mask, right)
            found.append(SliceError(int(z), name, float(uncertainty[z, c]), error, int(right.sum()), int(mask.sum())))
    return found


def mean_error(rows: Sequence[SliceError]) -> float:
    """Of one slice: mean over the classes in its truth or its answer; 0 where it rightly shows none.

    Classes that are rightly nowhere say nothing of how good the slice is, and would make it look the better the more
    of them there are.
    """
    errors = [row.error for row in rows if row.truth_pixels or row.predicted_pixels]
    return float(np.mean(errors)) if errors else 0.0


def slice_pairs(cells: Sequence[Cell]) -> dict[tuple, np.ndarray]:
    """(volume under one draw) -> (slices, 2) float: uncertainty as shown, and mean error."""
    rows: dict[tuple, dict[int, list[SliceError]]] = {}
    for cell in cells:
        for entry in cell.calibration:
            volume, row = entry[0], SliceError(*entry[1:])
            rows.setdefault((*cell.key, volume), {}).setdefault(row.slice, []).append(row)
    return {
        unit: np.array([(_shown(mine), mean_error(mine)) for mine in slices.values()]) for unit, slices in rows.items()
    }


def calibrate(cells: Sequence[Cell]) -> Calibration:
    """Over all slices of all ``cells``, of which one at least tells an uncertainty."""
    units = list(slice_pairs(cells).values())
    shown, errors = np.concatenate(units).T
    pairs = np.array([(row[3], row[4]) for cell in cells for row in cell.calibration])
    inside = [rank_correlation(*unit.T) for unit in units if len(unit) >= FEWEST]
    inside = [value for value in inside if not math.isnan(value)]
    worst = math.nan
    if len(shown) >= 10:
        tenth = len(shown) // 10
        most = set(np.argsort(-shown, kind="stable")[:tenth].tolist())
        worst = len(most & set(np.argsort(-errors, kind="stable")[:tenth].tolist())) / tenth
    return Calibration(
        by_slice=rank_correlation(shown, errors),
        within=float(np.mean(inside)) if inside else math.nan,
        by_structure=rank_correlation(pairs[:, 0], pairs[:, 1]),
        worst_found=worst,
        uncertainty=float(shown.mean()),
        error=float(errors.mean()),
        slices=len(shown),
    )


def rank_correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Spearman's, NaN where one side does not vary."""
    if len(first) < 3 or np.ptp(first) == 0 or np.ptp(second) == 0:
        return math.nan
    return float(stats.spearmanr(first, second).statistic)


def _shown(rows: Sequence[SliceError]) -> float:
    doubt = np.array([[row.uncertainty for row in rows]])
    return float(by_slice(doubt, np.array([[row.predicted_pixels for row in rows]]))[0])
