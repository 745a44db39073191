"""Measures against values worked out by hand, and the cases where there is nothing to measure."""

import math

import numpy as np
import pytest

from fewsam.evaluation.report.measures import Score, score, surfaces

SPACING = (3.0, 1.0, 2.0)  # z, row, col in mm


def volume(*places: tuple[int, int, int]) -> np.ndarray:
    mask = np.zeros((4, 9, 9), bool)
    for place in places:
        mask[place] = True
    return mask


def measured(predicted: np.ndarray, truth: np.ndarray, tolerance: float = 2.0, by_slice: bool = False) -> Score:
    return score("v", "s", predicted, truth, SPACING, tolerance, by_slice=by_slice)


def test_one_voxel_three_columns_off_is_six_millimetres_off():
    found = measured(volume((1, 2, 5)), volume((1, 2, 2)))
    assert (found.iou, found.dice, found.surface_dice, found.hd95) == (0.0, 0.0, 0.0, 6.0)
    assert measured(volume((1, 2, 5)), volume((1, 2, 2)), tolerance=6.0).surface_dice == 1.0
    assert measured(volume((3, 2, 2)), volume((1, 2, 2))).hd95 == 6.0  # two slices of 3 mm
    assert measured(volume((1, 6, 2)), volume((1, 2, 2))).hd95 == 4.0  # four rows of 1 mm


def test_one_voxel_found_rightly():
    found = measured(volume((1, 2, 2)), volume((1, 2, 2)))
    assert (found.iou, found.dice, found.surface_dice, found.hd95) == (1.0, 1.0, 1.0, 0.0)
    assert (found.truth_voxels, found.predicted_voxels) == (1, 1)


def test_half_of_two_voxels():
    found = measured(volume((1, 2, 2)), volume((1, 2, 2), (1, 2, 3)))
    assert found.iou == 0.5 and found.dice == pytest.approx(2 / 3)
    # surface of the truth: 2 voxels, 1 within 1 mm; of the prediction: 1 voxel, 1 within
    assert measured(volume((1, 2, 2)), volume((1, 2, 2), (1, 2, 3)), tolerance=1.0).surface_dice == pytest.approx(2 / 3)
    assert measured(volume((1, 2, 2)), volume((1, 2, 2), (1, 2, 3)), tolerance=2.0).surface_dice == 1.0


def test_what_is_not_found_has_no_distance():
    found = measured(volume(), volume((1, 2, 2)))
    assert (found.iou, found.dice, found.surface_dice) == (0.0, 0.0, 0.0) and math.isnan(found.hd95)
    assert (found.truth_voxels, found.predicted_voxels) == (1, 0)


@pytest.mark.parametrize("predicted", [volume(), volume((0, 0, 0), (0, 0, 1))])
def test_without_a_truth_nothing_is_defined_but_voxels_count(predicted):
    found = measured(predicted, volume())
    assert all(math.isnan(value) for value in (found.iou, found.dice, found.surface_dice, found.hd95))
    assert found.predicted_voxels == predicted.sum()


def test_by_slice_only_slices_with_the_structure_count_and_gaps_are_no_surface():
    truth = volume((0, 2, 2), (2, 2, 2))
    predicted = volume((0, 2, 4), (1, 5, 5))  # 4 mm off, too much, not found
    found = measured(predicted, truth, tolerance=4.0, by_slice=True)
    assert found.hd95 == 4.0  # of the one slice where there is something to measure
    assert found.surface_dice == 0.5  # 1 on the first, 0 on the third


def test_structures_at_the_edge_have_a_surface_there():
    full = np.ones((3, 4, 5), bool)
    assert surfaces(full, full, SPACING, 0.5) == (1.0, 0.0)
    assert surfaces(full[:1], full[:1], SPACING, 0.5) == (1.0, 0.0)  # a picture


def test_undefined_values_survive_the_log():
    found = measured(volume(), volume((1, 2, 2)))
    assert found.as_dict()["hd95"] is None
    again = Score.of(found.as_dict())
    assert math.isnan(again.hd95) and again.dice == 0.0 and again.volume == "v"
