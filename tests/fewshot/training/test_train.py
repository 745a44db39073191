"""Training on a tiny scan: it learns, it is fair to what is served, it survives."""

from dataclasses import replace
from itertools import chain, repeat
from types import SimpleNamespace

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import fewsam.encoders
from fewsam.collection import Collection
from fewsam.core.errors import LabelError
from fewsam.fewshot.model.decoder import FewShotMaskDecoder
from fewsam.fewshot.model.losses import segmentation_loss
from fewsam.fewshot.model.store import ModelStore, build_decoder
from fewsam.fewshot.training.constants import TRAINING, VALIDATION
from fewsam.fewshot.training.episodes import Episodes, prepare_views
from fewsam.fewshot.training.plan import decoder_switches
from fewsam.fewshot.training.run import TrainProgress
from fewsam.fewshot.training.train import TrainStatus, train
from fewsam.fewshot.training.validation import Measured, measure, measure_undertrained
from helpers import tiny_volume as tiny


def run(folder, collection, given, **options):
    embedder = options.pop("embedder", None) or tiny.embedder(folder, given)
    return train(given, collection, embedder, ModelStore(folder), folder=folder / "run", **options)


def min_val_images(monkeypatch, count: int) -> None:
    """Let fewer validation images be enough to be kept apart for good."""
    few = replace(VALIDATION, min_val_images=count)
    monkeypatch.setattr("fewsam.fewshot.training.split.VALIDATION", few)


def test_without_a_label_it_says_what_to_do(tmp_path):
    with pytest.raises(LabelError, match="submit a label"):
        run(tmp_path, Collection(tmp_path, tiny.CLASSES), tiny.settings())


def test_it_publishes_reports_and_learns(tmp_path):
    collection, _, _ = tiny.labelled(tmp_path, [3, 4, 5, 6, 7, 8])
    given = tiny.settings(steps=40, batch=3, detail_size=64, learning_rate=2e-3)
    seen: list[TrainProgress] = []
    result = run(tmp_path, collection, given, progress=seen.append)
    assert result.published and result.version == 1
    assert seen[0].epoch == 0 and seen[-1].epoch == seen[-1].total_epochs
    model = ModelStore(tmp_path).load()
    assert model is not None
    assert model.card.classes == tiny.CLASSES
    assert model.card.metric == result.metric and len(model.card.measured_on) == 1

    embedder = tiny.embedder(tmp_path, given)
    made = Episodes(given, collection.shots(), tiny.CLASSES, embedder, 64)
    untrained = build_decoder(decoder_switches(given, embedder, 64)).eval()
    batch = made.batch([(i, 0) for i in range(6)], [made.supports_for(i, range(6)) for i in range(6)])
    with torch.no_grad():
        before, after = (
            segmentation_loss(
                decoder(batch.embeddings, batch.prompts, batch.detail), batch.mask, batch.annotated_classes
            ).item()
            for decoder in (untrained, model.decoder)
        )
    assert after < before
    assert not (tmp_path / "run" / "run.safetensors").exists()

    curves = EventAccumulator(str(tmp_path / "run" / "tensorboard" / "version-0001")).Reload()
    assert [point.step for point in curves.Scalars("loss")] == [10, 20, 30, 40]
    assert len(curves.Scalars("dice/held_back")) == TRAINING.evaluations


def test_slices_that_the_served_decoder_knows_measure_nothing(tmp_path):
    collection, _, masks = tiny.labelled(tmp_path, [4, 5, 6, 7])
    given = tiny.settings()
    assert run(tmp_path, collection, given).metric is not None
    again = run(tmp_path, collection, given)  # without a new label
    card = ModelStore(tmp_path).load().card
    assert again.published and again.metric is None and card.metric is None and card.measured_on == ()
    volume, _ = tiny.scan(tmp_path)
    collection.submit(volume, "copy", tiny.on_slices(masks, [4, 5, 6, 7]))  # the same pixels under another name
    assert run(tmp_path, collection, given).metric is None
    collection.submit(volume, "scan", tiny.on_slices(masks, [8]))
    assert run(tmp_path, collection, given).metric is not None


