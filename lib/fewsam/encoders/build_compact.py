"""The compact encoder from its file of weights, or with untrained weights."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file

from fewsam.core.errors import CheckpointError
from fewsam.encoders.compact import CompactEncoder
from fewsam.encoders.untrained import initialise

SEED = 0  # of the untrained weights
PARAMETERS = {False: 4_136_832, True: 6_955_392}  # without and with the fusion
PACKAGED = Path(__file__).parent / "weights" / "compact.safetensors"


def weights_file(checkpoint: Path | None, untrained: bool = False) -> Path | None:
    """The file of trained weights: the one chosen, else the one in the package; None where there is none, or where
    ``untrained`` weights are asked for.

    A chosen file is returned even if it is missing, so that reading it says so.
    """
    if untrained:
        return None
    if checkpoint is not None:
        return checkpoint.expanduser()
    return PACKAGED if PACKAGED.is_file() else None


def build_compact(path: Path | None) -> CompactEncoder:
    """The encoder with the weights of a ``.safetensors`` file; with None, untrained ones, always the same.

    Raises:
        CheckpointError: ``path`` is missing, damaged, or of another architecture.
    """
    if path is None:
        network = _empty(fusion=False)
        initialise(network, SEED)
        return network
    if not path.is_file():
        raise CheckpointError(f"no checkpoint at {path}; correct the setting 'checkpoint', or leave it out")
    try:
        state = load_file(path)
        network = _empty(fusion=any(key.startswith("fusion.") for key in state))
        network.load_state_dict(state)
        if not all(bool(torch.isfinite(value).all()) for value in network.parameters()):
            raise ValueError("some of them are no finite numbers")
    except (SafetensorError, OSError, ValueError, RuntimeError, TypeError, KeyError, OverflowError) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)[:300]
        raise CheckpointError(f"{path} does not hold weights of the compact encoder: {reason}") from error
    return network


def parameter_count(path: Path | None) -> int | None:
    """How many parameters `build_compact` would give, from the file's header alone; None where it cannot be read."""
    try:
        if path is None:
            return PARAMETERS[False]
        with safe_open(path, "pt") as file:
            return PARAMETERS[any(key.startswith("fusion.") for key in file.keys())]  # noqa: SIM118  not a mapping
    except (SafetensorError, OSError):
        return None


def _empty(fusion: bool) -> CompactEncoder:
    with torch.device("meta"):  # torch's own random weights are not wanted, nor that they move its global seed
        network = CompactEncoder(fusion)
    return network.to_empty(device="cpu")
