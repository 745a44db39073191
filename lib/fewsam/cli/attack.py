"""Attack a server that the command starts itself, and say what was found: ``python -m fewsam.cli.attack PART``."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from fewsam.cli.common import log_to_console, refuse, say
from fewsam.core.errors import FewSAMError
from fewsam.evaluation.reliability import report

app = typer.Typer(help=__doc__, no_args_is_help=True, pretty_exceptions_enable=False)

Out = Annotated[
    Path, typer.Option("--out", "-o", help="The folder that PART.json, report.md and the plots are written to.")
]
Seed = Annotated[int, typer.Option(help="The seed decides what is drawn, which process is killed, and when.")]
OUT = Path("reliability")


@app.command()
def faults(
    kills: Annotated[int, typer.Option(min=1)] = 300,
    minutes: Annotated[
        float | None, typer.Option(help="Stop after this many minutes, however many kills were reached.")
    ] = None,
    seed: Seed = 0,
    out: Out = OUT,
) -> None:
    """Kill the server, its training, an export or a start at random moments, and check that no label is lost."""
    from fewsam.evaluation.reliability.faults import Faults

    began, part = time.monotonic(), Faults((out / "work" / "faults").resolve(), seed)
    part.run(kills, lambda k: say(f"kill {k.number}: {k.victim} after {k.after:.2f} s {_told(k.problems)}"),
             None if minutes is None else 60 * minutes)  # fmt: skip
    _end(out, "faults", {"kills": kills, "seed": seed}, part.summary(), began)


@app.command()
def disk(
    levels: Annotated[int, typer.Option(min=1, help="How many amounts of free space are tried.")] = 7, out: Out = OUT
) -> None:
    """Fill a small file system before each kind of write."""
    from fewsam.evaluation.reliability.disk import LEFT, DiskFull, enter_name_space, small_disk

    enter_name_space()
    began = time.monotonic()
    with small_disk(out / "work" / "disk") as mounted:
        part = DiskFull(mounted.resolve(), (out / "work" / "beside").resolve())
        part.run(LEFT[:levels], lambda o: say(f"{o.write}, {o.left} bytes left: {o.answer} {_told(o.problems)}"))
        _end(out, "disk", {"levels": levels}, part.summary(), began)


@app.command()
def damage(
    only: Annotated[str, typer.Option(help="Run only the cases whose name contains this text.")] = "", out: Out = OUT
) -> None:
    """Damage one file after the other, and set the clock back; the server must notice and repair it."""
    from fewsam.evaluation.reliability.damage import Damage

    began, part = time.monotonic(), Damage((out / "work" / "damage").resolve())
    part.run(lambda c: say(f"{c.name}: {'; '.join(c.repaired) or '-'} {_told(c.problems)}"), only)
    _end(out, "damage", {"only": only} if only else {}, part.summary(), began)


@app.command()
def pacs(out: Out = OUT) -> None:
    """Kill the PACS in the middle of a download, before a label and over a restart."""
    from fewsam.evaluation.reliability.pacs import PacsGone

    began, part = time.monotonic(), PacsGone((out / "work" / "pacs").resolve())
    part.run(lambda step: say(f"{step.name} {_told(step.problems)}"))
    _end(out, "pacs", {}, part.summary(), began)


@app.command()
def load(
    minutes: Annotated[float, typer.Option(min=0.1)] = 20.0,
    annotators: Annotated[int, typer.Option(min=1)] = 8,
    images: Annotated[
        int,
        typer.Option(
            min=1,
            help="How many images of 40 slices there are; few are soon labelled completely, and are then drawn again.",
        ),
    ] = 10,
    seed: Seed = 0,
    out: Out = OUT,
) -> None:
    """Let several annotators and a viewer use one server at once."""
    from fewsam.evaluation.reliability.load import Load

    began, part = time.monotonic(), Load((out / "work" / "load").resolve(), annotators, seed, images)
    part.run(minutes)
    if part.gauges:
        part.gauges.plot(_made(out) / "load.png", f"{annotators} annotators and a viewer on one server")
    asked = {"minutes": minutes, "annotators": annotators, "images": images, "seed": seed}
    _end(out, "load", asked, part.summary(), began)


@app.command()
def size(
    slices: Annotated[int, typer.Option(min=10)] = 1000,
    pictures: Annotated[int, typer.Option(min=20)] = 2000,
    out: Out = OUT,
) -> None:
    """Segment a long volume, and serve a folder of many 2D images."""
    from fewsam.evaluation.reliability.size import long_volume, many_pictures

    ended = 0
    for name, work, count in (("long", long_volume, slices), ("many", many_pictures, pictures)):
        began = time.monotonic()
        found, gauges = work((out / "work" / name).resolve(), count)
        if gauges.memory:  # nothing was measured of a server that did not start
            gauges.plot(_made(out) / f"{name}.png", report.TITLES[name])
        try:
            _end(out, name, {"count": count}, found, began)
        except typer.Exit as failed:
            ended = failed.exit_code
    raise typer.Exit(ended)


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _told(problems: list[str]) -> str:
    return "".join(f"\n  PROBLEM {problem}" for problem in problems) or "ok"


def _end(out: Path, part: str, asked: dict[str, Any], found: dict[str, Any], began: float) -> None:
    report.write(out, part, asked, found, time.monotonic() - began)
    say(f"{out / 'report.md'}: {part}: {len(found['problems'])} problems")
    for problem in found["problems"][:20]:
        say(f"  {problem}")
    if found["problems"]:
        raise typer.Exit(1)


def main() -> int:
    import logging

    log_to_console(logging.WARNING)
    try:
        app(prog_name="python -m fewsam.cli.attack")
    except FewSAMError as error:
        return refuse(str(error))
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else int(bool(ended.code))
    return 0


if __name__ == "__main__":
    sys.exit(main())