def test_a_drawing_that_cannot_be_read_is_left_out_and_named(tmp_path):
    collection, _, _ = tiny.labelled(tmp_path, [3, 4, 5, 6])
    tiny.damage_drawing(tmp_path, collection, 4)
    result = run(tmp_path, collection, tiny.settings())
    assert result.published and "slice 4 of scan" in " ".join(result.notes)
    model = ModelStore(tmp_path).load()
    assert model is not None and len(model.card.shots) == 3


def test_a_better_served_decoder_stays(tmp_path, monkeypatch):
    collection, volume, masks = tiny.labelled(tmp_path, [4, 5, 7])  # too few to hold one back: published in any case
    run(tmp_path, collection, tiny.settings())
    collection.submit(
        volume, "scan", tiny.on_slices(masks, [4, 5, 6, 7]), absent_classes="complete", complete_slices={6}
    )
    scores = chain([0.9], repeat(0.4))  # the served decoder at the start, then the new one's evaluations

    def scripted(*given):
        return replace(measure(*given), metric=next(scores))

    monkeypatch.setattr("fewsam.fewshot.training.selection.measure", scripted)
    result = run(tmp_path, collection, tiny.settings())
    assert not result.published and result.version == 1
    assert result.status is TrainStatus.SERVED_KEPT and result.previous_metric == 0.9 and "kept" in result.notes[0]
    assert ModelStore(tmp_path).version() == 1


@pytest.mark.parametrize(("untrained", "kept"), [(0.5, False), (0.6, True)])
def test_the_untrained_answer_stays_only_where_it_is_far_ahead_on_the_one_slice(tmp_path, monkeypatch, untrained, kept):
    collection, _, _ = tiny.labelled(tmp_path, [4, 5, 6, 7])
    scores = chain([untrained], repeat(0.4))

    def scripted(*given):
        return replace(measure(*given), metric=next(scores))

    monkeypatch.setattr("fewsam.fewshot.training.selection.measure", scripted)
    result = run(tmp_path, collection, tiny.settings())
    assert result.published is not kept
    assert any("untrained answer" in note for note in result.notes) is kept


def test_weights_chosen_early_say_how_many_steps_are_behind_them(tmp_path, monkeypatch):
    collection = Collection(tmp_path, tiny.CLASSES)
    for number in range(4):
        volume, masks = tiny.scan(tmp_path, f"p{number}", seed=number)
        collection.submit(
            volume, f"p{number}", tiny.on_slices(masks, [5]), absent_classes="complete", complete_slices={5}
        )
    scores = chain([0.1, 0.3, 0.9], repeat(0.4))  # the prior's, then at steps 2, 4, 6, ...

    def scripted(*given):
        return replace(measure(*given), metric=next(scores))

    min_val_images(monkeypatch, 1)
    monkeypatch.setattr("fewsam.fewshot.training.selection.measure", scripted)
    monkeypatch.setattr("fewsam.fewshot.training.selection.measure_undertrained", lambda *_: 0.0)
    result = run(tmp_path, collection, tiny.settings(steps=12))
    model = ModelStore(tmp_path).load()
    assert result.published and result.steps == 12 and model is not None
    assert model.card.steps == 4 and model.card.metric == 0.9


