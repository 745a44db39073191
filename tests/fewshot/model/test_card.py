"""A decoder's classes stay the structures that it learnt, whatever they are called later."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fewsam.collection import Collection
from fewsam.collection.structures import GONE
from fewsam.fewshot.inference.predictor import Predictor
from fewsam.fewshot.model.card import ModelCard
from fewsam.fewshot.model.store import ModelStore
from fewsam.fewshot.training.train import train
from helpers import tiny_volume as tiny

CLASSES = ("liver", "spleen")
CARD = ModelCard(CLASSES, CLASSES, "encoder", 64, {}, largest_component=("spleen",))


@pytest.fixture
def collection(tmp_path: Path) -> Collection:
    return Collection(tmp_path, CLASSES)


def key_of(collection: Collection, name: str) -> str:
    found = collection.names.called(name)
    assert found is not None
    return found


def test_a_renamed_class_keeps_its_place(collection: Collection) -> None:
    card = CARD.called_as(collection.names)
    assert card == replace(CARD, keys=("liver", "spleen"))
    collection.rename_structure("liver", "hepar")
    collection.rename_structure("spleen", "liver")
    now = card.called_as(collection.names)
    assert (now.classes, now.class_ids, now.largest_component) == (("hepar", "liver"), ("hepar", "liver"), ("liver",))


def test_a_card_without_keys_goes_by_the_names(collection: Collection) -> None:
    collection.rename_structure("spleen", "lien")
    assert CARD.called_as(collection.names).class_ids == ("liver", "lien")


def test_a_deleted_class_comes_back_to_its_place(collection: Collection) -> None:
    card = CARD.called_as(collection.names)
    collection.delete_structure("liver")
    collection.rename_structure("spleen", "liver")
    gone = card.called_as(collection.names)
    assert gone.class_ids == (GONE + "liver", "liver") and gone.called_as(collection.names) == gone
    collection.rename_structure("spleen", "spleen")
    collection.add_structure("liver")
    assert gone.called_as(collection.names) == card


def test_an_unknown_class_is_never_one_of_the_task(collection: Collection) -> None:
    strange = replace(CARD, class_ids=("aorta", "liver"), classes=("aorta", "liver"))
    once = strange.called_as(collection.names)
    assert once.class_ids == (GONE + "aorta", "liver") and once.keys == ("aorta", "liver")
    assert once.called_as(collection.names) == once


def test_classes_that_have_become_one_by_a_rename_keep_what_was_trained_last(collection: Collection) -> None:
    collection.rename_structure("liver", "foie")
    collection.rename_structure("liver", "hepar")
    ids = ("liver", "spleen", "foie")  # of a version that took each new name for a new class
    now = replace(CARD, classes=("foie", "spleen"), class_ids=ids).called_as(collection.names)
    assert now.class_ids[1:] == ("spleen", "hepar") and now.keys[1:] == ("spleen", "liver")
    assert now.class_ids[0].startswith(GONE) and len(set(now.keys)) == 3
    beside = replace(CARD, classes=("hepar", "spleen"), class_ids=("liver", "spleen", "hepar"))
    assert beside.called_as(collection.names).class_ids[1:] == ("spleen", "hepar")


@pytest.mark.slow
def test_after_a_rename_the_decoder_answers_as_before_and_learns_further(tmp_path: Path) -> None:
    collection, _, _ = tiny.labelled(tmp_path, [3, 5, 7, 9])
    other, _ = tiny.scan(tmp_path, "other", seed=5)
    given = tiny.settings(steps=20)
    embedder, store = tiny.embedder(tmp_path, given), ModelStore(tmp_path)
    train(given, collection, embedder, store, folder=tmp_path / "run")
    predictor = Predictor(given, embedder, collection, store)
    before = predictor.predict(other, "other")
    left, right = key_of(collection, "left"), key_of(collection, "right")
    collection.rename_structure(left, "sinister")
    collection.rename_structure(right, "left")
    after = predictor.predict(other, "other")
    assert after.classes == ("sinister", "left", "small")
    assert np.array_equal(after.labelmap, before.labelmap)
    assert not any("since the last training" in note for note in after.notes)

    assert train(given, collection, embedder, store, folder=tmp_path / "run").published
    model = store.load()
    assert model is not None and model.card.class_ids == ("sinister", "left", "small")
    assert model.card.keys == (left, right, "small")
