"""Labelled slices held back in turn."""

from types import SimpleNamespace

from fewsam.fewshot.selftraining.folds import folds_of


def shot(image, z, *classes):
    return SimpleNamespace(place=(image, z), masks=dict.fromkeys(classes))


def test_each_slice_is_held_back_once():
    shots = [shot("a", z, "liver") for z in (9, 1, 5, 7, 3)]
    folds = folds_of(shots, 3)
    assert sorted(index for fold in folds for index in fold) == [0, 1, 2, 3, 4]
    assert len(folds) == 3


def test_slices_of_one_image_stay_together_where_images_are_enough():
    shots = [shot(image, z, "liver") for image in "abc" for z in (1, 2)]
    assert folds_of(shots, 3) == [[0, 1], [2, 3], [4, 5]]


def test_the_only_slice_of_a_class_is_never_held_back():
    shots = [shot("a", 1, "liver"), shot("a", 2, "liver", "spleen"), shot("a", 3, "liver")]
    assert 1 not in [index for fold in folds_of(shots, 3) for index in fold]


def test_no_fold_takes_a_class_away_altogether():
    shots = [shot("a", 1, "liver"), shot("a", 2, "liver"), shot("b", 1, "spleen"), shot("b", 2, "spleen")]
    for fold in folds_of(shots, 2):
        left = {name for i, one in enumerate(shots) if i not in fold for name in one.masks}
        assert left == {"liver", "spleen"}


def test_two_slices_are_left_so_that_one_prompts_the_other():
    assert folds_of([shot("a", 1, "liver"), shot("a", 2, "liver")], 3) == []
    assert all(len(fold) == 1 for fold in folds_of([shot("a", z, "liver") for z in (1, 2, 3)], 2))


def test_one_labelled_slice_cannot_be_held_back():
    assert folds_of([shot("a", 1, "liver")], 3) == []
