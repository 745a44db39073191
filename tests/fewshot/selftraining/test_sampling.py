"""Which images are of the same kind, and which of their slices are learnt from."""

import numpy as np

from fewsam.fewshot.selftraining.sampling import candidates, looked_at, same_kind, some_of, spread_out


def units(rows):
    rows = np.asarray(rows, float)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


LABELLED = units([[1, 0.1, 0], [1, -0.1, 0], [1, 0, 0.1]])


def test_an_image_like_the_labelled_slices_is_of_the_same_kind():
    assert same_kind(units([[1, 0.2, 0], [0, 1, 0], [0, 0, 1], [0, 1, 1]]), LABELLED)  # its ends may look otherwise


def test_another_modality_is_not():
    assert not same_kind(units([[0.2, 1, 0], [0, 1, 0.3]]), LABELLED)


def test_one_labelled_slice_is_enough_to_tell():
    assert same_kind(units([[1, 0.1, 0]]), LABELLED[:1]) and not same_kind(units([[0, 1, 0]]), LABELLED[:1])


def test_chosen_slices_cover_all_and_the_same_seed_chooses_the_same():
    groups = units(np.repeat(np.eye(4), 25, axis=0) + np.random.default_rng(0).normal(0, 0.01, (100, 4)))
    chosen = spread_out(groups, 4, np.random.default_rng(1))
    assert {index // 25 for index in chosen} == {0, 1, 2, 3}
    assert chosen == spread_out(groups, 4, np.random.default_rng(1)) == sorted(chosen)
    assert spread_out(groups, 200, np.random.default_rng(1)) == list(range(100))


def test_slices_reach_from_end_to_end():
    assert candidates(5) == [0, 1, 2, 3, 4] and candidates(1) == [0]
    many = candidates(300, 16)
    assert len(many) == 16 and many[0] == 0 and many[-1] == 299


def test_of_many_images_some_are_drawn_by_the_seed():
    many = [f"image{n:04d}" for n in range(1000)]
    assert some_of(many, 0) == some_of(reversed(many), 0) != some_of(many, 1)
    assert len(some_of(many, 0)) == 60 and some_of(["b", "a"], 0) == ["a", "b"]
    assert looked_at(many, 0)[:60] == some_of(many, 0) and sorted(looked_at(many, 0)) == many
