"""Times encoding, decoding and retraining on this machine, and compares them with its own matrix product.

The floor of a stage is its floating-point operations over the rate of a large float32 matrix product
measured in the same run; the ratio says how far from it the stage is, on any machine. Each stage runs
in a process of its own, so that its peak memory is its own.
"""

from __future__ import annotations

import logging
import multiprocessing
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from fewsam.collection import Collection
from fewsam.core.config import Settings, load_settings
from fewsam.encoders import openvino_engine, sam
from fewsam.encoders.build_compact import build_compact
from fewsam.encoders.cache import EmbeddingCache
from fewsam.encoders.convert import convert
from fewsam.encoders.embedder import Embedder
from fewsam.encoders.tinyvit import VARIANTS, TinyViTEncoder
from fewsam.fewshot.inference.predictor import Predictor
from fewsam.fewshot.model.decoder import Prompts
from fewsam.fewshot.model.store import ModelStore, build_decoder
from fewsam.fewshot.training.plan import decoder_switches
from fewsam.fewshot.training.train import train
from fewsam.images.volume import Volume

SHOTS = 5


@dataclass(frozen=True)
class Measurement:
    """A stage: seconds (median, a slice where it is by slice), operations, and the process's peak memory."""

    stage: str
    seconds: float
    gflop: float | None = None
    peak_gb: float | None = None

    def floor(self, rate: float) -> float | None:
        """Seconds the operations would take at ``rate`` GFLOP/s."""
        return None if self.gflop is None else self.gflop / rate


def matrix_rate(size: int = 2048, repeats: int = 5) -> float:
    """GFLOP/s of a float32 matrix product with torch's threads as they are set."""
    a, b = torch.randn(size, size), torch.randn(size, size)
    return 2 * size**3 / _median(lambda: a @ b, repeats) / 1e9


def encoder_stage(name: str) -> list[Measurement]:
    """Torch encoding one slice at the encoder's own input size, with random weights: time does not depend on them."""
    network, size = _random_encoder(name)
    slices = torch.rand(1, 3, size, size) * 255
    with torch.inference_mode():
        return [_by_slice(f"encode {name} at {size} px, torch", lambda: network(slices), 1, 3)]


def openvino_stage(name: str) -> list[Measurement]:
    """The same by OpenVINO, with every precision that this processor has; without OpenVINO nothing."""
    if not openvino_engine.is_installed():
        return []
    network, size = _random_encoder(name)
    slices = torch.rand(1, 3, size, size) * 255
    measured = []
    with torch.inference_mode(), tempfile.TemporaryDirectory() as scratch:
        gflop = _gflop(lambda: network(slices))
        convert(network, size, Path(scratch) / "converted")
        for precision in ("float32", *(["bfloat16"] if openvino_engine.has_bfloat16() else [])):
            fast = openvino_engine.OpenVINONetwork(Path(scratch) / "converted", precision, lambda: network)
            seconds = _median(lambda fast=fast: fast(slices), 3)  # type: ignore[misc]
            stage = f"encode {name} at {size} px, OpenVINO {precision}"
            measured.append(Measurement(stage, seconds, gflop, _peak_gb()))
    return measured


def _random_encoder(name: str) -> tuple[torch.nn.Module, int]:
    """A network of the encoder's architecture, and its input size."""
    if name == "compact":
        return build_compact(None).eval(), 256
    if name in VARIANTS:
        return TinyViTEncoder(VARIANTS[name]).eval().fold(), sam.OFFICIAL[name].input_size
    from segment_anything import sam_model_registry

    return sam_model_registry[name]().image_encoder.eval(), 1024


def decode_stage(classes: int, side: int = 128, batch: int = 4) -> Measurement:
    """Decoding of one slice, prompts given, with the compact encoder's decoder."""
    decoder = build_decoder(_switches()).eval()
    c = classes + 1
    prompts = Prompts(
        torch.randn(batch, c, 8, 256), torch.ones(batch, c, 8, dtype=torch.bool), torch.randn(batch, c, 64, 64),
        torch.arange(c), torch.full((batch, c), 5),
    )  # fmt: skip
    embeddings, detail = torch.randn(batch, 256, 64, 64), torch.randn(batch, 1, side, side)
    with torch.inference_mode():
        stage = f"decode {classes} classes at {side} px"
        return _by_slice(stage, lambda: decoder(embeddings, prompts, detail), batch, 7)


def loop_stage(settings: Settings, volume: Volume, masks: dict[str, np.ndarray]) -> list[Measurement]:
    """A retrain on five slices, and the volume segmented from a warm cache, with the compact encoder."""
    logging.getLogger("fewsam").setLevel(logging.ERROR)
    depth = volume.depth
    drawn = sorted({int((i + 0.5) * depth / SHOTS) for i in range(SHOTS)})
    with tempfile.TemporaryDirectory() as name, EmbeddingCache(Path(name) / "cache", 2**31) as cache:
        folder = Path(name)
        collection, store, embedder = Collection(folder, tuple(masks)), ModelStore(folder), Embedder(settings, cache)
        label = {key: np.zeros_like(mask) for key, mask in masks.items()}
        for key, mask in masks.items():
            label[key][drawn] = mask[drawn]
        collection.submit(volume, "volume", label, absent_classes="complete", complete_slices=set(drawn))
        started = time.perf_counter()
        result = train(settings, collection, embedder, store, folder=folder / "run")
        trained = time.perf_counter() - started
        predictor = Predictor(settings, embedder, collection, store)
        predictor.predict(volume, "volume")  # fills the cache
        started = time.perf_counter()
        predictor.predict(volume, "volume")
        segmented = time.perf_counter() - started
    peak = _peak_gb()
    return [
        Measurement(
            f"retrain on {len(drawn)} slices, {len(masks)} classes ({result.steps} steps)", trained, None, peak
        ),
        Measurement(f"segment {depth} slices, {len(masks)} classes, warm cache", segmented, None, peak),
    ]


def run_alone(stage: Callable[..., Any], *arguments: Any) -> Any:
    """``stage(*arguments)`` in a fresh process."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(stage, *arguments).result()


def _switches() -> dict[str, Any]:
    settings = load_settings(None, {"encoder": "compact"})
    with tempfile.TemporaryDirectory() as name, EmbeddingCache(name, 2**24) as cache:
        return decoder_switches(settings, Embedder(settings, cache), 256)


def _by_slice(stage: str, call: Callable[[], Any], batch: int, repeats: int) -> Measurement:
    gflop = _gflop(call) / batch
    return Measurement(stage, _median(call, repeats) / batch, gflop, _peak_gb())


def _gflop(call: Callable[[], Any]) -> float:
    counter = FlopCounterMode(display=False)
    with counter:
        call()
    return counter.get_total_flops() / 1e9


def _median(call: Callable[[], Any], repeats: int) -> float:
    call()
    seconds = []
    for _ in range(repeats):
        started = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - started)
    return float(np.median(seconds))


def _peak_gb() -> float:
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9
