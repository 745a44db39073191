"""Cells to rows: means over seeds with bootstrap intervals, and ours against each baseline."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fewsam.evaluation.report.cells import MEASURES, Cell
from fewsam.evaluation.report.statistics import Comparison, compare, interval

OURS = "fewsam"


@dataclass(frozen=True)
class TaskTable:
    """Results of one task: a header, and a row for each K and method."""

    task: str
    header: tuple[str, ...]
    rows: list[tuple[str, ...]]


def finished(cells: Sequence[Cell]) -> list[Cell]:
    """The last good cell of each kind."""
    return list({cell.key: cell for cell in cells if not cell.error}.values())


def title(cell: Cell) -> str:
    """What a cell's table is called: its task, its protocol where others are tested, and how slices were chosen where
    that is not the usual way."""
    own = "" if cell.choice == "random" else f", slices chosen: {cell.choice}"
    return f"{cell.task}{', other patients' if cell.protocol == 'patients' else ''}{own}"


def groups(cells: Sequence[Cell]) -> dict[tuple[str, int, str], list[Cell]]:
    """Good cells by (table, K, method), one a seed."""
    found: dict[tuple[str, int, str], list[Cell]] = {}
    for cell in finished(cells):
        found.setdefault((title(cell), cell.k, cell.method), []).append(cell)
    return found


def summary(cells: Sequence[Cell]) -> list[dict[str, Any]]:
    """One row a task, K and method.

    ``iou`` and ``spread`` are the mean and standard deviation over seeds of the mean over structures of the IoU over
    all tested slices together; ``low`` and ``high`` a bootstrap interval over seeds and volumes; ``dice``,
    ``surface_dice``, ``hd95`` means over those; ``missed`` the structures in volumes that were not found at all.
    """
    rows = []
    for (task, k, method), members in groups(cells).items():
        means = [cell.mean_iou for cell in members]
        units = {name: _merged(members, name) for name in MEASURES}
        low, high = interval(list(units["iou"].values()))
        names = list(dict.fromkeys(name for cell in members for name in cell.iou))
        rows.append(
            {
                "task": task,
                "k": k,
                "method": method,
                "seeds": len(members),
                "units": len(units["iou"]),
                "iou": float(np.mean(means)),
                "spread": float(np.std(means)),
                "low": low,
                "high": high,
                **{name: _mean(list(units[name].values())) for name in MEASURES[1:]},
                "missed": sum(s.truth_voxels > 0 and not s.predicted_voxels for c in members for s in c.scores),
                "fit_seconds": float(np.mean([cell.fit_seconds for cell in members])),
                "predict_seconds": float(np.mean([cell.predict_seconds for cell in members])),
                "peak_mb": max(
                    (entry["peak_mb"] for c in members for n, entry in c.stages.items() if n in ("fit", "predict")),
                    default=math.nan,
                ),
                "labelled_slices": float(np.mean([cell.labelled_slices for cell in members])),
                "labelled_pixels": float(np.mean([cell.labelled_pixels for cell in members])),
                "by_structure": {
                    name: float(np.mean([cell.iou[name] for cell in members if name in cell.iou])) for name in names
                },
            }
        )
    return rows


def tables(cells: Sequence[Cell]) -> list[TaskTable]:
    """One table a task: mean IoU with its spread over seeds, IoU by structure, mean seconds to fit and to predict."""
    result = []
    rows = summary(cells)
    for task in dict.fromkeys(row["task"] for row in rows):
        mine = [row for row in rows if row["task"] == task]
        structures = list(dict.fromkeys(name for row in mine for name in row["by_structure"]))
        table = TaskTable(task, ("K", "method", "mean IoU", *structures, "seeds", "fit s", "predict s"), [])
        for row in ordered(mine):
            by_structure = (row["by_structure"].get(name) for name in structures)
            table.rows.append(
                (
                    str(row["k"]),
                    row["method"],
                    f"{row['iou']:.3f} ± {row['spread']:.3f}",
                    *(number(value, 2) for value in by_structure),
                    str(row["seeds"]),
                    f"{row['fit_seconds']:.1f}",
                    f"{row['predict_seconds']:.1f}",
                )
            )
        result.append(table)
    return result


def measure_tables(cells: Sequence[Cell]) -> list[TaskTable]:
    """One table a task: the other measures, memory and what was labelled."""
    header = (
        "K", "method", "IoU by volume, 95 % interval", "Dice", "surface Dice", "HD95 mm", "not found", "units",
        "labelled slices", "labelled pixels", "peak MB",
    )  # fmt: skip
    result = []
    rows = summary(cells)
    for task in dict.fromkeys(row["task"] for row in rows):
        table = TaskTable(task, header, [])
        for row in ordered([row for row in rows if row["task"] == task]):
            table.rows.append(
                (
                    str(row["k"]), row["method"], span(row), number(row["dice"]),
                    number(row["surface_dice"]), number(row["hd95"], 1), str(row["missed"]), str(row["units"]),
                    f"{row['labelled_slices']:.0f}", f"{row['labelled_pixels']:.0f}", number(row["peak_mb"], 0),
                )
            )  # fmt: skip
        result.append(table)
    return result


def comparisons(cells: Sequence[Cell], ours: str = OURS) -> list[tuple[str, int, str, Comparison]]:
    """``ours`` against every other method of the same task and K: (task, K, baseline, comparison of IoU)."""
    found = groups(cells)
    result = []
    for (task, k, method), members in found.items():
        if method != ours and (task, k, ours) in found:
            result.append((task, k, method, compare(_merged(found[task, k, ours], "iou"), _merged(members, "iou"))))
    return sorted(result, key=lambda entry: entry[:2])


def matrix(cells: Sequence[Cell]) -> TaskTable:
    """All tasks in one table: mean IoU by task and K, a column a method."""
    rows = summary(cells)
    methods = list(dict.fromkeys(row["method"] for row in rows))
    table = TaskTable("all tasks", ("task", "K", *methods), [])
    known = {(row["task"], row["k"], row["method"]): row["iou"] for row in rows}
    for task, k in sorted({(row["task"], row["k"]) for row in rows}, key=lambda e: (_first(rows, e[0]), e[1])):
        values = [known.get((task, k, method), math.nan) for method in methods]
        best = max((v for v in values if not math.isnan(v)), default=math.nan)
        shown = (f"**{number(v)}**" if v == best else number(v) for v in values)
        table.rows.append((task, str(k), *shown))
    return table


def ordered(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """By K, then methods as they came."""
    order = list(dict.fromkeys(row["method"] for row in rows))
    return sorted(rows, key=lambda row: (row["k"], order.index(row["method"])))


def span(row: dict[str, Any]) -> str:
    """The interval of a row."""
    return "-" if math.isnan(row["low"]) else f"{row['low']:.3f} to {row['high']:.3f}"


def number(value: float | None, digits: int = 3) -> str:
    """A figure, or "-" where there is none."""
    return "-" if value is None or math.isnan(value) else f"{value:.{digits}f}"


def _first(rows: Sequence[dict[str, Any]], task: str) -> int:
    return next(n for n, row in enumerate(rows) if row["task"] == task)


def _merged(members: Sequence[Cell], measure: str) -> dict[tuple, float]:
    return {unit: value for cell in members for unit, value in cell.units(measure).items()}


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else math.nan
