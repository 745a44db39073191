"""Pretraining: generated episodes, the objective, and a run that goes on where it stopped."""

import fewsam  # noqa: F401  first, so that torchvision can be imported

# isort: split
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open

from fewsam import encoders
from fewsam.core.config import load_settings
from fewsam.core.errors import CheckpointError, ConfigError
from fewsam.encoders import build_compact
from fewsam.encoders.download import file_sha256
from fewsam.fewshot.model.prompts import probe_features
from fewsam.synthetic.phantom import Tissue
from fewsam.synthetic.pretraining import Recipe, Trainer, draw_episode, fill_pool, finish, fit_linear, read_pool
from fewsam.synthetic.pretraining.channels import add_fusion, whiten
from fewsam.synthetic.pretraining.mixture import measure
from fewsam.synthetic.pretraining.objective import RidgeProbe, probe_rows, splits
from fewsam.synthetic.pretraining.picture import save_sheet
from fewsam.synthetic.pretraining.pool import STRUCTURES

TINY = Recipe(steps=4, slices=6, sizes=(64,), patients=2, warmup=2)


@pytest.fixture(scope="module")
def pool_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pool")
    seen = []
    fill_pool(folder, 2, 2, lambda done, total: seen.append((done, total)))
    assert seen[0] == (0, 2) and seen[-1] == (2, 2)
    return folder


@pytest.fixture(scope="module")
def pool(pool_folder):
    return read_pool(pool_folder, 2)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


# -- what is generated


def test_the_pool_is_painted_once_and_shows_a_torso_upright(pool_folder, pool):
    before = {path: path.stat().st_mtime_ns for path in pool_folder.iterdir()}
    fill_pool(pool_folder, 2, 1)
    assert {path: path.stat().st_mtime_ns for path in pool_folder.iterdir()} == before
    tissue, structure = pool
    assert tissue.shape == structure.shape == (2, 88, 128, 160) and tissue.dtype == torch.uint8
    assert int(structure.max()) < STRUCTURES and not torch.equal(tissue[0], tissue[1])
    where = {name: (tissue == int(Tissue[name])).nonzero().float().mean(0) for name in ("LIVER", "SPLEEN", "CORD")}
    assert where["LIVER"][3] < 80 < where["SPLEEN"][3]  # the patient's right is on the left
    assert where["CORD"][2] > where["LIVER"][2]  # rows go to the back
    assert where["LIVER"][1] > 44  # slices go upwards


@pytest.mark.parametrize("seed", range(12))
def test_an_episode_has_its_shapes_and_comes_again(pool, seed):
    drawn = draw_episode(seeded(seed), 6, 96, 24, pool)
    again = draw_episode(seeded(seed), 6, 96, 24, pool)
    assert drawn.images.shape == (6, 96, 96) and drawn.images.dtype == torch.float32
    assert drawn.masks.shape[0] == 6 and drawn.masks.shape[2:] == (24, 24) and 2 <= drawn.masks.shape[1] <= 13
    assert torch.isfinite(drawn.images).all() and drawn.images.min() >= 0 and drawn.images.max() <= 255
    assert torch.allclose(drawn.masks.sum(1), torch.ones(6, 24, 24), atol=1e-5)
    assert drawn.images.std() > 5  # there is something to see
    assert int(drawn.patient.max()) + 1 in (2, 6)
    assert drawn.place.min() >= 0 and drawn.place.max() <= 1
    assert torch.equal(drawn.images, again.images) and torch.equal(drawn.masks, again.masks)
    assert not torch.equal(drawn.images, draw_episode(seeded(seed + 100), 6, 96, 24, pool).images)


def test_neighbouring_slices_are_more_alike_than_far_ones(pool):
    near, far = [], []
    for seed in range(12):
        drawn = draw_episode(seeded(seed), 8, 64, 16, pool)
        if int(drawn.patient.max()) == 1:
            near.append((drawn.masks[0] - drawn.masks[1]).abs().mean())
            far.append((drawn.masks[0] - drawn.masks[3]).abs().mean())
    assert len(near) > 4 and sum(near) < sum(far)


