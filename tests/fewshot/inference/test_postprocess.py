"""Smoothing, gate and largest component on small hand-made masks."""

import tracemalloc

import numpy as np
import torch

from fewsam.fewshot.inference.postprocess import (
    class_indices,
    clean,
    keep_largest,
    presence_gate,
    smoothed_along_z,
    without_islands,
    without_strays,
)
from fewsam.images.frame import make_frame


def smoothed(probabilities, depths):
    return np.stack(list(smoothed_along_z(probabilities, depths)))


def test_smoothing_blends_neighbours_and_leaves_the_ends():
    p = np.zeros((4, 1, 1, 1), np.float32)
    p[1] = 1.0
    even = np.arange(4) * 3.0
    assert np.allclose(smoothed(p, even)[:, 0, 0, 0], [0.0, 0.5, 0.25, 0.0])
    assert p[1] == 1.0, "what was given is not changed"
    assert np.array_equal(smoothed(p[:2], even[:2]), p[:2])
    assert np.array_equal(smoothed(p[:1], even[:1]), p[:1])


def test_smoothing_takes_less_from_a_slice_beyond_a_gap():
    p = np.zeros((5, 1, 1, 1), np.float16)
    p[2] = 1.0
    depths = np.array([0.0, 3.0, 6.0, 18.0, 21.0])  # three slices are missing before the fourth
    blended = smoothed(p, depths)
    assert blended.dtype == np.float32
    assert np.allclose(blended[:, 0, 0, 0], [0.0, 0.25, 1 - 0.25 - 0.25 / 4, 0.25 / 4, 0.0])
    near = smoothed(p, np.array([0.0, 3.0, 6.0, 6.5, 9.5]))
    assert np.allclose(near[:, 0, 0, 0], [0.0, 0.25, 0.5, 0.25, 0.0]), "never more than a neighbour's weight"


def test_winners_of_a_long_series_take_little_memory_beside_its_probabilities():
    rng = np.random.default_rng(0)
    p = rng.random((60, 3, 64, 64), np.float32).astype(np.float16)
    frame = make_frame((60, 64, 64), (1.0, 1.0, 1.0), 64)
    class_indices(p[:3], frame, depths=np.arange(3.0), gate=False)  # what is imported once
    tracemalloc.start()
    class_indices(p, frame, depths=np.arange(60.0), gate=False)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < p.nbytes


def test_the_gate_clears_a_doubtful_region_only():
    labelmap = np.array([[1, 1, 0, 2]], np.uint8)
    confidence = np.array([[0.36, 0.37, 0.9, 0.8]])
    assert presence_gate(labelmap, confidence).tolist() == [[0, 0, 0, 2]]


def test_largest_component():
    mask = np.array([[1, 1, 0, 1]], bool)
    assert keep_largest(mask).tolist() == [[True, True, False, False]]
    assert not keep_largest(np.zeros((2, 2), bool)).any()
    spine = np.zeros((30, 6), bool)
    spine[1:9], spine[11:19], spine[21:28, :5], spine[29, 5] = True, True, True, True
    kept = without_islands(spine)
    assert kept[:28].sum() == spine[:28].sum() and not kept[29].any()  # all vertebrae stay, the speck goes
    assert np.array_equal(without_islands(mask), mask) and not without_islands(np.zeros((2, 2), bool)).any()
    labelmap = np.array([[[1, 1, 0, 1, 2, 0, 2]]], np.uint8)
    assert clean(labelmap, [1], keep_largest).tolist() == [[[1, 1, 0, 0, 2, 0, 2]]]


def test_class_indices_are_on_the_slice_grid():
    frame = make_frame((3, 20, 30), (1.0, 1.0, 1.0), 64)
    square = frame.to_square(np.pad(np.ones((1, 10, 30), np.float32), ((0, 0), (0, 10), (0, 0))), 64)
    top = torch.as_tensor(square).float().numpy()
    p = np.stack([np.concatenate([1 - top, top])] * 3)
    winners = class_indices(p, frame, depths=np.arange(3.0), gate=False)
    assert winners.shape == (3, 20, 30)
    assert (winners[:, :9] == 1).all() and (winners[:, 11:] == 0).all()


def two_balls(gap: int) -> np.ndarray:
    """A structure on slices 4 to 9, and something that looks alike on slices 0 to 3 - gap."""
    mask = np.zeros((12, 20, 20), bool)
    mask[4:10, 5:12, 5:12] = True
    mask[: 4 - gap, 8:16, 8:16] = True
    return mask


def test_what_lies_beyond_the_drawn_slices_stays_where_it_touches_the_structure() -> None:
    apart, touching = two_balls(1), two_balls(0)
    kept = without_strays(apart, 5, 8)
    assert not kept[:4].any() and np.array_equal(kept[4:], apart[4:])
    assert np.array_equal(without_strays(touching, 5, 8), touching)


def test_nothing_is_cleared_of_a_structure_in_pieces_or_drawn_on_one_slice() -> None:
    apart = two_balls(1)
    pieces = apart.copy()
    pieces[5:8, 15:19, 15:19] = True
    assert np.array_equal(without_strays(pieces, 5, 8), pieces)
    assert np.array_equal(without_strays(apart, 6, 6), apart)
    assert np.array_equal(without_strays(apart, 10, 11), apart)  # nothing was found between the drawn slices


def test_a_stray_between_the_drawn_slices_is_no_second_piece() -> None:
    apart = two_balls(1)
    apart[6, 18, 18] = True
    kept = without_strays(apart, 5, 8)
    assert kept[6, 18, 18] and not kept[:4].any()
