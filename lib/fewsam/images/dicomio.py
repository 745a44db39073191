"""DICOM series to native arrays: pydicom finds and sorts the slices, SimpleITK (GDCM) decodes them."""

from __future__ import annotations

import logging
from collections import defaultdict
from pathlib import Path

import numpy as np
import pydicom
import SimpleITK as sitk

from fewsam.core.errors import ImageError
from fewsam.images.imagebounds import check_size
from fewsam.images.imageio import NativeImage, brief, from_sitk, unreadable

logger = logging.getLogger(__name__)

# ITK would print to the terminal what is checked and logged below
sitk.ProcessObject.SetGlobalWarningDisplay(False)

_NO_IMAGES = {"SEG", "RTSTRUCT", "RTDOSE", "RTPLAN", "SR", "PR", "KO", "REG"}
_TAGS = [
    "Modality",
    "SeriesInstanceUID",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "InstanceNumber",
    "NumberOfFrames",
    "Rows",
    "Columns",
    "BitsAllocated",
    "SamplesPerPixel",
]


def is_dicom(path: Path) -> bool:
    """Whether it is a file with DICOM's preamble."""
    if not path.is_file():
        return False
    with path.open("rb") as stream:
        return stream.read(132)[128:] == b"DICM"


def read_dicom(path: Path) -> NativeImage:
    """Read a DICOM file, or the series with the most slices below a folder.

    Empty or repeated UIDs do no harm: slices are told apart and sorted by their position in space.

    Raises:
        ImageError: no image inside, or several images at one position (a time series).
    """
    files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    series = _series(files)
    if not series:
        kinds = "holds no DICOM image" if path.is_dir() else "is no DICOM image (a segmentation, a report or a plan?)"
        raise ImageError(f"{path}: {kinds}; give a folder with the files of one series")
    chosen = max(series, key=len)
    if len(series) > 1:
        logger.warning("%s: holds %d series, the one with most slices (%d) is read", path, len(series), len(chosen))
    modality = str(chosen[0][1].get("Modality") or "") or None
    try:
        chosen = _sorted(chosen, path)
        names = [str(name) for name, _ in chosen]
        check_size(path, [len(names), *_claimed(chosen[0][1])], 1)
        if len(names) == 1:
            return from_sitk(path, sitk.ReadImage(names[0], imageIO="GDCMImageIO"), modality)
        reader = sitk.ImageSeriesReader()
        reader.SetImageIO("GDCMImageIO")
        reader.SetFileNames(names)
        return from_sitk(path, reader.Execute(), modality)
    except ImageError:
        raise
    except Exception as error:  # pydicom reads a value when it is asked for, and then raises whatever it meets
        raise unreadable(path, error) from error


def _claimed(header: pydicom.Dataset) -> list[int]:
    """Frames, rows, columns, samples and bytes of each, as the header has them."""
    samples, bits = int(header.get("SamplesPerPixel") or 1), int(header.get("BitsAllocated") or 16)
    return [int(header.get("NumberOfFrames") or 1), int(header.Rows), int(header.Columns), samples, -(-bits // 8)]


Slices = list[tuple[Path, pydicom.Dataset]]


def _series(files: list[Path]) -> list[Slices]:
    """Image files grouped into series; one series also falls apart where orientation or size differ (localizers)."""
    groups: dict[tuple, Slices] = defaultdict(list)
    for file in files:
        try:
            header = pydicom.dcmread(file, stop_before_pixels=True, specific_tags=_TAGS, force=False)
            if not header.get("Rows") or not header.get("Columns") or header.get("Modality") in _NO_IMAGES:
                continue
            turned = tuple(round(float(v), 2) for v in header.get("ImageOrientationPatient") or ())
            multiframe = str(file) if int(header.get("NumberOfFrames") or 1) > 1 else ""
            key = str(header.get("SeriesInstanceUID") or ""), turned, int(header.Rows), int(header.Columns), multiframe
        except pydicom.errors.InvalidDicomError:
            continue  # a folder may hold other files
        except Exception as error:  # as a value is read: pydicom raises whatever it meets
            logger.warning("%s is left out, its header cannot be read: %s", file, brief(error))
            continue
        groups[key].append((file, header))
    return list(groups.values())


def _sorted(slices: Slices, path: Path) -> Slices:
    """Slices in ascending order along the normal of their plane, as ITK and its users order them."""
    if len(slices) == 1:
        return slices
    if not all(h.get("ImagePositionPatient") and h.get("ImageOrientationPatient") for _, h in slices):
        logger.warning("%s: slices without a position are sorted by InstanceNumber, 1 mm apart", path)
        return sorted(slices, key=lambda entry: (int(entry[1].get("InstanceNumber") or 0), entry[0].name))
    turned = np.asarray(slices[0][1].ImageOrientationPatient, dtype=float)
    normal = np.cross(turned[:3], turned[3:])
    positions = np.asarray([h.ImagePositionPatient for _, h in slices], dtype=float)
    depth = positions @ normal
    order = np.argsort(depth, kind="stable")
    steps = np.diff(depth[order])
    if (steps < 1e-3).any():
        raise ImageError(
            f"{path}: {int((steps < 1e-3).sum())} of {len(slices)} slices lie at the position of another one (a time "
            "series or several echoes); split it into one folder for each volume"
        )
    middle = float(np.median(steps))
    if np.abs(steps - middle).max() > 0.1 * middle:
        logger.warning("%s: slices are %.2f to %.2f mm apart; gaps are not filled", path, steps.min(), steps.max())
    aside = positions - positions[order[0]] - np.outer(depth - depth[order[0]], normal)
    if np.abs(aside).max() > 0.1 * middle:
        logger.warning("%s: slices are tilted or shifted against each other; the tilt is ignored in space", path)
    return [slices[i] for i in order]
