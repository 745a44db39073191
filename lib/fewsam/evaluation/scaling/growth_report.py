"""Tables and plots of how seconds and memory grow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fewsam.evaluation.scaling.growth import LABELLED, SIDE, STEPS

_TASK = {"submit": "submit, a slice", "prepare": "encode for training", "train": "training", "segment": "segment"}
_SERVER = {
    "start": "start",
    "list": "list",
    "next": "first next slice",
    "next_labelled": "next slice, later",
    "submit": "submit",
    "segment": "segment",
}


def drawing(size: tuple[float, float]) -> tuple[Any, Any]:
    """A figure and its axes, which no window shows."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    return plt.subplots(figsize=size)


def keep(figure: Any, path: Path) -> None:
    """Write a figure of one pair of axes, with a legend."""
    import matplotlib.pyplot as plt

    figure.axes[0].legend(fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))
    figure.tight_layout()
    figure.savefig(path, dpi=90)
    plt.close(figure)


def when(found: Mapping[str, Any]) -> str:
    return f"Measured on {found['when']}, load {found['load']}."


def volumes_part(found: dict[str, Any], pictures: Path) -> list[str]:
    return [
        "## Volumes",
        "A server over a folder of generated volumes of 6 slices of 64 x 64 voxels, with slices of "
        f"{SIDE} px for the encoder (`compact`) and without encoding ahead. The first next slice is asked for right "
        "after the start, when the server has opened few volumes yet; it opens others for 2 s at most. "
        f"{when(found)}",
        *_growth(found, "volumes", _SERVER, pictures),
    ]


def classes_part(found: dict[str, Any], pictures: Path) -> list[str]:
    return [
        "## Classes",
        f"{LABELLED} labelled slices, on each of which all classes are drawn. {_trained(found)}",
        *_growth(found, "classes", _TASK, pictures),
    ]


def slices_part(found: dict[str, Any], pictures: Path) -> list[str]:
    return [
        "## Labelled slices",
        f"Two classes, six labelled slices in each image. {_trained(found)}",
        *_growth(found, "slices", _TASK, pictures),
    ]


def _trained(found: dict[str, Any]) -> str:
    return (
        f"One training of {STEPS} steps, and one segmentation of a volume of 6 slices that is encoded already, with "
        f"the encoder `compact` and slices of {SIDE} px for encoder and decoder. Seconds of a training hold what it "
        f"prepares and how it is measured too; only the steps are always as many. {when(found)}"
    )


def _growth(found: dict[str, Any], what: str, names: Mapping[str, str], pictures: Path) -> list[str]:
    """A table and a plot."""
    rows: Sequence[dict[str, Any]] = found["rows"]
    lines = [f"| {what} | {' | '.join(f'{name}, s' for name in names.values())} | peak memory, MB |"]
    lines.append("|---" * (len(names) + 2) + "|")
    for row in rows:
        told = " | ".join(f"{row[key]:.3f}" for key in names)
        lines.append(f"| {row['size']:,} | {told} | {row['peak_mb']:.0f} |")
    figure, axes = drawing((5, 3.4))
    sizes = [row["size"] for row in rows]
    for key, name in names.items():
        axes.loglog(sizes, [row[key] for row in rows], "o-", label=name)
    axes.set(xlabel=what, ylabel="seconds", xticks=sizes, xticklabels=[f"{size:,}" for size in sizes])
    axes.minorticks_off()
    keep(figure, pictures / f"scaling-{what}.png")
    return [
        "\n".join(lines),
        "The peak counts pages of the cache's file too, which the system takes back when it needs the memory.",
        f"![Seconds against the number of {what}](../images/scaling-{what}.png)",
    ]
