"""Episodes: who supports whom, and what comes from the cache."""

import shutil

import numpy as np
import pytest
import torch

from fewsam.core.errors import NotEncodedError
from fewsam.encoders.cache import EMBEDDING_BYTES, EmbeddingCache
from fewsam.encoders.embedder import Embedder
from fewsam.fewshot.model.decoder import Prompts
from fewsam.fewshot.model.supports import SupportSet
from fewsam.fewshot.model.views import LabelledSlice
from fewsam.fewshot.training.constants import TRAINING
from fewsam.fewshot.training.episodes import Episodes, prepare_views, stack_prompts
from fewsam.images.frame import make_frame
from fewsam.images.preprocess import choose_intensity, image_stats, to_uint8
from helpers import tiny_volume as tiny


def episodes(folder, slices: list[int], **options) -> Episodes:
    collection, _, _ = tiny.labelled(folder, slices)
    given = tiny.settings()
    return Episodes(given, collection.shots(), tiny.CLASSES, tiny.embedder(folder, given, **options), 64)


def test_a_query_never_supports_itself(tmp_path):
    made = episodes(tmp_path, [4, 5, 6, 7])
    for query in range(4):
        supports = made.supports_for(query, range(4))
        assert len(supports) and query not in made.bank.shots[supports].tolist()


def test_slices_are_left_out_by_fold_so_that_few_sets_of_supports_are_fitted(tmp_path):
    slices = list(range(3, 10))  # on all of which the same is drawn, or what others have too
    made = episodes(tmp_path, slices)
    sets = {tuple(made.supports_for(query, range(len(slices))).tolist()) for query in range(len(slices))}
    assert len(sets) == TRAINING.folds < len(slices)


def test_slices_held_back_do_not_support(tmp_path):
    made = episodes(tmp_path, [4, 5, 6, 7])
    assert set(made.bank.shots[made.supports_for(0, [1, 2])].tolist()) == {1, 2}


def test_a_lone_slice_is_supported_by_its_other_views(tmp_path):
    made = episodes(tmp_path, [6])
    supports = made.supports_for(0, [0])
    assert len(supports) == 2 and 0 not in supports.tolist()


def test_a_batch_has_the_shapes_it_promises(tmp_path):
    made = episodes(tmp_path, [4, 6, 7])
    batch = made.batch([(0, 0), (1, 1)], [made.supports_for(0, [1, 2]), made.supports_for(1, [2])])
    assert batch.embeddings.shape == (2, 256, 64, 64)
    assert batch.prompts.prior.shape == (2, 4, 64, 64)
    assert batch.prompts.tokens.shape == (2, 4, 2 + 3, 256)
    assert batch.detail.shape == (2, 1, 64, 64)
    assert batch.mask.shape == (2, 4, 64, 64)
    assert batch.annotated_classes.all()


def test_prepared_views_are_enough_without_the_encoder(tmp_path):
    collection, _, _ = tiny.labelled(tmp_path, [4, 6])
    given = tiny.settings(views=2)
    with pytest.raises(NotEncodedError):
        Episodes(given, collection.shots(), tiny.CLASSES, tiny.embedder(tmp_path, given, cached_only=True), 64)
    seen: list[tuple[int, int]] = []
    count = prepare_views(given, collection.shots(), tiny.embedder(tmp_path, given), lambda *at: seen.append(at))
    assert count == 6 and seen[-1] == (6, 6)
    embedder = tiny.embedder(tmp_path, given, cached_only=True)
    made = Episodes(given, collection.shots(), tiny.CLASSES, embedder, 64)
    assert embedder.cache.stats()["pinned"] == 6
    assert {made.draw_view(0, np.random.default_rng(i), fresh=False) for i in range(30)} == {0, 1, 2}


