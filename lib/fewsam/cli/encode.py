"""``fewsam encode``: fill a task's cache ahead."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fewsam.cli.common import DEFAULT_TASK, Conf, Preset, Task, bars, note, parse_conf, say
from fewsam.cli.workers import Cluster, Failures, Rate, Workers, chosen_pool

if TYPE_CHECKING:
    from rich.progress import Progress

    from fewsam.core.pool import Pool
    from fewsam.workspace.encode import Encoded
    from fewsam.workspace.workspace import Workspace


def register(app: typer.Typer) -> None:
    app.command(epilog="Example: fewsam encode sample-data/ct --preset ct-abdomen --task my-task")(encode)


def encode(
    images: Annotated[list[Path], typer.Argument(help="The images: files, DICOM folders, or folders of images.")],
    task: Task = DEFAULT_TASK,
    preset: Preset = None,
    workers: Workers = None,
    cluster: Cluster = None,
    conf: Conf = None,
) -> None:
    """Encode images before they are labelled. Slices that the cache holds are skipped, so a second run resumes."""
    from fewsam.core.errors import ImageError
    from fewsam.encoders.cache import EMBEDDING_BYTES
    from fewsam.images.casefiles import find_images
    from fewsam.workspace.task_settings import task_settings
    from fewsam.workspace.workspace import open_task

    paths = find_images(images, task_settings(task, preset, parse_conf(conf)).sequences)
    with (
        open_task(task, preset, parse_conf(conf), create=True) as workspace,
        chosen_pool(workers, cluster) as pool,
        bars(Rate()) as progress,
    ):
        found = _encode_here(workspace, paths, progress) if pool is None else _encode(workspace, pool, paths, progress)
        if not found.slices:
            raise ImageError(f"none of {len(paths)} images could be read: {'; '.join(found.failed.values())}")
        held = workspace.cache.stats()
        encoder = workspace.embedder.info
    whole = len(paths) - len(found.failed)
    say(f"{found.slices} slices of {whole} images: {found.new} encoded, {found.cached} cached already")
    say(f"encoder {encoder.title} at {encoder.input_size} px, cache of {task}: {held['bytes'] / 1e9:.2f} GB")
    if found.slices * EMBEDDING_BYTES > held["max_bytes"]:
        note(f"{found.slices} slices do not fit into the cache at once; raise --conf cache_gb")
    if found.failed:
        why = "; ".join(dict.fromkeys(found.failed.values()))
        raise ImageError(f"{len(found.failed)} of {len(paths)} images were left out: {why}")


def _encode_here(workspace: Workspace, paths: list[Path], progress: Progress) -> Encoded:
    """Encode in this process, one image after the other."""
    from fewsam.core.errors import ImageError
    from fewsam.images.sequences import load_image
    from fewsam.workspace.encode import Encoded

    found = Encoded()
    whole = progress.add_task("images", total=len(paths), note="")
    bar = progress.add_task("slices", total=None, note="")
    for path in paths:
        try:
            volume = load_image(path, workspace.settings.axis, workspace.settings.sequences)
        except ImageError as error:  # one bad file must not end a long run
            found.failed[str(path)] = str(error)
            progress.advance(whole)
            continue
        progress.reset(bar, total=volume.depth, note=path.name)
        new = workspace.encode(volume, lambda done, total: progress.update(bar, completed=done, total=total))
        workspace.keep()  # from here on there is something to go on from
        found.images, found.slices, found.new = found.images + 1, found.slices + volume.depth, found.new + new
        found.cached += volume.depth - new
        progress.advance(whole)
    return found


def _encode(workspace: Workspace, pool: Pool, paths: list[Path], progress: Progress) -> Encoded:
    """Encode on a pool, with one bar over all images."""
    from fewsam.workspace.encode import encode_images

    bar = progress.add_task("images", total=len(paths), note="waiting for workers")
    failures = Failures(progress)

    def show(found: Encoded, name: str) -> None:
        failures.show(found.failed)
        told = ", ".join(filter(None, (f"{found.new} slices encoded", failures.told)))
        progress.update(bar, completed=found.images + len(found.failed), note=told)

    return encode_images(workspace, pool, paths, show)
