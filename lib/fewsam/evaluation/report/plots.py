"""Plots of an evaluation: IoU against K, time against IoU, and the best, median and worst slices."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import LogFormatter, ScalarFormatter

from fewsam.evaluation.report.calibration import calibrate, slice_pairs
from fewsam.evaluation.report.cells import Cell
from fewsam.evaluation.report.overlays import KINDS, example_file
from fewsam.evaluation.report.summary import OURS, finished, summary, title

# Okabe and Ito's, and darker ones of theirs: one for each of the methods.
COLOURS = (
    "#0072b2", "#56b4e9", "#999999", "#e69f00", "#d55e00", "#009e73", "#cc79a7", "#b8a800",
    "#000000", "#7a3500", "#00523b", "#6b3a56", "#3b2f8f", "#5f5f5f",
    "#4b0082", "#1fa187", "#a01f52",
)  # fmt: skip
STRUCTURES = (
    "#ff4b4b",
    "#4bd964",
    "#4b9bff",
    "#ffd84b",
    "#c86bff",
    "#4be3e3",
    "#ff9a3c",
    "#ff8ad4",
    "#a8e05f",
    "#9d8bff",
)


DIFFERENCES = "missed (red), too much (blue)"


def draw_plots(cells: Sequence[Cell], folder: Path) -> dict[str, list[Path]]:
    """Write PNGs for each table of the report; by its title."""
    plots: dict[str, list[Path]] = {}
    rows = summary(cells)
    for task in dict.fromkeys(row["task"] for row in rows):
        mine = [row for row in rows if row["task"] == task]
        stem = re.sub(r"[^A-Za-z0-9.=-]+", "_", task)
        made = [folder / f"{stem}-k.png", folder / f"{stem}-time.png"]
        folder.mkdir(parents=True, exist_ok=True)
        iou_against_k(mine, made[0])
        time_against_iou(mine, made[1])
        examples = folder / f"{stem}-examples.png"
        if draw_examples([c for c in finished(cells) if title(c) == task], folder.parent, examples):
            made.append(examples)
        telling = [c for c in finished(cells) if title(c) == task and c.calibration]
        if telling:
            made.append(folder / f"{stem}-uncertainty.png")
            uncertainty_against_error(telling, made[-1])
        plots[task] = made
    return plots


def iou_against_k(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """A panel for the mean and one for each structure."""
    structures = list(dict.fromkeys(name for row in rows for name in row["by_structure"]))
    methods = list(dict.fromkeys(row["method"] for row in rows))
    panels = ["mean", *structures]
    columns = min(5, len(panels))
    lines = math.ceil(len(panels) / columns)
    figure = Figure(figsize=(2.5 * columns + 1.6, 2.3 * lines + 0.5), layout="constrained")
    axes = np.atleast_1d(figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False)).ravel()
    for panel, axis in zip(panels, axes, strict=False):
        iou_panel(axis, rows, panel, methods)
    for axis in axes[len(panels) :]:
        axis.set_visible(False)
    figure.supxlabel("labelled slices K", fontsize=9)
    figure.supylabel("IoU", fontsize=9)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right upper", fontsize=8, frameon=False)
    save(figure, path)


def iou_panel(axis: Axes, rows: Sequence[dict[str, Any]], panel: str, methods: Sequence[str]) -> None:
    """IoU of one structure, or of their ``mean`` with its spread over seeds, against K: a line a method."""
    ks = sorted({row["k"] for row in rows})
    for method in methods:
        mine = sorted((row for row in rows if row["method"] == method), key=lambda row: row["k"])
        if not mine:
            continue
        values = [row["iou"] if panel == "mean" else row["by_structure"].get(panel, math.nan) for row in mine]
        shade, width = colour(methods, method), 2.2 if method == OURS else 1.3
        x = [row["k"] for row in mine]
        axis.plot(x, values, marker="o", markersize=3.5, label=method, color=shade, linewidth=width)
        if panel == "mean":
            low, high = ([row["iou"] + sign * row["spread"] for row in mine] for sign in (-1, 1))
            axis.fill_between(x, low, high, color=shade, alpha=0.12, linewidth=0)
    axis.set_title(panel, fontsize=9, fontweight="bold" if panel == "mean" else "normal")
    axis.set_ylim(0, 1)
    if len(ks) > 1 and max(ks) >= 8 * min(ks):
        axis.set_xscale("log")
    axis.set_xticks(ks, [str(k) for k in ks])
    axis.minorticks_off()
    axis.grid(alpha=0.25)


def time_against_iou(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """A point for each method and K: seconds to learn and to segment, against mean IoU."""
    methods = list(dict.fromkeys(row["method"] for row in rows))
    figure = Figure(figsize=(6, 3.6), layout="constrained")
    axis = figure.subplots()
    for method in methods:
        mine = sorted((row for row in rows if row["method"] == method), key=lambda row: row["k"])
        seconds = [max(0.1, row["fit_seconds"] + row["predict_seconds"]) for row in mine]
        values = [row["iou"] for row in mine]
        axis.plot(seconds, values, marker="o", markersize=4, linewidth=0.8, color=colour(methods, method), label=method)
        for x, y, row in zip(seconds, values, mine, strict=True):
            axis.annotate(str(row["k"]), (x, y), textcoords="offset points", xytext=(4, 3), fontsize=7)
    axis.set_xscale("log")
    axis.xaxis.set_major_formatter(ScalarFormatter())
    axis.xaxis.set_minor_formatter(LogFormatter(minor_thresholds=(1.5, 0.5)))
    axis.set_ylim(0, 1)
    axis.set_xlabel("seconds to learn and to segment the tested volumes (numbers: K)", fontsize=9)
    axis.set_ylabel("mean IoU", fontsize=9)
    axis.grid(alpha=0.25, which="both")
    axis.legend(fontsize=8, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    save(figure, path)


def uncertainty_against_error(cells: Sequence[Cell], path: Path) -> None:
    """Draw a panel for each method with an uncertainty: a dot for each slice, and the mean of each decile."""
    methods = list(dict.fromkeys(cell.method for cell in cells))
    figure = Figure(figsize=(3.4 * len(methods) + 0.4, 3.5), layout="constrained")
    for axis, method in zip(figure.subplots(1, len(methods), squeeze=False)[0], methods, strict=True):
        uncertainty_panel(axis, [cell for cell in cells if cell.method == method], method)
    figure.supxlabel("uncertainty shown of a slice", fontsize=9)
    figure.supylabel("mean error of the slice (1 - Dice)", fontsize=9)
    save(figure, path)


def uncertainty_panel(axis: Axes, cells: Sequence[Cell], title: str) -> None:
    """Draw a dot for each slice of all ``cells``, and the mean of each decile."""
    pairs = np.concatenate(list(slice_pairs(cells).values()))
    pairs = pairs[np.argsort(pairs[:, 0], kind="stable")]
    axis.plot([0, 1], [0, 1], color="#999999", linewidth=0.8, linestyle="--")
    axis.scatter(pairs[:, 0], pairs[:, 1], s=7, alpha=0.35, color=COLOURS[0], linewidths=0)
    tenths = np.array([part.mean(axis=0) for part in np.array_split(pairs, min(10, len(pairs)))])
    axis.plot(tenths[:, 0], tenths[:, 1], color=COLOURS[4], marker="o", markersize=4, linewidth=1.2)
    axis.set_title(f"{title}: rank correlation {calibrate(cells).by_slice:.2f}", fontsize=9)
    axis.set_xlim(0, 1)
    axis.set_ylim(0, 1)
    axis.grid(alpha=0.25)


def draw_examples(cells: Sequence[Cell], folder: Path, path: Path) -> bool:
    """Best, median and worst slice of ours (or the first method) at the largest K, first seed; whether there is one.

    A row a kind: the image, the truth, what was found, and where they differ.
    """
    if not cells:
        return False
    names = [cell.method for cell in cells]
    wanted = OURS if OURS in names else names[0]
    mine = [cell for cell in cells if cell.method == wanted]
    chosen = max(mine, key=lambda cell: (cell.k, -cell.seed))
    file = example_file(folder, chosen)
    if not file.is_file():
        return False
    with np.load(file) as kept:
        figure = Figure(figsize=(10, 6.6), layout="constrained")
        axes = figure.subplots(3, 4)
        for line, kind in zip(axes, KINDS, strict=True):
            image, truth, found = (kept[f"{kind}_{name}"] for name in ("image", "truth", "found"))
            value, aspect = kept[f"{kind}_numbers"]
            box = crop(truth | found)
            shown = [None, painted(truth), painted(found), differences(truth, found)]
            titles = [f"{kind}: {kept[f'{kind}_title']}", "truth", f"found, IoU {value:.2f}", DIFFERENCES]
            for axis, layer, text in zip(line, shown, titles, strict=True):
                axis.imshow(image[box], cmap="gray", vmin=0, vmax=255, aspect=aspect, interpolation="nearest")
                if layer is not None:
                    axis.imshow(layer[box], aspect=aspect, interpolation="nearest")
                axis.set_title(text, fontsize=8)
                axis.set_axis_off()
        classes = [str(name) for name in kept["classes"]]
    figure.suptitle(f"{chosen.task}: {chosen.method}, K={chosen.k}, seed {chosen.seed}", fontsize=10)
    handles = [Patch(color=STRUCTURES[n % len(STRUCTURES)], label=name) for n, name in enumerate(classes)]
    figure.legend(handles=handles, loc="outside lower center", ncols=min(6, len(handles)), fontsize=8, frameon=False)
    save(figure, path)
    return True


def painted(labelmap: np.ndarray) -> np.ndarray:
    """(H, W) labels as (H, W, 4) in the structures' colours, background clear."""
    layer = np.zeros((*labelmap.shape, 4))
    for value in np.unique(labelmap[labelmap > 0]):
        layer[labelmap == value] = (*rgb(STRUCTURES[(int(value) - 1) % len(STRUCTURES)]), 0.55)
    return layer


