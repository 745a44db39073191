"""A second device on machines that have none: strict as an accelerator, and computed by the CPU.

Its tensors claim to be on "second" and hold CPU tensors. As on an accelerator, an operation on tensors of two devices
fails, and so does reading one as a NumPy array; a copy from one device to the other has to be asked for.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._device import _device_constructors
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map
from torch.utils.backend_registration import _DummyBackendModule, _setup_privateuseone_for_python_backend

import fewsam


class _Module(_DummyBackendModule):
    """What torch asks the module of a device."""

    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        return [torch.bfloat16]


if not hasattr(torch, "second"):
    _setup_privateuseone_for_python_backend("second", _Module())
SECOND = torch.device("second:0")
_PACKAGE = str(Path(fewsam.__file__).parent)
_ATEN = torch.ops.aten
# What an accelerator takes from the CPU: copies, and indices.
_MAY_MIX = {_ATEN._to_copy.default, _ATEN.copy_.default, _ATEN.index.Tensor, _ATEN.index_put_.default}


class OnSecond(torch.Tensor):
    """A tensor of the second device; ``held`` is the CPU tensor with its values."""

    held: torch.Tensor

    @staticmethod
    def __new__(cls, held: torch.Tensor) -> OnSecond:
        with torch.inference_mode(False):  # torch cannot take views of such a subclass's inference tensors
            made = torch.Tensor._make_wrapper_subclass(
                cls,
                held.shape,
                strides=held.stride(),
                storage_offset=held.storage_offset(),
                dtype=held.dtype,
                device=SECOND,
                requires_grad=held.requires_grad,
            )
        made.held = held
        return made

    def tolist(self) -> Any:
        """Plain numbers, as accelerators give them too; torch refuses it for subclasses."""
        return self.held.tolist()

    def __repr__(self, **_: Any) -> str:
        return f"OnSecond({self.held!r})"

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _computed(func, args, kwargs or {})


class SecondDevice(TorchDispatchMode):
    """While it is entered, the device "second" exists."""

    def __enter__(self) -> SecondDevice:
        # torch.tensor(values, device=...) makes a tensor on the CPU first; this has it copied where a mode sees it.
        self._before = torch._C._only_lift_cpu_tensors(), torch.__future__.get_swap_module_params_on_conversion()
        torch._C._set_only_lift_cpu_tensors(True)
        torch.__future__.set_swap_module_params_on_conversion(True)  # a module's parameters become of this class
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        torch._C._set_only_lift_cpu_tensors(self._before[0])
        torch.__future__.set_swap_module_params_on_conversion(self._before[1])
        super().__exit__(*error)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _computed(func, args, kwargs or {})


class ExplicitDevices(TorchFunctionMode):
    """Collects the places in the package that make a tensor without saying on which device."""

    def __init__(self) -> None:
        super().__init__()
        self.places: set[str] = set()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = kwargs or {}
        if func in _device_constructors() and given.get("device") is None:
            caller = sys._getframe(1)
            if caller.f_code.co_filename.startswith(_PACKAGE):
                self.places.add(f"{Path(caller.f_code.co_filename).name}:{caller.f_lineno} {func.__name__}")
        return func(*args, **given)


def _computed(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """What ``func`` gives, on the device that its arguments are on or that it names."""
    tensors = [one for one in tree_flatten((args, kwargs))[0] if isinstance(one, torch.Tensor)]
    second = [one for one in tensors if isinstance(one, OnSecond)]
    if second and func not in _MAY_MIX:
        strange = [one for one in tensors if not isinstance(one, OnSecond) and one.dim()]
        if strange:
            raise RuntimeError(f"{func}: tensors on {SECOND} and on {strange[0].device} {tuple(strange[0].shape)}")
    wanted = kwargs.get("device")
    there = bool(second) if wanted is None else torch.device(wanted).type == SECOND.type
    if func is _ATEN.copy_.default:
        there = isinstance(args[0], OnSecond)
    if wanted is not None:
        kwargs = {**kwargs, "device": torch.device("cpu")}
    known = {id(one.held): one for one in second}
    found = func(*tree_map(_held, args), **tree_map(_held, kwargs))

    def placed(one: Any) -> Any:
        if not isinstance(one, torch.Tensor) or not there:
            return one
        before = known.get(id(one))
        return OnSecond(one) if before is None else before  # an operation in place gives back its argument

    return tree_map(placed, found)


def _held(one: Any) -> Any:
    return one.held if isinstance(one, OnSecond) else one
