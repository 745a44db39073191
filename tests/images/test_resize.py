"""Maps are resized in one way."""

import torch

from fewsam.images.resize import resize


def test_an_enlarged_row_has_its_edges_where_they_were():
    row = torch.tensor([[[[0.0, 4.0]]]])
    assert resize(row, (1, 4)).flatten().tolist() == [0, 1, 3, 4]  # centres at -0.25, 0.25, 0.75, 1.25


def test_one_number_is_both_sides():
    assert resize(torch.zeros(2, 3, 5, 7), 4).shape == (2, 3, 4, 4)


def test_antialias_averages_where_the_target_is_smaller():
    row = torch.tensor([[[[0.0, 0.0, 0.0, 0.0, 8.0, 0.0, 0.0, 0.0]]]])
    assert resize(row, (1, 2)).flatten().tolist() == [0, 0]  # it reads the two pixels in the middle of each half
    assert resize(row, (1, 2), antialias=True).sum() > 0
