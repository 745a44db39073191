"""Converts one encoder for OpenVINO: ``python -m fewsam.encoders.convert FOLDER NICENESS``.

The settings come as JSON on standard input.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
import warnings
from contextlib import suppress
from pathlib import Path

import filelock
import torch
from torch import nn

from fewsam.core.config import Settings
from fewsam.core.files import sha256_of
from fewsam.encoders.openvino_engine import FAILED, NETWORK, SUMS, WEIGHTS, import_openvino, is_whole


def convert(network: nn.Module, size: int, folder: Path) -> None:
    """Write ``network`` to ``folder`` for slices of ``size`` pixels, whole or not at all.

    One process converts at a time; what another one has converted meanwhile is kept.

    Raises:
        RuntimeError: OpenVINO cannot convert it.
        OSError: The folder cannot be written.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(folder.with_suffix(".lock")):
        if is_whole(folder):
            return
        for left in folder.parent.glob(f".{folder.name}-*"):  # by a conversion that was killed
            shutil.rmtree(left, ignore_errors=True)
        with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as name:
            draft = Path(name) / "whole"
            draft.mkdir()
            _write(network, size, draft)
            shutil.rmtree(folder, ignore_errors=True)  # damaged
            os.replace(draft, folder)


def _write(network: nn.Module, size: int, folder: Path) -> None:
    openvino = import_openvino()
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # the tracer's, of branches that depend on sizes: those are fixed here
        example = torch.zeros(1, 3, size, size)
        network = network.eval().requires_grad_(False)
        model = openvino.convert_model(network, example_input=example, input=[1, 3, size, size])
    openvino.save_model(model, folder / NETWORK, compress_to_fp16=False)
    sums = {name: sha256_of(folder / name) for name in (NETWORK, WEIGHTS)}
    (folder / SUMS).write_text(json.dumps(sums), encoding="utf-8")


def main() -> int:
    """Convert the encoder of the settings on standard input; the exit code."""
    from fewsam.encoders.registry import build_network, encoder_info

    with suppress(OSError, AttributeError):
        os.nice(int(sys.argv[2]))
    folder = Path(sys.argv[1])
    settings = Settings.model_validate_json(sys.stdin.read())
    network = build_network(settings)
    try:
        convert(network, encoder_info(settings).input_size, folder)
    except OSError:
        raise  # another attempt may find room
    except Exception as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        folder.with_suffix(".failed").write_text(reason[:300], encoding="utf-8")
        return FAILED
    return 0


if __name__ == "__main__":
    sys.exit(main())
