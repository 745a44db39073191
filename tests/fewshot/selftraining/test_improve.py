"""Learning from images that nobody labelled, on tiny scans: published where it helps, stopped and gone on with."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from fewsam.collection import Collection
from fewsam.core.config import Settings
from fewsam.core.errors import ImageError, LabelError
from fewsam.fewshot.model.store import ModelStore
from fewsam.fewshot.selftraining.constants import SELF_TRAINING
from fewsam.fewshot.selftraining.improve import CHECKPOINT_FILE, check_improvable, improve
from fewsam.fewshot.selftraining.pseudo import pseudo_label_loss
from fewsam.fewshot.training.plan import plan_run
from fewsam.fewshot.training.run import TrainProgress
from fewsam.fewshot.training.split import Split
from fewsam.fewshot.training.train import TrainResult, TrainStatus, train
from fewsam.images.volume import Volume
from helpers import tiny_volume as tiny

GIVEN = tiny.settings(steps=4, detail_size=64, decoder_reads="embedding")


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    few = replace(SELF_TRAINING, steps=2, batch=2, folds=2, slices=6, candidates=4, checkpoint_seconds=0)
    for module in ("run", "learner", "pool", "pseudo", "folds", "sampling"):
        monkeypatch.setattr(f"fewsam.fewshot.selftraining.{module}.SELF_TRAINING", few)
    monkeypatch.setattr("fewsam.fewshot.selftraining.run.FIRST_STEPS", 2)


@pytest.fixture
def images(tmp_path: Path) -> dict[str, Volume]:
    return {f"other{seed}": tiny.scan(tmp_path / f"other{seed}", seed=seed)[0] for seed in (1, 2)}


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A task with five labelled slices and a trained decoder."""
    folder = tmp_path_factory.mktemp("once")
    collection, _, _ = tiny.labelled(folder, [3, 4, 5, 6, 7])
    embedder = tiny.embedder(folder, GIVEN)
    train(GIVEN, collection, embedder, ModelStore(folder), folder=folder / "run")
    embedder.cache.close()
    collection.close()
    return folder


@pytest.fixture
def task(once: Path, tmp_path: Path) -> Iterator[tuple[Path, Collection]]:
    with copied(once, tmp_path / "task") as collection:
        yield tmp_path / "task", collection


@contextmanager
def copied(once: Path, folder: Path) -> Iterator[Collection]:
    shutil.copytree(once, folder)
    collection = Collection(folder, tiny.CLASSES)
    yield collection
    collection.close()


def run(
    folder: Path, collection: Collection, images: dict[str, Volume], given: Settings = GIVEN, **options: object
) -> TrainResult:
    embedder = tiny.embedder(folder, given)
    try:
        store, ids = ModelStore(folder), list(images)
        return improve(given, collection, embedder, store, ids, images.__getitem__, folder=folder / "run", **options)
    finally:
        embedder.cache.close()


KEPT: dict[str, dict[str, torch.Tensor]] = {}


@pytest.fixture
def whole(once, tmp_path, quick, images, monkeypatch) -> dict[str, torch.Tensor]:
    """The weights of a run that nobody stopped."""
    if not KEPT:
        scripted(monkeypatch, 0.5, 0.6)
        with copied(once, tmp_path / "whole") as collection:
            run(tmp_path / "whole", collection, images)
        KEPT["whole"] = weights(tmp_path / "whole")
    return KEPT["whole"]


def scripted(
    monkeypatch: pytest.MonkeyPatch, before: float, after: float, served: tuple[float, float] = (0.8, 0.8)
) -> None:
    """Have each of the two folds measure these, and the served and the new decoder ``served``."""
    calls = iter([before, after, before, after, *served])

    class Given:
        def __init__(self) -> None:
            self.metric = next(calls)

    monkeypatch.setattr("fewsam.fewshot.selftraining.run.measure", lambda *_: Given())


def weights(folder: Path) -> dict[str, torch.Tensor]:
    model = ModelStore(folder).load()
    assert model is not None
    return model.decoder.state_dict()


def test_what_helps_on_slices_held_back_is_published(task, quick, images, monkeypatch):
    tmp_path, collection = task
    before = weights(tmp_path)
    shots = collection.counts()
    scripted(monkeypatch, 0.5, 0.6)
    seen = []
    result = run(tmp_path, collection, images, progress=seen.append)
    assert result.status is TrainStatus.PUBLISHED and result.version == 2
    assert (result.previous_metric, result.metric) == (pytest.approx(0.5), pytest.approx(0.6))
    card = ModelStore(tmp_path).load().card
    assert card.unlabelled_slices == 6 and "6 unlabelled slices" in " ".join(result.notes)
    assert any(not torch.equal(before[name], value) for name, value in weights(tmp_path).items())
    assert collection.counts() == shots  # pseudo-labels are no shots
    assert [now.step for now in seen] == sorted(now.step for now in seen)
    assert seen[-1].step == seen[-1].total_epochs - 1 == 2 * (2 + 2) + 2 - 1
    assert not (tmp_path / "run" / CHECKPOINT_FILE).exists()


