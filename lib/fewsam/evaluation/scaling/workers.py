"""Encoding with one and several workers, and what is left after a worker's and the scheduler's death."""

from __future__ import annotations

import pickle
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from fewsam.core.cluster import ClusterLostError, open_pool
from fewsam.core.config import Settings, load_settings
from fewsam.encoders.cache import EMBEDDING_SHAPE
from fewsam.encoders.embedder import BATCH
from fewsam.encoders.slices import EncoderSlices
from fewsam.encoders.worker import packed
from fewsam.evaluation.scaling.loopback_cluster import LoopbackCluster
from fewsam.images.volume import load_volume
from fewsam.workspace.encode import Encoded, encode_images
from fewsam.workspace.workspace import Workspace

SHAPE = (64, 64, 6)  # of a generated volume


def write_volumes(folder: Path, count: int) -> list[Path]:
    """Volumes of noise round an ellipsoid, no two slices alike."""
    folder.mkdir(parents=True, exist_ok=True)
    grid = np.stack(np.meshgrid(*(np.linspace(-1, 1, n) for n in SHAPE), indexing="ij"))
    paths = []
    for number in range(count):
        rng = np.random.default_rng(number)
        inside = ((grid / rng.uniform(0.4, 0.8, (3, 1, 1, 1))) ** 2).sum(0) < 1
        image = np.where(inside, 160, 40) + rng.normal(0, 12, SHAPE)
        paths.append(folder / f"v{number:04d}.nii.gz")
        nib.save(nib.Nifti1Image(image.astype(np.int16), np.diag([2.0, 2.0, 5.0, 1.0])), paths[-1])
    return paths


def settings_for(encoder: str) -> Settings:
    return load_settings(None, {"encoder": encoder, "labels": "ellipsoid"})


def measure_workers(folder: Path, count: int, encoder: str) -> list[dict[str, Any]]:
    """Seconds of encoding ``count`` volumes by this process alone, and by one and by two worker processes.

    ``steady`` leaves out the start: it is the time from the first result to the last, for the slices after the first.
    """
    paths, settings = write_volumes(folder / "images", count), settings_for(encoder)
    rows = []
    for workers in (0, 1, 2):
        times: list[tuple[int, float]] = []

        def note(encoded: Encoded, _: str, times: list[tuple[int, float]] = times) -> None:
            if encoded.new and (not times or times[-1][0] != encoded.new):
                times.append((encoded.new, time.monotonic()))

        began = time.monotonic()
        with Workspace(settings, folder / f"task-{workers}") as workspace:
            if workers:
                with open_pool(workers) as pool:
                    encode_images(workspace, pool, paths, note)
            else:
                for number, path in enumerate(paths, 1):
                    workspace.encode(load_volume(path, settings.axis))
                    times.append((number * SHAPE[2], time.monotonic()))
            wall = time.monotonic() - began
        (first, since), (last, until) = times[0], times[-1]
        rows.append({"workers": workers, "slices": last, "wall": wall, "steady": (until - since) / (last - first)})
    return rows


def measure_deaths(folder: Path, count: int, encoder: str) -> list[dict[str, Any]]:
    """Encode while a worker, and then the scheduler, is killed; what was encoded before, after, and in all."""
    paths, settings = write_volumes(folder / "images", count), settings_for(encoder)
    rows = []
    for victim in ("worker", "scheduler"):
        with Workspace(settings, folder / f"task-{victim}") as workspace:
            before: list[int] = []
            with LoopbackCluster(folder / victim, 2) as cluster:
                kill = cluster.kill_worker if victim == "worker" else cluster.kill_scheduler
                first = _encode(workspace, cluster, paths, _killer(kill, before))
            second = Encoded()
            if victim == "scheduler":  # started again, with the same command
                with LoopbackCluster(folder / "again", 2) as cluster:
                    second = _encode(workspace, cluster, paths, lambda encoded, name: None)
            entries = workspace.cache.stats()["entries"]
        slices = count * SHAPE[2]
        row = {"killed": victim, "after": before[0], "first_run": first.new, "second_run": second.new}
        rows.append({**row, "slices": slices, "entries": entries, "failed": len(first.failed) + len(second.failed)})
    return rows


def measure_writer(folder: Path, count: int, encoder: str) -> dict[str, Any]:
    """Processor seconds a slice of the process that reads images and writes the cache: what bounds all workers.

    Everything but the encoder: reading, preprocessing, keys, pickling there and back, and storing.
    """
    paths, settings = write_volumes(folder / "images", count), settings_for(encoder)
    embedding = np.random.default_rng(0).normal(size=EMBEDDING_SHAPE).astype(np.float16)
    with Workspace(settings, folder / "task") as workspace:
        began, slices = time.process_time(), 0
        for path in paths:
            cut = EncoderSlices(load_volume(path, settings.axis), settings, workspace.embedder)
            for chunk in cut.chunks():
                inputs = cut.inputs(cut.raw(chunk))
                pickle.dumps(packed(inputs))
                for key in workspace.embedder.keys(inputs):
                    workspace.cache.put(key, pickle.loads(pickle.dumps(embedding)))
                slices += len(chunk)
        seconds = (time.process_time() - began) / slices
        return {"slices": slices, "seconds_a_slice": seconds, "side": workspace.embedder.info.input_size}


def _encode(
    workspace: Workspace, cluster: LoopbackCluster, paths: list[Path], progress: Callable[[Encoded, str], None]
) -> Encoded:
    so_far = [Encoded()]

    def note(encoded: Encoded, name: str) -> None:
        so_far[0] = encoded
        progress(encoded, name)

    with open_pool(1, cluster.address) as pool, suppress(ClusterLostError):
        encode_images(workspace, pool, paths, note)
    return so_far[0]


def _killer(kill: Callable[[], None], noted: list[int]) -> Callable[[Encoded, str], None]:
    """Kill once, when some batches have come back."""

    def look(encoded: Encoded, _: str) -> None:
        if encoded.new >= 2 * BATCH and not noted:
            noted.append(encoded.new)
            kill()

    return look
