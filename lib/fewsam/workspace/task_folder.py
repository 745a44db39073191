"""How a folder that holds a task is told from others."""

from __future__ import annotations

from pathlib import Path

from fewsam.collection.repair import MAIN

TASK_FILE = "task.yaml"
# What a first command makes in the folder of its task.
MADE = (TASK_FILE, "collection.*", "cache", "training", "versions", "current.json", "imported", "received", "results")


def is_task(folder: Path) -> bool:
    """Whether ``folder`` holds a task, of the command line or of the server."""
    return any((folder / name).is_file() for name in (TASK_FILE, MAIN, "current.json"))
