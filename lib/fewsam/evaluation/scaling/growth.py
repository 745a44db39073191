"""Seconds and peak memory against the number of volumes, of classes and of labelled slices.

Each number is measured in processes of its own, so that the peak of one is not that of another.
"""

from __future__ import annotations

import json
import math
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import psutil
import requests

from fewsam.core.config import Settings, load_settings
from fewsam.core.pool import ProcessPool
from fewsam.core.processes import MODEL, PATIENCE, ServerProcess
from fewsam.evaluation.scaling.workers import SHAPE, write_volumes
from fewsam.fewshot.training.episodes import prepare_views
from fewsam.images.volume import Volume, load_volume
from fewsam.workspace.workspace import Workspace

SIDE = 64  # pixels of the slices that encoder and decoder see: the least there is
STEPS = 20  # of a training
LABELLED = 4  # slices, where classes are counted
TIMES = 3  # that a quick request is timed; the middle one counts

Row = dict[str, Any]


def grow(sizes: Sequence[int], measure: Callable[[str, int], Row], folder: Path) -> list[Row]:
    """A row for each of ``sizes``, each measured in a process of its own.

    Args:
        measure: Given a folder to work in and a size; a function of a module.
    """
    rows = []
    for size in sizes:
        with ProcessPool(1) as pool:
            rows.append({"size": size, **pool.submit(measure, str(folder / str(size)), size).result()})
    return rows


def volumes_in_server(folder: str, count: int) -> Row:
    """A server over ``count`` volumes: its start, and the requests of a person's first minutes."""
    root, label = Path(folder), Path(folder) / "label.nii.gz"
    paths = write_volumes(root / "studies", count)
    conf = {**_conf(("ellipsoid",)), "precompute": "false"}
    nib.save(nib.Nifti1Image(_blocks(1).astype(np.uint8), nib.load(paths[0]).affine), label)
    server = ServerProcess(root, root / "studies", conf)
    try:
        start = server.start()

        def ask() -> requests.Response:
            me = {"client_id": "me"}
            return requests.post(f"{server.url}/activelearning/random", json=me, timeout=PATIENCE)

        timed = {
            "start": start,
            "next": _seconds(ask),
            "list": _middle(lambda: requests.get(f"{server.url}/datastore/?output=all", timeout=PATIENCE)),
            "submit": _seconds(lambda: server.put_label("v0000", label, {"label_info": [{"name": "ellipsoid"}]})),
            "next_labelled": _middle(ask),
        }
        _segment(server, "v0001")  # builds the encoder
        timed["segment"] = _seconds(lambda: _segment(server, "v0002"))
        assert server.process is not None
        return {**timed, "peak_mb": peak_mb(server.process.pid)}
    finally:
        server.stop()


def classes_in_task(folder: str, count: int) -> Row:
    """One training and one segmentation with ``count`` classes, all drawn on the same slices."""
    return _train_and_segment(Path(folder), count, LABELLED)


def slices_in_task(folder: str, count: int) -> Row:
    """One training and one segmentation with ``count`` labelled slices of two classes, in as few images as they fit."""
    return _train_and_segment(Path(folder), 2, count)


def _train_and_segment(folder: Path, classes: int, slices: int) -> Row:
    names = tuple(f"class{n}" for n in range(classes))
    settings: Settings = load_settings(None, {**_conf(names), "steps": STEPS, "cache_gb": 20})
    paths = write_volumes(folder / "images", 2 - -slices // SHAPE[2])  # and two to segment
    with Workspace(settings, folder / "task") as workspace:
        begun = time.monotonic()
        for number, path in enumerate(paths[:-2]):
            drawn = range(min(SHAPE[2], slices - number * SHAPE[2]))
            _draw(workspace, load_volume(path), path.stem, names, list(drawn))
        submitted = time.monotonic() - begun
        prepare = _seconds(lambda: prepare_views(settings, workspace.collection.shots(), workspace.embedder))
        begun = time.monotonic()
        result = workspace.train()
        train = time.monotonic() - begun
        first, volume = map(load_volume, paths[-2:])
        for one in (first, volume):
            workspace.encode(one)
        workspace.predictor.predict(first, None)  # reads the labelled slices
        segment = _seconds(lambda: workspace.predictor.predict(volume, None))
    times = {"submit": submitted / slices, "prepare": prepare, "train": train, "segment": segment}
    return {**times, "steps": result.steps, "peak_mb": peak_mb()}


def peak_mb(process: int | None = None) -> float:
    """Largest resident memory that a process has had; what it has now where the system does not say."""
    try:
        status = Path(f"/proc/{process or 'self'}/status").read_text()
        peak = next(line for line in status.splitlines() if line.startswith("VmHWM"))
        return int(peak.split()[1]) / 1024
    except (OSError, StopIteration):
        return float(psutil.Process(process).memory_info().rss / 2**20)


def _conf(names: Sequence[str]) -> dict[str, Any]:
    """As little work as shows how it grows."""
    small = {"input_size": SIDE, "detail_size": SIDE, "views": 1, "batch": 4, "train_seconds": 100_000}
    return {"encoder": "compact", "labels": ",".join(names), "keep_better": "false", **small}


def _blocks(classes: int) -> np.ndarray:
    """Native labels of so many blocks of equal size, which leave half of the image and more."""
    side = math.ceil(math.sqrt(2 * classes))
    place = [np.arange(SHAPE[axis]) * side // SHAPE[axis] for axis in (0, 1)]
    number = place[0][:, None] * side + place[1]
    return np.broadcast_to(np.where(number < classes, number + 1, 0)[:, :, None], SHAPE)


def _draw(workspace: Workspace, volume: Volume, name: str, names: Sequence[str], slices: list[int]) -> None:
    labels = volume.geometry.to_slices(_blocks(len(names)))
    masks = {}
    for value, label in enumerate(names, 1):
        masks[label] = np.zeros(labels.shape, bool)
        masks[label][slices] = labels[slices] == value
    drawn = {label: mask for label, mask in masks.items() if mask.any()}
    workspace.collection.submit(volume, name, drawn, absent_classes="complete", complete_slices=set(slices))


def _segment(server: ServerProcess, image: str) -> requests.Response:
    address = f"{server.url}/infer/{MODEL}"
    return requests.post(address, params={"image": image, "output": "image"}, timeout=PATIENCE)


def _seconds(work: Callable[[], Any]) -> float:
    """Seconds of ``work``; an answer of a server must be one."""
    begun = time.monotonic()
    done = work()
    seconds = time.monotonic() - begun
    if isinstance(done, requests.Response) and done.status_code != 200:
        raise RuntimeError(f"{done.url} answered {done.status_code}: {json.dumps(done.text[:300])}")
    return seconds


def _middle(work: Callable[[], Any]) -> float:
    return statistics.median(_seconds(work) for _ in range(TIMES))
