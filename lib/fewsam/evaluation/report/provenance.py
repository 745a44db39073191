"""Records what results were made with, and on which machine."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import platform
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import psutil
import torch

from fewsam.core.config import Settings, with_current_names
from fewsam.core.errors import ConfigError
from fewsam.core.files import sha256_of
from fewsam.core.version import __version__
from fewsam.encoders.sam import OFFICIAL, read_sam_checkpoint
from fewsam.evaluation.data.tasks import Task
from fewsam.fewshot.model.store import write_atomically

CONFIGURATION = "configuration.json"
PACKAGES = (
    "torch",
    "openvino",
    "monai",
    "numpy",
    "scipy",
    "scikit-learn",
    "segment-anything",
    "nibabel",
    "simpleitk",
    "matplotlib",
)


def claim_folder(
    folder: Path,
    settings: Settings,
    encoder: Mapping[str, Any],
    further: Mapping[str, Any] | None = None,
    tasks: Sequence[Mapping[str, Any]] = (),
) -> None:
    """Note in ``folder`` what its cells are made with.

    Args:
        tasks: As `describe_tasks` has them; those of earlier runs stay.

    Raises:
        ConfigError: it holds cells made with other settings, or of other data under a task's name, which must not
            stand in one table with new ones.
    """
    path = folder / CONFIGURATION
    # as JSON reads it back: tuples become lists
    chosen = settings.model_dump(mode="json", exclude={"workers"})  # changes no figure
    made = {"settings": chosen, "encoder": encoder.get("fingerprint"), **(further or {})}
    now = json.loads(json.dumps(made))
    before: dict[str, Any] = {}
    if path.is_file():
        try:
            before = json.loads(path.read_text(encoding="utf-8"))
        except ValueError:
            before = {}
        if isinstance(before.get("settings"), dict):
            before["settings"] = with_current_names(before["settings"], warn=False)
        if {key: before.get(key) for key in now} != now and any(folder.glob("c*.jsonl")):
            raise ConfigError(f"{folder} holds results of other settings or another encoder; give another --out folder")
    known = {(task["name"], task.get("protocol")): task for task in before.get("tasks", [])}
    for task in json.loads(json.dumps(tasks)):
        key = task["name"], task.get("protocol")
        if known.setdefault(key, task) != task:
            if any(folder.glob("c*.jsonl")):
                raise ConfigError(
                    f"{folder} holds results of other data, or of another definition, under the name {task['name']!r}; "
                    "give another --out folder"
                )
            known[key] = task
    write_atomically(path, json.dumps({**before, **now, "tasks": list(known.values())}, indent=1).encode())


def note_provenance(folder: Path, encoder: Mapping[str, Any], settings: Settings, asked: Mapping[str, Any]) -> None:
    """Add to the folder's configuration: versions, code hash, machine, the encoder, and what was asked for."""
    path = folder / CONFIGURATION
    content = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    content |= {
        "asked": dict(asked),
        "encoder_info": {**encoder, "weights": weights_note(settings, encoder)},
        "versions": versions(),
        "code_sha256": code_hash(),
        "machine": machine(),
    }
    write_atomically(path, json.dumps(content, indent=1).encode())


def describe_tasks(tasks: Sequence[tuple[Task, Path]]) -> list[dict[str, Any]]:
    """Tasks with the hashes of their files, paths relative to the root."""
    described = []
    for task, root in tasks:
        files = [path for pair in task.pairs(root).pairs for path in (pair.image, pair.label)]
        hashes = {_relative(path, root): file_hash(path) for path in dict.fromkeys(files)}
        described.append({**task.model_dump(mode="json", exclude_defaults=True), "sha256": hashes})
    return described


def _relative(path: Path, root: Path) -> str:
    return Path(os.path.relpath(path, root)).as_posix()


def file_hash(path: Path) -> str:
    """SHA-256 of a file, or of the files below a folder in order of their names."""
    return sha256_of(*(sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]))


def weights_note(settings: Settings, encoder: Mapping[str, Any]) -> str:
    """What the encoder's weights are, in words that a report can print."""
    if not encoder.get("trained"):
        return "UNTRAINED (random weights)"
    if settings.encoder == "compact":
        return f"trained, checkpoint sha256 {str(encoder.get('checkpoint_sha256'))[:12]}"
    official = OFFICIAL[settings.encoder]
    if encoder.get("checkpoint_sha256") == official.sha256:
        return ", ".join(filter(None, (f"{official.publisher}'s published checkpoint", official.caution)))
    if settings.checkpoint is not None:
        position = read_sam_checkpoint(settings.checkpoint.expanduser()).get("image_encoder.pos_embed")
        # a new SAM has zeros there, and any training moves them
        if position is not None and not bool(torch.any(position != 0)):
            return (
                "RANDOM WEIGHTS (a SAM that was never trained): only the path is tested, no figure says anything of SAM"
            )
    return f"own checkpoint, sha256 {str(encoder.get('checkpoint_sha256'))[:12]}, not one of SAM's published ones"


def versions() -> dict[str, str]:
    """The versions of fewsam, Python and the libraries that results depend on."""
    found = {"fewsam": __version__, "python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "?"
    return found


@cache
def code_hash() -> str:
    """SHA-256 over fewsam's own Python files, which tells states of the code apart without version control."""
    root = Path(__file__).parents[2]
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def machine() -> dict[str, Any]:
    """The properties of the machine that times depend on, without its name or address."""
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "cores": psutil.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 2**30, 1),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


def _processor() -> str:
    if sys.platform == "linux":
        for line in Path("/proc/cpuinfo").read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()
