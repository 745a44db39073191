"""Small volumes of three ellipsoids with their truth, and settings under which a task trains in seconds."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np

SHAPE = (40, 48, 12)  # native (i, j, k)
NAMES = ("heart", "liver", "bead")
# Patient axes in another order and direction than RAS+, so that a lost flip or transposition shows.
AFFINE = np.array([[0, -2.0, 0, 10], [-2.0, 0, 0, 20], [0, 0, 5.0, -30], [0, 0, 0, 1]])
# As little work as shows the mechanism.
QUICK = {
    "encoder": "compact",
    "labels": ",".join(NAMES),
    "input_size": "128",
    "ensemble": "1",
    "prototypes": "1",
    "views": "1",
    "fresh_views": "false",
    "steps": "4",
    "train_seconds": "500",  # the steps end it, on a busy machine too
    "detail_size": "64",
}
_CENTRES = ((12, 14, 6), (26, 30, 6), (12, 34, 4))
_RADII = ((7, 8, 4.5), (9, 10, 5.5), (4, 4, 2.5))


def conf_arguments(**changes: str) -> list[str]:
    """QUICK with changes, as ``--conf`` arguments."""
    return [part for key, value in {**QUICK, **changes}.items() for part in ("--conf", f"{key}={value}")]


def truth_of(shift: float) -> np.ndarray:
    """Native labelmap, uint8: 1, 2, 3 as in NAMES."""
    grid = np.indices(SHAPE).astype(float)
    labels = np.zeros(SHAPE, np.uint8)
    for value, (centre, radii) in enumerate(zip(_CENTRES, _RADII, strict=True), 1):
        inside = sum(((grid[a] - centre[a] - shift) / radii[a]) ** 2 for a in range(3)) <= 1
        labels[inside] = value
    return labels


def write_case(folder: Path, name: str, shift: float = 0.0) -> tuple[Path, Path]:
    """``images/<name>.nii.gz`` and ``labels/<name>.nii.gz`` under ``folder``."""
    labels = truth_of(shift)
    noise = np.random.default_rng(int(shift * 10)).normal(0, 8, SHAPE)
    image = (np.array([20, 160, 90, 230])[labels] + noise).astype(np.int16)
    paths = folder / "images" / f"{name}.nii.gz", folder / "labels" / f"{name}.nii.gz"
    for path, voxels in zip(paths, (image, labels), strict=True):
        path.parent.mkdir(parents=True, exist_ok=True)
        nib.save(nib.Nifti1Image(voxels, AFFINE), path)
    return paths


def voxels(path: Path) -> np.ndarray:
    """Native array of a NIfTI file."""
    return np.asarray(nib.load(path).dataobj)