@pytest.mark.slow
def test_beside_an_embedding_the_first_steps_see_half_the_size(tmp_path, quick, images, monkeypatch):
    sides: list[tuple[int, int]] = []

    def seen(logits, labels):
        sides.append((logits.shape[-1], labels.classes.shape[-1]))
        return pseudo_label_loss(logits, labels)

    monkeypatch.setattr("fewsam.fewshot.selftraining.learner.pseudo_label_loss", seen)
    given = GIVEN.model_copy(update={"decoder_reads": "embedding"})
    collection, _, _ = tiny.labelled(tmp_path, [3, 5, 7])
    embedder, store = tiny.embedder(tmp_path, given), ModelStore(tmp_path)
    train(given, collection, embedder, store, folder=tmp_path / "run")
    options = {"folder": tmp_path / "run", "hold_back": False}
    result = improve(given, collection, embedder, store, list(images), images.__getitem__, **options)
    assert result.status is TrainStatus.PUBLISHED and sides == [(32, 32), (64, 64)]


@pytest.mark.slow
def test_what_does_not_help_changes_nothing(task, quick, images, monkeypatch):
    tmp_path, collection = task
    before = weights(tmp_path)
    scripted(monkeypatch, 0.6, 0.6)
    result = run(tmp_path, collection, images)
    assert result.status is TrainStatus.SERVED_KEPT and "did not help" in " ".join(result.notes)
    assert ModelStore(tmp_path).version() == 1
    assert all(torch.equal(before[name], value) for name, value in weights(tmp_path).items())


@pytest.mark.slow
def test_what_does_worse_than_the_served_decoder_on_its_own_slices_changes_nothing(task, quick, images, monkeypatch):
    tmp_path, collection = task
    scripted(monkeypatch, 0.5, 0.6, served=(0.9, 0.8))
    result = run(tmp_path, collection, images)
    assert result.status is TrainStatus.SERVED_KEPT and "Dice 0.900 before, 0.800 after" in " ".join(result.notes)
    assert ModelStore(tmp_path).version() == 1


@pytest.mark.slow
def test_labels_that_came_after_the_training_are_learnt_from_and_stand_on_the_card(task, quick, images, monkeypatch):
    tmp_path, collection = task
    volume, masks = tiny.scan(tmp_path / "again")
    collection.submit(volume, "scan", tiny.on_slices(masks, [8]), absent_classes="complete", complete_slices={8})
    scripted(monkeypatch, 0.5, 0.6)
    run(tmp_path, collection, images)
    assert set(ModelStore(tmp_path).load().card.shots) == {shot.shot_id for shot in collection.shots()}
    assert len(collection.shots()) == 6


@pytest.mark.slow
def test_slices_held_back_for_good_are_learnt_from_in_the_folds_alone(task, quick, images, monkeypatch):
    tmp_path, collection = task
    learnt, apart = [], Split([0, 1, 2], [3, 4], [])
    monkeypatch.setattr(
        "fewsam.fewshot.selftraining.improve.plan_run", lambda *given: replace(plan_run(*given), split=apart)
    )
    monkeypatch.setattr(
        "fewsam.fewshot.training.steps.Learner.loss", _spy("loss", lambda _, slices, *__: learnt.append(set(slices)))
    )
    scripted(monkeypatch, 0.5, 0.6)
    assert run(tmp_path, collection, images).published
    assert learnt[-2:] == [{0, 1, 2}] * 2  # of the two steps of the last part


def test_a_decoder_that_knows_none_of_the_labels_is_trained_first(task, quick, images):
    tmp_path, collection = task
    store = ModelStore(tmp_path)
    model = store.load()
    store.publish(model.decoder.state_dict(), replace(model.card, shots=()))  # as of an imported task
    with pytest.raises(LabelError, match="train first"):
        run(tmp_path, collection, images)


@pytest.mark.slow
def test_images_of_no_use_do_not_count_among_those_a_run_takes(task, quick, images, monkeypatch):
    tmp_path, collection = task
    scripted(monkeypatch, 0.5, 0.6)
    one = replace(SELF_TRAINING, steps=2, batch=2, folds=2, slices=6, candidates=4, images=1)
    for module in ("pool", "sampling"):
        monkeypatch.setattr(f"fewsam.fewshot.selftraining.{module}.SELF_TRAINING", one)
    opened = []

    def open_volume(name):
        opened.append(name)
        if name.startswith("broken"):
            raise ImageError(f"{name}: not an image")
        return images[name]

    ids = [*(f"broken{n}" for n in range(20)), *images]
    improve(
        GIVEN, collection, tiny.embedder(tmp_path, GIVEN), ModelStore(tmp_path), ids, open_volume,
        folder=tmp_path / "run",
    )  # fmt: skip
    assert len({name for name in opened if name in images}) == 1
    assert ModelStore(tmp_path).load().card.unlabelled_slices > 0