def test_a_drawn_view_is_asked_for_alone_and_one_that_is_not_there_is_not_drawn(tmp_path, monkeypatch):
    """To make all views of dozens of slices takes longer than a training."""
    collection, _, _ = tiny.labelled(tmp_path, [4, 6])
    given = tiny.settings(views=2)
    prepare_views(given, collection.shots(), tiny.embedder(tmp_path, given))
    more = tiny.settings(views=40)  # of which two are encoded
    made = Episodes(more, collection.shots(), tiny.CLASSES, tiny.embedder(tmp_path, more, cached_only=True), 64)
    asked, encoded = [], SupportSet.encoded
    monkeypatch.setattr(SupportSet, "encoded", lambda self, *view: asked.append(view) or encoded(self, *view))
    assert made.draw_view(0, np.random.default_rng(0), fresh=False) in (0, 1, 2)
    assert {index for index, _ in asked} == {0}
    rng = np.random.default_rng(1)
    assert {made.draw_view(0, rng, fresh=False) for _ in range(60)} == {0, 1, 2}
    assert len(asked) == len(set(asked)) <= 41


def test_labels_whose_views_are_encoded_are_not_looked_at_again(tmp_path, monkeypatch):
    """With dozens of labelled slices each new label would take seconds of making the others' views."""
    collection, volume, masks = tiny.labelled(tmp_path, [4, 6])
    given, made, known, seen = tiny.settings(views=2), [], {}, []
    monkeypatch.setattr(LabelledSlice, "view", lambda self, n, view=LabelledSlice.view: made.append(n) or view(self, n))

    def prepare() -> int:
        made.clear()
        with EmbeddingCache(tmp_path / "cache", 10**9) as cache:
            count = prepare_views(
                given, collection.shots(), Embedder(given, cache), lambda *at: seen.append(at), known=known
            )
            assert cache.stats()["pinned"] == count
        assert seen[-1] == (count, count)
        return len(made)

    assert prepare() == 6
    assert prepare() == 0
    collection.submit(volume, "scan", tiny.on_slices(masks, [5]))
    assert prepare() == 3
    collection.submit(
        volume, "scan", {tiny.CLASSES[0]: np.roll(tiny.on_slices(masks, [5])[tiny.CLASSES[0]], 2, axis=2)}
    )
    assert prepare() == 3
    assert len(known) == 3, "those of the label that gave way are forgotten"
    shutil.rmtree(tmp_path / "cache")
    assert prepare() == 9


def test_views_that_no_training_reads_any_more_leave_the_cache_to_others(tmp_path):
    collection, volume, _ = tiny.labelled(tmp_path, [4, 6])
    given = tiny.settings(views=1)
    with EmbeddingCache(tmp_path / "cache", 6 * EMBEDDING_BYTES) as cache:
        prepare_views(given, collection.shots(), Embedder(given, cache))
        brighter = tiny.settings(views=1, intensity="window", window=(0, 300))  # the task's window was set anew
        prepare_views(brighter, collection.shots(), Embedder(brighter, cache))
        assert cache.stats()["pinned"] == 4
        intensity = choose_intensity(image_stats(volume), brighter)
        frame = make_frame(volume.geometry.slices_shape, volume.geometry.spacing, brighter.input_size)
        others = to_uint8(np.stack([volume.raw_slice(z) for z in range(8)]), intensity, frame, "neighbours")
        Embedder(brighter, cache).ensure(others)
        assert cache.stats()["bytes"] <= cache.stats()["max_bytes"]
        assert Embedder(brighter, cache).missing(others[-1:]) == 0


def test_an_erased_slice_is_prepared_as_all_others(tmp_path):
    collection, volume, masks = tiny.labelled(tmp_path, [4, 6])
    nothing = {name: np.zeros_like(mask) for name, mask in masks.items()}
    collection.submit(volume, "scan", nothing, complete_slices={4})
    given = tiny.settings(views=1)
    assert [set(shot.masks) for shot in collection.shots() if shot.slice == 4] == [set()]
    assert prepare_views(given, collection.shots(), tiny.embedder(tmp_path, given)) == 4


CLASS_IDS = torch.arange(2)


def test_stacking_pads_with_tokens_marked_absent():
    def with_tokens(count: int) -> Prompts:
        present = torch.ones(1, 2, count, dtype=torch.bool)
        return Prompts(
            torch.ones(1, 2, count, 256), present, torch.zeros(1, 2, 64, 64), CLASS_IDS, torch.ones(1, 2).long()
        )

    short, longer = with_tokens(1), with_tokens(3)
    stacked = stack_prompts([short, longer])
    assert stacked.tokens.shape == (2, 2, 3, 256)
    assert stacked.present[0].tolist() == [[True, False, False]] * 2
