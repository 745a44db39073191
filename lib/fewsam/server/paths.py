"""Where the server keeps its own files."""

from __future__ import annotations

import hashlib
import json
import os
import re
import tempfile
from pathlib import Path
from typing import Any

PRESET_BESIDE_IMAGES = "fewsam.yaml"


def data_folder(app_dir: str | os.PathLike[str], preset: str | None, studies: str) -> Path:
    """Folder of one task: ``<app_dir>/model/<preset or default>-<hash of the studies' address>``.

    Two studies folders never share a collection, nor do two presets on the same studies.
    """
    name = re.sub(r"[^A-Za-z0-9_.-]+", "_", Path(preset).stem) if preset else "default"
    address = studies.rstrip("/") if studies.startswith(("http://", "https://")) else os.path.realpath(studies)
    return Path(app_dir) / "model" / f"{name}-{hashlib.sha256(address.encode()).hexdigest()[:8]}"


def read_json(path: Path) -> dict[str, Any]:
    """Contents of ``path``; empty where it is missing or not JSON."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return values if isinstance(values, dict) else {}


def scratch(folder: Path) -> tempfile.TemporaryDirectory[str]:
    """A temporary folder in ``folder`` for what is being received.

    A file that cannot be removed afterwards is left: it must not refuse a label that is stored by then. The next start
    empties ``folder``.
    """
    return tempfile.TemporaryDirectory(dir=folder, ignore_cleanup_errors=True)
