"""Two or three registered sequences of one study as one image, each of them a channel that the encoder sees.

The setting ``sequences`` names them, the first one is the image that is listed and drawn on, and the others are laid on
its grid. They are found beside it: of files by the ends of their names (``_t1,_t2``: patient01_t1.nii.gz and
patient01_t2.nii.gz), of DICOM by words of the SeriesDescription of the same study, and in a NIfTI file with several
values a voxel by their numbers (``0,1,3``).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import reduce
from pathlib import Path

import numpy as np
import pydicom
from scipy import ndimage

from fewsam.core.errors import ImageError
from fewsam.images.dicomio import is_dicom
from fewsam.images.endings import IMAGE_ENDINGS, NIFTI, has_suffix, split_ending
from fewsam.images.imageio import open_nifti, unreadable
from fewsam.images.native import native_image
from fewsam.images.nifti_place import placed_as_itk_does
from fewsam.images.volume import Geometry, Volume, load_volume, volume_of

_SAME_PLACE = 0.01  # voxels by which two grids may differ at a corner and still be one grid
_MUST_COVER = 0.5  # of the first sequence's voxels
_TAGS = ["StudyInstanceUID", "SeriesDescription"]


def are_numbers(sequences: Sequence[str]) -> bool:
    """Whether they are numbers of the values of each voxel in one file."""
    return bool(sequences) and all(name.isdigit() for name in sequences)


def sequence_of_file(name: str, sequences: Sequence[str]) -> str | None:
    """The sequence that a file's name, without its ending, ends with: the longest that fits."""
    return max((s for s in sequences if name.casefold().endswith(s.casefold())), key=len, default=None)


def sequence_of_series(description: str, sequences: Sequence[str]) -> str | None:
    """The sequence whose words stand in a SeriesDescription: the longest that fits."""
    return max((s for s in sequences if s.casefold() in description.casefold()), key=len, default=None)


def is_first(path: Path, sequences: Sequence[str]) -> bool:
    """Whether ``path``, a file or a folder of DICOM, is an image of its own: the first of the sequences."""
    if not sequences or are_numbers(sequences):
        return True
    if path.is_dir() or is_dicom(path):
        return sequence_of_series(_described(path)[1], sequences) == sequences[0]
    return is_first_file(path.name, sequences)


def is_first_file(name: str, sequences: Sequence[str]) -> bool:
    """`is_first` of a file that is no DICOM, by its name."""
    if not sequences or are_numbers(sequences):
        return True
    return sequence_of_file(split_ending(name, IMAGE_ENDINGS)[0], sequences) == sequences[0]


def load_image(path: str | os.PathLike[str], axis: str = "auto", sequences: Sequence[str] = ()) -> Volume:
    """`load_volume`, with the other sequences as further channels.

    Raises:
        ImageError: as `load_volume` does, or a sequence is missing, is there twice, or lies elsewhere.
    """
    path = Path(path)
    if not sequences:
        return load_volume(path, axis)
    if are_numbers(sequences):
        return stack(_values_of(path, [int(number) for number in sequences], axis), sequences)
    return stack([load_volume(file, axis) for file in sequence_files(path, sequences)], sequences)


def sequence_files(path: Path, sequences: Sequence[str]) -> list[Path]:
    """The files or DICOM folders of an image's sequences, in their order; of one that has all in itself, that one.

    Raises:
        ImageError: ``path`` is not the first of them, or one is missing or there twice.
    """
    if not sequences or are_numbers(sequences):
        return [path]
    found: dict[str, list[Path]] = {name: [] for name in sequences}
    if path.is_dir() or is_dicom(path):
        study, description = _described(path)
        own, what = sequence_of_series(description, sequences), f"its SeriesDescription {description!r} does not hold"
        for other in path.parent.iterdir() if path.is_dir() else ():
            if other == path or not other.is_dir() or other.name.startswith("."):
                continue
            uid, words = _described(other)
            if uid == study and (name := sequence_of_series(words, sequences)):
                found[name].append(other)
    else:
        stem = split_ending(path.name, IMAGE_ENDINGS)[0]
        own, what = sequence_of_file(stem, sequences), "its name does not end with"
        start = stem[: len(stem) - len(sequences[0])].casefold()
        for other in path.parent.iterdir():
            name, ending = split_ending(other.name, IMAGE_ENDINGS)
            for sequence in sequences[1:]:
                if ending and name.casefold() == start + sequence.casefold():
                    found[sequence].append(other)
    if own != sequences[0]:
        raise ImageError(f"{path}: {what} {sequences[0]!r}, the first of the setting sequences; give one that does")
    return [path, *(_one(path, name, found[name]) for name in sequences[1:])]


def missing(names: Iterable[str], sequences: Sequence[str]) -> dict[str, str]:
    """Of the files of a folder, the first sequences that lack others, with the reason."""
    stems = {split_ending(name, IMAGE_ENDINGS)[0].casefold(): name for name in names}
    found = {}
    for stem, name in stems.items():
        if are_numbers(sequences) or sequence_of_file(stem, sequences) != sequences[0]:
            continue
        start = stem[: len(stem) - len(sequences[0])]
        if lacks := [s for s in sequences[1:] if start + s.casefold() not in stems]:
            found[name] = _no_such(lacks[0])
    return found


def _no_such(sequence: str) -> str:
    return f"the sequence {sequence!r} of the setting sequences is not beside it; add it, or change the setting"


def _one(path: Path, sequence: str, found: Sequence[Path]) -> Path:
    if not found:
        raise ImageError(f"{path}: {_no_such(sequence)}")
    exact = [p for p in found if p.is_dir() and _described(p)[1].casefold() == sequence.casefold()]
    chosen = exact if len(found) > 1 and len(exact) == 1 else found
    if len(chosen) > 1:
        raise ImageError(f"{path}: {chosen[0].name} and {chosen[1].name} both are {sequence!r}; give more of the name")
    return chosen[0]


