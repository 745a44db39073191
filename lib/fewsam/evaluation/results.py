"""Turns folders of `fewsam evaluate` and `fewsam simulate` into one Markdown text and one figure, for a README."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from fewsam.core.errors import ConfigError
from fewsam.evaluation.loop.loop import Curve
from fewsam.evaluation.loop.report import curve_panel, grouped, table
from fewsam.evaluation.loop.run import FULL, read_curves
from fewsam.evaluation.loop.run import LOG as CURVES
from fewsam.evaluation.report.cells import LOG as CELLS
from fewsam.evaluation.report.cells import Cell, failures, read_cells
from fewsam.evaluation.report.plots import iou_panel, save, uncertainty_panel
from fewsam.evaluation.report.provenance import CONFIGURATION
from fewsam.evaluation.report.report import calibration_table, markdown
from fewsam.evaluation.report.summary import OURS, TaskTable, finished, groups, matrix, number, summary, title
from fewsam.fewshot.model.store import write_atomically

TEXT, PICTURE = "results.md", "results.png"
PANEL = 2.6  # inches


@dataclass(frozen=True)
class Found:
    """What the folders hold, and with what each was made."""

    cells: list[Cell]
    curves: list[Curve]
    configurations: list[dict[str, Any]]


def read_results(folders: Sequence[Path]) -> Found:
    """Cells and curves of all ``folders``.

    Raises:
        ConfigError: one of them holds neither, or their encoders differ: what they tell does not belong side by side.
    """
    cells: list[Cell] = []
    curves: list[Curve] = []
    configurations: list[dict[str, Any]] = []
    logs = (CELLS, CURVES)
    folders = [one for folder in folders for one in _holding(folder, logs)]
    for folder in folders:
        if not any((folder / log).is_file() for log in logs):
            raise ConfigError(f"{folder} holds no results; give folders that `fewsam evaluate` or `simulate` wrote")
        cells += read_cells(folder)
        curves += read_curves(folder)
        path = folder / CONFIGURATION
        configurations.append(json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {})
    encoders = {str(one.get("encoder")) for one in configurations}  # without a configuration: None, of no other
    if len(encoders) > 1:
        raise ConfigError(f"{', '.join(map(str, folders))} were made with different encoders; give them apart")
    return Found(cells, curves, configurations)


def _holding(folder: Path, logs: Sequence[str]) -> list[Path]:
    """The folder itself where it has a log, else those in it that have one, else itself, to be named in an error."""
    if any((folder / log).is_file() for log in logs):
        return [folder]
    return sorted({path.parent for log in logs for path in folder.glob(f"*/{log}")}) or [folder]


def write_results(folders: Sequence[Path], into: Path) -> tuple[Path, Path | None]:
    """Write ``results.md`` and ``results.png`` into ``into``; their paths, the picture None where nothing is drawn."""
    found = read_results(folders)
    into.mkdir(parents=True, exist_ok=True)
    picture = into / PICTURE
    drawn = draw_results(found, picture)
    lines = [*_made_with(found), ""]
    if drawn:
        lines += [f"![Results]({PICTURE})", ""]
    lines += _accuracy(found.cells) + _seconds(found.cells) + _loop(found.curves) + _uncertainty(found.cells)
    failed = [cell.title for cell in failures(found.cells)]
    failed += [f"{c.task}, {c.strategy}, seed {c.seed}" for c in failures(found.curves)]
    if failed:
        lines += ["**Failed, and not in the tables:** " + "; ".join(failed) + ".", ""]
    write_atomically(into / TEXT, "\n".join(lines).encode())
    return into / TEXT, picture if drawn else None


def _made_with(found: Found) -> list[str]:
    facts = []
    for one in found.configurations:
        encoder, machine, versions = (one.get(key, {}) for key in ("encoder_info", "machine", "versions"))
        if encoder:
            facts.append(
                f"fewsam {versions.get('fewsam')}, encoder {encoder.get('name')} at {encoder.get('input_size')} px, "
                f"{encoder.get('weights')}; {machine.get('cores')} cores of {machine.get('processor')}."
            )
    return list(dict.fromkeys(facts)) or ["No configuration was kept with these results."]


def _accuracy(cells: Sequence[Cell]) -> list[str]:
    if not finished(cells):
        return []
    seeds = sorted({len(members) for members in groups(cells).values()})
    return [
        "### Few-shot IoU",
        "",
        "Mean over structures of the IoU over all slices that were not labelled; all methods have the same K slices; "
        f"mean over {_range(seeds)} seed{'s' if seeds != [1] else ''}.",
        "",
        *markdown(matrix(cells)),
        "",
    ]


def _seconds(cells: Sequence[Cell]) -> list[str]:
    rows = summary(cells)
    if not rows:
        return []
    made = TaskTable("", ("method", "seconds to learn", "seconds to segment", "peak MB"), [])
    for method in dict.fromkeys(row["method"] for row in rows):
        mine = [row for row in rows if row["method"] == method]
        learn, segment = (float(np.median([row[f"{n}_seconds"] for row in mine])) for n in ("fit", "predict"))
        peak = max(row["peak_mb"] for row in mine)
        made.rows.append((method, number(learn, 1), number(segment, 1), number(peak, 0)))
    return ["Medians over tasks and K of wall times:", "", *markdown(made), ""]


def _loop(curves: Sequence[Curve]) -> list[str]:
    by_task = {task: found for task, found in grouped(curves).items() if set(found) - {FULL}}
    if not by_task:
        return []
    lines = [
        "### Slices to label",
        "",
        "Labelled slice after slice by each strategy, measured on slices that are never offered. Slices to reach 90 % "
        "of the IoU that all offered slices give, by seed. `informative` is ours; `foreground_truth` draws at random "
        "among the slices that show a structure, which no server can know.",
        "",
    ]
    for task, by_strategy in by_task.items():
        full = [c.full_iou for c in by_strategy.get(FULL, []) if c.full_iou is not None]
        told = f" Full supervision: IoU {np.mean(full):.3f}." if full else ""
        lines += [f"**{task}.**{told}", "", *markdown(table(task, by_strategy)), ""]
    return lines


def _uncertainty(cells: Sequence[Cell]) -> list[str]:
    made = calibration_table(cells)
    if not made.rows:
        return []
    return [
        "### Is the uncertainty shown true?",
        "",
        "Spearman's rank correlation of the uncertainty served with one minus Dice, on tested slices.",
        "",
        *markdown(made),
        "",
    ]


def draw_results(found: Found, path: Path) -> bool:
    """Draw a column for each task (IoU against K, IoU against labelled slices, uncertainty against error), if any."""
    rows = summary(found.cells)
    loops = {task: by for task, by in grouped(found.curves).items() if set(by) - {FULL}}
    names = list(dict.fromkeys([row["task"] for row in rows] + [_task(by) for by in loops.values()]))
    if not names:
        return False
    ours = [cell for cell in finished(found.cells) if cell.method == OURS and cell.calibration]
    kinds = [kind for kind, there in (("k", rows), ("loop", loops), ("doubt", ours)) if there]
    figure = Figure(figsize=(PANEL * len(names) + 2, PANEL * len(kinds) + 0.3), layout="constrained")
    parts = figure.subfigures(len(kinds), 1, squeeze=False)[:, 0]
    for kind, part in zip(kinds, parts, strict=True):
        axes = part.subplots(1, len(names), sharey=True, squeeze=False)[0]
        for name, axis in zip(names, axes, strict=True):
            if kind == "k":
                mine = [row for row in rows if row["task"] == name]
                if mine:
                    iou_panel(axis, mine, "mean", list(dict.fromkeys(row["method"] for row in rows)))
                axis.set_title(name, fontsize=9, fontweight="bold")
                part.supxlabel("labelled slices K", fontsize=9)
                part.supylabel("mean IoU", fontsize=9)
            elif kind == "loop":
                for by_strategy in loops.values():
                    if _task(by_strategy) == name:
                        curve_panel(axis, by_strategy, "slices")
                part.supxlabel("slices labelled in the loop", fontsize=9)
                part.supylabel("mean IoU", fontsize=9)
            else:
                mine_ = [cell for cell in ours if title(cell) == name]
                if mine_:
                    uncertainty_panel(axis, mine_, OURS)
                part.supxlabel("uncertainty shown of a slice", fontsize=9)
                part.supylabel("its mean error", fontsize=9)
            if not axis.has_data():
                axis.set_visible(kind == "k")
        _legend(part, axes)
    save(figure, path)
    return True


def _legend(part: Any, axes: Sequence[Any]) -> None:
    entries = {label: handle for axis in axes for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)}
    if entries:
        part.legend(list(entries.values()), list(entries), loc="outside right upper", fontsize=8, frameon=False)


def _task(by_strategy: dict[str, list[Curve]]) -> str:
    return next(iter(by_strategy.values()))[0].task


def _range(counts: Sequence[int]) -> str:
    return re.sub(r"^(\d+) to \1$", r"\1", f"{counts[0]} to {counts[-1]}")
