"""Slices are blended with their neighbours where registration puts them, and with nothing that is not alike."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fewsam import smoothing
from fewsam.registration import SIDE
from fewsam.smoothing import smooth_along_fields


class Known:
    """Displacements as told: ``step`` cells of the answer to the right from slice to slice."""

    def __init__(self, mm: float, step: float = 0.0, side: int = SIDE, torn: int | None = None) -> None:
        self.slice_mm, self.step, self.side, self.torn = mm, step, side, torn

    def between(self, fixed: int, moving: int) -> tuple[np.ndarray, bool]:
        field = np.zeros((2, SIDE, SIDE), np.float16)
        field[1] = (moving - fixed) * self.step * SIDE / self.side
        return field, self.torn is None or {fixed, moving} != {self.torn - 1, self.torn}


def blended(probabilities: np.ndarray, volume: Any) -> np.ndarray:
    return smooth_along_fields(probabilities.astype(np.float16).copy(), volume).astype(np.float64)


@settings(max_examples=25, deadline=None)
@given(depth=st.integers(1, 9), mm=st.floats(0.3, 12), seed=st.integers(0, 99))
def test_where_nothing_moves_it_is_the_mean_weighted_by_distance(depth: int, mm: float, seed: int) -> None:
    values = np.random.default_rng(seed).uniform(0, 1, (depth, 2, 8, 8))
    found = blended(values, Known(mm))
    distance = np.abs(np.arange(depth)[:, None] - np.arange(depth)) * mm
    weights = np.exp(-distance / smoothing.LENGTH_MM)
    wanted = np.einsum("zy,ychw->zchw", weights / weights.sum(1, keepdims=True), values)
    assert np.abs(found - wanted).max() < 0.02  # of half precision


def test_what_moves_is_followed_and_outliers_go() -> None:
    depth, side, step = 9, 64, 4
    truth = np.zeros((depth, side, side), bool)
    for z in range(depth):
        truth[z, 20:32, 6 + step * z : 18 + step * z] = True
    values = np.stack([~truth, truth], 1) * 0.6 + 0.2
    values[4] = values[4, ::-1]  # one slice is wrong everywhere
    found = blended(values, Known(1.0, step, side)).argmax(1) == 1
    still = blended(values, Known(1.0)).argmax(1) == 1
    assert (found[4] == truth[4]).mean() > 0.97
    assert (still != truth).sum() > 4 * (found != truth).sum()


def test_nothing_is_blended_between_slices_that_are_not_alike() -> None:
    values = np.zeros((6, 2, 4, 4))
    values[:3, 0], values[3:, 1] = 1, 1
    assert np.abs(blended(values, Known(1.0, torn=3)) - values).max() < 1e-3
    assert np.abs(blended(values, Known(1.0)) - values).max() > 0.1


@pytest.mark.parametrize("mm", [3.0, 10.0])
def test_thick_slices_keep_more_of_themselves(mm: float) -> None:
    values = np.zeros((3, 1, 4, 4))
    values[1] = 1
    share = math.exp(-mm / smoothing.LENGTH_MM)
    assert blended(values, Known(mm))[1].mean() == pytest.approx(1 / (1 + 2 * share), abs=2e-3)


def test_probabilities_stay_probabilities() -> None:
    values = torch.rand(5, 3, 16, 16, generator=torch.Generator().manual_seed(0)).softmax(1).numpy()
    found = blended(values, Known(2.0, 1.5, 16))
    assert found.min() >= -1e-3 and np.abs(found.sum(1) - 1).max() < 5e-3
