"""Labelled slices of other images vote on a slice, registered to it; the volume's own have no vote."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from fewsam.collection import Collection
from fewsam.core.config import Settings, load_settings
from fewsam.core.metrics import iou
from fewsam.fewshot.registration import atlas
from fewsam.fewshot.registration.atlas import Atlases
from fewsam.fewshot.registration.registration import SIDE, Fields
from fewsam.images.frame import make_frame
from fewsam.images.preprocess import choose_intensity, image_stats
from fewsam.images.volume import Volume, geometry_for

CLASSES = ("organ", "vessel")
OPTIONS = {"labels": CLASSES, "intensity": "full", "untrained": True, "encoder": "compact"}


def patient(
    seed: int, height: int | None = None, width: int | None = None, depth: int = 3
) -> tuple[Volume, np.ndarray]:
    """A body with an organ and a vessel, of another size and elsewhere in each patient."""
    rng = np.random.default_rng(seed)
    sides = [int(n) for n in rng.integers(80, 110, 2)]
    height, width = height or sides[0], width or sides[1]
    row, col = np.mgrid[:height, :width]
    y, x = height * rng.uniform(0.46, 0.54), width * rng.uniform(0.46, 0.54)
    tall, broad = height * rng.uniform(0.36, 0.44), width * rng.uniform(0.36, 0.44)
    u, v = (row - y) / tall, (col - x) / broad  # within the body, -1 to 1
    body, organ, vessel = np.hypot(u, v) < 1, np.hypot(u + 0.2, v + 0.4) < 0.35, np.hypot(u - 0.5, v - 0.1) < 0.14
    noise = gaussian_filter(rng.normal(size=(depth, height, width)), (0, 2, 2)) * 30
    slices = np.clip(70 * body + 90 * organ + 150 * vessel + noise, 0, 255).astype(np.float32)
    geometry = geometry_for((width, height, depth), np.diag([1.5, 1.5, 4.0, 1.0]), "2")
    truth = np.repeat((organ + 2 * vessel)[None], depth, 0).astype(np.uint8)
    return Volume(slices, geometry, None, f"patient{seed}"), truth


def labelled(
    folder: Path,
    patients: list[int],
    z: int = 1,
    names: tuple[str, ...] = CLASSES,
    absent_classes: str = "complete",
) -> Collection:
    collection = Collection(folder, CLASSES)
    for seed in patients:
        volume, truth = patient(seed)
        drawn = np.arange(len(truth))[:, None, None] == z
        masks = {name: (truth == 1 + CLASSES.index(name)) & drawn for name in names}
        collection.submit(volume, f"p{seed}", masks, absent_classes=absent_classes)
    return collection


def options(**more: object) -> Settings:
    return load_settings(None, {**OPTIONS, **more})


def vote(
    collection: Collection, volume: Volume, slices: list[int], fields: Fields | None = None, size: int = SIDE
) -> torch.Tensor | None:
    intensity = choose_intensity(image_stats(volume), options())
    frame = make_frame(volume.geometry.slices_shape, volume.geometry.spacing, size)
    atlases = Atlases(collection.shots(), CLASSES, options())
    return atlases.log_probs(volume, slices, intensity, fields or Fields(), frame)


def on_slice(found: torch.Tensor, volume: Volume) -> torch.Tensor:
    geometry = volume.geometry
    return torch.as_tensor(make_frame(geometry.slices_shape, geometry.spacing, SIDE).to_slice(found))


def winners(found: torch.Tensor, volume: Volume) -> np.ndarray:
    return np.asarray(on_slice(found, volume)).argmax(1)


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Collection:
    return labelled(tmp_path_factory.mktemp("three"), [1, 2, 3])


def test_another_patient_is_segmented(three: Collection) -> None:
    volume, truth = patient(9)
    found = vote(three, volume, [0, 2])
    assert found is not None and found.shape == (2, 3, SIDE, SIDE)
    assert torch.allclose(found.exp().sum(1), torch.ones(2, SIDE, SIDE), atol=1e-3)
    for value, enough in ((1, 0.75), (2, 0.5)):
        assert iou(winners(found, volume)[0] == value, truth[0] == value) > enough


def test_a_volume_has_no_vote_on_itself(tmp_path: Path) -> None:
    own, _ = patient(1)
    assert vote(labelled(tmp_path / "a", [1]), own, [0]) is None
    assert vote(Collection(tmp_path / "b", CLASSES), own, [0]) is None
    both = labelled(tmp_path / "c", [1, 2])
    fields = Fields()
    assert vote(both, own, [0], fields) is not None
    assert len(fields._kept) == 1  # patient 2 alone


@pytest.mark.parametrize("size", [SIDE, 256])
def test_the_vote_lies_on_the_square_that_is_asked_for(tmp_path: Path, size: int) -> None:
    height, width = 130, 256  # 32.5 cells of 64 high, and as many cells of 128 and 256 as are whole
    volume, truth = patient(4, height, width)
    other = replace(volume, slices=volume.slices + 1)  # the very same elsewhere
    collection = Collection(tmp_path, CLASSES)
    collection.submit(other, "p", {"organ": truth == 1, "vessel": truth == 2}, absent_classes="complete")
    found = vote(collection, volume, [1], size=size)
    assert found is not None
    on_slice = torch.as_tensor(make_frame((3, height, width), volume.geometry.spacing, size).to_slice(found.exp()))
    rows = np.arange(height) + 0.5
    voted, drawn = (np.average(rows, weights=mask.sum(1)) for mask in ((on_slice[0, 2] > 0.5).numpy(), truth[1] == 2))
    assert abs(voted - drawn) < 0.5


def test_those_most_like_the_slice_are_asked(three: Collection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(atlas, "ATLAS", replace(atlas.ATLAS, num_atlases=1))
    twin, truth = patient(2)
    marked = twin.slices.copy()
    marked[:, 0, 0] += 1
    other = Volume(marked, twin.geometry, None, "another")
    found, fields = None, Fields()
    found = vote(three, other, [1], fields)
    (key,) = fields._kept
    assert found is not None and key[3] == twin.content_hash
    assert iou(winners(found, other)[0] == 1, truth[1] == 1) > 0.85


def test_an_atlas_counts_where_it_looks_like_the_slice(three: Collection, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without weights by place the worst of three has the same say as the best."""
    volume, truth = patient(12)
    scores = []
    for chosen in (atlas.ATLAS, replace(atlas.ATLAS, cell_grey=1e9, whole_weight=0.0)):
        monkeypatch.setattr(atlas, "ATLAS", chosen)
        found = vote(three, volume, [0])
        assert found is not None
        right = torch.from_numpy(truth[0].astype(np.int64))
        full = on_slice(found, volume).log_softmax(1)[0]
        scores.append(float(full.gather(0, right[None]).mean()))
    assert scores[0] > scores[1]


