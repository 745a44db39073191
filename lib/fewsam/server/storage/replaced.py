"""Label files that another one takes the place of: an image has one in a folder, of whatever kind."""

from __future__ import annotations

import glob
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fewsam.core.files import sha256_of
from fewsam.images.endings import split_ending


def labels_of(folder: Path, image_id: str) -> list[Path]:
    """The labels of an image in a folder."""
    found = []
    for file in folder.glob(f"{glob.escape(image_id)}.*"):
        own_id, ending = split_ending(file.name)
        if ending and own_id == image_id and file.is_file():
            found.append(file)
    return sorted(found)


def retire(file: Path, stored: Mapping[str, Any]) -> None:
    """Remove a label if it is the one that was stored here last; keep it under another name if somebody made it.

    Args:
        stored: What was noted of the last one: its file's ``name`` and ``sha256``.
    """
    if stored.get("name") == file.name and stored.get("sha256") == sha256_of(file):
        file.unlink()
    else:
        file.rename(replaced_name(file))


def replaced_name(file: Path) -> Path:
    """Where a label is kept that another one took the place of; no program takes it for a label."""
    return file.with_name(f"{file.name}.replaced-{time.time_ns()}")
