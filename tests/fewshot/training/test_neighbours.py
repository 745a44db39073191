"""Slices beside a drawn one get its labels, moved to where they lie there; what somebody drew stays as drawn."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from fewsam.collection import Collection, Shot
from fewsam.core.metrics import iou
from fewsam.fewshot.model.store import build_decoder
from fewsam.fewshot.model.views import DetailSlice
from fewsam.fewshot.training.constants import TRAINING
from fewsam.fewshot.training.episodes import Episodes
from fewsam.fewshot.training.neighbours import propagated_neighbours, steps_beside
from fewsam.fewshot.training.plan import decoder_switches
from fewsam.fewshot.training.schedule import Moment
from fewsam.fewshot.training.steps import Learner
from fewsam.images.volume import Volume, geometry_for
from helpers import tiny_volume as tiny
from helpers.collection_drawings import make_volume

SIZE, DEPTH = 64, 5
OPTIONS = tiny.settings(intensity="full", labels=("organ",))


def moving_organ(noise: bool = False) -> tuple[Volume, np.ndarray]:
    """A disc that moves by two pixels and grows by one from slice to slice; or slices that have nothing in common."""
    row, col = np.mgrid[:SIZE, :SIZE]
    truth = np.stack([np.hypot(row - 28 - 2 * z, col - 32) < 10 + z for z in range(DEPTH)])
    body = np.hypot(row - 32, col - 32) < 30
    slices = 60.0 * body + 120 * truth
    if noise:
        slices = np.random.default_rng(0).uniform(0, 255, truth.shape)
    slices = gaussian_filter(slices, (0, 0.7, 0.7)) if not noise else slices
    geometry = geometry_for((SIZE, SIZE, DEPTH), np.diag([1.0, 1.0, 3.0, 1.0]), "2")
    return Volume(slices.astype(np.float32), geometry, None, "organ"), truth


def drawn_on(
    folder: Path, slices: list[int], volume: Volume, truth: np.ndarray, absent_classes: str = "complete"
) -> list[Shot]:
    collection = Collection(folder, ("organ",))
    masks = tiny.on_slices({"organ": truth}, slices)
    collection.submit(volume, "scan", masks, absent_classes=absent_classes)
    return collection.shots()


def masks_of(found: list[DetailSlice]) -> list[np.ndarray]:
    return [one.stencil[0] for one in found]


def test_the_labels_follow_the_organ(tmp_path: Path) -> None:
    volume, truth = moving_organ()
    (shot,) = drawn_on(tmp_path, [2], volume, truth)
    before, after = masks_of(propagated_neighbours(shot, {shot.place}, ("organ",), OPTIONS, 64))
    for z, mask in ((1, before), (3, after)):
        assert iou(mask, truth[z]) > iou(truth[2], truth[z]) + 0.08  # better than the drawing as it is
        assert iou(mask, truth[z]) > 0.9


def test_pixels_are_those_of_the_slice_itself(tmp_path: Path) -> None:
    volume, truth = moving_organ()
    (shot,) = drawn_on(tmp_path, [2], volume, truth)
    found = propagated_neighbours(shot, {shot.place}, ("organ",), OPTIONS, SIZE)
    for z, one in zip((1, 3), found, strict=True):
        shown = np.corrcoef([one._detail.ravel(), volume.slices[z].ravel(), volume.slices[2].ravel()])[0]
        assert shown[1] > 0.999 > shown[2]


def test_none_past_the_ends_none_drawn_and_none_in_colour(tmp_path: Path) -> None:
    volume, truth = moving_organ()
    shots = {shot.slice: shot for shot in drawn_on(tmp_path, [0, 2, 3], volume, truth)}
    drawn = {shot.place for shot in shots.values()}
    assert {z: steps_beside(shot, drawn) for z, shot in shots.items()} == {0: [1], 2: [-1], 3: [1]}
    colour = make_volume(1, depth=1, rgb=True)
    collection = Collection(tmp_path / "colour", ("organ",))
    collection.submit(colour, "picture", {"organ": np.ones(colour.slices.shape[:3], bool)}, absent_classes="complete")
    (picture,) = collection.shots()
    assert propagated_neighbours(picture, set(), ("organ",), OPTIONS, 64) == []


def test_slices_that_have_nothing_in_common_get_no_labels(tmp_path: Path) -> None:
    volume, truth = moving_organ(noise=True)
    (shot,) = drawn_on(tmp_path, [2], volume, truth)
    assert propagated_neighbours(shot, {shot.place}, ("organ",), OPTIONS, 64) == []


def test_what_nobody_looked_for_stays_unknown(tmp_path: Path) -> None:
    volume, truth = moving_organ()
    (shot,) = drawn_on(tmp_path, [2], volume, truth, absent_classes="partial")
    for one in propagated_neighbours(shot, {shot.place}, ("organ", "vessel"), OPTIONS, 64):
        assert one.annotated_classes.tolist() == [True, True, False] and not one.stencil[1].any()


NOW = Moment(done=0.0, selecting=True, coarse=False, elapsed=0.0, rate=1.0)


@pytest.fixture
def learner(tmp_path: Path, request: pytest.FixtureRequest) -> Learner:
    volume, truth = moving_organ()
    given = tiny.settings(intensity="full", labels=("organ",), **getattr(request, "param", {}))
    embedder = tiny.embedder(tmp_path, given)
    shots = drawn_on(tmp_path, [1, 3], volume, truth)
    episodes = Episodes(given, shots, ("organ",), embedder, 64)
    decoder = build_decoder(decoder_switches(given, embedder, 64))
    return Learner(given, episodes, decoder)


def test_training_learns_from_them_while_few_slices_are_drawn(learner: Learner) -> None:
    own = learner.episodes.slices[0]
    few = [learner._drawn_or_next(0) for _ in range(60)]
    beside = [one for one in few if one is not own]
    assert 5 < len(beside) < 30
    assert {id(one) for one in beside} == {id(one) for one in learner.episodes.neighbours(0)} and len(set(beside)) == 2


def test_with_many_none_is_made_and_no_pixels_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    volume, truth = moving_organ()
    shots = drawn_on(tmp_path, [1, 3], volume, truth)
    for few, there in ((2, 2), (1, 0)):
        few_slices = replace(TRAINING, neighbours_up_to=few)
        monkeypatch.setattr("fewsam.fewshot.training.episodes.TRAINING", few_slices)
        made = Episodes(OPTIONS, shots, ("organ",), tiny.embedder(tmp_path / str(few), OPTIONS), 64)
        assert len(made.neighbours(0)) == there and len(made._shots) == there


@pytest.mark.parametrize("learner", [{"neighbours": False}], indirect=True)
def test_the_switch_turns_them_off(learner: Learner) -> None:
    assert all(learner._drawn_or_next(0) is learner.episodes.slices[0] for _ in range(60))


def test_their_views_fit_a_detail_step(learner: Learner) -> None:
    detail, mask = learner.episodes.neighbours(0)[0].detail_view(5)
    assert detail.shape == (64, 64) and detail.dtype == np.uint8
    assert mask.shape == (2, 64, 64) and torch.allclose(mask.sum(0), torch.ones(64, 64), atol=1e-5)
    assert np.isfinite(float(learner._detail_loss([0, 1], NOW).detach()))
