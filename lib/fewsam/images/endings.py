"""File endings: which files are images, which are labels, and which a labelmap can be written to."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

NIFTI = (".nii", ".nii.gz")
FLAT_ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")  # no place in space: matched by their size alone
LABEL_ENDINGS = (".seg.nrrd", ".nii.gz", ".nii", ".nrrd", ".mha", ".mhd", ".png", ".tif", ".tiff", ".bmp", ".bin")
# ".seg.nrrd" stands after ".nrrd", since MONAI Label takes the last pattern that fits.
IMAGE_ENDINGS = (".nii.gz", ".nii", ".nrrd", ".seg.nrrd", ".mha", ".mhd", *FLAT_ENDINGS)
LABELMAP_ENDINGS = (".nii.gz", ".nii", ".nrrd", ".seg.nrrd", ".png")


def split_ending(filename: str, endings: Sequence[str] = LABEL_ENDINGS) -> tuple[str, str]:
    """``("case_1", ".seg.nrrd")`` of ``case_1.seg.nrrd``: the longest of ``endings`` counts, and none gives ``""``."""
    for ending in sorted(endings, key=len, reverse=True):
        if filename.lower().endswith(ending) and len(filename) > len(ending):
            return filename[: -len(ending)], filename[-len(ending) :]
    return filename, ""


def has_suffix(path: Path, suffixes: tuple[str, ...]) -> bool:
    """Whether the file name ends so; UIDs have dots of their own, so `Path.suffix` would mislead."""
    return path.name.lower().endswith(suffixes)
