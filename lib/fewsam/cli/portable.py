"""``fewsam export`` and ``fewsam import``: a task as one file, or its labels as a data set."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fewsam.cli.common import DEFAULT_TASK, Conf, Preset, Task, bars, counter, note, parse_conf, say

if TYPE_CHECKING:
    from rich.progress import Progress

    from fewsam.workspace.workspace import Workspace

_PIXELS = "pixels go along as they are: look for text burned into the images, and for faces, before passing them on"


def register(app: typer.Typer) -> None:
    app.command(
        "export",
        epilog="Examples: fewsam export liver.fewsam --task my-task, or "
        "fewsam export --nnunet Dataset501_Liver --images sample-data/ct --task my-task",
    )(export)
    app.command("import", epilog="Example: fewsam import liver.fewsam --task other-task")(import_)


def export(
    file: Annotated[Path | None, typer.Argument(help="The task file to write, usually NAME.fewsam.")] = None,
    nnunet: Annotated[
        Path | None, typer.Option("--nnunet", help="The folder for the labels in nnU-Net v2's layout, DatasetXXX_Name.")
    ] = None,
    images: Annotated[
        list[Path] | None, typer.Option("--images", "-i", help="The labelled images for --nnunet, or their folders.")
    ] = None,
    with_pixels: Annotated[
        bool,
        typer.Option(
            "--with-pixels", help="Put the images of the labelled slices into the file, so that others can train."
        ),
    ] = False,
    anonymous: Annotated[
        bool, typer.Option("--anonymous", help="Write neutral image ids, and no annotators, dates or names of files.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the task file if it is there already.")
    ] = False,
    task: Task = DEFAULT_TASK,
    conf: Conf = None,
) -> None:
    """Write a portable task file (decoder, labelled slices as embeddings and masks), or the labels as a data set."""
    from fewsam.core.errors import ConfigError
    from fewsam.workspace.workspace import open_task

    if (file is None) == (nnunet is None):
        raise ConfigError("say what to export: a task FILE, or --nnunet FOLDER with --images")
    if nnunet is not None and not images:
        raise ConfigError("--nnunet needs --images: the collection holds the labelled slices, not the volumes")
    if file is not None and file.exists() and not overwrite:
        raise ConfigError(f"{file} is there already; pass --overwrite, or choose another name")
    with open_task(task, conf=parse_conf(conf)) as workspace, bars() as progress:
        if file is not None:
            _export_task(workspace, file, with_pixels, anonymous, progress)
        elif nnunet is not None and images is not None:
            _export_nnunet(workspace, nnunet, images, anonymous, progress)


def _export_task(workspace: Workspace, file: Path, with_pixels: bool, anonymous: bool, progress: Progress) -> None:
    from fewsam.workspace.export import export_task

    count = counter(progress, "labelled slices")
    meta = export_task(workspace, file, with_pixels=with_pixels, anonymous=anonymous, progress=count)
    megabytes = file.stat().st_size / 1e6
    say(f"{file}: {len(meta.shots)} labelled slices of {', '.join(meta.classes)}, {megabytes:.0f} MB")
    if meta.card is None:
        note("the task is not trained: the file holds no decoder and segments by its labelled slices alone")
    if anonymous and with_pixels:
        note(_PIXELS)


def _export_nnunet(workspace: Workspace, folder: Path, images: list[Path], anonymous: bool, progress: Progress) -> None:
    from fewsam.images.casefiles import find_images
    from fewsam.workspace.nnunet_dataset import export_nnunet

    cases = export_nnunet(
        workspace.collection,
        find_images(images, workspace.settings.sequences),
        folder,
        axis=workspace.settings.axis,
        sequences=workspace.settings.sequences,
        anonymous=anonymous,
        progress=counter(progress, "images"),
    )
    slices = sum(len(case.slices) for case in cases)
    if anonymous:
        note(_PIXELS)
    count = f"{len(cases)} {'case' if len(cases) == 1 else 'cases'}"
    say(f"{folder}: {count} with {slices} labelled slices; every other slice has the ignore label")


def import_(
    file: Annotated[Path, typer.Argument(help="The task file that `fewsam export` wrote.")],
    task: Task = DEFAULT_TASK,
    preset: Preset = None,
    conf: Conf = None,
) -> None:
    """Import a task file into a new or an existing task, which then segments at once with the file's encoder."""
    from fewsam.workspace.import_task import import_task

    done = import_task(file, task, preset, parse_conf(conf))
    decoder = f"its decoder is served as model {done.version}" if done.version else "it has no decoder: untrained"
    known = " (known already)" if done.again else ""
    say(f"{task}: {done.shots} labelled slices of {', '.join(done.classes)}{known}; {decoder}")
    if done.with_pixels:
        say(f"{done.with_pixels} of them come with their images: `fewsam train --task {task}` learns from them")
