"""``fewsam results``: folders of evaluations and simulations as one text and one picture."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fewsam.cli.common import say


def register(app: typer.Typer) -> None:
    app.command(epilog="Example: fewsam results evidence -o evidence")(results)


def results(
    folders: Annotated[
        list[Path],
        typer.Argument(help="Folders that `fewsam evaluate` and `fewsam simulate` wrote, or a folder of them."),
    ],
    into: Annotated[Path, typer.Option("--out", "-o", help="The folder for results.md and results.png.")] = Path("."),
) -> None:
    """Write the measured results as one Markdown text and one figure."""
    from fewsam.evaluation.results import write_results

    text, picture = write_results(folders, into)
    say(f"{text}{f', {picture}' if picture else ''}")
