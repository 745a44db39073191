"""Time series and several echoes, written as one DICOM series for each image of them."""

from __future__ import annotations

import hashlib
import warnings
from pathlib import Path

import pydicom
from pydicom.uid import UID, generate_uid

from fewsam.core.errors import ImageError, StorageError
from fewsam.images.dicom_frames import Frame
from fewsam.images.dicom_series import largest_stack, splitting_keyword


def split_series(source: Path, target: Path) -> list[Path]:
    """Write each image of a time series, or each echo, as a series of its own, in a folder of its own.

    The files are copies with a series and an instance UID of their own, the same ones each time, and say in their
    SeriesDescription which image they are of. A PACS takes them beside the original.

    Args:
        source: folder with the files of the series, one slice a file.
        target: folder that is made; it must not exist.

    Returns:
        The folders written.

    Raises:
        ImageError: the series is one image, or nothing tells its images apart.
        StorageError: ``target`` is there.
    """
    frames = largest_stack(source, [])
    if frames[0].multiframe:
        raise ImageError(f"{source}: its images lie in one file of many frames; convert it to single-frame files first")
    keyword = splitting_keyword(frames)
    if keyword is None:
        raise ImageError(
            f"{source}: no attribute tells several images at one position apart; there is nothing to split"
        )
    if target.exists():
        raise StorageError(f"{target}: is there already; name a folder that is not")
    folders = []
    phases = list(dict.fromkeys(dict(frame.phase)[keyword] for frame in frames))
    for number, phase in enumerate(phases, start=1):
        folder = target / f"{number:03d}"
        folder.mkdir(parents=True)
        folders.append(folder)
        for place, frame in enumerate(frame for frame in frames if dict(frame.phase)[keyword] == phase):
            _copy(frame, folder / f"{place:05d}.dcm", f"{keyword} {phase}")
    return folders


def _copy(frame: Frame, file: Path, phase: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data = pydicom.dcmread(frame.file, force=True)
        data.SeriesInstanceUID = _uid(frame.series, phase)
        data.SOPInstanceUID = _uid(frame.instance or str(frame.file), phase)
        if "file_meta" in data.__dict__:
            data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
        data.SeriesDescription = f"{phase} {data.get('SeriesDescription') or ''}".strip()[:64]
        data.save_as(file, write_like_original=False)


def _uid(of: str, phase: str) -> UID:
    return generate_uid(entropy_srcs=[hashlib.sha256(of.encode()).hexdigest(), phase])
