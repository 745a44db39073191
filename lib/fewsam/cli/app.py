"""The commands under one name, and what happens when one of them refuses."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from fewsam.cli import (
    appfolder,
    benchmark,
    encode,
    evaluate,
    info,
    ohif,
    pacs,
    phantom,
    portable,
    results,
    segment,
    simulate,
    split,
    train,
)
from fewsam.cli.common import log_to_console, refuse
from fewsam.core.errors import FewSAMError
from fewsam.core.version import __version__

app = typer.Typer(
    name="fewsam",
    help="Few-shot segmentation of medical images: label a few slices, segment the volume, train, segment it better.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"fewsam {__version__}")
        raise typer.Exit


@app.callback()
def _common(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show what the library logs.")] = False,
) -> None:
    log_to_console(logging.INFO if verbose else logging.WARNING)


for module in (
    encode,
    train,
    segment,
    evaluate,
    simulate,
    results,
    benchmark,
    info,
    portable,
    phantom,
    pacs,
    split,
    appfolder,
    ohif,
):
    module.register(app)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line and return its exit code: 0, 1 where an input was refused, 2 where it was not understood."""
    try:
        app(args=None if arguments is None else list(arguments), prog_name="fewsam")
    except FewSAMError as error:
        return refuse(str(error))
    except BrokenPipeError:  # `fewsam info | head`
        sys.stderr.close()
        return 1
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else int(bool(ended.code))
    return 0
