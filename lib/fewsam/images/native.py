"""Native arrays: the voxels of an image as its file has them, and where they lie.

A native array is ordered ``(i, j, k[, c])``; the affine takes ``(i, j, k)`` to RAS millimetres.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fewsam.core.errors import ImageError

LPS = np.diag([-1.0, -1.0, 1.0, 1.0])  # between LPS (DICOM, ITK, NRRD) and RAS (nibabel)


@dataclass(frozen=True, eq=False)
class NativeImage:
    """An image as it is stored.

    Attributes:
        array: voxels ``(i, j, k)`` or, in colour, ``(i, j, k, 3)``.
        affine: ``(4, 4)`` float64 to RAS millimetres.
        positions: ``(K, 3)``, where the first voxel of each slice ``k`` is, in RAS; None where the affine says it all.
        readings: other affines by which programs place the same voxels.
        instances: DICOM SOPInstanceUID and frame (from 0) of each slice ``k``; empty for other formats.
        notes: what a person should know of the file.
    """

    array: np.ndarray
    affine: np.ndarray
    modality: str | None = None
    positions: np.ndarray | None = None
    readings: tuple[np.ndarray, ...] = ()
    instances: tuple[tuple[str, int], ...] = ()
    notes: tuple[str, ...] = ()


def native_image(
    path: Path, array: np.ndarray, affine: np.ndarray, *, colour: bool = False, modality: str | None = None
) -> NativeImage:
    """Check and normalise what a reader got.

    Args:
        array: ``(i, j)`` or ``(i, j, k)``, with a last axis for channels where ``colour``.
        affine: ``(4, 4)`` to RAS.

    Returns:
        bool as uint8, floats as float32, native byte order; other integers as they are.
    """
    if array.ndim == 2 + colour:
        array = array[:, :, None]
    if 0 in array.shape:
        raise ImageError(f"{path}: the image has no voxels, its shape is {array.shape}; export it again")
    colour = colour and array.shape[-1] == 3 and array.dtype.kind == "u"
    if colour and (array == array[..., :1]).all():  # grey that was stored as colour
        array, colour = array[..., 0], False
    if array.ndim != 3 + colour:
        raise ImageError(
            f"{path}: shape {array.shape} of {array.dtype} is a time series or has several values a voxel; "
            "split it into 3D images and give one of them"
        )
    if array.dtype.kind == "b":
        array = array.astype(np.uint8)
    elif array.dtype.kind == "f":
        with np.errstate(over="ignore"):  # out of range becomes inf, which the caller refuses with a count
            array = np.asarray(array, dtype=np.float32)
    elif array.dtype.kind in "iu":
        array = array.astype(array.dtype.newbyteorder("="), copy=False)
    else:
        raise ImageError(f"{path}: voxels of type {array.dtype} are not supported; convert them to integers or floats")
    return NativeImage(array, affine, modality)
