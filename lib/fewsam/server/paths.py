"""Where the server keeps its own files, and which file endings are images or labels."""

from __future__ import annotations

import hashlib
import json
import os
import re
from pathlib import Path
from typing import Any

# Longest first, so that "x.seg.nrrd" is the label of "x" and not of "x.seg".
LABEL_ENDINGS = (".seg.nrrd", ".nii.gz", ".nii", ".nrrd", ".mha", ".mhd", ".png", ".tif", ".tiff", ".bmp", ".bin")
IMAGE_ENDINGS = (
    ".nii.gz",
    ".nii",
    ".nrrd",
    ".seg.nrrd",
    ".mha",
    ".mhd",
    ".png",
    ".jpg",
    ".jpeg",
    ".bmp",
    ".tif",
    ".tiff",
)
# ".seg.nrrd" stands after ".nrrd" above since MONAI Label takes the last pattern that fits.

PRESET_BESIDE_IMAGES = "fewsam.yaml"


def data_folder(app_dir: str | os.PathLike[str], preset: str | None, studies: str) -> Path:
    """Folder of one task: ``<app_dir>/model/<preset or default>-<hash of the studies' address>``.

    Two studies folders never share a collection, nor do two presets on the same studies.
    """
    name = re.sub(r"[^A-Za-z0-9_.-]+", "_", Path(preset).stem) if preset else "default"
    address = studies.rstrip("/") if studies.startswith(("http://", "https://")) else os.path.realpath(studies)
    return Path(app_dir) / "model" / f"{name}-{hashlib.sha256(address.encode()).hexdigest()[:8]}"


def split_ending(filename: str, endings: tuple[str, ...] = LABEL_ENDINGS) -> tuple[str, str]:
    """``("case_1", ".seg.nrrd")`` of ``case_1.seg.nrrd``; the ending is empty where none of ``endings`` fits."""
    for ending in endings:
        if filename.lower().endswith(ending) and len(filename) > len(ending):
            return filename[: -len(ending)], filename[-len(ending) :]
    return filename, ""


def read_json(path: Path) -> dict[str, Any]:
    """Contents of ``path``; empty where it is missing or not JSON."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return values if isinstance(values, dict) else {}


def digest_of(file: Path) -> str:
    """SHA-256 of a file."""
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