def test_a_sheet_of_episodes_can_be_looked_at(tmp_path, pool):
    save_sheet(tmp_path / "sheet.png", pool, 0, episodes=2)
    with Image.open(tmp_path / "sheet.png") as image:
        assert image.size == (12 * 128, 2 * 128)
        pixels = np.asarray(image).astype(int)
    coloured = (pixels.max(2) - pixels.min(2) > 30).reshape(2, 128, 6, 2, 128).mean((0, 1, 2, 4))
    assert coloured[0] == 0 and coloured[1] > 0.02  # scans are grey, masks are not


# -- what is asked for


def test_rows_are_those_of_the_probe_that_the_app_fits():
    embeddings, place = torch.randn(2, 256, 64, 64, generator=seeded(0)), torch.tensor([0.2, 0.9])
    rows = probe_rows(embeddings, place)
    assert torch.allclose(rows.flatten(0, 1), probe_features(embeddings, place), atol=1e-5)


def test_the_ridge_probe_learns_what_is_linear_and_not_what_is_noise():
    rows = torch.randn(4, 256, 20, generator=seeded(0))
    linear = torch.nn.functional.one_hot((rows[..., 0] > 0).long(), 2).transpose(1, 2).float()
    noise = torch.nn.functional.one_hot(torch.randint(0, 2, (4, 256), generator=seeded(1)), 2).transpose(1, 2).float()
    probe, half = RidgeProbe(), (torch.tensor([0, 1]), torch.tensor([2, 3]))
    easy, right = probe(seeded(2), rows, linear, *half)
    hard, guessed = probe(seeded(2), rows, noise, *half)
    assert right > 0.9 and 0.3 < guessed < 0.7 and easy < hard
    easy.backward()
    assert probe.log_penalty.grad is not None and probe.log_penalty.grad != 0


def test_a_class_that_no_support_shows_is_not_asked_for():
    rows = torch.randn(4, 64, 8, generator=seeded(0))
    masks = torch.zeros(4, 3, 64)
    masks[:, 0], masks[2:, 0, :32], masks[2:, 2, :32] = 1, 0, 1
    loss, right = RidgeProbe()(seeded(0), rows, masks, torch.tensor([0, 1]), torch.tensor([2, 3]))
    assert right == 1 and loss < 0.1


@pytest.mark.parametrize("patients", [2, 8])
def test_no_slice_is_support_and_query_at_once(patients):
    patient = torch.arange(8) * patients // 8
    for seed in range(20):
        parts = splits(seeded(seed), patient)
        assert len(parts) == (3 if patients == 2 else 1)
        for support, query in parts:
            assert len(support) and len(query) and not set(support.tolist()) & set(query.tolist())


# -- the run


def test_a_run_that_was_interrupted_goes_on_exactly(tmp_path, pool):
    whole = Trainer(TINY, tmp_path / "whole", pool)
    start = [parameter.clone() for parameter in whole.fusion.parameters()]
    whole.run()
    Trainer(TINY, tmp_path / "parts", pool).run(until=2)
    parts = Trainer(TINY, tmp_path / "parts", pool)
    assert parts.step == 2
    parts.run()
    assert parts.step == 4
    for one, other in ((whole.fusion, parts.fusion), (whole.average, parts.average)):
        for a, b in zip(one.parameters(), other.parameters(), strict=True):
            assert torch.equal(a, b)
    assert any(not torch.equal(a, b) for a, b in zip(start, whole.fusion.parameters(), strict=True))
    rows = [json.loads(line) for line in (tmp_path / "whole" / "log.jsonl").read_text().splitlines()]
    assert rows[-1]["step"] == 4 and rows[-1]["loss"] > 0
    assert list((tmp_path / "whole").glob("events.out.tfevents.*"))


def test_a_run_of_another_recipe_is_refused(tmp_path, pool):
    Trainer(TINY, tmp_path, pool).run(until=1)
    with pytest.raises(CheckpointError, match="a run with seed 0, not 1"):
        Trainer(Recipe(**{**TINY.__dict__, "seed": 1}), tmp_path, pool)


@pytest.mark.parametrize(
    ("wrong", "said"), [({"slices": 7}, "7 slices"), ({"sizes": (100,)}, "100"), ({"trained": 300}, "300")]
)
def test_a_recipe_that_cannot_be_is_refused(wrong, said):
    with pytest.raises(ConfigError, match=said):
        Recipe(**wrong)


