"""The best, the median and the worst tested slice of a cell, kept for the report."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from fewsam.core.config import load_settings
from fewsam.core.metrics import iou
from fewsam.evaluation.data.cases import Case
from fewsam.evaluation.data.sampling import Draw
from fewsam.evaluation.report.cells import Cell
from fewsam.images.preprocess import choose_intensity, image_stats
from fewsam.images.volume import Volume

FOLDER = "examples"
KINDS = ("best", "median", "worst")


def example_file(folder: Path, cell: Cell) -> Path:
    """Where the slices of a cell are kept."""
    name = "-".join(map(str, cell.key))
    return folder / FOLDER / f"{re.sub(r'[^A-Za-z0-9.=-]+', '_', name)}.npz"


def keep_examples(
    folder: Path,
    cell: Cell,
    cases: Sequence[Case],
    picked: Draw,
    classes: Sequence[str],
    found: Mapping[int, np.ndarray],
) -> None:
    """Write ``best``, ``median`` and ``worst`` of the tested slices that hold a structure: image, truth, prediction."""
    ranked = []
    for i, slices in picked.tested.items():
        for z in slices:
            values = [
                iou(found[i][z] == value, cases[i].truth[name][z])
                for value, name in enumerate(classes, 1)
                if cases[i].truth[name][z].any()
            ]
            if values:
                ranked.append((float(np.mean(values)), i, z))
    if not ranked:
        return
    ranked.sort(key=lambda entry: -entry[0])
    kept: dict[str, np.ndarray] = {"classes": np.array(classes)}
    for kind, (value, i, z) in zip(KINDS, (ranked[0], ranked[len(ranked) // 2], ranked[-1]), strict=True):
        truth = np.zeros(found[i][z].shape, np.uint8)
        for number, name in enumerate(classes, 1):
            truth[cases[i].truth[name][z]] = number
        spacing = cases[i].volume.geometry.spacing
        kept[f"{kind}_image"] = shown(cases[i].volume, z)
        kept[f"{kind}_truth"], kept[f"{kind}_found"] = truth, found[i][z]
        kept[f"{kind}_title"] = np.array(f"{cases[i].name}, slice {z}")
        kept[f"{kind}_numbers"] = np.array([value, spacing[1] / spacing[2]])
    path = example_file(folder, cell)
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, **kept)


def shown(volume: Volume, z: int) -> np.ndarray:
    """A slice as (H, W) uint8 in the window that the image calls for."""
    intensity = choose_intensity(image_stats(volume), load_settings())
    pixels = volume.slices[z].astype(np.float32)
    pixels = pixels.mean(axis=-1) if pixels.ndim == 3 else pixels
    return np.clip((pixels - intensity.low) / (intensity.high - intensity.low) * 255, 0, 255).astype(np.uint8)
