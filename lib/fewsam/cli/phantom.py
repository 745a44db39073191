"""``fewsam phantom``: the sample data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fewsam.cli.common import bars, counter, say


def register(app: typer.Typer) -> None:
    app.command(epilog="Example: fewsam phantom sample-data --patients 6 --seed 0")(phantom)


def phantom(
    folder: Annotated[Path, typer.Argument(help="The folder to write to; it is made if it is missing.")],
    patients: Annotated[int, typer.Option(min=1, help="How many patients are generated.")] = 6,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same patients.")] = 0,
) -> None:
    """Generate torso phantoms as CT and MR-like volumes with their truth, and three of them as DICOM studies."""
    from fewsam.synthetic.phantom import write_dataset

    with bars() as progress:
        write_dataset(folder, patients, seed, counter(progress, "patients", patients))
    say(f"{patients} patients in {folder}: ct/, mr/, truth/, dicom/")