def test_only_the_channels_handed_over_learn(tmp_path, pool):
    trainer = Trainer(TINY, tmp_path, pool)
    before = {key: value.clone() for key, value in trainer.network.state_dict().items() if "fusion" not in key}
    trainer.run(until=2)
    after = trainer.network.state_dict()
    assert before and all(torch.equal(value, after[key]) for key, value in before.items())


def test_whitening_leaves_channels_uncorrelated(pool):
    network = build_compact.build_compact(None)
    _, taken = add_fusion(network, 96, 0)
    assert int(taken.sum()) == 96
    whiten(network, pool, 0, floor=0.01, episodes=6)
    images = draw_episode(seeded(0), 8, 256, 64, pool).images[:, None].expand(-1, 3, -1, -1)
    with torch.no_grad():
        values = network.fused(images).permute(1, 0, 2, 3).flatten(1)
    assert (torch.corrcoef(values) - torch.eye(256)).abs().mean() < 0.15


def test_the_weights_of_a_run_say_where_they_come_from_and_load(tmp_path: Path, pool):
    with pytest.raises(CheckpointError, match="no checkpoint"):
        finish(tmp_path, pool, tmp_path / "compact.safetensors")
    Trainer(TINY, tmp_path, pool).run()
    path = tmp_path / "compact.safetensors"
    facts = finish(tmp_path, pool, path, episodes=2)
    with safe_open(path, "pt") as file:
        stored = file.metadata()
    assert stored["licence"] == "Apache-2.0" and stored["seed"] == "0"
    assert json.loads(stored["recipe"])["steps"] == json.loads(stored["steps"]) == 4
    assert json.loads(stored["metrics"]) == facts["metrics"]
    encoder = encoders.build_encoder(load_settings(overrides={"encoder": "compact", "checkpoint": str(path)}))
    embedding = encoder.embed(torch.randint(0, 256, (1, 3, 256, 256), dtype=torch.uint8))
    assert embedding.shape == (1, 256, 64, 64) and torch.isfinite(embedding).all()
    assert path.stat().st_size <= 16e6


# -- the closed form


def test_the_linear_way_is_fitted_in_closed_form(tmp_path, pool):
    path = tmp_path / "compact.safetensors"
    facts = fit_linear(pool, 0, path, episodes=6, checked=1)
    with safe_open(path, "pt") as file:
        assert json.loads(file.metadata()["recipe"]) == facts["recipe"]
    assert facts["recipe"]["episodes"] == 6 and path.stat().st_size <= 16e6
    network = build_compact.build_compact(path)
    assert network.fusion is None
    images = draw_episode(seeded(1), 8, 256, 64, pool).images[:, None].expand(-1, 3, -1, -1)
    with torch.no_grad():
        values = network.fused(images).permute(1, 0, 2, 3).flatten(1)
    assert (torch.corrcoef(values) - torch.eye(256)).abs().mean() < 0.2


def test_moments_tell_what_lies_within_a_structure_from_what_lies_between(pool):
    moments, again = (measure(build_compact.build_compact(None), pool, 0, episodes=3) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(moments, again, strict=True))
    for matrix in (moments.total, moments.within, moments.between):
        assert matrix.shape == (576, 576) and torch.allclose(matrix, matrix.T)
        assert matrix.trace() > 0 and torch.linalg.eigvalsh(matrix).min() > -1e-6 * matrix.trace()


@pytest.mark.skipif(not build_compact.PACKAGED.is_file(), reason="no trained weights in the package")
def test_the_weights_that_ship(caplog):
    assert build_compact.PACKAGED.stat().st_size <= 16e6
    with safe_open(build_compact.PACKAGED, "pt") as file:
        stored = file.metadata()
    assert stored["trained_on"] == "generated images only" and stored["licence"] == "Apache-2.0"
    assert {"recipe", "seed", "steps", "data_version", "metrics"} <= set(stored)
    measured = json.loads(stored["metrics"])
    assert measured["generated_accuracy"] > measured["generated_accuracy_untrained"]
    encoder = encoders.build_encoder(load_settings(overrides={"encoder": "compact"}))
    assert "UNTRAINED" not in caplog.text
    assert encoder.info.trained and encoder.info.checkpoint_sha256 == file_sha256(build_compact.PACKAGED)
    embedding = encoder.embed(torch.randint(0, 256, (1, 3, 256, 256), dtype=torch.uint8))
    assert embedding.shape == (1, 256, 64, 64) and torch.isfinite(embedding).all()
