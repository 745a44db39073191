"""What attacked servers are given: settings, small images, and drawings on them that no two seeds share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import nibabel as nib
import numpy as np

from fewsam.images.volume import geometry_for

CLASSES = ("ball", "box")
# As little work as shows the mechanism: a training takes two steps and is published whatever it is worth.
TINY: Mapping[str, object] = {
    "labels": ",".join(CLASSES), "keep_better": "false", "ensemble": 1, "prototypes": 1, "views": 1,
    "fresh_views": "false", "steps": 2, "batch": 2, "train_seconds": 20, "detail_size": 64, "untrained": "true",
}  # fmt: skip
SHAPE = (32, 24, 8)  # (i, j, k); slices lie along k
AFFINE = np.diag([2.0, 2.0, 5.0, 1.0])


def make_studies(
    folder: Path, images: Sequence[str] = ("a", "b"), shape: tuple[int, int, int] = (40, 36, 10), seed: int = 0
) -> dict[str, np.ndarray]:
    """Write a small CT-like NIfTI volume for each id: a body with a ball and a box.

    Returns:
        Image id -> truth (i, j, k) uint8, 1 ball, 2 box.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    truth: dict[str, np.ndarray] = {}
    grid = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij", sparse=True)
    for image_id in images:
        x, y, z = (axis - shift for axis, shift in zip(grid, rng.uniform(-0.1, 0.1, 3), strict=True))
        body = np.broadcast_to(x**2 / 0.8 + y**2 / 0.7 < 1, shape)
        ball = (x + 0.35) ** 2 + y**2 + (0.35 * z) ** 2 < 0.09
        box = (abs(x - 0.35) < 0.2) & (abs(y - 0.1) < 0.25) & (abs(z) < 0.7)
        labels = np.zeros(shape, np.uint8)
        labels[ball], labels[box] = 1, 2
        voxels = np.where(body, 40.0, -900.0)
        voxels[ball], voxels[box] = 160, -60
        voxels += rng.normal(0, 12, shape)
        nib.save(nib.Nifti1Image(voxels.astype(np.int16), AFFINE), folder / f"{image_id}.nii.gz")
        truth[image_id] = labels
    return truth


@dataclass(frozen=True)
class Drawing:
    """What a person draws on a few slices.

    Attributes:
        voxels: (i, j, k) uint8; value 1 is the second class and 2 the first: whoever reads it by position alone
            mixes them up.
        slices: Those drawn on, along k.
    """

    voxels: np.ndarray
    slices: tuple[int, ...]

    @property
    def label_info(self) -> list[dict[str, object]]:
        """Names of the values, as Slicer sends them."""
        return [{"name": name, "idx": value} for value, name in enumerate(reversed(CLASSES), start=1)]

    def plane(self, k: int, name: str) -> np.ndarray:
        """Bool (i, j) of a class on a slice."""
        return np.asarray(self.voxels[:, :, k] == len(CLASSES) - CLASSES.index(name))

    @cached_property
    def shots(self) -> dict[int, dict[str, np.ndarray]]:
        """The same as the collection keeps it: canonical slice z -> class -> bool (H, W)."""
        geometry = geometry_for(self.voxels.shape, AFFINE, "auto")
        values = geometry.to_slices(self.voxels)
        return {
            geometry.canonical_index(0, 0, k)[0]: {
                name: values[geometry.canonical_index(0, 0, k)[0]] == len(CLASSES) - place
                for place, name in enumerate(CLASSES)
            }
            for k in self.slices
        }

    def save(self, path: Path) -> Path:
        nib.save(nib.Nifti1Image(self.voxels, AFFINE), path)
        return path


def draw(seed: int, slices: Sequence[int], shape: tuple[int, int, int] = SHAPE) -> Drawing:
    """Both classes on each of ``slices``, at random: other than that of any other seed."""
    rng = np.random.default_rng(seed)
    voxels = np.zeros(shape, np.uint8)
    half = shape[0] // 2
    for k in slices:
        plane = rng.random(shape[:2]) < 0.3
        voxels[:half, :, k] = plane[:half]
        voxels[half:, :, k] = 2 * plane[half:]
    return Drawing(voxels, tuple(sorted(slices)))
