"""Hand-computed overlaps, and the degenerate cases."""

import numpy as np
import pytest

from fewsam.core.metrics import dice, iou

A = np.array([[1, 1, 0], [0, 0, 0]], bool)
B = np.array([[0, 1, 1], [0, 0, 0]], bool)
EMPTY = np.zeros((2, 3), bool)


def test_overlap_by_hand():
    assert iou(A, B) == pytest.approx(1 / 3)
    assert dice(A, B) == pytest.approx(2 / 4)


@pytest.mark.parametrize("measure", [iou, dice])
def test_degenerate_masks(measure):
    assert measure(EMPTY, EMPTY) == 1.0
    assert measure(A, EMPTY) == 0.0
    assert measure(EMPTY, A) == 0.0
    assert measure(A, A) == 1.0
