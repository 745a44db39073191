"""Drawn slices are carried to their neighbours by registration; where that cannot be, nothing is claimed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from fewsam.collection import Collection, Shot
from fewsam.core.config import load_settings
from fewsam.core.metrics import iou
from fewsam.fewshot.registration import propagation
from fewsam.fewshot.registration.propagation import Propagation
from fewsam.fewshot.registration.registration import SIDE, Fields, register
from fewsam.images.frame import make_frame
from fewsam.images.preprocess import Intensity
from fewsam.images.volume import Volume, geometry_for

DEPTH, CLASSES, GREY = 12, ("disc", "ring"), Intensity(0.0, 255.0, False)


def discs(move: float = 2.0, spacing: float = 3.0) -> tuple[Volume, np.ndarray]:
    """A disc in a ring that move and grow from slice to slice, on a texture that stays."""
    rng = np.random.default_rng(0)
    row, col = np.mgrid[:96, :120]
    noise = gaussian_filter(rng.normal(size=(96, 120)), 3) * 120
    slices, truth = [], []
    for z in range(DEPTH):
        away = np.hypot(row - 40 - move * z / 2, col - 40 - move * z)
        disc, ring = away < 10 + z / 2, (away >= 10 + z / 2) & (away < 18 + z / 2)
        slices.append(np.clip(60 + noise + 90 * disc + 45 * ring, 0, 255))
        truth.append(disc + 2 * ring)
    geometry = geometry_for((120, 96, DEPTH), np.diag([2.0, 2.0, spacing, 1.0]), "2")
    return Volume(np.stack(slices).astype(np.float32), geometry, None, "discs"), np.stack(truth).astype(np.uint8)


def drawn_on(folder: Path, volume: Volume, truth: np.ndarray, slices: list[int], absent_classes: str = "complete",
             names: tuple[str, ...] = CLASSES) -> dict[int, Shot]:  # fmt: skip
    collection = Collection(folder, CLASSES)
    kept = np.isin(np.arange(len(truth)), slices)[:, None, None]
    masks = {name: (truth == 1 + CLASSES.index(name)) & kept for name in names}
    collection.submit(volume, "p", masks, absent_classes=absent_classes)
    return {shot.slice: shot for shot in collection.shots("p")}


def carry(volume: Volume, drawn: dict[int, Shot], slices: list[int], fields: Fields | None = None) -> torch.Tensor:
    part = Propagation(volume, drawn, CLASSES, GREY, fields or Fields())
    found = part(slices, part.frame)
    assert found is not None
    return found


def winners(volume: Volume, drawn: dict[int, Shot], slices: list[int]) -> np.ndarray:
    part = Propagation(volume, drawn, CLASSES, GREY, Fields())
    found = part(slices, part.frame)
    assert found is not None
    return np.asarray(part.frame.to_slice(found)).argmax(1)


@pytest.fixture(scope="module")
def ends(tmp_path_factory: pytest.TempPathFactory) -> tuple[Volume, np.ndarray, dict[int, Shot]]:
    volume, truth = discs()
    return volume, truth, drawn_on(tmp_path_factory.mktemp("ends"), volume, truth, [0, 10])


def test_structures_that_move_are_followed(ends: tuple[Volume, np.ndarray, dict[int, Shot]]) -> None:
    volume, truth, drawn = ends
    middle = winners(volume, drawn, [5])[0]
    for value in (1, 2):
        followed = iou(middle == value, truth[5] == value)
        copied = max(iou(truth[z] == value, truth[5] == value) for z in (0, 10))
        assert followed > 0.75 and followed > copied + 0.3


def test_a_drawn_slice_comes_back_and_its_neighbours_are_surest(
    ends: tuple[Volume, np.ndarray, dict[int, Shot]],
) -> None:
    volume, truth, drawn = ends
    assert all(iou(winners(volume, drawn, [0])[0] == value, truth[0] == value) > 0.9 for value in (1, 2))
    sure = carry(volume, drawn, [0, 1, 3, 5]).exp().amax(1).mean((1, 2))
    assert (sure.diff() < 0).all()


def test_the_answer_lies_on_the_square_that_is_asked_for(tmp_path: Path) -> None:
    volume, truth = discs()
    volume, truth = replace(volume, slices=volume.slices[:, :70]), truth[:, :70]  # their sides fit no square
    volume = replace(volume, geometry=geometry_for((120, 70, DEPTH), np.diag([2.0, 2.0, 3.0, 1.0]), "2"))
    part = Propagation(volume, drawn_on(tmp_path, volume, truth, [3]), CLASSES, GREY, Fields())
    large = make_frame((DEPTH, 70, 120), volume.geometry.spacing, 256)
    assert part.frame.content[0] * 2 != large.content[0]
    found = part([3], large)
    assert found is not None
    on_slice = torch.as_tensor(large.to_slice(found.exp()))[0, 1].numpy()
    rows = np.arange(70) + 0.5
    below, drawn = (np.average(rows, weights=mask.sum(1)) for mask in (on_slice > 0.5, truth[3] == 1))
    assert abs(below - drawn) < 0.08


def test_probabilities_whatever_the_order(ends: tuple[Volume, np.ndarray, dict[int, Shot]]) -> None:
    volume, _, drawn = ends
    fields = Fields()
    part = Propagation(volume, drawn, CLASSES, GREY, fields)
    up, again = part(range(DEPTH), part.frame), part([7, 2, 11], part.frame)
    assert up is not None and again is not None and up.shape == (DEPTH, 3, SIDE, SIDE)
    assert torch.allclose(up.exp().sum(1), torch.ones(DEPTH, SIDE, SIDE), atol=1e-4)
    assert torch.allclose(up[[7, 2, 11]], again, atol=1e-5)


def test_nothing_drawn_nothing_carried() -> None:
    volume, _ = discs()
    part = Propagation(volume, {}, CLASSES, GREY, Fields())
    assert part([3], part.frame) is None


def test_slices_that_are_not_alike_end_it(tmp_path: Path) -> None:
    volume, truth = discs()
    noise = np.random.default_rng(1).uniform(0, 255, volume.slices[6:].shape).astype(np.float32)
    torn = replace(volume, slices=np.concatenate([volume.slices[:6], noise]))
    found = carry(torn, drawn_on(tmp_path, torn, truth, [3]), [4, 8])
    assert found[0].std() > 0.1 and found[1].std() < 1e-5  # the same for all classes: it says nothing


def test_nothing_is_carried_too_far(tmp_path: Path) -> None:
    volume, truth = discs(spacing=propagation.PROPAGATION.reach_mm / 2)
    found = carry(volume, drawn_on(tmp_path, volume, truth, [0]), [2, 3])
    assert found[0].std() > 0 and found[1].std() < 1e-5


def at_depths(volume: Volume, depths: np.ndarray) -> Volume:
    """The same slices in other places along the stack."""
    places = np.zeros((DEPTH, 3))
    places[:, 2] = depths
    affine = volume.geometry.affine.copy()
    affine[:3, 2] = (places[-1] - places[0]) / (DEPTH - 1)
    return replace(volume, geometry=geometry_for(volume.geometry.shape, affine, "2", positions=places))


def test_uneven_slices_count_by_their_true_distances(
    ends: tuple[Volume, np.ndarray, dict[int, Shot]], tmp_path: Path
) -> None:
    volume, truth, drawn = ends
    near_the_end = np.array([0, 1, 2, 3, 4, 27, 28, 29, 30, 31, 32, 33.0])  # slice 5: 27 mm from one, 5 from the other
    fields = Fields()
    even, uneven, alone = (
        carry(one, shots, [5], fields).exp()
        for one, shots in (
            (at_depths(volume, 3.0 * np.arange(DEPTH)), drawn),
            (at_depths(volume, near_the_end), drawn),
            (at_depths(volume, near_the_end), {10: drawn[10]}),
        )
    )
    assert (uneven - alone).abs().mean() < 0.5 * (even - alone).abs().mean()
    gap = np.where(np.arange(DEPTH) < 6, 0, 1.25 * propagation.PROPAGATION.reach_mm) + np.arange(DEPTH)
    far = at_depths(volume, gap)  # by the mean distance it would be within reach
    assert far.geometry.spacing[0] < propagation.PROPAGATION.reach_mm / 4
    found = carry(far, drawn_on(tmp_path, far, truth, [5]), [4, 6], fields)
    assert found[0].std() > 0.1 and found[1].std() < 1e-5


def test_a_class_nobody_looked_for_is_not_called_absent(tmp_path: Path) -> None:
    volume, truth = discs()
    silent = carry(volume, drawn_on(tmp_path / "a", volume, truth, [2], "partial", ("disc",)), [4])[0]
    assert torch.allclose(silent[0], silent[2], atol=1e-4)  # ring and background: no word on either
    looked = carry(volume, drawn_on(tmp_path / "b", volume, truth, [2], "complete", ("disc",)), [4])[0]
    assert (looked[0] - looked[2]).mean() > 1 and (looked[2] <= looked[0]).all()


def test_fields_are_remembered_within_a_bound(
    ends: tuple[Volume, np.ndarray, dict[int, Shot]], monkeypatch: pytest.MonkeyPatch
) -> None:
    volume, _, drawn = ends
    done: list[None] = []
    plain = register
    monkeypatch.setattr(propagation, "register", lambda a, b: done.append(None) or plain(a, b))
    fields = Fields()
    first = carry(volume, drawn, list(range(DEPTH)), fields)
    count = len(done)
    assert torch.equal(first, carry(volume, drawn, list(range(DEPTH)), fields)) and len(done) == count
    small = Fields(limit=3 * 2 * SIDE * SIDE * 2)
    assert torch.equal(first, carry(volume, drawn, list(range(DEPTH)), small))
    assert small._size <= small._limit and len(small._kept) == 3


@settings(max_examples=20, deadline=None)
@given(
    height=st.integers(8, 80), width=st.integers(8, 80), mm=st.floats(0.2, 5), gap=st.floats(0.5, 20),
    z=st.integers(0, 3), seed=st.integers(0, 99),
)  # fmt: skip
def test_any_grid_gives_finite_probabilities(
    height: int, width: int, mm: float, gap: float, z: int, seed: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    rng = np.random.default_rng(seed)
    geometry = geometry_for((width, height, 4), np.diag([mm, 1.5 * mm, gap, 1.0]), "2")
    volume = Volume(rng.uniform(0, 255, (4, height, width)).astype(np.float32), geometry, None, "random")
    truth = rng.integers(0, 3, (4, height, width)).astype(np.uint8)
    found = carry(volume, drawn_on(tmp_path_factory.mktemp("any"), volume, truth, [1]), [z])
    assert found.isfinite().all() and torch.allclose(found.exp().sum(1), torch.ones(SIDE, SIDE), atol=1e-4)


def test_the_predictor_uses_it_and_the_switch_turns_it_off(tmp_path: Path) -> None:
    from fewsam.encoders.cache import EmbeddingCache
    from fewsam.encoders.embedder import Embedder
    from fewsam.fewshot.inference.predictor import Predictor
    from fewsam.fewshot.model.store import ModelStore

    volume, truth = discs()
    scores = {}
    for switch in (True, False):
        options = load_settings(
            None, {"labels": CLASSES, "propagate": switch, "intensity": "full", "untrained": True, "encoder": "compact"}
        )
        drawn_on(tmp_path / str(switch), volume, truth, [0, 10])
        collection = Collection(tmp_path / str(switch), CLASSES)
        with EmbeddingCache(tmp_path / f"cache-{switch}", 10**8) as cache:
            predictor = Predictor(options, Embedder(options, cache), collection, ModelStore(tmp_path / str(switch)))
            found = predictor.predict(volume, "p")
            assert ("propagate" in found.latencies) and found.pasted == [0, 10]
            scores[switch] = np.mean([iou(found.labelmap[1:10] == v, truth[1:10] == v) for v in (1, 2)])
            other = predictor.predict(volume)  # the same pixels under no name: nothing of them is drawn
            assert other.pasted == []
    assert scores[True] > scores[False] + 0.02
