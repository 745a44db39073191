"""The device that everything of a task is computed on: what a setting means, its memory, its source of chance."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor

from fewsam.core.errors import ConfigError

Item = TypeVar("Item")
Result = TypeVar("Result")


def resolve_device(name: str) -> torch.device:
    """The device of a setting: ``auto`` is CUDA where there is one, else Apple's MPS, else the CPU.

    Raises:
        ConfigError: this machine, or its torch, has no such device.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f"device {name!r} is not usable here ({reason}); try auto or cpu") from None
    return device


def moved(value: Any, device: torch.device) -> Any:
    """``value`` with its tensors on ``device``: a tensor, or a list, tuple or dictionary of such; else it is itself."""
    if isinstance(value, Tensor):
        return value.to(device)
    if isinstance(value, dict):
        return {key: moved(one, device) for key, one in value.items()}
    if isinstance(value, tuple):
        parts = [moved(one, device) for one in value]
        return type(value)(*parts) if hasattr(value, "_fields") else tuple(parts)
    return [moved(one, device) for one in value] if isinstance(value, list) else value


def in_smaller_steps(
    work: Callable[[Sequence[Item]], Result], items: Sequence[Item], device: torch.device, what: str
) -> list[Result]:
    """What ``work`` gives for ``items``: for all at once, or in halves where the device's memory does not suffice.

    Args:
        work: Leaves nothing half done where the memory runs out.
        what: Ends the sentence "the memory of ... does not suffice for", and says what would help.

    Raises:
        ConfigError: the memory does not suffice for a single item.
    """
    try:
        return [work(items)]
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
    # Freed outside of the handler: the exception holds on to the tensors.
    release_memory(device)
    if len(items) == 1:
        raise ConfigError(f"the memory of {device} does not suffice for {what}")
    half = len(items) // 2
    parts = (items[:half], items[half:])
    return [result for part in parts for result in in_smaller_steps(work, part, device, what)]


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether a device had no memory left; MPS says so with a plain RuntimeError."""
    return isinstance(error, torch.OutOfMemoryError) or "MPS backend out of memory" in str(error)


def release_memory(device: torch.device) -> None:
    """Give back what torch keeps of the device's memory for later."""
    if device.type == "cuda" and torch.cuda.is_available():
        torch.cuda.empty_cache()
    elif device.type == "mps" and torch.backends.mps.is_available():
        torch.mps.empty_cache()


def chance_state(device: torch.device) -> dict[str, Tensor]:
    """The state of torch's sources of chance: the CPU's, and the device's own where it has one."""
    own = _module(device)
    state = {"torch_generator": torch.get_rng_state()}
    return state if own is None else {**state, "device_generator": own.get_rng_state()}


def restore_chance(device: torch.device, state: dict[str, Tensor]) -> None:
    """Go on with the chance that `chance_state` gave; a device of another kind than there keeps its own."""
    own = _module(device)
    torch.set_rng_state(state["torch_generator"])
    if own is not None and "device_generator" in state:
        own.set_rng_state(state["device_generator"])


def _module(device: torch.device) -> Any:
    """``torch.cuda`` or ``torch.mps`` where this device is there; None for the CPU."""
    if device.type == "cuda" and torch.cuda.is_available():
        return torch.cuda
    return torch.mps if device.type == "mps" and torch.backends.mps.is_available() else None
