"""OpenVINO as the engine of a frozen network on the CPU.

A network is converted once for each machine, in a process of its own, and kept in the download folder under a key made
of its weights and the versions that made it. From then on it is opened in about a second.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import json
import logging
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from torch import Tensor, nn

from fewsam.core.config import Settings
from fewsam.encoders.download import file_sha256, home_folder

logger = logging.getLogger(__name__)

Network = Callable[[Tensor], Tensor]  # (N, 3, S, S) float in 0..255 -> (N, 256, 64, 64)

FORMAT = 1  # raise when converted networks of before must not be used any more
FAILED = 3  # exit code of the converter: this network cannot be converted by these versions
NETWORK, WEIGHTS, SUMS = "network.xml", "network.bin", "sums.json"

_running: dict[Path, tuple[subprocess.Popen[bytes], IO[bytes]]] = {}  # conversions of this process, what they say
_opened_by: int | None = None  # the process in which OpenVINO was used first


def import_openvino() -> Any:
    """The module, without the package by which it would send events to its maker."""
    if "openvino" not in sys.modules:
        sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]  # an import of it fails from here on
    import openvino

    return openvino


def is_installed() -> bool:
    """Whether there is an OpenVINO; it is not imported."""
    return importlib.util.find_spec("openvino") is not None


def has_bfloat16() -> bool:
    """Whether this processor computes with bfloat16 in hardware."""
    return "BF16" in _core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def converted_folder(fingerprint: str) -> Path:
    """Where the converted network lies, or would lie, whose float32 embeddings have this fingerprint."""
    versions = [importlib.metadata.version(name) for name in ("openvino", "torch")]
    key = hashlib.sha256("|".join([str(FORMAT), fingerprint, *versions]).encode()).hexdigest()[:32]
    return home_folder() / "openvino" / key


def failure(folder: Path) -> str | None:
    """Why the network of ``folder`` could not be converted; None where that was not tried, or where it could."""
    try:
        return folder.with_suffix(".failed").read_text(encoding="utf-8")
    except OSError:
        return None


def is_whole(folder: Path) -> bool:
    """Whether ``folder`` holds a converted network as it was written."""
    try:
        sums = json.loads((folder / SUMS).read_text(encoding="utf-8"))
        return all(file_sha256(folder / name) == sums[name] for name in (NETWORK, WEIGHTS))
    except Exception:  # missing, unreadable or damaged: it is made again
        return False


def begin_conversion(settings: Settings, folder: Path, niceness: int = 0) -> None:
    """Convert the network of ``settings`` in a process of its own, unless that goes on already."""
    if is_converting(folder):
        return
    command = [sys.executable, "-m", "fewsam.encoders.convert", str(folder), str(niceness)]
    paths = [str(Path(__file__).resolve().parents[2]), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    said = tempfile.TemporaryFile()  # noqa: SIM115  open as long as the conversion goes on
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=said, stderr=said, env=environment)
    assert process.stdin is not None
    with process.stdin as given:
        given.write(settings.model_dump_json().encode())
    _running[folder] = process, said


def is_converting(folder: Path) -> bool:
    """Whether a conversion that this process began goes on."""
    return folder in _running and _running[folder][0].poll() is None


def finish_conversion(folder: Path) -> bool:
    """Wait for the conversion that this process began; whether it left a whole network. A warning says why not."""
    if folder in _running:
        process, said = _running.pop(folder)
        with said:
            code = process.wait()
            said.seek(0)
            lines = said.read().decode("utf-8", "replace").strip().splitlines()
        if code != 0:
            reason = failure(folder) or (lines[-1] if lines else f"it ended with {code}")
            logger.warning("the encoder runs on torch, slower: OpenVINO could not convert it (%s)", reason[:300])
    return is_whole(folder)


def is_safe_here() -> bool:
    """False in a fork of a process that used OpenVINO: OpenVINO's threads do not survive a fork."""
    return _opened_by in (None, os.getpid())


def _core() -> Any:
    global _opened_by
    _opened_by = _opened_by or os.getpid()
    return import_openvino().Core()


class OpenVINONetwork:
    """A converted network, called as the torch module that it was made from.

    Args:
        folder: What `convert` wrote.
        precision: ``float32``, or ``bfloat16`` where the processor has it.
        rebuild: Gives the torch module. Threads do not survive a fork: a forked process computes with this.
    """

    def __init__(self, folder: Path, precision: str, rebuild: Callable[[], nn.Module]) -> None:
        core = _core()
        options = {
            "INFERENCE_PRECISION_HINT": "bf16" if precision == "bfloat16" else "f32",
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
            "NUM_STREAMS": 1,
            "ENABLE_CPU_PINNING": False,  # several processes would be pinned to the same core
        }
        compiled = core.compile_model(core.read_model(folder / NETWORK), "CPU", options)
        self._request = compiled.create_infer_request()
        self._rebuild, self._bfloat16 = rebuild, precision == "bfloat16"
        self._fallback: nn.Module | None = None
        self._process = os.getpid()
        self._lock = threading.Lock()

    def __call__(self, slices: Tensor) -> Tensor:
        """(N, 3, S, S) float in 0..255 -> (N, 256, 64, 64) float32."""
        if os.getpid() != self._process:
            return self._in_a_fork(slices)
        with self._lock:
            return torch.cat([self._one(one) for one in slices.contiguous().numpy()[:, None]])

    def _one(self, one: np.ndarray) -> Tensor:
        return torch.from_numpy(next(iter(self._request.infer([one]).values())))

    def _in_a_fork(self, slices: Tensor) -> Tensor:
        if self._fallback is None:
            self._fallback = self._rebuild().eval().requires_grad_(False)
        with torch.autocast(slices.device.type, torch.bfloat16, enabled=self._bfloat16):
            return self._fallback(slices).float()


class TorchMeanwhile:
    """The torch module until its conversion has ended, then the converted network.

    Args:
        open_converted: Gives the converted network.
    """

    def __init__(self, folder: Path, network: nn.Module, open_converted: Callable[[], Network]) -> None:
        self._folder, self._open = folder, open_converted
        self._network: Network = network.eval().requires_grad_(False)
        self._waiting = True

    def __call__(self, slices: Tensor) -> Tensor:
        if self._waiting and not is_converting(self._folder):
            self._waiting = False
            if finish_conversion(self._folder):
                self._network = self._open()
        return self._network(slices)