@pytest.mark.parametrize(
    ("slices", "ours", "prior", "expected"),
    [
        ([4, 5, 6, 7], 0.5, 0.6, 1.0),  # worse than the prior
        ([4, 5, 6, 7], 0.64, 0.6, 1.0),  # a tenth of the prior's error taken away
        ([4, 5, 6, 7], 0.72, 0.6, 0.5),
        ([4, 5, 6, 7], 0.8, 0.6, 0.0),
        ([4, 5, 6, 7], 1.0, 1.0, 1.0),
        ([5], 0.5, 0.6, 0.0),  # no other slice for the prior to answer from
    ],
)
def test_a_decoder_is_undertrained_while_it_does_not_know_the_slices_it_learnt_from(
    tmp_path, monkeypatch, slices, ours, prior, expected
):
    collection, _, _ = tiny.labelled(tmp_path, slices)
    given = tiny.settings()
    episodes = Episodes(given, collection.shots(), tiny.CLASSES, tiny.embedder(tmp_path, given), 64)
    decoder = build_decoder({})
    judged = []

    def scripted(one, _, queries, supports, undertrained=0.0):
        judged.append((one, undertrained, list(queries), list(supports)))
        return Measured(ours if one else prior, ())

    monkeypatch.setattr("fewsam.fewshot.training.validation.measure", scripted)
    everyone = list(range(len(slices)))
    assert measure_undertrained(decoder, episodes, everyone) == pytest.approx(expected)
    assert judged == ([(decoder, 0.0, everyone, everyone), (None, 0.0, everyone, everyone)] if len(slices) > 1 else [])
    for one in episodes.slices:
        one.is_2d_image = True
    assert measure_undertrained(decoder, episodes, everyone) == 0


def test_how_undertrained_a_decoder_is_is_published_with_it(tmp_path, monkeypatch):
    collection, _, _ = tiny.labelled(tmp_path, [4, 5, 6, 7])
    asked = []

    def scripted(decoder, episodes, learnt):
        asked.append(len(learnt))
        return 0.25 * len(asked)

    monkeypatch.setattr("fewsam.fewshot.training.selection.measure_undertrained", scripted)
    assert run(tmp_path, collection, tiny.settings()).published
    model = ModelStore(tmp_path).load()
    assert model is not None and model.card.undertrained == 0.5
    assert asked == [3, 4]  # before the slice held back is measured, which it has not learnt from; and in the end


def test_the_same_slices_and_seed_give_the_same_weights_however_long_the_start_took(tmp_path, monkeypatch):
    # Only the start takes time on this clock: a slow step of a busy machine would be part of the schedule, too.
    clock = [0.0]
    for module in ("train", "schedule"):
        monkeypatch.setattr(f"fewsam.fewshot.training.{module}.time", SimpleNamespace(monotonic=lambda: clock[0]))
    given = tiny.settings(train_seconds=60)
    made = []
    for name, wait in (("quick", 0.0), ("slow", 30.0)):

        def start(*_, wait=wait):
            clock[0] += wait

        monkeypatch.setattr("fewsam.fewshot.training.plan.initialise_from_sam", start)
        collection, _, _ = tiny.labelled(tmp_path / name, [4, 5, 6, 7])
        assert run(tmp_path / name, collection, given).published
        model = ModelStore(tmp_path / name).load()
        assert model is not None
        made.append(model.decoder.state_dict())
    assert all(torch.equal(value, made[1][name]) for name, value in made[0].items())


@pytest.mark.slow
def test_a_decoder_that_reads_the_embedding_learns_from_encoded_views_and_is_served(tmp_path):
    collection, _, _ = tiny.labelled(tmp_path, [4, 5, 6, 7])
    given = tiny.settings(steps=30, detail_size=64, decoder_reads="embedding", views=3, keep_better=False)
    result = run(tmp_path, collection, given)
    model = ModelStore(tmp_path).load()
    assert result.published and result.metric is not None and result.metric > 0.5
    assert model is not None and model.decoder.use_embedding and model.card.switches["use_embedding"] is True
    again = run(tmp_path, collection, given)  # goes on from the served weights
    after = ModelStore(tmp_path).load()
    assert again.published and after is not None and after.card.steps == 60


def test_the_embedding_is_read_where_its_encoder_is_pretrained(tmp_path):
    from fewsam.fewshot.training.plan import decoder_switches

    random = tiny.settings()
    embedder = tiny.embedder(tmp_path, random)
    assert "use_embedding" not in decoder_switches(random, embedder, 128)
    assert decoder_switches(tiny.settings(decoder_reads="embedding"), embedder, 64)["use_embedding"] is True
    pretrained = tiny.settings(encoder="vit_b", checkpoint=None)
    embedder.info = replace(embedder.info, name="vit_b")
    assert decoder_switches(pretrained, embedder, 128)["use_embedding"] is True
    assert "use_embedding" not in decoder_switches(pretrained, embedder, 64)  # no more pixels than cells
    assert "use_embedding" not in decoder_switches(tiny.settings(encoder="vit_b", decoder_reads="image"), embedder, 128)


