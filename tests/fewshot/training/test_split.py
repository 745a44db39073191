"""Which labelled slices a training holds back, as labels come in and are corrected."""

from dataclasses import replace

import pytest

from fewsam.collection import Collection
from fewsam.fewshot.model.store import ModelStore
from fewsam.fewshot.training.constants import TRAINING, VALIDATION
from fewsam.fewshot.training.plan import plan_run
from fewsam.fewshot.training.split import Split, split_shots
from fewsam.fewshot.training.train import train
from helpers import tiny_volume as tiny


def patients(folder, count: int, drawn=None) -> Collection:
    """One labelled slice each of ``count`` images; ``drawn(number)`` names the classes drawn there, by default all."""
    collection = Collection(folder, tiny.CLASSES)
    for number in range(count):
        add_patient(folder, collection, number, drawn(number) if drawn else tiny.CLASSES)
    return collection


def add_patient(folder, collection: Collection, number: int, classes=tiny.CLASSES) -> None:
    volume, masks = tiny.scan(folder, f"p{number}", seed=number)
    label = {name: mask for name, mask in tiny.on_slices(masks, [5]).items() if name in classes}
    collection.submit(volume, f"p{number}", label, absent_classes="complete", complete_slices={5})


def min_val_images(monkeypatch, count: int) -> None:
    """Let fewer validation images be enough to be kept apart for good."""
    few = replace(VALIDATION, min_val_images=count)
    monkeypatch.setattr("fewsam.fewshot.training.split.VALIDATION", few)


def learn(folder, collection: Collection, **options):
    """Train for two steps; the card served afterwards."""
    given = tiny.settings(steps=2, **options)
    train(given, collection, tiny.embedder(folder, given), ModelStore(folder), folder=folder / "run")
    return ModelStore(folder).load().card


def planned(folder, collection: Collection, **options):
    given = tiny.settings(steps=2, **options)
    return plan_run(given, collection, tiny.embedder(folder, given), ModelStore(folder))


def test_few_validation_images_are_learnt_from_in_the_end(tmp_path):
    shots = patients(tmp_path, 8).shots()
    assert [i for i, shot in enumerate(shots) if shot.split == "val"] == [3, 7]
    assert split_shots(shots, None) == Split([0, 1, 2, 4, 5, 6], [3, 7], [*range(8)])
    everywhere = {shot.place for shot in shots}
    assert split_shots(shots, everywhere).val == [7]  # all are seen, and this is the newest
    assert split_shots(shots, everywhere - {shots[7].place}) == Split([*range(7)], [7], [*range(8)])


@pytest.mark.slow
def test_many_are_never_learnt_from_by_a_decoder_that_begins_anew(tmp_path, monkeypatch):
    collection = patients(tmp_path, 8)
    learn(tmp_path, collection)  # from all of them
    min_val_images(monkeypatch, 2)
    card = learn(tmp_path, collection, prompt_tokens=False)  # what is served does not fit
    ids = [shot.shot_id for shot in collection.shots()]
    assert card.shots == tuple(ids[i] for i in (0, 1, 2, 4, 5, 6)) and card.measured_on == (ids[3], ids[7])


@pytest.mark.slow
def test_once_there_are_many_the_served_decoder_is_measured_on_those_it_does_not_know(tmp_path, monkeypatch):
    collection = patients(tmp_path, 4)
    learn(tmp_path, collection)  # knows the first validation image
    for number in range(4, 8):
        add_patient(tmp_path, collection, number)
    min_val_images(monkeypatch, 2)
    plan = planned(tmp_path, collection)
    rest = [*range(7)]
    assert plan.split == Split(rest, [7], rest)  # kept apart for good, and too few to choose weights by
    assert not plan.served_has_seen_val() and plan.tolerance() == TRAINING.tolerance_few
    assert plan.shots[7].shot_id not in learn(tmp_path, collection).shots

    for number in range(8, 12):
        add_patient(tmp_path, collection, number)
    plan = planned(tmp_path, collection)
    assert plan.split == Split([*range(7), 8, 9, 10], [7, 11], [])
    assert not plan.served_has_seen_val() and plan.tolerance() == TRAINING.tolerance


def test_a_correction_of_a_slice_that_was_learnt_is_not_a_new_slice(tmp_path):
    collection, volume, masks = tiny.labelled(tmp_path, [4, 5, 6, 7])
    learn(tmp_path, collection)
    corrected = tiny.on_slices(masks, [5])
    corrected["left"][5, 20:22] = False
    collection.submit(volume, "scan", corrected, by_hand={5})
    plan = planned(tmp_path, collection)
    assert plan.shots[-1].slice == 5 and plan.shots[-1].shot_id not in plan.served.card.shots
    assert plan.learnt == {shot.place for shot in plan.shots}
    assert plan.served_has_seen_val()  # it knows all of them, so that its Dice says nothing


def test_the_slice_held_back_is_one_the_served_decoder_has_not_seen(tmp_path):
    collection, volume, masks = tiny.labelled(tmp_path, [4, 5, 7])
    learn(tmp_path, collection)
    drawn = tiny.on_slices(masks, [4, 5, 6, 7])
    collection.submit(volume, "scan", drawn, absent_classes="complete", complete_slices={6})
    plan = planned(tmp_path, collection)
    assert [plan.shots[i].slice for i in plan.split.val] == [6]
    assert not set(plan.split.val) & set(plan.split.train)
    assert plan.split.final == [0, 1, 2, 3] and not plan.served_has_seen_val()


def test_a_slice_with_the_only_drawing_of_a_class_is_not_held_back(tmp_path):
    volume, masks = tiny.scan(tmp_path)
    collection = Collection(tmp_path, tiny.CLASSES)
    drawn = tiny.on_slices(masks, [4, 5, 6, 7])
    for z in (4, 5, 7):
        drawn["small"][z] = False
    collection.submit(volume, "scan", drawn)
    assert "small" in collection.shots()[2].masks
    assert split_shots(collection.shots(), None).val in ([0], [1], [3])


@pytest.mark.parametrize("many", [False, True])
def test_a_class_that_validation_images_alone_show_is_learnt(tmp_path, monkeypatch, many):
    if many:
        min_val_images(monkeypatch, 2)
    collection = patients(tmp_path, 8, lambda number: tiny.CLASSES if number in (3, 7) else ("left", "right"))
    split = split_shots(collection.shots(), None)
    assert split.val == [7] and 3 in split.train  # 3 shows "small" to learn from, 7 is measured on


def test_a_slice_on_which_nothing_is_drawn_is_not_what_a_training_is_measured_on(tmp_path):
    """Its Dice would be 0 whatever is answered, and a worse decoder would never be told."""
    collection, volume, masks = tiny.labelled(tmp_path, [3, 4, 6, 7])
    before = {shot.place for shot in collection.shots()}
    collection.submit(volume, "scan", tiny.on_slices(masks, []), absent_classes="complete", by_hand={9})
    shots = collection.shots()
    (empty,) = (i for i, shot in enumerate(shots) if not shot.masks)
    for learnt in (None, before, set()):
        held = split_shots(shots, learnt).val
        assert held and empty not in held
    validation = [
        replace(shot, split="val") if i == empty else replace(shot, split="train") for i, shot in enumerate(shots)
    ]
    held = split_shots(validation, None).val
    assert held and empty not in held
