"""Tables and plots of a simulation."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fewsam.core.config import Settings
from fewsam.core.version import __version__
from fewsam.evaluation.loop.annotator import Noise, Pace
from fewsam.evaluation.loop.loop import Curve, Point, area, slices_to_reach
from fewsam.evaluation.loop.run import FULL
from fewsam.evaluation.report.cells import failures
from fewsam.evaluation.report.plots import COLOURS, save
from fewsam.evaluation.report.provenance import weights_note
from fewsam.evaluation.report.report import PLOTS, markdown, probability
from fewsam.evaluation.report.statistics import compare, interval
from fewsam.evaluation.report.summary import TaskTable, number
from fewsam.fewshot.model.store import write_atomically

OURS = "informative"
ENOUGH = 0.9  # of the full-supervision IoU

Groups = dict[str, dict[str, list[Curve]]]


def grouped(curves: Sequence[Curve]) -> Groups:
    """Good curves by task (with its budget and way) and strategy."""
    found: Groups = {}
    for curve in {curve.key: curve for curve in curves if not curve.error}.values():
        whose = ", other patients" if curve.protocol == "patients" else ""
        title = f"{curve.task}{whose}, {curve.budget} slices" + (
            ", through the server" if curve.through == "rest" else ""
        )
        found.setdefault(title, {}).setdefault(curve.strategy, []).append(curve)
    return found


def table(task: str, by_strategy: Mapping[str, list[Curve]]) -> TaskTable:
    """A row a strategy."""
    full = {curve.seed: curve.full_iou for curve in by_strategy.get(FULL, []) if curve.full_iou is not None}
    ours = {(c.seed,): area(c.points, c.budget) for c in by_strategy.get(OURS, [])}
    header = (
        "strategy", "area under the curve", "95 % interval", "ours minus this", "p", "last IoU", "minutes",
        f"slices to {ENOUGH:.0%} of full", "changed pixels a slice", "seeds",
    )  # fmt: skip
    made = TaskTable(task, header, [])
    for strategy, curves in by_strategy.items():
        if strategy == FULL:
            continue
        areas = {(c.seed,): area(c.points, c.budget) for c in curves}
        low, high = interval(list(areas.values()))
        against = compare(ours, areas) if strategy != OURS and ours else None
        reached = [slices_to_reach(c.points, ENOUGH * full[c.seed]) for c in curves if c.seed in full]
        changed = [c.points[-1].changed / len(c.order) for c in curves]
        made.rows.append(
            (
                strategy,
                number(float(np.mean(list(areas.values())))),
                "-" if math.isnan(low) else f"{low:.3f} to {high:.3f}",
                "" if against is None else f"{against.difference:+.3f}",
                "" if against is None else probability(against),
                number(float(np.mean([c.points[-1].iou for c in curves]))),
                number(float(np.mean([c.points[-1].minutes for c in curves])), 1),
                ", ".join("not reached" if n is None else str(n) for n in reached) or "-",
                number(float(np.mean(changed)), 0),
                str(len(curves)),
            )
        )
    return made


def write_report(
    curves: Sequence[Curve],
    folder: Path,
    encoder: Mapping[str, Any],
    settings: Settings,
    noise: Noise,
    pace: Pace,
) -> None:
    """Write ``report.md`` and the plots beside it."""
    changed = settings.model_dump(mode="json", exclude_defaults=True) | (
        {"checkpoint": "own"} if settings.checkpoint else {}
    )
    lines = [
        "# Simulated annotation",
        "",
        "Slices are taken in the order of a strategy, drawn from the truth and submitted; the model is trained by the "
        "rule `auto_train`. IoU is over slices that are never offered: each third slice of a single volume, or half of "
        "the patients. Minutes are "
        f"{pace.fresh:g} s for a slice drawn from nothing and {pace.corrected:g} s for a corrected one, an assumption.",
        "",
        f"Noise: {noise.dilate} px too large, {noise.shift} px off, {noise.forget:.0%} of classes forgotten. fewsam "
        f"{__version__}; encoder {encoder.get('name')}, {weights_note(settings, encoder)}; settings other than "
        f"the defaults: `{json.dumps(changed)}`",
        "",
        "Strategies: `informative` is ours; `foreground_random` knows where the model sees structures, "
        "`foreground_truth` where they are.",
        "",
    ]
    for task, by_strategy in grouped(curves).items():
        full = [c.full_iou for c in by_strategy.get(FULL, []) if c.full_iou is not None]
        lines += [f"## {task}", ""]
        if full:
            lines += [f"Full supervision (all slices that may be offered): IoU {np.mean(full):.3f}.", ""]
        if set(by_strategy) - {FULL}:
            lines += [*markdown(table(task, by_strategy)), ""]
            name = f"{re.sub(r'[^A-Za-z0-9.=-]+', '_', task)}.png"
            plot(task, by_strategy, folder / PLOTS / name)
            lines += [f"![{task}]({PLOTS}/{name})", ""]
    if lost := failures(curves):
        lines += ["## Failed", "", *(f"- {c.task}, {c.strategy}, seed {c.seed}: {c.error}" for c in lost), ""]
    write_atomically(folder / "report.md", "\n".join(lines).encode())


def plot(task: str, by_strategy: Mapping[str, list[Curve]], path: Path) -> None:
    """IoU against slices labelled and against minutes: each seed thin, the mean thick."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure = Figure(figsize=(9.5, 3.8), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    for axis, field in ((left, "slices"), (right, "minutes")):
        curve_panel(axis, by_strategy, field)
    left.set_xlabel("slices labelled")
    right.set_xlabel("estimated minutes")
    left.set_ylabel("mean IoU on tested slices")
    figure.suptitle(task, fontsize=10)
    handles, labels = left.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right upper", fontsize=8, frameon=False)
    save(figure, path)


def curve_panel(axis: Axes, by_strategy: Mapping[str, list[Curve]], field: str) -> None:
    """IoU against a ``field`` of the points, a colour a strategy, and full supervision as a line."""
    shown = [name for name in by_strategy if name != FULL]
    for number_, strategy in enumerate(sorted(shown, key=lambda name: name != OURS)):
        curves = by_strategy[strategy]
        shade = COLOURS[number_ % len(COLOURS)]
        for curve in curves:
            each = [getattr(p, field) for p in curve.points]
            axis.plot(each, [p.iou for p in curve.points], lw=0.5, alpha=0.5, color=shade)
        x, y = mean_curve([curve.points for curve in curves], field)
        axis.plot(x, y, lw=2.2, label=strategy, color=shade)
    full = [c.full_iou for c in by_strategy.get(FULL, []) if c.full_iou is not None]
    if full:
        axis.axhline(float(np.mean(full)), color="black", lw=1, ls="--", label="full supervision")
        axis.axhline(ENOUGH * float(np.mean(full)), color="black", lw=0.8, ls=":", label=f"{ENOUGH:.0%} of it")
    axis.grid(alpha=0.25)
    axis.set_ylim(0, 1)


def mean_curve(runs: Sequence[list[Point]], field: str) -> tuple[np.ndarray, np.ndarray]:
    """Mean of piecewise linear curves, as far as the shortest goes."""
    end = min(getattr(points[-1], field) for points in runs)
    x = np.unique([getattr(p, field) for points in runs for p in points if getattr(p, field) <= end])
    values = [np.interp(x, [getattr(p, field) for p in points], [p.iou for p in points]) for points in runs]
    return x, np.mean(values, axis=0)