def test_a_class_nobody_looked_for_is_not_called_absent(tmp_path: Path) -> None:
    volume, _ = patient(9)
    silent = vote(labelled(tmp_path / "a", [1], names=("organ",), absent_classes="partial"), volume, [0])
    looked = vote(labelled(tmp_path / "b", [1], names=("organ",)), volume, [0])
    assert silent is not None and looked is not None
    assert torch.allclose(silent[0, 0], silent[0, 2], atol=1e-3)
    assert (looked[0, 0] - looked[0, 2]).mean() > 1


def test_fields_are_remembered(three: Collection, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[None] = []
    plain = atlas.register_across
    monkeypatch.setattr(atlas, "register_across", lambda a, b: done.append(None) or plain(a, b))
    volume, _ = patient(9)
    fields = Fields()
    first, again = vote(three, volume, [0, 1], fields), vote(three, volume, [1, 0], fields)
    assert first is not None and again is not None and len(done) == 6
    assert torch.equal(first, again.flip(0))


@settings(max_examples=10, deadline=None)
@given(height=st.integers(8, 80), width=st.integers(8, 80), mm=st.floats(0.2, 5), flat=st.booleans())
def test_any_grid_gives_finite_probabilities(height: int, width: int, mm: float, flat: bool, three: Collection) -> None:
    rng = np.random.default_rng(height)
    slices = rng.uniform(0, 0 if flat else 255, (2, height, width)).astype(np.float32)
    volume = Volume(slices, geometry_for((width, height, 2), np.diag([mm, 1.5 * mm, 7.0, 1.0]), "2"), None, "random")
    found = vote(three, volume, [1])
    assert found is not None and found.isfinite().all()


def test_the_predictor_asks_and_the_switch_turns_it_off(tmp_path: Path) -> None:
    from fewsam.encoders.cache import EmbeddingCache
    from fewsam.encoders.embedder import Embedder
    from fewsam.fewshot.inference.predictor import Predictor
    from fewsam.fewshot.model.store import ModelStore

    volume, truth = patient(9)
    scores = {}
    for switch in (True, False):
        settings_ = options(atlas=switch)
        collection = labelled(tmp_path / str(switch), [1, 2])
        with EmbeddingCache(tmp_path / f"cache-{switch}", 10**8) as cache:
            predictor = Predictor(settings_, Embedder(settings_, cache), collection, ModelStore(tmp_path))
            found = predictor.predict(volume, "q")
        assert found.pasted == []
        scores[switch] = np.mean([iou(found.labelmap == v, truth == v) for v in (1, 2)])
    assert scores[True] > scores[False]
