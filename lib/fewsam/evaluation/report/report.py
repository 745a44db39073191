"""``report.md``: what was measured, on what, with what, in tables and plots."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fewsam.core.config import Settings
from fewsam.core.version import __version__
from fewsam.evaluation.report.calibration import calibrate
from fewsam.evaluation.report.cells import Cell, failures
from fewsam.evaluation.report.plots import draw_plots
from fewsam.evaluation.report.provenance import weights_note
from fewsam.evaluation.report.statistics import Comparison
from fewsam.evaluation.report.summary import (
    TaskTable,
    comparisons,
    finished,
    matrix,
    measure_tables,
    number,
    tables,
    title,
)
from fewsam.fewshot.model.store import write_atomically

PLOTS = "plots"


def write_report(cells: Sequence[Cell], path: Path, encoder: Mapping[str, Any], settings: Settings) -> None:
    """Write ``report.md`` and the plots beside it."""
    plots = draw_plots(cells, path.parent / PLOTS)
    changed = settings.model_dump(mode="json", exclude_defaults=True) | (
        {"checkpoint": "own"} if settings.checkpoint else {}
    )
    lines = [
        "# Evaluation",
        "",
        "K labelled slices, all others tested: 3D IoU over the slices that were not labelled, mean ± spread (standard "
        "deviation) over seeds. All methods have the same slices. Wall times are of this machine, with all embeddings "
        "of the slices themselves in the cache.",
        "",
        f"fewsam {__version__}; encoder {encoder.get('name')} at {encoder.get('input_size')} px, "
        f"{weights_note(settings, encoder)}; settings other than the defaults: `{json.dumps(changed)}`",
        "",
    ]
    if any(cell.method.startswith("sam-") for cell in cells):
        lines += [
            "The `sam-` methods learn nothing: they are given points or a box **from the truth of every tested slice** "
            "and structure, and nothing to do on slices without one.",
            "",
        ]
    lines += _how_chosen(cells)
    by_task = tables(cells)
    if len(by_task) > 1:
        lines += ["## All tasks", "", *markdown(matrix(cells)), ""]
    for one, more in zip(by_task, measure_tables(cells), strict=True):
        lines += [f"## {one.task}", "", *markdown(one), ""]
        lines += [f"![{file.stem}]({PLOTS}/{file.name})" for file in plots.get(one.task, [])]
        lines += ["", *markdown(more), ""]
    lines += _comparisons(cells) + _calibration(cells)
    if failed := failures(cells):
        lines += ["## Failed", "", *(f"- {cell.title}: {cell.error}" for cell in failed), ""]
    write_atomically(path, "\n".join(lines).encode())


def _how_chosen(cells: Sequence[Cell]) -> list[str]:
    if {cell.choice for cell in cells} <= {"random"}:
        return []
    return ["Slices to label: foreground-aware random unless a heading says otherwise.", ""]


def _comparisons(cells: Sequence[Cell]) -> list[str]:
    compared = comparisons(cells)
    if not compared:
        return []
    table = TaskTable("", ("task", "K", "against", "difference in IoU", "95 % interval", "p", "units"), [])
    for task, k, baseline, found in compared:
        p = probability(found)
        spread = f"{found.low:+.3f} to {found.high:+.3f}" if found.low == found.low else "-"
        table.rows.append((task, str(k), baseline, f"{found.difference:+.3f}", spread, p, str(found.units)))
    return [
        "## fewsam against each baseline",
        "",
        "Paired over units, a unit being a volume under one seed, its structures averaged; bootstrap interval of the "
        "difference, Wilcoxon's signed-rank test, two-sided, not corrected for the number of comparisons.",
        "",
        *markdown(table),
        "",
    ]


def _calibration(cells: Sequence[Cell]) -> list[str]:
    table = calibration_table(cells)
    if not table.rows:
        return []
    return [
        "## Uncertainty shown, against the true error",
        "",
        "Of each tested slice: what is served as its uncertainty, and one minus Dice, meaned over the classes in its "
        "truth or its answer. Spearman's rank correlation over all slices, the same within each volume (meaned), and "
        "over pairs of slice and structure; the share of the worst tenth of slices that is among the most uncertain "
        "tenth (0.1 would be chance); the means of both, which would be equal if the uncertainty were the error "
        "expected.",
        "",
        *markdown(table),
        "",
    ]


def calibration_table(cells: Sequence[Cell]) -> TaskTable:
    """Make a row for each task, method and K with an uncertainty."""
    telling = [cell for cell in finished(cells) if cell.calibration]
    header = (
        "task", "K", "method", "by slice", "within a volume", "by slice and structure", "worst tenth found",
        "mean uncertainty", "mean error", "slices",
    )  # fmt: skip
    table = TaskTable("", header, [])
    for key in dict.fromkeys((title(cell), cell.k, cell.method) for cell in telling):
        found = calibrate([cell for cell in telling if (title(cell), cell.k, cell.method) == key])
        values = (found.by_slice, found.within, found.by_structure, found.worst_found, found.uncertainty, found.error)
        shown = (number(value, 2) for value in values)
        table.rows.append((key[0], str(key[1]), key[2], *shown, str(found.slices)))
    return table


def probability(found: Comparison) -> str:
    """A p-value as a report prints it, with the smallest possible one where the sample is too small for a finding."""
    if math.isnan(found.p):
        return "-"
    p = "<0.001" if found.p < 0.001 else number(found.p)
    return p if found.smallest_p < 0.05 else f"{p} (cannot be below {found.smallest_p:.2g})"


def markdown(table: TaskTable) -> list[str]:
    """Lines of a Markdown table."""
    return [_row(table.header), _row(["---"] * len(table.header)), *(_row(row) for row in table.rows)]


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
