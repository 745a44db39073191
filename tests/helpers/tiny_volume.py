"""A volume small enough for unit tests: three ellipsoids of different brightness in a noisy box."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from fewsam.collection import Collection
from fewsam.core.config import Settings, load_settings
from fewsam.core.metrics import iou
from fewsam.encoders.cache import EmbeddingCache
from fewsam.encoders.embedder import Embedder
from fewsam.images.volume import Volume, load_volume

CLASSES = ("left", "right", "small")
SHAPE = (48, 40, 12)  # native (i, j, k)
QUICK: dict[str, Any] = {
    "encoder": "compact",
    "steps": 6,
    "train_seconds": 1000,
    "views": 1,
    "batch": 2,
    "fresh_views": False,
    "labels": CLASSES,
    "input_size": 128,  # as the next, in pixels: the scans of tests are smaller still
    "detail_size": 64,
}


def settings(**overrides: Any) -> Settings:
    """Settings with which a training takes a second or two."""
    return load_settings(None, {**QUICK, **overrides})


def write_scan(folder: Path, name: str = "scan", seed: int = 0) -> tuple[Path, np.ndarray]:
    """An image file and its truth (i, j, k) uint8 with values 1..3 in the order of CLASSES."""
    rng = np.random.default_rng(seed)
    i, j, k = np.meshgrid(*(np.arange(n) for n in SHAPE), indexing="ij")
    truth = np.zeros(SHAPE, np.uint8)
    for value, (centre, radius) in enumerate([((14, 20, 6), 9), ((34, 22, 6), 8), ((24, 8, 6), 4)], 1):
        shift = rng.uniform(-1.5, 1.5, 3)
        distance = (i - centre[0] - shift[0]) ** 2 + (j - centre[1] - shift[1]) ** 2 + (2 * (k - centre[2])) ** 2
        truth[distance < radius**2] = value
    image = np.array([20, 120, 170, 230])[truth] + rng.normal(0, 8, SHAPE)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.nii.gz"
    nib.save(nib.Nifti1Image(image.astype(np.int16), np.diag([1.0, 1.0, 3.0, 1.0])), path)
    return path, truth


def scan(folder: Path, name: str = "scan", seed: int = 0) -> tuple[Volume, dict[str, np.ndarray]]:
    """The same as a volume and its truth by class, bool (Z, H, W)."""
    path, truth = write_scan(folder, name, seed)
    volume = load_volume(path)
    slices = volume.geometry.to_slices(truth)
    return volume, {name: slices == value for value, name in enumerate(CLASSES, 1)}


def on_slices(masks: dict[str, np.ndarray], slices: list[int]) -> dict[str, np.ndarray]:
    """Masks that are empty but on ``slices``: what a person drew there."""
    drawn = {name: np.zeros_like(mask) for name, mask in masks.items()}
    for name, mask in masks.items():
        drawn[name][slices] = mask[slices]
    return drawn


def embedder(folder: Path, given: Settings, **options: Any) -> Embedder:
    """An embedder with a cache of its own."""
    return Embedder(given, EmbeddingCache(folder / "cache", 2**28), **options)


def labelled(folder: Path, slices: list[int], seed: int = 0) -> tuple[Collection, Volume, dict[str, np.ndarray]]:
    """A collection with one scan (id "scan") labelled on ``slices``, completely."""
    volume, masks = scan(folder, seed=seed)
    collection = Collection(folder, CLASSES)
    collection.submit(volume, "scan", on_slices(masks, slices), absent_classes="complete", complete_slices=set(slices))
    return collection, volume, masks


def damage_drawing(folder: Path, collection: Collection, z: int) -> None:
    """Overwrite the bytes of what was drawn on slice ``z``, in the file and in its copy."""
    (shot,) = [one for one in collection.shots() if one.slice == z]
    for name in ("collection.sqlite", "collection.copy.sqlite"):
        with closing(sqlite3.connect(folder / name)) as db:
            drawn = json.loads(db.execute("SELECT drawn FROM shots WHERE id = ?", (shot.shot_id,)).fetchone()[0])
            digests = [(bytes.fromhex(digest),) for digest in drawn.values()]
            db.executemany("UPDATE blobs SET data = zeroblob(20) WHERE digest = ?", digests)
            db.commit()


def mean_iou(predicted: np.ndarray, truth: np.ndarray) -> float:
    """Mean IoU of ``CLASSES`` over two labelmaps, value = position + 1; classes in neither are left out."""
    values = [v for v in range(1, 1 + len(CLASSES)) if (truth == v).any() or (predicted == v).any()]
    return float(np.mean([iou(predicted == v, truth == v) for v in values]))