def _described(path: Path) -> tuple[str, str]:
    """StudyInstanceUID and SeriesDescription of the first DICOM file in a folder, or of a file; empty for others."""
    files = (p for p in sorted(path.iterdir()) if p.is_file()) if path.is_dir() else iter((path,))
    for file in files:
        if is_dicom(file):
            data = pydicom.dcmread(file, stop_before_pixels=True, specific_tags=_TAGS, force=True)
            return str(data.get("StudyInstanceUID") or ""), str(data.get("SeriesDescription") or "")
    return "", ""


def _values_of(path: Path, numbers: Sequence[int], axis: str) -> list[Volume]:
    """Volumes of some of the values that each voxel of a NIfTI file has."""
    if not has_suffix(path, NIFTI):
        raise ImageError(f"{path}: sequences by their numbers are read from NIfTI files alone; convert it to one")
    try:
        file = open_nifti(path)
        vectors = file.ndim == 5 and file.shape[3] == 1  # as ITK writes them
        count = file.shape[-1] if vectors or file.ndim == 4 else 1
        if max(numbers) >= count:
            raise ImageError(
                f"{path}: it has {count} values a voxel, and sequences asks for number {max(numbers)}; the first is 0"
            )
        affine = np.asarray(file.affine, np.float64)
        images = [native_image(path, np.asarray(file.dataobj[..., n]).reshape(file.shape[:3]), affine) for n in numbers]
        return [volume_of(placed_as_itk_does(path, image, file.header), path, axis) for image in images]
    except ImageError:
        raise
    except Exception as error:  # nibabel and zlib raise whatever they meet
        raise unreadable(path, error) from error


def stack(volumes: Sequence[Volume], sequences: Sequence[str]) -> Volume:
    """One volume (Z, H, W, 3) on the grid of the first of two or three; of two the first is the third channel too.

    Raises:
        ImageError: one of them is in colour, or lies beside the first.
    """
    first = volumes[0]
    for volume in volumes:
        if volume.slices.ndim == 4:
            raise ImageError(f"{volume.source}: it is in colour, and has the three channels of the encoder already")
    channels = [first.slices, *(_on_grid(volume, first.geometry) for volume in volumes[1:])]
    channels = [*channels, channels[0]][:3]
    kind = reduce(np.promote_types, (channel.dtype for channel in channels))
    slices = np.stack([channel.astype(kind) for channel in channels], axis=-1)
    notes = tuple(dict.fromkeys(note for volume in volumes for note in volume.notes))
    modalities = tuple([*(volume.modality for volume in volumes), first.modality][:3])
    return replace(first, slices=slices, notes=notes, sequences=tuple(sequences), modalities=modalities)


def _on_grid(volume: Volume, grid: Geometry) -> np.ndarray:
    """A volume's slices on another grid: voxel by voxel where it is the same one, else linearly between voxels."""
    native = volume.geometry.to_native(volume.slices)
    if _same_grid(volume.geometry, grid):
        return grid.to_slices(native)
    out = np.full(grid.shape, native.min(), np.float32)
    covered = 0
    ij = np.stack(np.meshgrid(*map(np.arange, grid.shape[:2]), indexing="ij"), axis=-1)
    for k in range(grid.shape[2]):
        world = grid.world(np.concatenate([ij, np.full((*ij.shape[:2], 1), k)], axis=-1))
        index = _index(volume.geometry, world)
        inside = ((index > -0.5) & (index < np.array(native.shape) - 0.5)).all(axis=-1)
        covered += int(inside.sum())
        place = index[inside].T  # (3, N)
        out[:, :, k][inside] = ndimage.map_coordinates(native.astype(np.float32), place, order=1, mode="nearest")
    if covered < _MUST_COVER * out.size:
        raise ImageError(
            f"{volume.source}: it covers {100 * covered // out.size} % of the first sequence; register them first"
        )
    return np.ascontiguousarray(grid.to_slices(out))


def _same_grid(one: Geometry, other: Geometry) -> bool:
    if one.shape != other.shape:
        return False
    last = np.array(one.shape) - 1
    corners = np.array([[i, j, k] for i in (0, last[0]) for j in (0, last[1]) for k in range(one.shape[2])])
    return bool(np.abs(_index(one, other.world(corners)) - corners).max() <= _SAME_PLACE)


def _index(geometry: Geometry, world: np.ndarray) -> np.ndarray:
    """Native indices (..., 3), with their fractions, of places in RAS millimetres (..., 3)."""
    if geometry.positions is None or len(geometry.positions) < 2:
        inverse = np.linalg.inv(geometry.affine)
        return world @ inverse[:3, :3].T + inverse[:3, 3]
    axes = geometry.affine[:3, :2]
    normal = np.cross(axes[:, 0], axes[:, 1])
    heights = geometry.positions @ normal
    order = np.argsort(heights)
    steps, height = heights[order], world @ normal
    k = np.interp(height, steps, order.astype(float))
    # beyond the outer slices by the distance of the last two
    below, above = height < steps[0], height > steps[-1]
    k[below] = order[0] + (height[below] - steps[0]) / (steps[1] - steps[0]) * (order[1] - order[0])
    k[above] = order[-1] + (height[above] - steps[-1]) / (steps[-1] - steps[-2]) * (order[-1] - order[-2])
    origin = np.stack([np.interp(k, np.arange(len(heights)), geometry.positions[:, a]) for a in range(3)], axis=-1)
    within = (world - origin) @ np.linalg.pinv(axes).T
    return np.concatenate([within, k[..., None]], axis=-1)
