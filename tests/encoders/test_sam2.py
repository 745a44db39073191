"""SAM 2.1's image encoder: from a checkpoint as Meta writes it, with random weights, to the embedding."""

from __future__ import annotations

import builtins
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from fewsam import encoders
from fewsam.core.errors import CheckpointError, ConfigError
from fewsam.encoders import registry, sam, sam2
from fewsam.images.resize import resize
from helpers.tiny_encoders import settings, slices

pytestmark = pytest.mark.usefixtures("home")
TINY = "sam2.1_hiera_tiny"


def needs_timm() -> None:
    pytest.importorskip("timm", reason="timm is an optional extra: requirements-sam2.txt")


def as_meta_writes(network: sam2.SAM2Encoder) -> dict[str, Any]:
    """A checkpoint of a whole SAM 2.1, the parts beside the image encoder in a few tensors."""
    state = {}
    for key, value in network.state_dict().items():
        name = key.replace("mlp.fc1.", "mlp.layers.0.").replace("mlp.fc2.", "mlp.layers.1.")
        state[f"image_encoder.{name}"] = value
    beside = (
        "sam_mask_decoder.iou_token.weight",
        "sam_prompt_encoder.no_mask_embed.weight",
        "memory_attention.norm.bias",
    )
    return {"model": {**state, **{name: torch.ones(1, 256) for name in beside}}}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, sam2.SAM2Encoder]:
    """A file of random weights, and the network that it was written from."""
    needs_timm()
    torch.manual_seed(0)
    network = sam2.SAM2Encoder(TINY).eval()
    path = tmp_path_factory.mktemp("sam2") / "own.pt"
    torch.save(as_meta_writes(network), path)
    return path, network


def test_every_size_has_the_parameters_of_its_published_checkpoint() -> None:
    needs_timm()
    for name in sam2.VARIANTS:
        with torch.device("meta"):
            network = sam2.SAM2Encoder(name)
        assert sum(one.numel() for one in network.parameters()) == sam.OFFICIAL[name].parameters, name
        assert sam.OFFICIAL[name].url.endswith(f"/segment_anything_2/092824/{name}.pt")


@torch.no_grad()
def test_a_checkpoint_gives_the_embedding_of_the_stages_at_strides_16_and_32(checkpoint: Any) -> None:
    path, network = checkpoint
    chosen = settings(encoder=TINY, checkpoint=str(path), input_size=256)
    encoder = encoders.build_encoder(chosen)
    assert encoder.info.parameters == sam.OFFICIAL[TINY].parameters
    assert encoder.info.licence == "unknown (own checkpoint)" and encoder.info.trained
    given = slices(2, 256)
    found = encoder.embed(given)
    assert found.shape == (2, 256, 64, 64) and found.dtype == torch.float32

    shown = (given.float() - network.mean) / network.std
    stages = network.trunk.forward_intermediates(shown, intermediates_only=True)
    assert [tuple(stage.shape[1:]) for stage in stages] == [(96, 64, 64), (192, 32, 32), (384, 16, 16), (768, 8, 8)]
    weights = network.state_dict()
    coarse = F.conv2d(stages[3], weights["neck.convs.0.conv.weight"], weights["neck.convs.0.conv.bias"])
    fine = F.conv2d(stages[2], weights["neck.convs.1.conv.weight"], weights["neck.convs.1.conv.bias"])
    wanted = fine + coarse.repeat_interleave(2, 2).repeat_interleave(2, 3)
    torch.testing.assert_close(found, resize(wanted, 64), atol=1e-5, rtol=1e-5)  # below 1024 pixels it is resized
    torch.testing.assert_close(network(given.float()), found)
    assert (found[0] - found[1]).abs().max() > 0.1  # it sees what is given


def test_at_the_size_it_was_trained_at_the_embedding_needs_no_resizing() -> None:
    needs_timm()
    with torch.device("meta"):  # shapes alone
        trunk = sam2.SAM2Encoder(TINY).trunk
        stages = trunk.forward_intermediates(torch.zeros(1, 3, 1024, 1024), intermediates_only=True)
    assert [tuple(stage.shape[2:]) for stage in stages] == [(256, 256), (128, 128), (64, 64), (32, 32)]


def test_its_decoder_is_not_taken_for_that_of_sam(checkpoint: Any) -> None:
    path, _ = checkpoint
    assert registry.sam_decoder_state(settings(encoder=TINY, checkpoint=str(path))) is None


def test_a_checkpoint_of_another_size_and_an_odd_input_are_refused(checkpoint: Any) -> None:
    path, _ = checkpoint
    with pytest.raises(CheckpointError, match=r"own.pt is no sam2.1_hiera_small checkpoint.*sam2.1_hiera_small.pt"):
        encoders.build_encoder(settings(encoder="sam2.1_hiera_small", checkpoint=str(path)))
    with pytest.raises(ConfigError, match="input_size 272 does not fit sam2.1_hiera_tiny: use a multiple of 32"):
        encoders.build_encoder(settings(encoder=TINY, checkpoint=str(path), input_size=272))


def test_without_its_file_the_error_says_where_to_get_it() -> None:
    needs_timm()
    with pytest.raises(CheckpointError, match=r"fetch https://dl.fbaipublicfiles.com/segment_anything_2/.*_tiny.pt"):
        encoders.build_encoder(settings(encoder=TINY, download=False))


def test_without_timm_the_error_says_how_to_install_it_before_anything_is_fetched(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = builtins.__import__

    def without(name: str, *given: Any, **named: Any) -> Any:
        if name.startswith("timm"):
            raise ImportError(name)
        return real(name, *given, **named)

    monkeypatch.setattr(builtins, "__import__", without)
    monkeypatch.setattr(registry, "download", lambda *given: pytest.fail("it was fetched"))
    with pytest.raises(ConfigError, match="pip install --no-deps -r requirements-sam2.txt"):
        encoders.build_encoder(settings(encoder=TINY))
