"""The page and the plots of what was measured."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fewsam.evaluation.scaling.growth_report import classes_part, drawing, keep, slices_part, volumes_part, when

VIT_B_SECONDS, VIT_H_TIMES = 15.0, 7.4  # a slice on two cores, and how much more arithmetic ViT-H is than ViT-B
MANY = 100_000  # slices of the estimate
EMBEDDING_MB = 2.1
BUSY = 1.75  # programs for each core; the measured ones alone are below


def write_page(found: Mapping[str, dict[str, Any]], page: Path, pictures: Path) -> None:
    """Write ``page`` with its plots beside the documentation's pictures.

    Args:
        found: Figures by part; a part that was not measured is left out.
    """
    parts = [
        "# Scaling",
        "`make scaling` measures this on the machine it runs on, and writes this page. The guide: [Several "
        "processes, or a cluster](../guides/cluster.md).",
        _about_the_load(found),
    ]
    for name, write in PARTS.items():
        if name in found:
            parts += write(found[name], pictures)
    parts += _estimate(found.get("writer"))
    parts += [
        "## What is not measured",
        "A real queueing system; more than two cores; a network between the machines. The workers were processes of "
        "one machine, with a real Dask scheduler on loopback.",
    ]
    page.write_text("\n\n".join(parts) + "\n", encoding="utf-8")


def _about_the_load(found: Mapping[str, dict[str, Any]]) -> str:
    cores = max((one["cores"] for one in found.values()), default=1)
    load = max((one["load"] for one in found.values()), default=0)
    if load <= BUSY * cores:
        return (
            f"The {cores} cores of the machine had little else to do: on average at most {load:.1f} "
            "programs wanted a core, this one among them."
        )
    return (
        "**The machine had other work meanwhile**, as the load of each table says (programs that want a core; "
        f"{cores} cores were there). So seconds are too long. Several processes get more of a busy machine than one, "
        "so that an efficiency says little, and may be above 1. The counts are exact."
    )


def _workers(found: dict[str, Any], pictures: Path) -> list[str]:
    lines = ["| work | who does it | slices | seconds in all, with the start | a slice, after the start | efficiency |"]
    lines.append("|---|---|---|---|---|---|")
    figure, axes = drawing((4.5, 3.2))
    counts: list[int] = []
    for work in ("encode", "segment"):
        rows = found.get(work, [])
        one = next((row for row in rows if row["workers"] == 1), None)
        for row in rows:
            who = f"workers: {row['workers']}" if row["workers"] else "this process"
            told = f"{one['steady'] / row['steady'] / row['workers']:.2f}" if one and row["workers"] else ""
            lines.append(f"| {work} | {who} | {row['slices']} | {row['wall']:.0f} | {row['steady']:.2f} | {told} |")
        if one:
            counts = [row["workers"] for row in rows if row["workers"]]
            speeds = [one["steady"] / row["steady"] for row in rows if row["workers"]]
            axes.plot(counts, speeds, "o-", label=work)
    axes.plot(counts, counts, "--", color="grey", label="ideal")
    top = max(counts, default=1) + 0.2
    axes.set(xlabel="worker processes", ylabel="times as fast as one", xticks=counts, ylim=(0, top))
    keep(figure, pictures / "scaling-workers.png")
    return [
        "## Workers",
        f"{found['volumes']} generated volumes of 6 slices, encoder `compact`, one thread each. `segment` also "
        f"encodes; two slices of another volume are labelled, and no decoder is trained. {when(found)}",
        "\n".join(lines),
        "![Speed with one and two workers, beside the ideal](../images/scaling-workers.png)",
    ]


def _deaths(found: dict[str, Any], _: Path) -> list[str]:
    lines = ["| killed | slices done before | by this run | by the second run | in the cache, of | failed |"]
    lines.append("|---|---|---|---|---|---|")
    for row in found["rows"]:
        cells = (row["killed"], row["after"], row["first_run"], row["second_run"])
        lines.append(f"| {' | '.join(map(str, cells))} | {row['entries']} of {row['slices']} | {row['failed']} |")
    return [
        "## A death in the middle",
        "Two Dask workers encode the same volumes, and one of them, or the scheduler, is killed (SIGKILL). After the "
        f"scheduler's death a new cluster is started, and the same work asked for again. {when(found)}",
        "\n".join(lines),
        "The two runs add up to the slices there are: nothing was lost, and nothing stored twice.",
    ]


def _storage(found: dict[str, Any], pictures: Path) -> list[str]:
    figure, axes = drawing((5, 3.2))
    parts = [
        "## The cache of embeddings",
        "Made-up embeddings; times in ms. A full cache evicts 64 entries at once, or 5 % where that is less. "
        f"{when(found)}",
        "100,000 real embeddings are 210 GB, which this disk did not hold: their number was measured with small ones.",
    ]
    for kind, title in (
        ("real", "2 MB each, as real ones are"),
        ("small", "16 kB each, in memory"),
    ):
        stages = found.get(kind, [])
        if not stages:
            continue
        lines = [f"| entries ({title}) | start, s | start after a kill, s | get | put | a put that evicts |"]
        lines.append("|---|---|---|---|---|---|")
        for s in stages:
            times = [1000 * s[name] for name in ("get", "put", "worst_put")]
            starts = f"{s['start']:.2f} | {s['checked_start']:.2f}"
            lines.append(f"| {s['entries']:,} | {starts} | {' | '.join(f'{ms:.1f}' for ms in times)} |")
        parts.append("\n".join(lines))
        for name, mark in (("get", "o-"), ("put", "s-")):
            axes.semilogx(
                [s["entries"] for s in stages], [1000 * s[name] for s in stages], mark, label=f"{name}, {kind}"
            )
    axes.set(xlabel="entries", ylabel="milliseconds")
    axes.set_ylim(bottom=0)
    keep(figure, pictures / "scaling-cache.png")
    parts.append(
        "A start reads the whole file, in a process of its own, only after a process that had it open was killed, or "
        "where something else has changed it. What else is slower with more entries waits for the disk."
    )
    return [*parts, "![Milliseconds of a get and of a put](../images/scaling-cache.png)"]


def _writer(found: dict[str, Any], _: Path) -> list[str]:
    seconds = found["seconds_a_slice"]
    return [
        "## The one writer",
        f"The process that reads images and writes the cache needs {1000 * seconds:.0f} ms of a core for a slice, the "
        f"encoder left out (slices of {found['side']} px for the encoder). It keeps N workers busy as long as the "
        f"encoder takes N times as long: {8 * seconds:.2f} s a slice for 8 workers, {64 * seconds:.2f} s for 64. "
        f"{when(found)}",
    ]


def _estimate(writer: dict[str, Any] | None) -> list[str]:
    seconds = VIT_B_SECONDS * VIT_H_TIMES
    days = MANY * seconds / 86400
    told = (
        f"ViT-H was not run. It has {VIT_H_TIMES} times the arithmetic of ViT-B, which takes {VIT_B_SECONDS:.0f} s a "
        f"slice on two cores: {seconds:.0f} s. For {MANY:,} slices that is {days:.0f} days on two cores, and "
        f"{days / 64:.1f} days on 64 such workers if all of them stay busy. The embeddings take "
        f"{MANY * EMBEDDING_MB / 1000:.0f} GB, so `cache_gb` has to be raised and the disk to be local."
    )
    if writer is not None:
        told += f" The one writer needs {MANY * writer['seconds_a_slice'] / 3600:.1f} hours of a core for them."
    return ["## An estimate: ViT-H on 100,000 slices", told]


PARTS = {
    "workers": _workers,
    "deaths": _deaths,
    "volumes": volumes_part,
    "classes": classes_part,
    "slices": slices_part,
    "storage": _storage,
    "writer": _writer,
}
