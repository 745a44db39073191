"""``fewsam app``: the folder for `monailabel start_server --app`, where there is no repository."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fewsam.cli.common import note, say


def register(app: typer.Typer) -> None:
    command = 'python -m monailabel.main start_server --app "$(fewsam app)" --studies my-scans --host 127.0.0.1'
    app.command("app", epilog=f"Example: {command}")(app_folder)


def app_folder(
    folder: Annotated[
        Path | None,
        typer.Argument(help="The folder. Default: apps/fewsam in the repository, elsewhere fewsam-app."),
    ] = None,
) -> None:
    """Make the folder of the MONAI Label app unless it is there, and print its path.

    The server keeps labels and models in FOLDER/model. Use the same folder each time.
    """
    from fewsam.core.app_folder import default_app_folder, make_app_folder

    folder = (folder or default_app_folder()).expanduser()
    if make_app_folder(folder):
        note(f"{folder} is new: the server will keep labels and models in {folder / 'model'}")
    say(f"{folder.absolute()}")
