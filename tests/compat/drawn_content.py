"""What the kept folders of an earlier version hold: a small scan and the labels that were drawn on it, by formula."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np

SHAPE = (24, 20, 10)  # native (i, j, k); slices are along k
AFFINE = np.array([[-1.5, 0, 0, 12], [0, 2.0, 0, -8], [0, 0, 5.0, 40], [0, 0, 0, 1]])
NAMES = ("Leber (groß)", "spleen")


def voxels(seed: int) -> np.ndarray:
    """Native int16 image of two bright balls, another one for each seed."""
    noise = np.random.default_rng(seed).integers(0, 9, SHAPE)
    return (20 + 90 * truth(seed, 0) + 160 * truth(seed, 1) + noise).astype(np.int16)


def truth(seed: int, organ: int) -> np.ndarray:
    """Native bool mask of ``NAMES[organ]``."""
    i, j, k = np.indices(SHAPE)
    centre = ((8, 9), (17, 11))[organ]
    return (i - centre[0] - seed % 3) ** 2 + (j - centre[1]) ** 2 + (2 * (k - 5)) ** 2 <= (7 - 2 * organ) ** 2


def write_scan(path: Path, seed: int) -> Path:
    """The image of ``seed`` as NIfTI."""
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(voxels(seed), AFFINE), path)
    return path


def write_label(path: Path, seed: int, slices: tuple[int, ...], grown: int = 0) -> Path:
    """Both organs on native ``slices`` as NIfTI, each row of the mask moved by ``grown`` voxels."""
    label = np.zeros(SHAPE, np.uint8)
    for organ in (0, 1):
        label[np.roll(truth(seed, organ), grown, axis=0)] = organ + 1
    kept = np.zeros_like(label)
    kept[:, :, list(slices)] = label[:, :, list(slices)]
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(kept, AFFINE), path)
    return path
