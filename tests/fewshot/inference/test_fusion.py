"""The three voices are weighed as the module says."""

from __future__ import annotations

import pytest
import torch

from fewsam.fewshot.inference.fusion import FUSION, atlas_weight, log_opinion_pool


def logs(*values: float) -> torch.Tensor:
    """(1, C, 4, 4) log-probabilities, the same everywhere."""
    return torch.tensor(values).log()[None, :, None, None].expand(1, len(values), 4, 4)


def test_alone_the_answer_stays() -> None:
    answers = logs(0.3, 0.7)
    assert log_opinion_pool(answers, None, None, 1.0) is answers


def test_weights_by_hand() -> None:
    answers, propagated, atlas = logs(0.3, 0.7), logs(0.8, 0.2), logs(0.6, 0.4)
    with_atlas = (answers + 0.25 * atlas) / 1.25
    assert torch.allclose(log_opinion_pool(answers, None, atlas, 0.25), with_atlas)
    both = FUSION.temperature * (with_atlas + FUSION.propagation_weight * propagated)
    assert torch.allclose(log_opinion_pool(answers, propagated, atlas, 0.25), both)


def test_where_nothing_is_trusted_the_answer_wins_alone() -> None:
    answers, against = logs(0.4, 0.6), logs(0.99, 0.01)
    trust = torch.zeros(4, 4)
    trust[:, 2:] = 1
    winner = log_opinion_pool(answers, against, against, 1.0, trust)[0].argmax(0)
    assert (winner[:, 0] == 1).all() and (winner[:, 3] == 0).all()


def test_members_of_an_ensemble_and_other_grids() -> None:
    answers = torch.rand(3, 2, 5, 32, 32).log_softmax(2)
    found = log_opinion_pool(answers, torch.zeros(2, 5, 16, 16), torch.zeros(2, 5, 8, 8), 0.5)
    assert found.shape == answers.shape
    assert torch.equal(found.argmax(2), answers.argmax(2))  # what says nothing changes nothing


@pytest.mark.parametrize(
    ("undertrained", "depth", "num_atlases", "weight"),
    [
        (1.0, 1, 5, 2.0),
        (1.0, 40, 9, 2.0),
        (0.0, 1, 5, 1.0),
        (0.0, 40, 5, 0.25),
        (0.0, 40, 2, 0.1),
        (1.0, 9, 1, 0.4),
        (0.5, 1, 5, 1.5),
        (0.2, 40, 5, 0.6),
    ],
)
def test_the_atlas_counts_most_beside_an_untrained_answer_and_by_its_num_atlases(
    undertrained: float, depth: int, num_atlases: int, weight: float
) -> None:
    assert atlas_weight(undertrained, depth, num_atlases) == pytest.approx(weight)
