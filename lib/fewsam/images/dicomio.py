"""DICOM series to native arrays, each slice with its own place and its own scale."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from fewsam.images.dicom_frames import Frame
from fewsam.images.dicom_pixels import read_pixels
from fewsam.images.dicom_series import Series, find_series, is_dicom
from fewsam.images.imagebounds import check_size
from fewsam.images.native import LPS, NativeImage, native_image

__all__ = ["is_dicom", "read_dicom"]

# ITK would print to the terminal what is checked and logged here
sitk.ProcessObject.SetGlobalWarningDisplay(False)

_IN_LINE = 1e-3  # mm by which slices may lie beside an even row and still be on it
_TOLD = 0.1  # of the distance between slices: from here on a person is told


def read_dicom(path: Path) -> NativeImage:
    """Read a DICOM file, or the series with the most slices below a folder.

    Frames of several files, one or many a file, are sorted by their position in space. Empty or repeated UIDs do no
    harm.

    Raises:
        ImageError: no image inside, several images at one position (a time series), slices that make no volume, or
            pixels that cannot be decoded.
    """
    series = find_series(path)
    frames = series.frames
    first = frames[0]
    check_size(path, [len(frames), *first.shape, 3 if first.colour else 1, np.dtype(first.allocated).itemsize], 1)
    pixels = read_pixels(frames, path)
    pixels = np.moveaxis(pixels, (0, 1, 2), (2, 1, 0))  # (columns, rows, K[, 3])
    affine, positions, readings, notes = _places(series)
    image = native_image(path, pixels, LPS @ affine, colour=first.colour, modality=first.modality or None)
    return NativeImage(
        image.array,
        image.affine,
        image.modality,
        positions=None if positions is None else positions * np.diag(LPS)[:3],
        readings=tuple(LPS @ reading for reading in readings),
        instances=tuple((frame.instance, frame.number) for frame in frames),
        notes=(*series.notes, *notes),
    )


def _places(series: Series) -> tuple[np.ndarray, np.ndarray | None, list[np.ndarray], list[str]]:
    """Affine in LPS, the places of slices that it cannot hold, how others place them, and what a person is to know."""
    frames = series.frames
    if not series.placed:
        return _unplaced(frames), None, [], []
    first = frames[0]
    assert first.orientation is not None
    row, column = np.array(first.orientation[:3]), np.array(first.orientation[3:])
    down, right = first.spacing or (1.0, 1.0)
    positions = np.array([frame.position for frame in frames], dtype=float)
    normal = np.cross(row, column)
    normal /= np.linalg.norm(normal)
    affine = np.eye(4)
    step = normal * (first.thickness or 1.0) if len(frames) == 1 else (positions[-1] - positions[0]) / (len(frames) - 1)
    affine[:3, :3] = np.stack([row * right, column * down, step], axis=1)
    affine[:3, 3] = positions[0]
    steps = np.diff(positions, axis=0)
    readings, notes = [], []
    between = float(step @ normal)
    if np.linalg.norm(step - between * normal) > _IN_LINE:  # ITK has no sheared grids
        upright = affine.copy()
        upright[:3, 2] = between * normal
        readings.append(upright)
    off = np.linalg.norm(positions - positions[0] - np.arange(len(frames))[:, None] * step, axis=1)
    apart = steps @ normal
    if len(frames) > 1 and np.ptp(apart) > _TOLD * np.median(apart):
        notes.append(
            f"its slices are {apart.min():.2f} to {apart.max():.2f} mm apart; NIfTI and NRRD files cannot hold that "
            f"and show them evenly, up to {off.max():.1f} mm off, a DICOM SEG has their true places"
        )
    aside = np.abs(steps - apart[:, None] * normal).max() if len(frames) > 1 else 0.0
    if aside > _TOLD * abs(between):
        notes.append(
            "its slices are tilted or shifted against each other; programs that read it as NIfTI or NRRD may show "
            "it upright, a DICOM SEG has the true places"
        )
    return affine, positions if off.max() > _IN_LINE else None, readings, notes


def _unplaced(frames: Sequence[Frame]) -> np.ndarray:
    """Affine of frames without a place: as ITK has it, for spacings come from a different element in each kind."""
    reader = sitk.ImageFileReader()
    reader.SetImageIO("GDCMImageIO")
    reader.SetFileName(str(frames[0].file))
    affine = np.eye(4)
    try:
        reader.ReadImageInformation()
        spacing = [*reader.GetSpacing()[:2], reader.GetSpacing()[2] if frames[0].multiframe else 1.0]
    except RuntimeError:
        down, right = frames[0].spacing or (1.0, 1.0)
        spacing = [right, down, 1.0]
    affine[:3, :3] = np.diag(spacing)
    return affine
