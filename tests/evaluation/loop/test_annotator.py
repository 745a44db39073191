"""What a simulated annotator draws, and how long it takes."""

import numpy as np

from fewsam.evaluation.loop.annotator import Noise, Pace, draw_slice


def square(size: int = 3, at: int = 4, side: int = 16) -> np.ndarray:
    mask = np.zeros((side, side), bool)
    mask[at : at + size, at : at + size] = True
    return mask


def drawn(served=None, noise=None, seed=0):
    truth = {"a": square(), "b": square(2, 10), "c": np.zeros((16, 16), bool)}
    return truth, draw_slice(truth, served, noise or Noise(), Pace(60, 15), np.random.default_rng(seed))


def test_a_perfect_drawing_from_nothing():
    truth, drawing = drawn()
    assert set(drawing.masks) == {"a", "b"} and np.array_equal(drawing.masks["a"], truth["a"])
    assert not drawing.corrected and drawing.seconds == 60 and drawing.changed == 9 + 4


def test_a_correction_counts_the_pixels_it_changes():
    served = {"a": square(3, 5), "b": square(2, 10), "c": square(1, 0)}
    _, drawing = drawn(served)
    # "a" is off by one row and column: 9 + 9 - 2 * 4 pixels; "c" has one too many
    assert drawing.corrected and drawing.seconds == 15 and drawing.changed == 10 + 1
    _, blank = drawn({"a": np.zeros((16, 16), bool)})
    assert not blank.corrected and blank.seconds == 60  # an empty answer is no help


def test_noise():
    _, larger = drawn(noise=Noise(dilate=1))
    assert larger.masks["a"].sum() == 9 + 12  # a cross of neighbours around a square of three
    _, smaller = drawn(noise=Noise(dilate=-1))
    assert smaller.masks["a"].sum() == 1 and "b" not in smaller.masks
    _, moved = drawn(noise=Noise(shift=3))
    assert moved.masks["a"].sum() == 9 and not np.array_equal(moved.masks["a"], square())
    kept = [set(drawn(noise=Noise(forget=0.5), seed=seed)[1].masks) for seed in range(60)]
    assert all(kept) and {"a"} in kept and {"a", "b"} in kept  # never all of them
    always = [set(drawn(noise=Noise(forget=1.0), seed=seed)[1].masks) for seed in range(3)]
    assert always == [{"a"}] * 3
