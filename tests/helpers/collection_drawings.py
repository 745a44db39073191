"""Drawings on a small volume, for the tests of the collection: blobs that tell by their seed which one they are."""

from __future__ import annotations

import numpy as np

from fewsam.collection import Submission
from fewsam.images.volume import Volume, geometry_for

Z, H, W = 30, 16, 20
LABELS = ("Liver", "spleen", "aorta")


def make_volume(seed: int = 0, depth: int = Z, rgb: bool = False) -> Volume:
    rng = np.random.default_rng(seed)
    if rgb:
        slices = rng.integers(0, 255, (depth, H, W, 3), dtype=np.uint8)
    else:
        slices = rng.integers(-1000, 1000, (depth, H, W), dtype=np.int16)
    geometry = geometry_for((W, H, depth), np.diag([1.0, 1.0, 4.0, 1.0]), axis="2")
    return Volume(slices=slices, geometry=geometry, modality=None, source=f"volume-{seed}")


def blob(seed: int) -> np.ndarray:
    """A non-empty mask (H, W), another one for each seed."""
    rng = np.random.default_rng(1000 + seed)
    mask = np.zeros((H, W), bool)
    row, col = rng.integers(1, H - 6), rng.integers(1, W - 6)
    mask[row : row + 5, col : col + 5] = rng.random((5, 5)) < 0.8
    mask[row, col] = True
    return mask


def label(**slices: dict[int, int]) -> dict[str, np.ndarray]:
    """Masks by class from ``class={slice: seed of its blob}``."""
    masks = {name: np.zeros((Z, H, W), bool) for name in slices}
    for name, drawn in slices.items():
        for z, seed in drawn.items():
            masks[name][z] = blob(seed)
    return masks


def fates(submission: Submission) -> dict[str, tuple[int, ...]]:
    groups = ("added", "superseded", "cleared", "unchanged", "kept", "untouched")
    return {group: getattr(submission, group) for group in groups if getattr(submission, group)}
