"""``fewsam segment http://HOST/dicom-web``: all series of a PACS by one task."""

from __future__ import annotations

from pathlib import Path

from fewsam.cli.common import bars, counter, say
from fewsam.cli.workers import Failures, Rate, chosen_pool


def is_address(text: str) -> bool:
    """Whether an argument is the address of a PACS."""
    return text.startswith(("http://", "https://"))


def segment_pacs(
    address: str,
    task: Path,
    conf: dict[str, str],
    output: Path,
    store: bool,
    overwrite: bool,
    workers: int | None,
    cluster: str | None,
) -> None:
    """Segment the series of a PACS here or on a pool, with one bar over all and a manifest in ``output``."""
    from fewsam.core.errors import ConfigError, FewSAMError
    from fewsam.server.storage.pacs_segment import PacsSeries
    from fewsam.workspace.manifest import NAME
    from fewsam.workspace.segment import Segmented, segment_each, segment_images
    from fewsam.workspace.task_settings import task_settings
    from fewsam.workspace.workspace import open_task

    if task_settings(task, None, conf).axis == "auto":
        conf = {**conf, "axis": "2"}  # slices are those that were stored, as the server on a PACS cuts them
    with (
        open_task(task, conf=conf) as workspace,
        PacsSeries(workspace, address, output, store=store) as series,
        chosen_pool(workers, cluster) as pool,
        bars(Rate()) as progress,
    ):
        found = series.find()
        todo = [uid for uid in found if not series.is_done(uid)]
        there = [] if store or overwrite else [uid for uid in todo if series.target(uid).exists()]
        if there:
            raise ConfigError(f"{series.target(there[0])} is there already; pass --overwrite, or choose another output")
        failures = Failures(progress)
        bar = progress.add_task("series", total=len(todo), note="waiting for workers" if pool else "")

        def count() -> None:
            failures.show(series.failed)
            progress.update(bar, advance=1, note=failures.told)

        def deliver(one: Segmented) -> None:
            series.take(one)
            count()

        folders = series.folders(todo, count)
        if pool is None:
            segment_each(workspace, folders, deliver, counter(progress, "slices"))
        else:
            segment_images(workspace, pool, folders, deliver)
        made, place = len(todo) - len(series.failed), "in the PACS" if store else str(output)
        say(f"{made} of {len(found)} series segmented, {len(found) - len(todo)} were done before: {place}")
        say(f"volumes and uncertainty: {output / NAME}")
        if series.failed:
            raise FewSAMError(f"{len(series.failed)} of {len(found)} series have no answer: {'; '.join(series.failed)}")
