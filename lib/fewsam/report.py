"""What `fewsam evaluate` tells of its cells: tables as rows of text, and a Markdown file."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

import fewsam
from fewsam.config import PRESET_DIR, Settings
from fewsam.errors import ConfigError
from fewsam.evaluate import Cell, summary
from fewsam.model import write_atomically

REPOSITORY = PRESET_DIR.parent
SHARED_DATA = "FEWSAM_SHARED_DATA"
CONFIGURATION = "configuration.json"


@dataclass(frozen=True)
class TaskTable:
    """Results of one task: a header, and a row for each K and method."""

    task: str
    header: tuple[str, ...]
    rows: list[tuple[str, ...]]


def tables(cells: Sequence[Cell]) -> list[TaskTable]:
    """One table a task: mean IoU with its spread over seeds, IoU by structure, mean seconds to fit and to predict."""
    result = []
    rows = summary(cells)
    for task in dict.fromkeys(row["task"] for row in rows):
        mine = [row for row in rows if row["task"] == task]
        structures = list(dict.fromkeys(name for row in mine for name in row["by_structure"]))
        table = TaskTable(task, ("K", "method", "mean IoU", *structures, "seeds", "fit s", "predict s"), [])
        order = list(dict.fromkeys(row["method"] for row in mine))
        for row in sorted(mine, key=lambda r: (r["k"], order.index(r["method"]))):
            by_structure = (row["by_structure"].get(name) for name in structures)
            table.rows.append(
                (
                    str(row["k"]),
                    row["method"],
                    f"{row['iou']:.3f} ± {row['spread']:.3f}",
                    *("-" if value is None else f"{value:.2f}" for value in by_structure),
                    str(row["seeds"]),
                    f"{row['fit_seconds']:.1f}",
                    f"{row['predict_seconds']:.1f}",
                )
            )
        result.append(table)
    return result


def failures(cells: Sequence[Cell]) -> list[Cell]:
    """Cells that failed and did not succeed later."""
    done = {(c.task, c.method, c.k, c.seed) for c in cells if not c.error}
    last = {(c.task, c.method, c.k, c.seed): c for c in cells if c.error}
    return [cell for key, cell in last.items() if key not in done]


def write_report(cells: Sequence[Cell], path: Path, encoder: Mapping[str, Any], settings: Settings) -> None:
    """Write ``report.md``."""
    trained = "trained" if encoder.get("trained") else "UNTRAINED (random weights)"
    lines = [
        "# Evaluation",
        "",
        "K labelled slices, all others tested: 3D IoU over the slices that were not labelled, mean ± spread (standard "
        "deviation) over seeds. All methods have the same slices. Wall times are of this machine.",
        "",
        f"fewsam {fewsam.__version__}; encoder {encoder.get('name')} at {encoder.get('input_size')} px, {trained}; "
        f"settings other than the defaults: `{json.dumps(settings.model_dump(mode='json', exclude_defaults=True))}`",
        "",
    ]
    for table in tables(cells):
        lines += [f"## {table.task}", "", _row(table.header), _row(["---"] * len(table.header))]
        lines += [_row(row) for row in table.rows]
        lines.append("")
    if failed := failures(cells):
        lines += ["## Failed", "", *(f"- {c.task}, {c.method}, K={c.k}, seed {c.seed}: {c.error}" for c in failed), ""]
    write_atomically(path, "\n".join(lines).encode())


def claim_folder(folder: Path, settings: Settings, encoder: Mapping[str, Any]) -> None:
    """Note in ``folder`` what its cells are made with.

    Raises:
        ConfigError: it holds cells made with other settings, which must not stand in one table with new ones.
    """
    path = folder / CONFIGURATION
    # as JSON reads it back: tuples become lists
    now = json.loads(json.dumps({"settings": settings.model_dump(mode="json"), "encoder": encoder.get("fingerprint")}))
    if path.is_file():
        try:
            before = json.loads(path.read_text(encoding="utf-8"))
        except ValueError:
            before = {}
        if before != now and (folder / "cells.jsonl").is_file():
            raise ConfigError(f"{folder} holds results of other settings or another encoder; give another --out folder")
    write_atomically(path, json.dumps(now, indent=1).encode())


def task_root(tasks: Path, root: Path | None) -> Path:
    """Folder that the paths in a task list start from: ``root`` where given, else the list's own ``root`` (relative to
    the list), else the environment's FEWSAM_SHARED_DATA, else ``../shared/data`` beside the repository.

    Raises:
        ConfigError: there is none.
    """
    if root is None:
        try:
            listed = yaml.safe_load(tasks.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise ConfigError(f"task list {tasks} cannot be read: {error}") from None
        if isinstance(listed, dict) and listed.get("root"):
            root = tasks.parent / str(listed["root"])
        elif os.environ.get(SHARED_DATA):
            root = Path(os.environ[SHARED_DATA])
        else:
            root = REPOSITORY.parent / "shared" / "data"
    if not root.is_dir():
        raise ConfigError(
            f"the data of {tasks} should lie in {root}, which is no folder; pass --root, or for the sample data run "
            "`fewsam phantom sample-data`"
        )
    return root


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
