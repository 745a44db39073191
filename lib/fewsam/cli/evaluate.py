"""``fewsam evaluate``: K labelled slices, everything else tested, next to the baselines."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from fewsam.cli.common import Conf, Preset, bars, err, out, parse_conf, parse_numbers, refuse, say

METHODS = "fewsam,fewsam-cold,prototypes,probe,unet"


def register(app: typer.Typer) -> None:
    app.command(epilog="Example: fewsam evaluate --k 3,5 --seeds 3 --out results/sample")(evaluate)


def evaluate(
    tasks: Annotated[
        Path | None, typer.Option("--tasks", help="Task list (YAML); the sample data's if not given.")
    ] = None,
    root: Annotated[Path | None, typer.Option("--root", help="Folder that the paths in the list start from.")] = None,
    only: Annotated[str | None, typer.Option("--only", help="These tasks of the list, e.g. sample-ct.")] = None,
    methods: Annotated[
        str, typer.Option("--methods", help=r"With switches to ablate in brackets: fewsam\[detail=false].")
    ] = METHODS,
    k: Annotated[str, typer.Option("--k", help="Numbers of labelled slices.")] = "3,5",
    seeds: Annotated[int, typer.Option("--seeds", min=1, help="How many draws of the slices.")] = 3,
    folder: Annotated[
        Path, typer.Option("--out", "-o", help="For cells.jsonl, cells.csv, report.md; a second run resumes.")
    ] = Path("fewsam-evaluation"),
    preset: Preset = None,
    conf: Conf = None,
) -> None:
    """Compare fewsam and the baselines on the same few labelled slices: 3D IoU by structure, and wall times."""
    from fewsam.cache import EmbeddingCache
    from fewsam.config import PRESET_DIR, load_settings
    from fewsam.embedder import Embedder
    from fewsam.errors import ConfigError
    from fewsam.evaluate import Cell, load_tasks
    from fewsam.evaluate import evaluate as run
    from fewsam.report import claim_folder, failures, task_root, write_report

    listed = tasks or PRESET_DIR / "evaluate" / "sample.yaml"
    settings = load_settings(preset, parse_conf(conf))
    chosen = load_tasks(listed, task_root(listed, root))
    if only is not None:
        wanted = [name.strip() for name in only.split(",")]
        if unknown := [name for name in wanted if name not in {task.name for task, _ in chosen}]:
            raise ConfigError(f"{listed} has no task {unknown[0]!r} with its files in place")
        chosen = [(task, place) for task, place in chosen if task.name in wanted]
    if not chosen:
        raise ConfigError(f"none of the tasks in {listed} has its files in place; pass --root")
    names = split_methods(methods)
    counts = parse_numbers(k, "--k")
    with EmbeddingCache(folder / "cache", int(settings.cache_gb * 1e9)) as cache, bars() as progress:
        embedder = Embedder(settings, cache)
        claim_folder(folder, settings, embedder.info.as_dict())
        bar = progress.add_task("cells", total=len(chosen) * len(names) * len(counts) * seeds, note="")

        def show(cell: Cell) -> None:
            told = cell.error or f"IoU {cell.mean_iou:.3f}"
            progress.update(bar, advance=1, note=f"{cell.task} {cell.method} K={cell.k} seed {cell.seed}: {told}")

        progress.update(bar, note=f"{chosen[0][0].name}: reading")
        cells = run(chosen, names, counts, range(seeds), settings, embedder, folder, progress=show)
        progress.update(bar, completed=len(chosen) * len(names) * len(counts) * seeds, note="")
        mine = _asked(cells, [task.name for task, _ in chosen], names, counts, seeds)
        write_report(cells, folder / "report.md", embedder.info.as_dict(), settings)
    _print(mine)
    say(f"{folder}: report.md, cells.csv, cells.jsonl")
    if failed := failures(mine):
        for cell in failed:
            err().print(Text(f"failed: {cell.task} {cell.method} K={cell.k} seed {cell.seed}: {cell.error}"))
        raise typer.Exit(refuse(f"{len(failed)} of the cells failed; the others stand"))


def split_methods(text: str) -> list[str]:
    """Names at the commas outside of brackets: ``"unet,fewsam[detail=false,ensemble=1]"`` are two.

    Raises:
        ConfigError: a name that is no method.
    """
    from fewsam.errors import ConfigError

    names = [name.strip() for name in re.split(r",(?![^\[]*\])", text) if name.strip()]
    for name in names:
        if name.partition("[")[0] not in METHODS.split(","):
            raise ConfigError(f"unknown method {name!r}; known: {METHODS}")
    return names


def _asked(cells: list, tasks: list[str], methods: list[str], ks: list[int], seeds: int) -> list:
    """Cells of this call: the folder may hold others of earlier ones."""
    return [c for c in cells if c.task in tasks and c.method in methods and c.k in ks and c.seed < seeds]


def _print(cells: list) -> None:
    from fewsam.report import tables

    for one in tables(cells):
        shown = Table(title=Text(one.task), show_lines=True)
        for column in (*one.header[:3], "by structure", *one.header[-3:]):
            shown.add_column(column, no_wrap=column != "by structure")
        for row in one.rows:
            by_structure = ", ".join(f"{n} {v}" for n, v in zip(one.header[3:-3], row[3:-3], strict=True))
            shown.add_row(*(Text(cell) for cell in (*row[:3], by_structure, *row[-3:])))
        out().print(shown)
