"""``fewsam encode``: fill a task's cache ahead."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fewsam.cli.common import DEFAULT_TASK, Conf, Preset, Task, bars, note, parse_conf, say


def register(app: typer.Typer) -> None:
    app.command(epilog="Example: fewsam encode sample-data/ct --preset ct-abdomen --task my-task")(encode)


def encode(
    images: Annotated[list[Path], typer.Argument(help="The images: files, DICOM folders, or folders of images.")],
    task: Task = DEFAULT_TASK,
    preset: Preset = None,
    conf: Conf = None,
) -> None:
    """Encode images before they are labelled. Slices that the cache holds are skipped, so a second run resumes."""
    from fewsam.core.errors import ImageError
    from fewsam.encoders.cache import EMBEDDING_BYTES
    from fewsam.images.casefiles import find_images
    from fewsam.images.sequences import load_image
    from fewsam.workspace.task_settings import task_settings
    from fewsam.workspace.workspace import open_task

    sequences = task_settings(task, preset, parse_conf(conf)).sequences
    paths = find_images(images, sequences)
    refused: list[str] = []
    slices = new = 0
    with open_task(task, preset, parse_conf(conf), create=True) as workspace, bars() as progress:
        whole = progress.add_task("images", total=len(paths), note="")
        bar = progress.add_task("slices", total=None, note="")
        for path in paths:
            try:
                volume = load_image(path, workspace.settings.axis, workspace.settings.sequences)
            except ImageError as error:  # one bad file must not end a long run
                refused.append(str(error))
                progress.advance(whole)
                continue
            progress.reset(bar, total=volume.depth, note=path.name)
            new += workspace.encode(volume, lambda done, total: progress.update(bar, completed=done, total=total))
            workspace.keep()  # from here on there is something to go on from
            slices += volume.depth
            progress.advance(whole)
        if not slices:
            raise ImageError(f"none of {len(paths)} images could be read: {'; '.join(refused)}")
        held = workspace.cache.stats()
        encoder = workspace.embedder.info
    say(f"{slices} slices of {len(paths) - len(refused)} images: {new} encoded, {slices - new} cached already")
    say(f"encoder {encoder.title} at {encoder.input_size} px, cache of {task}: {held['bytes'] / 1e9:.2f} GB")
    if slices * EMBEDDING_BYTES > held["max_bytes"]:
        note(f"{slices} slices do not fit into the cache at once; raise --conf cache_gb")
    if refused:
        raise ImageError(f"{len(refused)} of {len(paths)} images were left out: {'; '.join(refused)}")
