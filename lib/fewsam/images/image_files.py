"""The files that an image is read from: with others in their place it is another image."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import nrrd

from fewsam.images.endings import has_suffix
from fewsam.images.imagebounds import metaimage_voxels, nrrd_voxels
from fewsam.images.imageio import METAIMAGE, NRRD
from fewsam.images.sequences import sequence_files


def image_files(path: Path, sequences: Sequence[str] = ()) -> list[Path]:
    """The files of an image and of its other ``sequences``, those too that a header names as the place of its voxels.

    Raises:
        ImageError: as `sequence_files` does. A file that cannot be read is listed; who opens it is told.
        OSError: a folder cannot be listed.
    """
    return [file for part in sequence_files(path, sequences) for file in _files_of(part)]


def _files_of(path: Path) -> list[Path]:
    if path.is_dir():
        return sorted(file for file in path.rglob("*") if file.is_file())
    try:
        if has_suffix(path, METAIMAGE):
            voxels = metaimage_voxels(path)
        elif has_suffix(path, NRRD):
            voxels = nrrd_voxels(path, nrrd.read_header(str(path)))
        else:
            return [path]
    except Exception:  # readers of headers raise whatever they meet
        return [path]
    return list(dict.fromkeys((path, voxels)))
