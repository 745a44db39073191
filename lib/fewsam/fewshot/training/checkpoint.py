"""The unfinished run on the disk: what a run that was killed or told to stop goes on from.

One safetensors file holds everything, so that a kill cannot part it. Its metadata has the values and a checksum of the
tensors.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save
from torch import Tensor

from fewsam.core.atomic import write_atomically
from fewsam.core.errors import StorageError
from fewsam.fewshot.model.store import checksum

logger = logging.getLogger(__name__)

FORMAT = 2  # 1 had weights and step alone: a run that went on from it was not the same run


class RunCheckpoint:
    """One file for the run of ``signature``; another run's file is left alone until it is written over.

    Args:
        signature: Plain values that tell what the run learns from and goes on from.
    """

    def __init__(self, file: Path, signature: Mapping[str, Any]) -> None:
        self.file = file
        self.signature = json.loads(json.dumps(signature))  # as it is read back: tuples are lists

    def save(self, values: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
        """Write the state of a run, whole or not at all. A full disk is logged and ends no run."""
        given = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
        run = json.dumps({"format": FORMAT, "signature": self.signature, **values})
        try:
            write_atomically(self.file, save(given, metadata={"run": run, "checksum": checksum(given)}))
        except StorageError as error:  # it only saves time should the run be killed: the run itself goes on
            logger.warning("the run cannot be resumed if it is killed: %s", error)

    def load(self) -> tuple[dict[str, Any], dict[str, Tensor]] | None:
        """Values and tensors of the unfinished run; None where there is none, or it is another one or damaged."""
        try:
            with safe_open(self.file, framework="pt") as file:
                metadata = file.metadata()
            values, tensors = json.loads(metadata["run"]), load_file(self.file)
            if values.get("format") != FORMAT:
                logger.info("the unfinished run %s is of another version of fewsam; starting afresh", self.file)
                return None
            if values["signature"] != self.signature:
                return None
            if metadata["checksum"] != checksum(tensors):
                raise ValueError("its tensors are not those that were written")
        except FileNotFoundError:
            return None
        except Exception as error:  # whatever a damaged file gives: start afresh
            self.refuse(error)
            return None
        return values, tensors

    def refuse(self, error: Exception) -> None:
        """Say that the file is of no use."""
        logger.warning("the unfinished run %s cannot be read (%s); starting afresh", self.file, error)

    def forget(self) -> None:
        """The run ended well: there is nothing to go on from."""
        self.file.unlink(missing_ok=True)


def prefixed(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """``tensors`` under names that begin with ``prefix``."""
    return {f"{prefix}.{name}": value for name, value in tensors.items()}


def without_prefix(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Those of ``tensors`` that `prefixed` named so, under their own names."""
    start = f"{prefix}."
    return {name[len(start) :]: value for name, value in tensors.items() if name.startswith(start)}


def optimiser_tensors(optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """What an optimiser has gathered of each parameter that had a gradient, by parameter number and name."""
    gathered = optimiser.state_dict()["state"]
    return {f"{number}.{name}": value for number, state in gathered.items() for name, value in state.items()}


def optimiser_state(optimiser: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """A state dict for ``optimiser`` from what `optimiser_tensors` gave.

    Raises:
        ValueError, IndexError: the tensors belong to other parameters.
    """
    parameters = [value for group in optimiser.param_groups for value in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        number, _, name = key.partition(".")
        if value.dim() and value.shape != parameters[int(number)].shape:
            raise ValueError(f"the optimiser's {key} has the shape {tuple(value.shape)}")
        state.setdefault(int(number), {})[name] = value
    return {"state": state, "param_groups": optimiser.state_dict()["param_groups"]}


def generator_from(state: Mapping[str, Any]) -> np.random.Generator:
    """A NumPy generator that goes on where the one with this ``bit_generator.state`` was."""
    rng = np.random.default_rng()
    rng.bit_generator.state = state
    return rng
