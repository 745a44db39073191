"""Images and labels as a program has them, files or arrays, as the volumes and masks that a task works on.

An image is a file (or a folder with a DICOM series), or an array of voxels: grey ``(i, j, k)``, a flat grey image
``(i, j)``, or colour ``(i, j, k, 3)`` of unsigned integers. The axes of an array are in the order of nibabel, so that
``affine`` (4, 4) takes ``(i, j, k)`` to RAS millimetres. Without an affine, ``spacing`` is the size of a voxel in mm
along each axis.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from fewsam.core.errors import ConfigError, ImageError, LabelError
from fewsam.images.casefiles import case_id
from fewsam.images.native import native_image
from fewsam.images.sequences import load_image
from fewsam.images.volume import Geometry, Volume, volume_of

Image = np.ndarray | str | os.PathLike[str]

_PLACE = Path("array")  # the name of an array in messages


def open_image(
    image: Image,
    affine: np.ndarray | None,
    spacing: Sequence[float] | None,
    modality: str | None,
    axis: str,
    sequences: Sequence[str] = (),
) -> Volume:
    """The image as a volume that is cut along ``axis``; of a file with its other ``sequences``, as in the settings.

    Raises:
        ImageError: the file cannot be read, or the array is no grey or colour image.
        ConfigError: a place is given for a file, or given twice for an array.
    """
    if isinstance(image, str | os.PathLike):
        if affine is not None or spacing is not None or modality is not None:
            raise ConfigError(f"{image} is a file, which has its own affine and modality; give them with arrays only")
        return load_image(image, axis, sequences)
    array = np.asarray(image)
    native = native_image(_PLACE, array, _affine(affine, spacing), colour=array.ndim == 4, modality=modality)
    return volume_of(native, _PLACE, axis)


def name_of(image: Image, volume: Volume) -> str:
    """The name of an image that got none: that of its file, or one made of the array's content."""
    if isinstance(image, str | os.PathLike):
        return case_id(Path(image))
    return f"array-{volume.content_hash[:12]}"


def is_flat(image: Image) -> bool:
    """Whether the image is an array ``(i, j)``."""
    return not isinstance(image, str | os.PathLike) and np.ndim(image) == 2


def masks_of(
    label: np.ndarray | Mapping[str, np.ndarray], names: Mapping[int, str], geometry: Geometry
) -> dict[str, np.ndarray]:
    """Bool masks (Z, H, W) by class.

    Args:
        label: Masks by class, or a labelmap of integers, of the image's shape.
        names: The class of each value of a labelmap.

    Raises:
        LabelError: another shape, no integers, or a value without a name.
    """
    masks = label if isinstance(label, Mapping) else _by_class(np.asarray(label), names)
    shapes = [geometry.shape, geometry.shape[:2]] if geometry.shape[2] == 1 else [geometry.shape]
    for name, mask in masks.items():
        if np.shape(mask) not in shapes:
            raise LabelError(f"the mask of {name!r} has the shape {np.shape(mask)}, but its image has {geometry.shape}")
    return {
        name: geometry.to_slices(np.asarray(mask).astype(bool).reshape(geometry.shape)) for name, mask in masks.items()
    }


def canonical_slice(number: int, geometry: Geometry) -> int:
    """The canonical slice at an index of the array's slice axis, which may count from the other end.

    Raises:
        LabelError: the image has no such slice.
    """
    depth = geometry.slices_shape[0]
    if not 0 <= number < depth:
        raise LabelError(f"slice {number} does not exist; the image has the slices 0 to {depth - 1}")
    return array_slice(int(number), geometry)


def array_slice(z: int, geometry: Geometry) -> int:
    """The index on the array's slice axis of a canonical slice."""
    return geometry.slices_shape[0] - 1 - z if geometry.flips[0] else z


def _by_class(labelmap: np.ndarray, names: Mapping[int, str]) -> dict[str, np.ndarray]:
    if labelmap.dtype.kind not in "iu":
        raise LabelError(f"a labelmap holds integers, this one {labelmap.dtype}; give bool masks by their class names")
    unnamed = sorted({int(value) for value in np.unique(labelmap)} - {0, *names})
    if unnamed:
        raise LabelError(f"the labelmap holds the values {unnamed[:5]}, which no class has; pass names={{1: 'liver'}}")
    return {name: labelmap == value for value, name in names.items()}


def _affine(affine: np.ndarray | None, spacing: Sequence[float] | None) -> np.ndarray:
    if affine is not None and spacing is not None:
        raise ConfigError("affine and spacing were both given; the affine holds the spacing, so give one of them")
    if affine is not None:
        return np.asarray(affine, np.float64)
    sizes = [1.0, 1.0, 1.0] if spacing is None else [float(size) for size in spacing]
    if not 2 <= len(sizes) <= 3 or min(sizes) <= 0:
        raise ImageError(f"the spacing {tuple(sizes)} must be the size of a voxel in mm along each axis of the array")
    return np.diag([*sizes, *[1.0] * (4 - len(sizes))])
