"""Lets torchvision import beside a CPU-only torch; does nothing where torchvision imports by itself.

Where torch is a CPU build, torchvision's wheel from the package index is still the CUDA build: its C++ library wants
``libc10_cuda``, does not load, and ``import torchvision`` stops with ``operator torchvision::nms does not exist``.
segment-anything and MONAI Label need torchvision for its pure-Python transforms only, and those import once the
operators are declared. Declared is not implemented: ``torchvision.ops.nms`` still refuses, with torchvision's own
message.

Importing this module (``import fewsam`` does) puts a finder before the first ``import torchvision``, wherever that
stands: in our modules, in segment-anything, or in MONAI Label. Until then it costs nothing, not even torch's import.
An earlier import that failed (MONAI tries one, and goes on without) does not matter: Python forgets failed imports.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

logger = logging.getLogger(__name__)

# The operators torchvision registers Python code for at import, whether or not its C++ library has loaded.
_SCHEMAS = {
    "nms": "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms": "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
}

_declared: Any = None  # the torch.library.Library that holds the schemas; they are gone when it is collected


def declare_missing_operators(package: Path) -> list[str]:
    """Declare the operators that importing torchvision needs and its C++ library has not brought.

    Args:
        package: folder of the torchvision package about to be imported.

    Returns:
        Names of the operators declared here: none where torchvision's library loads.
    """
    global _declared
    import torch

    _load_own_library(package)
    missing = [name for name in _SCHEMAS if not hasattr(torch.ops.torchvision, name)]
    if missing:
        # FRAGMENT: the library may exist in part; DEF would claim the whole namespace.
        _declared = torch.library.Library("torchvision", "FRAGMENT")
        for name in missing:
            _declared.define(_SCHEMAS[name])
        logger.debug("torchvision's C++ library does not load with torch %s: declared %s", torch.__version__, missing)
    return missing


def _load_own_library(package: Path) -> None:
    """Load torchvision's C++ library as torchvision will (loading it twice is harmless); it may not load."""
    import torch

    for suffix in importlib.machinery.EXTENSION_SUFFIXES:
        library = package / f"_C{suffix}"
        if library.is_file():
            try:
                torch.ops.load_library(str(library))
            except OSError as error:
                logger.debug("%s: %s", library, error)
            return


class _BeforeTorchvision(importlib.abc.MetaPathFinder):
    """Finds nothing itself; acts once, when torchvision is first looked for."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname == "torchvision":
            sys.meta_path.remove(self)
            spec = importlib.machinery.PathFinder.find_spec(fullname, path)
            if spec is not None and spec.origin is not None:
                declare_missing_operators(Path(spec.origin).parent)
        return None


if "torchvision" not in sys.modules:
    sys.meta_path.insert(0, _BeforeTorchvision())
