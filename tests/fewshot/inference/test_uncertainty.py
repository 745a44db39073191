"""Uncertainty on probabilities made by hand."""

import numpy as np
import pytest
import torch

from fewsam.fewshot.inference.uncertainty import by_slice, expected_error, with_distance


def probabilities(inside: float, outside: float = 0.0) -> torch.Tensor:
    """One class in a square of 4 x 4 of 16 x 16 pixels: (1, 2, 16, 16)."""
    p = torch.full((1, 1, 16, 16), outside)
    p[:, :, 4:8, 4:8] = inside
    return torch.cat([1 - p, p], dim=1)


KNOWN = torch.ones(1, 2, dtype=torch.bool)


def test_a_sure_answer_is_certain_and_a_doubtful_one_by_hand():
    assert expected_error(probabilities(1.0)[None], KNOWN).item() == pytest.approx(0)
    # Dice between a mask of 16 pixels and probabilities of 0.6 there: 2 * 9.6 / (9.6 + 16)
    assert expected_error(probabilities(0.6)[None], KNOWN).item() == pytest.approx(1 - 19.2 / 25.6)


def test_an_absent_class_is_as_doubtful_as_its_likeliest_pixel():
    """However much of a small probability there is: one in a hundred on 256 pixels is no suspicion."""
    assert expected_error(probabilities(0.01, 0.01)[None], KNOWN).item() == pytest.approx(1e-6, rel=1e-2)
    assert expected_error(probabilities(0.4)[None], KNOWN).item() == pytest.approx(0.064)


def test_other_answers_count_unless_they_know_nothing_of_the_class():
    nothing = probabilities(0.0)
    members = torch.stack([probabilities(1.0), probabilities(1.0), nothing])
    both = torch.ones(3, 2, dtype=torch.bool)
    assert expected_error(members, both).item() == pytest.approx(0.3 / 2)  # one of two others sees nothing
    assert expected_error(members, torch.tensor([[1, 1], [1, 1], [1, 0]]).bool()).item() == pytest.approx(0)
    assert expected_error(members, torch.tensor([[1, 1], [1, 0], [1, 0]]).bool()).item() == pytest.approx(0)


def test_doubt_grows_with_the_distance_to_labelled_slices_and_stays_below_one():
    flat = np.full((10, 2), 0.4, np.float32)
    found = with_distance(flat, {2})
    assert found.dtype == np.float32 and found[2, 0] == pytest.approx(0.4 * 0.75)
    assert found[7, 1] == pytest.approx(0.4 * (0.75 + 2 * 0.5))
    assert (np.diff(found[2:, 0]) > 0).all() and (np.diff(found[:3, 0]) < 0).all()
    assert with_distance(np.ones((10, 1)), {0}).max() == 1.0
    assert with_distance(flat, ()) is flat


def test_a_slice_is_as_doubtful_as_the_classes_on_it():
    uncertainty = np.array([[0.2, 0.4, 0.0], [0.2, 0.5, 0.0], [0.0, 0.0, 0.0], [0.3, 0.0, 0.0]])
    foreground = np.array([[1, 1, 0], [1, 0, 0], [0, 0, 0], [0, 0, 0]]) * 0.1
    # both there; one there and one as likely as not: (0.2 + 0.5) / 1.5; none; three in ten that one is missing
    assert by_slice(uncertainty, foreground).tolist() == pytest.approx([0.3, 0.7 / 1.5, 0.0, 0.3])
    assert by_slice(np.zeros((3, 0)), np.zeros((3, 0))).tolist() == [0, 0, 0]