@pytest.mark.slow
def test_large_slices_are_learnt_from_at_half_their_size_at_first(tmp_path, monkeypatch):
    sides: list[int] = []
    measured: list[int] = []
    forward, score = FewShotMaskDecoder.detail_alone, measure

    def seen(decoder, detail, image_embeddings, class_ids, coarse=False):
        logits = forward(decoder, detail, image_embeddings, class_ids, coarse=coarse)
        sides.append(logits.shape[-1])
        return logits

    def scored(*given):
        measured.append(len(sides))
        return score(*given)

    monkeypatch.setattr(FewShotMaskDecoder, "detail_alone", seen)
    monkeypatch.setattr("fewsam.fewshot.training.selection.measure", scored)
    monkeypatch.setattr("fewsam.fewshot.training.steps.TRAINING", replace(TRAINING, detail_steps=1.0))
    collection, _, _ = tiny.labelled(tmp_path, [4, 5, 6, 7])
    given = tiny.settings(steps=8, detail_size=224, keep_better=False)
    assert run(tmp_path, collection, given).published
    assert sides == [112] * 4 + [224] * 4
    assert measured[0] == 0 and len(measured) > 1  # the untrained answer, and
    assert min(measured[1:]) >= 4  # no decoder that has seen slices at half their size alone
    sides.clear()
    assert run(tmp_path, collection, given).published  # goes on from weights that know the full size
    assert sides == [224] * 8
    sides.clear()
    small, _, _ = tiny.labelled(tmp_path / "small", [4, 6])
    assert run(tmp_path / "small", small, tiny.settings(detail_size=192)).published
    assert set(sides) == {192}
    sides.clear()
    collection, _, _ = tiny.labelled(tmp_path / "embedding", [4, 6])
    given = tiny.settings(steps=8, detail_size=96, decoder_reads="embedding")
    assert run(tmp_path / "embedding", collection, given).published  # whose working size has nothing to do with it
    assert sides == [48] * 4 + [96] * 4


def test_from_a_prepared_cache_no_encoder_is_built(tmp_path, monkeypatch):
    """What the training process does with a SAM checkpoint: the cache alone."""
    collection, _, _ = tiny.labelled(tmp_path, [4, 6])
    given = tiny.settings(steps=4)
    prepare_views(given, collection.shots(), tiny.embedder(tmp_path, given))

    def forbidden(*_: object, **__: object) -> None:
        raise AssertionError("the training process built an encoder")

    monkeypatch.setattr(fewsam.encoders, "build_encoder", forbidden)
    monkeypatch.setattr("fewsam.encoders.embedder.build_encoder", forbidden)
    result = run(tmp_path, collection, given, embedder=tiny.embedder(tmp_path, given, cached_only=True))
    assert result.published


def test_sams_own_grid_is_taken_where_its_decoder_is_the_start(tmp_path):
    from fewsam.fewshot.training.plan import decoder_switches

    embedder = tiny.embedder(tmp_path, tiny.settings())
    embedder.info = replace(embedder.info, name="medsam_lite")
    plain = decoder_switches(tiny.settings(encoder="medsam_lite", whiten=False), embedder, 64)
    assert (plain["stride"], plain["mlp_dim"]) == (1, 2048)
    whitened = decoder_switches(tiny.settings(encoder="medsam_lite"), embedder, 64)
    assert (whitened["stride"], whitened["mlp_dim"]) == (8, 256)


def test_a_label_on_a_larger_image_goes_on_from_what_is_served(tmp_path):
    collection, _, _ = tiny.labelled(tmp_path, [4, 6])
    given = tiny.settings(steps=4, keep_better=False)
    assert run(tmp_path, collection, replace_size(given, 96)).published
    assert run(tmp_path, collection, replace_size(given, 128)).published
    card = ModelStore(tmp_path).load().card
    assert card.steps == 8 and card.detail_size == 128


def replace_size(given, size: int):
    return given.model_copy(update={"detail_size": size})
