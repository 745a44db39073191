"""What the commands share: options, progress bars, and how they speak."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.logging import RichHandler
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from fewsam.core.errors import ConfigError

Task = Annotated[
    Path,
    typer.Option(
        "--task",
        "-t",
        envvar="FEWSAM_TASK",
        help="The folder of the task, with its settings, labelled slices, cache and decoder. A server's folder "
        "(apps/fewsam/model/...) is one too.",
    ),
]
Preset = Annotated[
    str | None, typer.Option("--preset", "-p", help="The settings to start from: a name in configs/, or a YAML file.")
]
Conf = Annotated[
    list[str] | None,
    typer.Option(
        "--conf", "-c", metavar="KEY=VALUE", help="Change one setting; the option may be given several times."
    ),
]
NUMBERING = (
    "Slices are counted from 0: of axial slices 0 is the one nearest the feet, of coronal ones the rearmost, of "
    "sagittal ones the one furthest to the patient's right."
)
DEFAULT_TASK = Path("fewsam-task")
PIPED_WIDTH = 160  # columns of a table that no terminal shows


def out() -> Console:
    """The console for results: standard output, as it is at this moment."""
    tty = sys.stdout.isatty()
    return Console(file=sys.stdout, highlight=False, soft_wrap=not tty, width=None if tty else PIPED_WIDTH)


def err() -> Console:
    """The console for everything else: standard error."""
    return Console(file=sys.stderr, highlight=False, soft_wrap=not sys.stderr.isatty())


def say(text: str) -> None:
    """Print a line of a result. It is not read as markup, since names of files and classes may have brackets."""
    out().print(Text(text))


def note(text: str) -> None:
    """Print a line about the result on standard error."""
    err().print(Text(text, style="yellow"))


def refuse(why: str) -> int:
    """Print one line that says why nothing was done, and return the exit code."""
    line = Text("error: ", style="bold red")
    line.append(" ".join(why.split()), style="not bold default")
    err().print(line)
    return 1


def log_to_console(level: int) -> None:
    """Let the library's log appear between progress bars without tearing them."""
    handler = RichHandler(console=err(), show_time=False, show_path=False)
    logger = logging.getLogger("fewsam")
    for old in [one for one in logger.handlers if isinstance(one, RichHandler)]:
        logger.removeHandler(old)
    logger.addHandler(handler)
    logger.setLevel(level)


def parse_conf(pairs: Sequence[str] | None) -> dict[str, str]:
    """``["views=4", "labels=liver,spleen"]`` as a mapping.

    Raises:
        ConfigError: an entry without ``=``.
    """
    values: dict[str, str] = {}
    for pair in pairs or ():
        key, equals, value = pair.partition("=")
        if not equals or not key.strip():
            raise ConfigError(f"--conf {pair!r} must look like key=value, e.g. --conf views=4")
        values[key.strip()] = value.strip()
    return values


def parse_numbers(text: str, what: str) -> list[int]:
    """``"10,20,30-32"`` as numbers.

    Raises:
        ConfigError: anything else.
    """
    numbers: dict[int, None] = {}
    for part in text.split(","):
        first, dash, last = (piece.strip() for piece in part.strip().partition("-"))
        if not re.fullmatch("[0-9]{1,9}", first) or (dash and not re.fullmatch("[0-9]{1,9}", last)):
            raise ConfigError(f"{what} {text!r} must be numbers such as 10,20,30 or 10-14")
        start, stop = int(first), int(last) if dash else int(first)
        if not start <= stop <= start + 100_000:
            raise ConfigError(f"{what} {text!r}: {part.strip()!r} is no range from low to high")
        numbers.update(dict.fromkeys(range(start, stop + 1)))
    return list(numbers)


@contextmanager
def bars(*more: ProgressColumn) -> Iterator[Progress]:
    """Show progress bars on standard error, with ``more`` columns before the note."""
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(compact=True),
        *more,
        TextColumn("{task.fields[note]}", markup=False),
    )
    console = err()
    for handler in logging.getLogger("fewsam").handlers:
        if isinstance(handler, RichHandler):
            handler.console = console  # so that a line of the log is printed above the bars
    # a piped standard output is for results, and must not be drawn into the bars
    with Progress(*columns, console=console, redirect_stdout=sys.stdout.isatty()) as progress:
        yield progress


def counter(progress: Progress, description: str, total: int | None = None) -> Callable[[int, int], None]:
    """Add a progress bar; the library calls the returned function with (done, total)."""
    bar = progress.add_task(description, total=total, note="")
    return lambda done, total: progress.update(bar, completed=done, total=total)