def differences(truth: np.ndarray, found: np.ndarray) -> np.ndarray:
    """(H, W, 4): red where the truth was missed or called another structure, blue where too much was found."""
    layer = np.zeros((*truth.shape, 4))
    layer[(truth > 0) & (found != truth)] = (*rgb("#ff3030"), 0.75)
    layer[(truth == 0) & (found > 0)] = (*rgb("#30b0ff"), 0.75)
    return layer


def crop(mask: np.ndarray, margin: int = 12) -> tuple[slice, slice]:
    """The part of a slice around what is labelled; all of it where nothing is."""
    rows, cols = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return slice(None), slice(None)
    return slice(max(0, rows[0] - margin), rows[-1] + margin + 1), slice(
        max(0, cols[0] - margin), cols[-1] + margin + 1
    )


def colour(methods: Sequence[str], method: str) -> str:
    """The colour of a method; fewsam always has the first one."""
    order = sorted(methods, key=lambda name: name != OURS)
    return COLOURS[order.index(method) % len(COLOURS)]


def rgb(code: str) -> tuple[float, float, float]:
    """``"#ff8000"`` as (1.0, 0.5, 0.0)."""
    red, green, blue = (int(code[i : i + 2], 16) / 255 for i in (1, 3, 5))
    return red, green, blue


def save(figure: Figure, path: Path) -> None:
    """Write a PNG without any window system."""
    FigureCanvasAgg(figure).print_png(str(path))
