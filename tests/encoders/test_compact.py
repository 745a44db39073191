"""The compact encoder: what it computes, untrained or with weights, and which weights it takes."""

import hashlib
import logging

import pytest
import torch
from safetensors.torch import save_file
from torch.utils.flop_counter import FlopCounterMode

from fewsam import encoders
from fewsam.core.errors import CheckpointError
from fewsam.encoders import build_compact, compact, untrained
from fewsam.encoders.download import file_sha256
from helpers.tiny_encoders import settings, slices

pytestmark = pytest.mark.usefixtures("home")


@pytest.fixture(autouse=True)
def untrained_weights() -> None:
    """Drawn anew each time, as everywhere but in tests."""


@pytest.fixture(scope="module")
def compact_encoder():
    return encoders.build_encoder(settings(untrained=True))


@pytest.mark.parametrize("size", [64, 128, 256, 400])
def test_compact_gives_sams_grid_at_every_input_size(size):
    encoder = encoders.build_encoder(settings(input_size=size))
    embeddings = encoder.embed(slices(1, size))
    assert embeddings.shape == (1, 256, 64, 64) and embeddings.dtype == torch.float32
    assert torch.isfinite(embeddings).all() and not embeddings.requires_grad
    assert embeddings.std() > 0.5


def test_compact_does_not_depend_on_the_rest_of_the_batch(compact_encoder):
    batch = slices(3, 256)
    batch[2] = 0
    together = compact_encoder.embed(batch)
    for index in range(3):
        alone = compact_encoder.embed(batch[index : index + 1])
        assert torch.allclose(together[index : index + 1], alone, atol=1e-3)
    assert not torch.allclose(together[0], together[1], atol=0.1)


def test_untrained_compact_is_the_same_each_time_and_leaves_the_global_seed_alone(compact_encoder):
    torch.manual_seed(1)
    again = encoders.build_encoder(settings(untrained=True))
    drawn = torch.rand(1)
    torch.manual_seed(1)
    assert torch.equal(drawn, torch.rand(1))
    assert torch.equal(again.embed(slices(1, 256)), compact_encoder.embed(slices(1, 256)))


def test_untrained_compact_spreads_information_over_its_channels(compact_encoder):
    images = untrained.generated_slices(3, torch.Generator().manual_seed(99)).to(torch.uint8)
    values = compact_encoder.embed(images).permute(1, 0, 2, 3).flatten(1)
    correlations = torch.corrcoef(values) - torch.eye(256)
    assert correlations.abs().mean() < 0.15


def test_place_changes_what_looks_alike(compact_encoder):
    flat = torch.full((1, 3, 256, 256), 100, dtype=torch.uint8)
    cells = torch.nn.functional.normalize(compact_encoder.embed(flat)[0], dim=0)
    assert (cells[:, 20, 20] * cells[:, 44, 44]).sum() < 0.8
    assert (cells[:, 20, 20] * cells[:, 20, 21]).sum() > 0.8


@pytest.mark.parametrize("fusion", [False, True])
def test_compact_stays_within_its_budget(fusion):
    network = compact.CompactEncoder(fusion)
    assert (
        sum(parameter.numel() for parameter in network.parameters()) == build_compact.PARAMETERS[fusion] < 8e6
    )  # 16 MB
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(torch.zeros(1, 3, compact.INPUT_SIZE, compact.INPUT_SIZE))
    assert counter.get_total_flops() <= 8e9


def test_untrained_compact_says_so(caplog):
    with caplog.at_level(logging.WARNING):
        encoder = encoders.build_encoder(settings(untrained=True))
    assert "UNTRAINED" in caplog.text
    assert not encoder.info.trained and encoder.info.checkpoint_sha256 is None
    assert encoder.info.parameters == build_compact.PARAMETERS[False]


def test_weights_in_the_package_are_used_unless_untrained_ones_are_asked_for(tmp_path, monkeypatch, caplog):
    packaged = tmp_path / "compact.safetensors"
    save_file(compact.CompactEncoder(fusion=True).state_dict(), packaged)
    monkeypatch.setattr(build_compact, "PACKAGED", packaged)
    info = encoders.build_encoder(settings()).info
    assert "UNTRAINED" not in caplog.text
    assert info.trained and info.licence == "Apache-2.0" and info.parameters == build_compact.PARAMETERS[True]
    assert info.checkpoint_sha256 == file_sha256(packaged)
    baseline = encoders.encoder_info(settings(untrained=True))
    assert not baseline.trained and baseline.fingerprint != info.fingerprint
    with pytest.raises(CheckpointError, match="leave out one of the two"):
        encoders.encoder_info(settings(untrained=True, checkpoint=str(packaged)))


def test_compact_weights_from_a_file(tmp_path, caplog):
    network = compact.CompactEncoder()
    path = tmp_path / "trained.safetensors"
    save_file(network.state_dict(), path)
    chosen = settings(checkpoint=str(path))
    with caplog.at_level(logging.WARNING):
        encoder = encoders.build_encoder(chosen)
    assert "UNTRAINED" not in caplog.text
    assert encoder.info.trained and encoder.info.checkpoint_sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert encoder.info.fingerprint != encoders.encoder_info(settings()).fingerprint
    with torch.no_grad():
        assert torch.equal(encoder.embed(slices(1, 256)), network(slices(1, 256).float()))


@pytest.mark.parametrize("content", ["text", "other tensors", "truncated"])
def test_wrong_compact_weights_are_refused(tmp_path, content):
    path = tmp_path / "weights.safetensors"
    save_file({"norm.weight": torch.ones(3)} if content == "other tensors" else {"a": torch.ones(99)}, path)
    if content == "text":
        path.write_text("no weights")
    elif content == "truncated":
        path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(CheckpointError, match=r"weights\.safetensors"):
        encoders.build_encoder(settings(checkpoint=str(path)))


def test_an_encoder_refuses_what_is_not_preprocessed(compact_encoder):
    with pytest.raises(ValueError, match="uint8"):
        compact_encoder.embed(torch.zeros(1, 3, 256, 256))
    with pytest.raises(ValueError, match="256"):
        compact_encoder.embed(slices(1, 128))
