"""``fewsam evaluate``: K labelled slices, everything else tested, next to the baselines."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from fewsam.cli.common import Conf, Preset, bars, err, out, parse_conf, parse_numbers, refuse, say
from fewsam.cli.tasklist import DataFolder, OnlyTasks, Protocol, TaskList, TaskRoot, choose_tasks
from fewsam.cli.workers import Cluster, Rate, Workers, chosen_pool

if TYPE_CHECKING:
    from fewsam.evaluation.report.cells import Cell

METHODS = "fewsam,fewsam-cold,propagation,prototypes,probe,unet"


def register(app: typer.Typer) -> None:
    app.command(epilog="Example: fewsam evaluate --k 3,5 --seeds 3 --out results/sample")(evaluate)


def evaluate(
    tasks: TaskList = None,
    root: TaskRoot = None,
    data: DataFolder = None,
    only: OnlyTasks = None,
    methods: Annotated[
        str,
        typer.Option(
            "--methods", help=r"The methods to compare; brackets change a setting of one: fewsam\[detail=false]."
        ),
    ] = METHODS,
    k: Annotated[str, typer.Option("--k", help="How many slices are labelled; each number is run.")] = "3,5",
    seeds: Annotated[
        int, typer.Option("--seeds", min=1, help="How many times the labelled slices are drawn anew.")
    ] = 3,
    protocol: Protocol = None,
    choice: Annotated[
        str, typer.Option("--choice", help="How slices are chosen: random (foreground-aware), even, acquisition.")
    ] = "random",
    folder: Annotated[
        Path,
        typer.Option("--out", "-o", help="The folder for tables, plots and report.md; a second run resumes there."),
    ] = Path("fewsam-evaluation"),
    preset: Preset = None,
    workers: Workers = None,
    cluster: Cluster = None,
    conf: Conf = None,
) -> None:
    """Compare fewsam and the baselines on the same few labelled slices: overlap, surfaces, and wall times."""
    from fewsam.core.config import load_settings
    from fewsam.encoders.cache import EmbeddingCache
    from fewsam.encoders.choice import with_encoder
    from fewsam.encoders.embedder import Embedder
    from fewsam.evaluation.methods.registry import split_methods
    from fewsam.evaluation.report.provenance import claim_folder, describe_tasks, note_provenance
    from fewsam.evaluation.report.report import write_report
    from fewsam.evaluation.run import evaluate as run

    settings = with_encoder(load_settings(preset, parse_conf(conf)))
    chosen = choose_tasks(tasks, root, data, only, protocol)
    check_choice(choice)
    names = split_methods(methods)
    counts = parse_numbers(k, "--k")
    with (
        EmbeddingCache(folder / "cache", int(settings.cache_gb * 1e9)) as cache,
        chosen_pool(workers, cluster) as pool,
        bars(Rate()) as progress,
    ):
        embedder = Embedder(settings, cache)
        encoder = embedder.info.as_dict()
        described = describe_tasks(chosen)
        claim_folder(folder, settings, encoder, tasks=described)
        asked = {"methods": names, "k": counts, "seeds": seeds, "choice": choice, "tasks": described}
        note_provenance(folder, encoder, settings, asked)
        total = len(chosen) * len(names) * len(counts) * seeds
        bar = progress.add_task("cells", total=total, note="")

        def show(cell: Cell) -> None:
            told = cell.error or f"IoU {cell.mean_iou:.3f}"
            progress.update(bar, advance=1, note=f"{cell.task} {cell.method} K={cell.k} seed {cell.seed}: {told}")

        progress.update(bar, note=f"{chosen[0][0].name}: reading")
        cells = run(chosen, names, counts, range(seeds), settings, embedder, folder, show, choice, pool)
        progress.update(bar, completed=total, note="report")
        mine = _asked(cells, {task.name: task.protocol for task, _ in chosen}, names, counts, seeds, choice)
        write_report(cells, folder / "report.md", encoder, settings)
        progress.update(bar, note="")
    _print(mine)
    say(f"{folder}: report.md, plots/, cells.csv, volumes.csv, calibration.csv, cells.jsonl, configuration.json")
    _refuse_failures(mine)


def _refuse_failures(cells: Sequence[Cell]) -> None:
    """Name the cells that failed, and end the command with an error where there are any."""
    from fewsam.evaluation.report.cells import failures

    failed = failures(cells)
    for cell in failed:
        err().print(Text(f"failed: {cell.task} {cell.method} K={cell.k} seed {cell.seed}: {cell.error}"))
    if failed:
        raise typer.Exit(refuse(f"{len(failed)} of the cells failed; the others stand"))


def check_choice(choice: str) -> None:
    """Raise ConfigError if ``choice`` is no way to choose slices."""
    from fewsam.core.errors import ConfigError
    from fewsam.evaluation.data.sampling import CHOICES

    if choice not in CHOICES:
        raise ConfigError(f"--choice {choice!r} is none of {', '.join(CHOICES)}")


def _asked(
    cells: Sequence[Cell], tasks: dict[str, str], methods: list[str], ks: list[int], seeds: int, choice: str
) -> list[Cell]:
    """The cells of this call; the folder may hold cells of earlier calls."""
    return [
        c
        for c in cells
        if tasks.get(c.task) == c.protocol and c.method in methods and c.k in ks and c.seed < seeds
        and c.choice == choice
    ]  # fmt: skip


def _print(cells: Sequence[Cell]) -> None:
    from fewsam.evaluation.report.summary import tables

    for one in tables(cells):
        shown = Table(title=Text(one.task), show_lines=True)
        for column in (*one.header[:3], "by structure", *one.header[-3:]):
            shown.add_column(column, no_wrap=column != "by structure")
        for row in one.rows:
            by_structure = ", ".join(f"{n} {v}" for n, v in zip(one.header[3:-3], row[3:-3], strict=True))
            shown.add_row(*(Text(cell) for cell in (*row[:3], by_structure, *row[-3:])))
        out().print(shown)
