"""What the loop remembers beside the drawings: the answers it served, by which edits are told, scores, reservations."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fewsam.collection import Collection
from fewsam.core.errors import LabelError
from fewsam.images.volume import Volume
from helpers.collection_drawings import LABELS, H, W, Z, blob, fates, label, make_volume


def labelmap_of(masks: dict[str, np.ndarray], classes: tuple[str, ...]) -> np.ndarray:
    labelmap = np.zeros((Z, H, W), np.uint8)
    for name, mask in masks.items():
        labelmap[mask] = [c.casefold() for c in classes].index(name.casefold()) + 1
    return labelmap


def seen(labelmap: np.ndarray, classes: tuple[str, ...]) -> dict[str, np.ndarray]:
    """A labelmap as a viewer sends it back: one mask for each class."""
    return {name: labelmap == i + 1 for i, name in enumerate(classes)}


def serve(
    collection: Collection, prediction: dict[str, np.ndarray], pasted: dict[int, int] | None = None
) -> dict[str, np.ndarray]:
    """Remember an answer of model 4 for p1; its masks, as a viewer sends them back edited.

    Args:
        pasted: Slices that hold what a person drew, liver alone: slice to the seed of its blob.
    """
    served = labelmap_of(prediction, LABELS)
    for z, seed in (pasted or {}).items():
        served[z] = blob(seed)
    collection.remember_served("p1", served, LABELS, model_version=4)
    return seen(served, LABELS)


@pytest.fixture
def prediction() -> dict[str, np.ndarray]:
    """What a model says: liver on slices 5-20, spleen on 10-15, nowhere on one voxel."""
    masks = label(Liver={z: z for z in range(5, 21)}, spleen={z: 50 + z for z in range(10, 16)})
    masks["spleen"] &= ~masks["Liver"]
    return masks


# -- a label after an answer


def test_only_corrected_slices_of_a_served_volume_become_shots(
    collection: Collection, volume: Volume, prediction: dict[str, np.ndarray]
) -> None:
    mine = serve(collection, prediction)
    mine["Liver"][7] = blob(70)
    mine["spleen"][12] = False
    submission = collection.submit(volume, "p1", mine)
    assert submission.added == (7, 12)
    assert submission.untouched == tuple(z for z in range(5, 21) if z not in (7, 12))
    shots = {shot.slice: shot for shot in collection.shots()}
    assert np.array_equal(shots[7].masks["Liver"], blob(70))
    assert set(shots[12].masks) == {"Liver"} and "spleen" in shots[12].known


def test_where_slices_are_said_to_be_by_hand_no_other_becomes_a_label(
    collection: Collection, volume: Volume, prediction: dict[str, np.ndarray]
) -> None:
    """A viewer sends what it shows: on a slice of which the liver alone was drawn, the served spleen lies beside it."""
    collection.submit(volume, "p1", label(Liver={12: 70, 14: 71}), annotator="first", absent_classes="partial")
    mine = serve(collection, prediction)
    mine["Liver"][12], mine["Liver"][14], mine["spleen"][14] = blob(70), False, False
    mine["Liver"][7], mine["Liver"][8] = blob(72), blob(73)
    mine["Liver"][19] = False
    submission = collection.submit(volume, "p1", mine, annotator="second", by_hand={7})
    assert submission.added == (7,) and submission.superseded == submission.cleared == submission.kept == ()
    assert submission.unchanged == (12, 14)
    assert submission.untouched == tuple(z for z in range(5, 21) if z not in (7, 12, 14, 19))
    shots = {shot.slice: shot for shot in collection.shots()}
    assert shots.keys() == {7, 12, 14} and shots[12].annotator == shots[14].annotator == "first"
    assert set(shots[12].masks) == shots[12].known == {"Liver"}
    unsaid = collection.submit(volume, "p1", mine, annotator="second")  # a client that does not tell them apart
    assert set(unsaid.superseded) >= {12} and set(unsaid.added) == {8, 19}


def test_a_prediction_erased_from_a_slice_is_a_correction(
    collection: Collection, volume: Volume, prediction: dict[str, np.ndarray]
) -> None:
    mine = serve(collection, prediction)
    mine["Liver"][20] = False
    submission = collection.submit(volume, "p1", mine)
    assert submission.added == (20,)
    (shot,) = collection.shots()
    assert shot.masks == {} and "Liver" in shot.known


def test_a_class_erased_from_the_prediction_of_a_2d_image_is_background(collection: Collection) -> None:
    image = make_volume(1, depth=1, rgb=True)
    served = np.where(blob(1), 1, np.where(blob(2), 2, 0)).astype(np.uint8)[None]
    collection.remember_served("photo", served, LABELS, 1)
    submission = collection.submit(image, "photo", seen(served, LABELS) | {"spleen": np.zeros((1, H, W), bool)})
    assert submission.added == (0,)
    assert collection.shots()[0].known == {"Liver", "spleen"}


def test_a_fresh_label_beside_a_served_volume_erases_nothing(
    collection: Collection, volume: Volume, prediction: dict[str, np.ndarray]
) -> None:
    serve(collection, prediction)
    submission = collection.submit(volume, "p1", label(Liver={7: 70}, spleen={}, aorta={}))
    assert fates(submission) == {"added": (7,)}


@pytest.mark.parametrize("drawn", [{7: 7}, {7: 7, 8: 8, 1: 1, 2: 2, 3: 3, 4: 4}])
def test_a_few_masks_that_the_model_got_right_do_not_make_a_label_an_edit_of_its_answer(
    collection: Collection, volume: Volume, prediction: dict[str, np.ndarray], drawn: dict[int, int]
) -> None:
    """One alone, or fewer than half: the slices that this label leaves empty were not erased."""
    serve(collection, prediction)
    submission = collection.submit(volume, "p1", label(Liver=drawn, spleen={}, aorta={}))
    assert submission.added == tuple(z for z in sorted(drawn) if z < 5)
    assert submission.untouched == tuple(z for z in sorted(drawn) if z >= 5)


def test_a_label_of_the_earlier_shots_alone_erases_no_prediction(
    collection: Collection, volume: Volume, prediction: dict[str, np.ndarray]
) -> None:
    collection.submit(volume, "p1", label(Liver={3: 1}))
    serve(collection, prediction, {3: 1})
    submission = collection.submit(volume, "p1", label(Liver={3: 1, 25: 2}, spleen={}))
    assert fates(submission) == {"added": (25,), "unchanged": (3,)}


def test_model_slices_of_an_older_answer_are_untouched_too(
    collection: Collection, volume: Volume, prediction: dict[str, np.ndarray]
) -> None:
    first = labelmap_of(prediction, LABELS)
    collection.remember_served("p1", first, LABELS, model_version=4)
    for version in range(5, 9):  # others ask meanwhile
        collection.remember_served("p1", np.roll(first, version, axis=2), LABELS, version)
    mine = seen(first, LABELS)
    mine["Liver"][7] = blob(70)
    assert collection.submit(volume, "p1", mine).added == (7,)
    for version in range(9, 60):
        collection.remember_served("p1", np.roll(first, 1 + version % 17, axis=2), LABELS, version)
    mine["Liver"][8] = blob(80)  # still working from it
    assert fates(collection.submit(volume, "p1", mine))["added"] == (8,)


def test_an_unchanged_shot_stays_when_the_served_volume_comes_back(
    collection: Collection, volume: Volume, prediction: dict[str, np.ndarray]
) -> None:
    collection.submit(volume, "p1", label(Liver={7: 70}))
    submission = collection.submit(volume, "p1", serve(collection, prediction, {7: 70}))
    assert submission.unchanged == (7,) and submission.added == ()
    assert not submission.changed and len(collection.history("p1", 7)) == 1


def test_a_model_slice_declared_complete_is_a_shot(
    collection: Collection, volume: Volume, prediction: dict[str, np.ndarray]
) -> None:
    mine = serve(collection, prediction)
    assert collection.submit(volume, "p1", mine, complete_slices={8}).added == (8,)
    assert collection.shots()[0].known == set(LABELS)


def test_a_shot_erased_in_the_volume_it_was_served_with_is_cleared(
    collection: Collection, volume: Volume, prediction: dict[str, np.ndarray]
) -> None:
    collection.submit(volume, "p1", label(Liver={7: 70}))
    mine = serve(collection, prediction, {7: 70})
    mine["Liver"][7] = False
    submission = collection.submit(volume, "p1", mine)
    assert submission.cleared == (7,)
    (shot,) = collection.shots()
    assert shot.masks == {} and "Liver" in shot.known


def test_a_shot_newer_than_the_served_copy_of_its_slice_is_kept(
    collection: Collection, volume: Volume, prediction: dict[str, np.ndarray]
) -> None:
    mine = serve(collection, prediction)
    collection.submit(volume, "p1", label(Liver={7: 70}), annotator="ann")
    mine["Liver"][9] = blob(90)
    submission = collection.submit(volume, "p1", mine, annotator="bob")
    assert submission.added == (9,) and submission.kept == (7,)
    assert np.array_equal(collection.shots("p1")[0].masks["Liver"], blob(70))


# -- what was served, scores, and who is at which slice


def test_learning_curve_compares_the_served_with_the_submitted(
    collection: Collection, volume: Volume, prediction: dict[str, np.ndarray]
) -> None:
    mine = serve(collection, prediction)
    served = labelmap_of(prediction, LABELS)
    mine["spleen"][10:16] = False
    mine["spleen"][11:13] = served[11:13] == 2
    row, column = np.argwhere(mine["spleen"][12])[0]
    mine["spleen"][12, row, column] = False
    collection.submit(volume, "p1", mine)
    (entry,) = collection.learning_curve()
    size = (served == 2).sum(axis=(1, 2))
    corrected = [10, 12, 13, 14, 15]  # slice 11 was left as it was, like those without spleen
    assert entry["model_version"] == 4 and entry["slices"] == corrected
    assert entry["dice"]["Liver"] == 1.0 and "aorta" not in entry["dice"]
    assert entry["dice"]["spleen"] == pytest.approx(2 * (size[12] - 1) / (size[corrected].sum() + size[12] - 1))
    mine["Liver"][6] = blob(60)
    collection.submit(volume, "p1", mine)
    entry = collection.learning_curve()[1]
    old, new = served[6] == 1, mine["Liver"][6]
    assert entry["slices"] == [6]
    assert entry["dice"]["Liver"] == pytest.approx(2 * (old & new).sum() / (old.sum() + new.sum()))
    collection.submit(make_volume(2), "p2", label(Liver={3: 1}))  # nothing served: nothing to compare
    assert len(collection.learning_curve()) == 2


def test_served_labelmap_and_scores_come_back(collection: Collection, prediction: dict[str, np.ndarray]) -> None:
    assert collection.served("p1") is None and collection.scores("p1") is None
    served = labelmap_of(prediction, LABELS)
    collection.remember_served("p1", np.zeros_like(served), LABELS, 1)
    collection.remember_served("p1", served, LABELS, 2)
    labelmap, classes, version = collection.served("p1") or pytest.fail("not remembered")
    assert np.array_equal(labelmap, served) and classes == LABELS and version == 2
    collection.record_scores("p1", [{"uncertainty": np.array([0.5, 0.25])}] * 2, 2)
    assert collection.scores("p1") == ([{"uncertainty": [0.5, 0.25]}] * 2, 2)
    with pytest.raises(LabelError, match="value 9.*3 classes"):
        collection.remember_served("p1", np.full((2, 2, 2), 9, np.uint8), LABELS, 2)


def test_scores_of_all_images_come_at_once(collection: Collection) -> None:
    for image in ("p1", "p2"):
        collection.record_scores(image, [{"uncertainty": [len(image)]}], 1)
    assert collection.all_scores() == {"p1": [{"uncertainty": [2]}], "p2": [{"uncertainty": [2]}]}


def test_no_two_clients_hold_one_slice(collection: Collection, volume: Volume, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1e9
    monkeypatch.setattr("fewsam.collection.loop.time.time", lambda: now)
    assert collection.reserve("p1", 3, "ann", 60)
    assert not collection.reserve("p1", 3, "bob", 60)
    assert collection.reserve("p1", 3, "ann", 60)
    assert collection.reserve("p1", 4, "ann", 60)  # gives up slice 3
    assert collection.reserve("p1", 3, "bob", 60)
    assert [(r["slice"], r["client"]) for r in collection.reservations()] == [(4, "ann"), (3, "bob")]
    collection.submit(volume, "p1", label(Liver={3: 1}))
    assert [r["slice"] for r in collection.reservations()] == [4]
    now += 61
    assert collection.reservations() == [] and collection.reserve("p1", 4, "bob", 60)
    now -= 10_000  # the clock is set back: held for a minute from now, not for hours
    assert not collection.reserve("p1", 4, "ann", 60)
    now += 61
    assert collection.reserve("p1", 4, "ann", 60)


def test_a_slice_labelled_a_moment_ago_is_not_handed_out(collection: Collection, volume: Volume) -> None:
    """The ranking that led to it may be older than the label."""
    collection.submit(volume, "p1", label(Liver={3: 1, 5: 1}))
    assert not collection.reserve("p1", 3, "ann", 60)
    assert collection.reserve("p1", 4, "ann", 60)
    assert collection.reserve("p2", 3, "bob", 60)
    replaced = replace(volume, slices=volume.slices + 1)
    collection.submit(replaced, "p1", label(Liver={6: 1}))  # other pixels under the same id: their slices count
    assert collection.labelled_by_image() == {"p1": [6]} == {"p1": collection.labelled_slices("p1")}
    assert collection.reserve("p1", 3, "ann", 60) and not collection.reserve("p1", 6, "ann", 60)
