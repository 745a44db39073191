"""fewsam: few-shot SAM segmentation of medical images, in a real annotation loop.

For notebooks and programs: `Task` opens or makes a task, takes labelled slices, trains and segments; what goes wrong is
a `FewSAMError` that says why. ``docs/guides/python.md`` has an example. They are imported when they are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from fewsam.core import (
    _torchvision as _torchvision,  # torchvision, whoever imports it later, works beside a CPU-only torch
)
from fewsam.core.version import __version__ as __version__

if TYPE_CHECKING:
    from fewsam.core.errors import FewSAMError as FewSAMError
    from fewsam.workspace.task import Segmentation as Segmentation
    from fewsam.workspace.task import Task as Task

_PUBLIC = {
    "FewSAMError": "fewsam.core.errors",
    "Segmentation": "fewsam.workspace.task",
    "Task": "fewsam.workspace.task",
}


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'fewsam' has no attribute {name!r}; it offers {', '.join(_PUBLIC)}")
    return getattr(import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_PUBLIC])
