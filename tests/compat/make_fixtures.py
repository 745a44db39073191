"""Makes the folders and files of an earlier version that `test_before` opens: run it with that version.

    git worktree add /tmp/before ec57d91
    PYTHONPATH=/tmp/before/lib python tests/compat/make_fixtures.py /tmp/before tests/compat

It was run once, with commit ec57d91, before the modules moved into packages. Weights and embeddings are 13 MB and 2 MB
a piece and of no use to the tests: they are thinned, with their checksums computed anew, so that they pack to little.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
import tempfile
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import requests
import torch
from drawn_content import NAMES, truth, write_label, write_scan
from fewsam.episodes import prepare_views
from fewsam.model import checksum
from fewsam.processes import ServerProcess
from fewsam.taskexport import export_task
from fewsam.taskfile import read_task, write_task
from fewsam.taskimport import import_task
from fewsam.training import train
from fewsam.volume import Volume, load_volume
from safetensors import safe_open
from safetensors.torch import load_file, save

from fewsam.collection import Collection
from fewsam.workspace import Workspace, open_task

QUICK = {
    "untrained": "true", "input_size": "64", "ensemble": "1", "prototypes": "1", "views": "1", "steps": "4",
    "train_seconds": "500", "detail_size": "64", "keep_better": "false", "neighbours": "false",
}  # fmt: skip
KEPT = 0.002  # share of a tensor's values that stays


def main() -> None:
    before, target = Path(sys.argv[1]), Path(sys.argv[2]).absolute()
    assert (before / "lib/fewsam/taskfile.py").is_file(), "run it with the version of before the packages"
    os.environ.pop("FEWSAM_SHARED_DATA", None)
    with tempfile.TemporaryDirectory(prefix="fewsam-compat-") as name:
        work = Path(name)
        expected = {
            "task_file": _task_file(work),
            "task_folder": _task_folder(work),
            "unfinished_training": _unfinished(work),
            "server_folder": _server(work),
        }
        for part in expected:
            _pack(work / part, target / f"{part}.zip")
        text = json.dumps(expected, indent=1, ensure_ascii=False, sort_keys=True)
        (target / "expected.json").write_text(text + "\n", encoding="utf-8")


def _task_file(work: Path) -> dict[str, Any]:
    """A trained task of one scan, exported: first with the pixels of its slices, then without."""
    conf = {**QUICK, "labels": ",".join(NAMES), "labelled_slices": "complete"}
    with open_task(work / "donor", conf=conf, create=True) as task:
        _submit(task, work, "donor", 2, (4, 5), annotator="Dr. Export")
        _train(task)
        (work / "task_file").mkdir()
        for file, with_pixels in (("with_pixels.fewsam", True), ("without_pixels.fewsam", False)):
            path = work / "task_file" / file
            export_task(task, path, with_pixels=with_pixels)
            _thin_task(path)
        return {"classes": list(task.collection.classes), "shots": _shots(task.collection), "card": task.store.info()}


def _task_folder(work: Path) -> dict[str, Any]:
    """Labels of two people, a slice drawn twice, one with nothing on it, an imported task, and a trained decoder."""
    conf = {**QUICK, "labels": ",".join(NAMES), "labelled_slices": "complete", "smooth_z": "false"}
    folder = work / "task_folder"
    with open_task(folder, conf=conf, create=True) as task:
        volume = _submit(task, work, "scan-1", 0, (3, 5), annotator="Anna")
        _submit(task, work, "scan-1", 0, (5,), annotator="Ömer", grown=1)
        _submit(task, work, "scan-2", 1, (4,), annotator="Anna")
    import_task(work / "task_file" / "without_pixels.fewsam", folder)
    with open_task(folder) as task:
        _train(task)
        _thin_decoder(task)
        prediction = task.predictor.predict(volume, "scan-1")
        task.collection.remember_served("scan-1", prediction.labelmap, prediction.classes, prediction.model_version)
        drawn = {name: np.zeros(volume.geometry.slices_shape, bool) for name in NAMES}
        drawn[NAMES[0]][6] = volume.geometry.to_slices(truth(0, 0))[6]
        task.collection.submit(volume, "scan-1", drawn, annotator="Ömer", source="fewsam train", complete_slices={0, 6})
        found = _described(task)
    for name in ("cache", "training"):
        shutil.rmtree(folder / name)
    return found


def _unfinished(work: Path) -> dict[str, Any]:
    """A training that was asked to stop after its second step."""
    folder = work / "unfinished_training"
    with open_task(folder, conf={**QUICK, "labels": ",".join(NAMES)}, create=True) as task:
        _submit(task, work, "scan-1", 0, (4, 5), annotator="Anna")
        steps: list[int] = []
        _train(task, steps)
        file = folder / "training" / "run.safetensors"
        with safe_open(file, framework="pt") as opened:
            metadata = opened.metadata()
        weights = _thinned(load_file(file))
        file.write_bytes(save(weights, metadata={**metadata, "checksum": checksum(weights)}))
        found = {**_described(task), "step": json.loads(metadata["run"])["step"]}
    for name in ("cache", "training/tensorboard"):
        shutil.rmtree(folder / name)
    return found


def _server(work: Path) -> dict[str, Any]:
    """The folder of a real server: a label over REST, a training, an answer, and a label corrected from it."""
    studies = work / "studies"
    write_scan(studies / "scan-1.nii.gz", 0)
    conf = {**QUICK, "labels": ",".join(NAMES), "labelled_slices": "partial", "precompute": "false"}
    server = ServerProcess(work / "server", studies, conf)
    server.start()
    try:
        for file, slices, grown in (("a.nii.gz", (3, 5), 0), ("b.nii.gz", (5,), 1)):
            label = write_label(work / file, 0, slices, grown)
            server.put_label("scan-1", label, {"label_info": _label_info()}, tag="final").raise_for_status()
        requests.post(f"{server.url}/train/segmentation", json={}).raise_for_status()
        server.wait(lambda: not server.info()["training"]["running"], "the end of the training")
        requests.post(f"{server.url}/infer/segmentation", params={"image": "scan-1"}, json={}).raise_for_status()
        label = write_label(work / "c.nii.gz", 0, (3, 5, 6), 0)
        server.put_label("scan-1", label, {"label_info": _label_info()}, tag="final").raise_for_status()
        described = server.info()["labelled_slices"]
    finally:
        server.stop()
    shutil.copytree(server.data, work / "server_folder")
    for name in ("cache", "results", "received", "training"):
        shutil.rmtree(work / "server_folder" / name, ignore_errors=True)
    with open_task(work / "server_folder", conf=conf) as task:
        _thin_decoder(task)
        return {**_described(task), "labelled_slices": described, "conf": conf, "folder": server.data.name}


def _label_info() -> list[dict[str, Any]]:
    return [{"name": name, "idx": value} for value, name in enumerate(NAMES, 1)]


def _submit(
    task: Workspace, work: Path, image_id: str, seed: int, slices: tuple[int, ...], annotator: str, grown: int = 0
) -> Volume:
    """Both organs on ``slices``, as `fewsam train` submits them."""
    volume = replace(load_volume(write_scan(work / f"{image_id}.nii.gz", seed)), source=f"{image_id}.nii.gz")
    chosen = np.isin(np.arange(volume.depth), slices)[:, None, None]
    masks = {
        name: volume.geometry.to_slices(np.roll(truth(seed, organ), grown, axis=0)) & chosen
        for organ, name in enumerate(NAMES)
    }
    task.collection.submit(volume, image_id, masks, annotator=annotator, source="fewsam train")
    return volume


def _train(task: Workspace, stop_after: list[int] | None = None) -> None:
    shots = task.collection.shots()
    prepare_views(task.settings, shots, task.embedder, priority=True)

    def should_stop() -> bool:
        assert stop_after is not None
        stop_after.append(len(stop_after))
        return len(stop_after) > 2

    train(
        task.settings,
        task.collection,
        task.embedder,
        task.store,
        folder=task.folder / "training",
        should_stop=should_stop if stop_after is not None else None,
    )


def _described(task: Workspace) -> dict[str, Any]:
    """All that must be found again, in plain words."""
    collection = task.collection
    histories = {
        f"{image.image_id}/{z}": collection.history(image.image_id, z)
        for image in collection.images()
        for z in range(image.shape[0])
    }
    return {
        "classes": list(collection.classes),
        "counts": collection.counts(),
        "shots": _shots(collection),
        "history": {key: entries for key, entries in histories.items() if entries},
        "drawings": {
            str(entry["shot_id"]): _shot(collection.shot(entry["shot_id"]))
            for entries in histories.values()
            for entry in entries
        },
        "learning_curve": collection.learning_curve(),
        "served": _served(collection),
        "imported": [file.name for file in collection.imported_files()],
        "card": task.store.info(),
        "settings": task.settings.model_dump(mode="json"),
    }


def _shots(collection: Collection) -> list[dict[str, Any]]:
    return [_shot(shot) for shot in collection.shots()]


def _shot(shot: Any) -> dict[str, Any]:
    return {
        "shot_id": shot.shot_id,
        "image_id": shot.image_id,
        "slice": shot.slice,
        "pixels": hashlib.sha256(np.ascontiguousarray(shot.pixels).tobytes()).hexdigest(),
        "masks": {
            name: hashlib.sha256(np.packbits(mask).tobytes()).hexdigest() for name, mask in sorted(shot.masks.items())
        },
        "voxels": {name: int(mask.sum()) for name, mask in sorted(shot.masks.items())},
        "known": sorted(shot.known),
        "annotator": shot.annotator,
        "time": shot.time,
        "source": shot.source,
        "split": shot.split,
        "spacing": list(shot.image.spacing),
    }


def _served(collection: Collection) -> dict[str, Any]:
    found = {}
    for image in collection.images():
        served = collection.served(image.image_id)
        if served is not None:
            labelmap, classes, version = served
            digest = hashlib.sha256(labelmap.tobytes()).hexdigest()
            found[image.image_id] = {"labelmap": digest, "classes": list(classes), "version": version}
    return found


def _thin_decoder(task: Workspace) -> None:
    """The served decoder's file with few weights, under the card it has; earlier versions go."""
    version = task.store.version()
    for path in (task.folder / "versions").glob("*.safetensors"):
        if path.name != f"decoder-{version:05d}.safetensors":
            path.unlink()
            continue
        with safe_open(path, framework="pt") as opened:
            card = opened.metadata()["card"]
        weights = _thinned(load_file(path))
        path.write_bytes(save(weights, metadata={"card": card, "checksum": checksum(weights)}))


def _thin_task(path: Path) -> None:
    task = read_task(path)
    embeddings = task.embeddings.astype(np.float32)
    blocks = embeddings.reshape(*embeddings.shape[:2], 4, 16, 4, 16).mean((3, 5)).round(1)
    blocks[:, 32:] = 0
    thin = np.kron(blocks, np.ones((16, 16), np.float32)).astype(np.float16)
    write_task(path, replace(task, embeddings=thin, decoder=_thinned(task.decoder or {})))


def _thinned(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Each tensor of more than one axis with its largest values alone, rounded."""
    thin = {}
    for name, value in weights.items():
        if value.ndim > 1:
            floor = value.abs().flatten().kthvalue(max(1, int((1 - KEPT) * value.numel()))).values
            value = torch.where(value.abs() >= floor, (value * 32).round() / 32, torch.zeros(()))
        thin[name] = ((value * 1024).round() / 1024).contiguous()
    return thin


def _pack(folder: Path, target: Path) -> None:
    with zipfile.ZipFile(target, "w", zipfile.ZIP_LZMA) as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file() and path.suffix != ".lock":
                archive.write(path, path.relative_to(folder))
    print(target.name, target.stat().st_size)


if __name__ == "__main__":
    main()
