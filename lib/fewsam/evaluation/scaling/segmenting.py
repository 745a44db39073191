"""Segmenting many volumes by this process alone, and by one and by two worker processes."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fewsam.core.cluster import open_pool
from fewsam.evaluation.scaling.workers import SHAPE, settings_for, write_volumes
from fewsam.images.volume import load_volume
from fewsam.workspace.segment import Segmented, segment_each, segment_images
from fewsam.workspace.workspace import Workspace

DRAWN = (1, 3)  # slices of the first volume, which are labelled


def measure_segment(folder: Path, count: int, encoder: str, workers: Sequence[int] = (0, 1, 2)) -> list[dict[str, Any]]:
    """Seconds of segmenting ``count`` volumes that are not encoded yet, with two labelled slices of another one.

    ``steady`` leaves out the start: it is the time from the first volume to the last, for the slices after the first.
    """
    paths, settings = write_volumes(folder / "images", count + 1), settings_for(encoder)
    with Workspace(settings, folder / "task") as workspace:
        volume = load_volume(paths[0], settings.axis)
        bright = np.zeros(volume.slices.shape, bool)
        bright[list(DRAWN)] = volume.slices[list(DRAWN)] > 100
        workspace.collection.submit(volume, paths[0].stem, {"ellipsoid": bright}, complete_slices=set(DRAWN))
    rows = []
    for number in workers:
        times: list[float] = []

        def note(one: Segmented, times: list[float] = times) -> None:
            if one.prediction is None:
                raise RuntimeError(one.error)
            times.append(time.monotonic())

        shutil.copytree(folder / "task", folder / f"task-{number}")  # without what another run has encoded
        began = time.monotonic()
        with Workspace(settings, folder / f"task-{number}") as workspace:
            if number:
                with open_pool(number) as pool:
                    segment_images(workspace, pool, paths[1:], note)
            else:
                segment_each(workspace, paths[1:], note)
            wall = time.monotonic() - began
        steady = (times[-1] - times[0]) / (len(times) - 1) / SHAPE[2]
        rows.append({"workers": number, "slices": count * SHAPE[2], "wall": wall, "steady": steady})
    return rows
