"""``fewsam split``: a time series or several echoes as one DICOM series for each image."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fewsam.cli.common import say


def register(app: typer.Typer) -> None:
    app.command(epilog="Example: fewsam split studies/cine cine-phases")(split)


def split(
    folder: Annotated[Path, typer.Argument(help="DICOM files of one series that holds several images a position.")],
    output: Annotated[Path, typer.Argument(help="Folder that is made, with a folder for each image.")],
) -> None:
    """Write each image of a time series, or each echo, as a DICOM series of its own: labels need one image."""
    from fewsam.images.dicom_split import split_series

    for written in split_series(folder, output):
        say(f"{written}")
