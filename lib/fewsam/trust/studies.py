"""What attacked servers are given: settings, small images, and drawings on them that no two seeds share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import nibabel as nib
import numpy as np

from fewsam.volume import geometry_for

CLASSES = ("ball", "box")
# As little work as shows the mechanism: a training takes two steps and is published whatever it is worth.
TINY: Mapping[str, object] = {
    "labels": ",".join(CLASSES), "keep_better": "false", "ensemble": 1, "prototypes": 1, "views": 1,
    "fresh_views": "false", "steps": 2, "batch": 2, "train_seconds": 20, "detail_size": 64, "untrained": "true",
}  # fmt: skip
SHAPE = (32, 24, 8)  # (i, j, k); slices lie along k
AFFINE = np.diag([2.0, 2.0, 5.0, 1.0])


def write_image(folder: Path, name: str, shape: tuple[int, int, int] = SHAPE, seed: int = 0) -> Path:
    """A NIfTI image with a ball and a box in noise."""
    rng = np.random.default_rng([seed, *name.encode()])
    x, y, z = np.meshgrid(*(np.linspace(-1, 1, n, dtype=np.float32) for n in shape), indexing="ij")
    voxels = rng.normal(0, 12, shape).astype(np.float32)
    voxels[(x + 0.35) ** 2 + y**2 + (0.35 * z) ** 2 < 0.09] += 160
    voxels[(abs(x - 0.35) < 0.2) & (abs(y - 0.1) < 0.25)] -= 60
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.nii.gz"
    nib.save(nib.Nifti1Image(voxels.astype(np.int16), AFFINE), path)
    return path


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
