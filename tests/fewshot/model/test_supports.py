"""The support bank: which labelled slices prompt, and with which of their views."""

import pytest

from fewsam.core.errors import NotEncodedError
from fewsam.fewshot.model.supports import SupportSet, drawn_classes
from helpers import tiny_volume as tiny


def supports(folder, slices: list[int], **options) -> SupportSet:
    collection, _, _ = tiny.labelled(folder, slices)
    given = tiny.settings()
    embedder = options.pop("embedder", None) or tiny.embedder(folder, given)
    return SupportSet(given, collection.shots(), tiny.CLASSES, embedder, 64, **options)


def test_a_class_that_one_slice_alone_shows_gets_further_views_of_it(tmp_path):
    many = supports(tmp_path / "many", [5, 6])
    assert many.entries == [(0, 0), (1, 0)] and many.primary.tolist() == [0, 1]
    lone = supports(tmp_path / "lone", [6])
    assert lone.entries == [(0, 0), (0, 1), (0, 2)] and lone.primary.tolist() == [0]
    assert lone.bank.shots.tolist() == [0, 0, 0]


def test_imported_supports_follow_the_labelled_slices_and_prompt_with_them(tmp_path):
    imported = supports(tmp_path, [5, 6])
    views = [imported._labelled_view(1, 0)]
    embedder = imported.embedder
    both = SupportSet(imported.settings, [], tiny.CLASSES, embedder, 64, imported=views)
    assert both.entries == [] and both.primary.tolist() == [0] and both.bank.shots.tolist() == [1]
    both = supports(tmp_path / "both", [6], imported=views, embedder=embedder)
    assert both.primary.tolist() == [0, 3] and len(both.bank) == 4


def test_class_ids_start_with_background(tmp_path):
    assert supports(tmp_path / "a", [6]).bank.class_ids.tolist() == [0, 1, 2, 3]
    assert supports(tmp_path / "b", [6], class_ids=[0, 4, 2, 9]).bank.class_ids.tolist() == [0, 4, 2, 9]


def test_without_the_encoder_what_is_not_cached_is_an_error(tmp_path):
    with pytest.raises(NotEncodedError):
        supports(tmp_path, [5, 6], embedder=tiny.embedder(tmp_path, tiny.settings(), cached_only=True))


def test_only_drawn_classes_take_part(tmp_path):
    collection, _, _ = tiny.labelled(tmp_path, [3])
    shown = {name for shot in collection.shots() for name in shot.masks}
    assert drawn_classes(collection.shots(), ("small", "left", "nowhere")) == tuple(
        name for name in ("small", "left") if name in shown
    )
