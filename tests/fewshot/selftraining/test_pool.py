"""Which unlabelled slices are read, how many of them are held, and when reading stops."""

import gc
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from fewsam.core.errors import ImageError
from fewsam.encoders.embedder import Embedder
from fewsam.fewshot.model.prompts import SupportBank
from fewsam.fewshot.model.store import ModelStore
from fewsam.fewshot.registration.registration import Fields
from fewsam.fewshot.selftraining import pool
from fewsam.fewshot.selftraining.constants import SELF_TRAINING
from fewsam.fewshot.selftraining.pool import UnlabelledSlice, find_slices, hints_for
from fewsam.fewshot.training.plan import plan_run
from fewsam.images.volume import Volume
from helpers import tiny_volume as tiny

GIVEN = tiny.settings(steps=4, detail_size=64)


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    constants = replace(SELF_TRAINING, slices=3)
    monkeypatch.setattr(pool, "SELF_TRAINING", constants)


@pytest.fixture
def images(tmp_path: Path) -> dict[str, Volume]:
    return {f"other{seed}": tiny.scan(tmp_path / f"other{seed}", seed=seed)[0] for seed in (1, 2)}


@pytest.fixture
def found_with(tmp_path: Path) -> Iterator[tuple[tuple, Embedder]]:
    """Labelled slices and their prompts, and the embedder."""
    collection, _, _ = tiny.labelled(tmp_path, [3, 5, 7])
    embedder = tiny.embedder(tmp_path, GIVEN)
    plan = plan_run(GIVEN, collection, embedder, ModelStore(tmp_path))
    yield (plan.shots, plan.episodes.bank), embedder
    embedder.cache.close()
    collection.close()


def find(images: dict[str, Volume], found_with: tuple) -> list[UnlabelledSlice]:
    (shots, bank), embedder = found_with
    return find_slices(list(images), images.__getitem__, shots, bank, GIVEN, embedder, 64)


@pytest.mark.slow
def test_of_all_slices_looked_at_those_chosen_alone_are_held(few, images, found_with, monkeypatch):
    held: list[int] = []

    def counting(one: UnlabelledSlice, embedder: Embedder):
        gc.collect()
        held.append(sum(isinstance(thing, UnlabelledSlice) for thing in gc.get_objects()))
        return describe(one, embedder)

    describe = pool._descriptor
    monkeypatch.setattr(pool, "_descriptor", counting)
    found = find(images, found_with)
    assert len(held) > len(found) == 3
    assert max(held) <= 2  # the one that is described, and the one before, which the loop still names


def test_what_is_chosen_is_what_was_looked_at(few, images, found_with):
    for one in find(images, found_with):
        ((again,),) = [
            list(pool._encoded_slices(one.image_id, images[one.image_id], [one.slice], GIVEN, found_with[1], 64))
        ]
        assert (again.image == one.image).all() and (again.detail == one.detail).all()


def test_an_image_that_is_gone_once_its_slices_are_chosen_is_passed_over(few, images, found_with):
    (shots, bank), embedder = found_with
    opened: list[str] = []

    def open_once(image_id: str) -> Volume:
        if image_id in opened and image_id == "other1":
            raise ImageError("it was moved")
        opened.append(image_id)
        return images[image_id]

    found = find_slices(list(images), open_once, shots, bank, GIVEN, embedder, 64)
    assert {one.image_id for one in found} == {"other2"}


@pytest.mark.parametrize("after", [0, 1, 2])
def test_hints_stop_between_two_slices_of_one_image(few, images, found_with, after):
    (shots, bank), embedder = found_with
    one = {"other1": images["other1"]}
    slices = find(one, found_with)
    hints = hints_of(slices, one, shots, bank, embedder, stop=after + 2)  # it is asked once for the image as well
    assert len(slices) == 3 and len(hints) == after


def hints_of(
    slices: list[UnlabelledSlice],
    images: dict[str, Volume],
    shots: list,
    bank: SupportBank,
    embedder: Embedder,
    stop: int,
) -> list[pool.Hints]:
    asked = iter(range(1, 100))
    return hints_for(
        slices,
        images.__getitem__,
        shots,
        tiny.CLASSES,
        bank,
        torch.arange(len(shots)),
        GIVEN,
        embedder,
        Fields(),
        lambda: next(asked) >= stop,
    )
