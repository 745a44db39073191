"""``fewsam simulate``: the annotator loop without a person, strategy against strategy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from fewsam.cli.common import Conf, Preset, bars, err, out, parse_conf, refuse, say
from fewsam.cli.tasklist import DataFolder, OnlyTasks, Protocol, TaskList, TaskRoot, choose_tasks
from fewsam.cli.workers import Cluster, Rate, Workers, chosen_pool

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from fewsam.evaluation.loop.loop import Curve

STRATEGIES = {"direct": "informative,foreground_truth,random,interval,first", "rest": "informative,interval,first"}


def register(app: typer.Typer) -> None:
    app.command(epilog="Example: fewsam simulate --only sample-ct --budget 10 --seeds 3 --out results/loop")(simulate)


def simulate(
    tasks: TaskList = None,
    root: TaskRoot = None,
    data: DataFolder = None,
    only: OnlyTasks = None,
    protocol: Protocol = None,
    strategies: Annotated[
        str | None,
        typer.Option(
            "--strategies",
            help="informative is ours; foreground_random goes by the model's answers, foreground_truth by the truth. "
            "With +unlabelled behind its name, each training is followed by one on unlabelled images. "
            f"If not given: {STRATEGIES['direct']}; through a server {STRATEGIES['rest']}.",
        ),
    ] = None,
    budget: Annotated[int, typer.Option("--budget", min=1, help="How many slices are labelled.")] = 10,
    seeds: Annotated[int, typer.Option("--seeds", min=1, help="How often each strategy is run.")] = 3,
    through: Annotated[
        str, typer.Option("--through", help="direct uses the library; rest starts a real server.")
    ] = "direct",
    full: Annotated[bool, typer.Option("--full/--no-full", help="Measure full supervision as well.")] = True,
    dilate: Annotated[int, typer.Option("--dilate", help="Noise: drawings are too large by this many pixels.")] = 0,
    shift: Annotated[int, typer.Option("--shift", help="Noise: drawings are shifted by this many pixels.")] = 0,
    forget: Annotated[
        float, typer.Option("--forget", min=0, max=1, help="Noise: this share of the classes is forgotten.")
    ] = 0.0,
    fresh: Annotated[
        float, typer.Option("--seconds-fresh", min=0, help="Seconds that drawing a slice from nothing takes.")
    ] = 60.0,
    corrected: Annotated[
        float, typer.Option("--seconds-corrected", min=0, help="Seconds that correcting a slice takes.")
    ] = 20.0,
    folder: Annotated[
        Path,
        typer.Option("--out", "-o", help="The folder for tables, plots and report.md; a second run resumes there."),
    ] = Path("fewsam-simulation"),
    preset: Preset = None,
    workers: Workers = None,
    cluster: Cluster = None,
    conf: Conf = None,
) -> None:
    """Simulate an annotator who labels slice after slice, with a training after every second one (`auto_train`)."""
    from fewsam.core.config import load_settings
    from fewsam.encoders.cache import EmbeddingCache
    from fewsam.encoders.choice import with_encoder
    from fewsam.encoders.embedder import Embedder
    from fewsam.evaluation.loop.annotator import Noise, Pace
    from fewsam.evaluation.loop.report import write_report
    from fewsam.evaluation.loop.run import simulate as run
    from fewsam.evaluation.report.provenance import claim_folder, describe_tasks, note_provenance

    settings = with_encoder(load_settings(preset, {"auto_train": "every:2", **parse_conf(conf)}))
    chosen = choose_tasks(tasks, root, data, only, protocol)
    names = _strategies(strategies, through)
    noise, pace = Noise(dilate, shift, forget), Pace(fresh, corrected)
    with (
        EmbeddingCache(folder / "cache", int(settings.cache_gb * 1e9)) as cache,
        chosen_pool(workers, cluster) as pool,
        bars(Rate()) as progress,
    ):
        embedder = Embedder(settings, cache)
        encoder = embedder.info.as_dict()
        described = describe_tasks(chosen)
        claim_folder(folder, settings, encoder, {"noise": noise.__dict__, "pace": pace.__dict__}, described)
        asked = {"strategies": names, "seeds": seeds, "budget": budget, "tasks": described}
        note_provenance(folder, encoder, settings, asked)
        total = len(chosen) * seeds * (len(names) + full)
        bar = progress.add_task("curves", total=total, note=f"{chosen[0][0].name}: reading")
        curves = run(
            chosen, names, range(seeds), budget, settings, embedder, folder,
            noise=noise, pace=pace, through=through, full=full, progress=_shown(progress, bar), pool=pool,
        )  # fmt: skip
        progress.update(bar, completed=total, note="")
        write_report(curves, folder, encoder, settings, noise, pace)
    wanted = {task.name for task, _ in chosen}
    mine = [curve for curve in curves if curve.task in wanted]
    _print_tables(mine)
    say(f"{folder}: report.md, plots/, curves.csv, curves.jsonl, configuration.json")
    _refuse_failures(mine)


def _strategies(given: str | None, through: str) -> list[str]:
    """The strategies by their names.

    Raises:
        ConfigError: one that is not known there.
    """
    from fewsam.core.errors import ConfigError
    from fewsam.evaluation.loop import lab, rest

    names = [name.strip() for name in (given or STRATEGIES.get(through, "")).split(",") if name.strip()]
    known = rest.STRATEGIES if through == "rest" else lab.STRATEGIES
    if through == "direct":
        known = (*known, *(name + lab.UNLABELLED for name in known))
    if unknown := [name for name in names if name not in known]:
        raise ConfigError(f"--strategies {unknown[0]!r}: known there are {', '.join(known)}")
    return names


def _shown(progress: Progress, bar: TaskID) -> Callable[[Curve], None]:
    """Shows a curve on the bar, which counts those that have ended."""
    seen: set[tuple] = set()

    def show(curve: Curve) -> None:
        last = f"{curve.points[-1].slices} slices, IoU {curve.points[-1].iou:.3f}" if curve.points else ""
        ended = bool(curve.error) or curve.full_iou is not None or len(curve.order) >= curve.budget
        told = curve.error or last or f"IoU {curve.full_iou}"
        progress.update(bar, note=f"{curve.task} {curve.strategy} seed {curve.seed}: {told}")
        if ended and curve.key not in seen:
            seen.add(curve.key)
            progress.update(bar, advance=1)

    return show


def _print_tables(curves: Sequence[Curve]) -> None:
    from fewsam.evaluation.loop.report import grouped, table
    from fewsam.evaluation.loop.run import FULL

    for title, by_strategy in grouped(curves).items():
        if set(by_strategy) - {FULL}:
            _print(table(title, by_strategy).header, table(title, by_strategy).rows, title)


def _refuse_failures(curves: Sequence[Curve]) -> None:
    """Name the curves that failed, and end the command with an error where there are any."""
    from fewsam.evaluation.report.cells import failures

    failed = failures(curves)
    for curve in failed:
        err().print(Text(f"failed: {curve.task} {curve.strategy} seed {curve.seed}: {curve.error}"))
    if failed:
        raise typer.Exit(refuse(f"{len(failed)} of the curves failed; the others stand"))


def _print(header: tuple[str, ...], rows: list[tuple[str, ...]], title: str) -> None:
    shown = Table(title=Text(title))
    for column in header:
        shown.add_column(column)
    for row in rows:
        shown.add_row(*map(Text, row))
    out().print(shown)