@pytest.mark.slow
def test_folds_are_measured_with_decoders_that_never_saw_them(task, quick, images, monkeypatch):
    tmp_path, collection = task
    learnt, asked = [], []
    monkeypatch.setattr(
        "fewsam.fewshot.training.steps.Learner.loss", _spy("loss", lambda _, slices, *__: learnt.append(set(slices)))
    )
    real = __import__("fewsam.fewshot.selftraining.run", fromlist=["measure"]).measure

    def measure(decoder, episodes, queries, supports, undertrained):
        asked.append((set(queries), set(supports)))
        return real(decoder, episodes, queries, supports, undertrained)

    monkeypatch.setattr("fewsam.fewshot.selftraining.run.measure", measure)
    run(tmp_path, collection, images)
    for held, rest in asked[:4]:  # two folds, before and after
        assert not held & rest and held | rest == set(range(5))
    assert {frozenset(one) for one in learnt} >= {frozenset(rest) for _, rest in asked[:4]}


# In the second part of a fold, and in the last part of the run.
@pytest.mark.slow
@pytest.mark.parametrize("stop_at", [3, 9])
def test_a_stopped_run_goes_on_to_the_same_digits(once, whole, tmp_path, quick, images, monkeypatch, stop_at):
    folder = tmp_path / "task"
    scripted(monkeypatch, 0.5, 0.6)
    with copied(once, folder) as collection:
        seen: list[TrainProgress] = []
        stopped = run(
            folder,
            collection,
            images,
            progress=seen.append,
            should_stop=lambda: bool(seen) and seen[-1].step == stop_at,
        )
        assert stopped.status is TrainStatus.STOPPED and ModelStore(folder).version() == 1
        assert (folder / "run" / CHECKPOINT_FILE).exists()
        assert run(folder, collection, images).published
    assert all(torch.equal(value, whole[name]) for name, value in weights(folder).items())


@pytest.mark.slow
def test_a_decoder_published_meanwhile_stays(task, quick, images, monkeypatch):
    tmp_path, collection = task
    scripted(monkeypatch, 0.5, 0.6)
    store = ModelStore(tmp_path)
    model = store.load()
    done = []

    def publish(now):
        if not done:
            done.append(store.publish(model.decoder.state_dict(), model.card))

    result = run(tmp_path, collection, images, progress=publish)
    assert result.status is TrainStatus.SERVED_KEPT and result.version == 2 == ModelStore(tmp_path).version()


@pytest.mark.slow
def test_an_image_that_cannot_be_read_is_passed_over(task, quick, images, monkeypatch):
    tmp_path, collection = task
    scripted(monkeypatch, 0.5, 0.6)

    def open_volume(name):
        if name == "broken":
            raise ImageError("broken: not an image")
        return images[name]

    embedder = tiny.embedder(tmp_path, GIVEN)
    result = improve(
        GIVEN, collection, embedder, ModelStore(tmp_path), ["broken", *images], open_volume, folder=tmp_path / "run"
    )
    assert result.published


def test_images_of_another_kind_are_refused_by_name_of_the_way_out(task, tmp_path, quick, monkeypatch):
    folder, collection = task
    rng = np.random.default_rng(0)
    volume, _ = tiny.scan(tmp_path / "noise")
    noise = replace(volume, slices=rng.integers(0, 200, volume.slices.shape).astype(volume.slices.dtype))
    with pytest.raises(LabelError, match="shows what the labelled slices show"):
        run(folder, collection, {"noise": noise})


def test_without_a_decoder_it_says_to_train_first(tmp_path, quick, images):
    collection, _, _ = tiny.labelled(tmp_path, [3, 4, 5])
    with pytest.raises(LabelError, match="train once"):
        run(tmp_path, collection, images)


def test_a_decoder_that_reads_images_alone_is_left_as_it_is(tmp_path, quick, images):
    collection, _, _ = tiny.labelled(tmp_path, [3, 4, 5])
    given, store = GIVEN.model_copy(update={"decoder_reads": "image"}), ModelStore(tmp_path)
    embedder = tiny.embedder(tmp_path, given)
    train(given, collection, embedder, store, folder=tmp_path / "run")
    embedder.cache.close()
    for refused in (lambda: run(tmp_path, collection, images, given), lambda: check_improvable(store)):
        with pytest.raises(LabelError, match="reads the images alone"):
            refused()
    assert store.version() == 1


@pytest.mark.parametrize("slices", [[6], [5, 6]])  # of two, the other has none that prompts it
def test_too_few_labelled_slices_to_hold_one_back(tmp_path, quick, images, slices):
    collection, _, _ = tiny.labelled(tmp_path, slices)
    embedder = tiny.embedder(tmp_path, GIVEN)
    train(GIVEN, collection, embedder, ModelStore(tmp_path), folder=tmp_path / "run")
    embedder.cache.close()
    with pytest.raises(LabelError, match="it takes three"):
        run(tmp_path, collection, images)


def _spy(name, note):
    from fewsam.fewshot.training.steps import Learner

    real = getattr(Learner, name)

    def method(self, *given, **options):
        note(self, *given)
        return real(self, *given, **options)

    return method
