"""Uncertainty against error, on numbers small enough to follow."""

import math

import numpy as np
import pytest

from fewsam.evaluation.report.calibration import SliceError, calibrate, mean_error, rank_correlation, slice_errors
from fewsam.evaluation.report.cells import Cell


def cell(pairs: list[tuple[float, float]], volume: str = "v", seed: int = 0) -> Cell:
    """One structure, found on every slice: (uncertainty, error) of slices 0, 1, ..."""
    made = Cell("t", "fewsam", 3, seed)
    made.calibration = [(volume, z, "a", u, e, 5, 5) for z, (u, e) in enumerate(pairs)]
    return made


def test_the_error_of_a_slice_leaves_out_what_is_rightly_nowhere():
    labelmap = np.zeros((3, 4, 4), np.uint8)
    labelmap[0, 0, :2] = 1
    labelmap[1, 1, 1] = 2
    truth = {"a": np.zeros((3, 4, 4), bool), "b": np.zeros((3, 4, 4), bool)}
    truth["a"][0, 0, 1:3] = True
    uncertainty = np.arange(6, dtype=np.float32).reshape(3, 2) / 10
    rows = slice_errors(labelmap, uncertainty, truth, ["a", "b"], [0, 1, 2])
    assert rows[0] == SliceError(0, "a", 0.0, 0.5, 2, 2) and rows[1].error == 0.0  # half of it; rightly nowhere
    assert rows[3][3:] == (1.0, 0, 1) and rows[3].uncertainty == pytest.approx(0.3)  # found where there is none
    assert [mean_error([row for row in rows if row.slice == z]) for z in range(3)] == [0.5, 1.0, 0.0]


def test_order_counts_and_not_scale():
    found = calibrate([cell([(0.01 * n, 0.1 * n) for n in range(10)])])
    assert found.by_slice == found.within == found.by_structure == pytest.approx(1.0)
    assert found.worst_found == 1.0 and found.slices == 10
    assert found.uncertainty == pytest.approx(0.045) and found.error == pytest.approx(0.45)
    assert calibrate([cell([(0.01 * n, 1 - 0.1 * n) for n in range(10)])]).by_slice == pytest.approx(-1.0)


def test_an_order_within_volumes_may_be_lost_between_them():
    """Two volumes, each ordered rightly, the worse one with the lower uncertainty."""
    one = cell([(0.5 + 0.01 * n, 0.01 * n) for n in range(6)], "one")
    other = cell([(0.01 * n, 0.5 + 0.01 * n) for n in range(6)], "other", seed=1)
    found = calibrate([one, other])
    assert found.within == pytest.approx(1.0) and found.by_slice < 0


def test_what_does_not_vary_has_no_correlation():
    assert math.isnan(rank_correlation(np.ones(5), np.arange(5.0)))
    assert math.isnan(rank_correlation(np.arange(2.0), np.arange(2.0)))
    found = calibrate([cell([(0.5, 0.1), (0.5, 0.2), (0.5, 0.3)])])
    assert math.isnan(found.by_slice) and math.isnan(found.within) and math.isnan(found.worst_found)
