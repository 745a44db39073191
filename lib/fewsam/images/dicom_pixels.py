"""Pixels of DICOM frames, each decoded and scaled by its own header.

Uncompressed and run-length coded grey pixels are read by pydicom, others and colours by GDCM through SimpleITK.
Readers that take the first header's type for a whole series cut the values of the others.
"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pydicom
import SimpleITK as sitk
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.pixel_data_handlers.util import apply_modality_lut
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
    SecondaryCaptureImageStorage,
)

from fewsam.core.errors import ImageError
from fewsam.images.dicom_frames import Frame
from fewsam.images.imageio import brief, unreadable

# Their values have a meaning of their own. What others show as negatives is turned into positives.
_MEASURED = {"CT", "MR", "PT", "NM"}
_SEGMENTATIONS = "1.2.840.10008.5.1.4.1.1.66."
# Any other is compressed, even one that pydicom does not know.
_DECODED_BY_PYDICOM = {
    ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian, RLELossless
}  # fmt: skip
_GREY = ("RescaleSlope", "RescaleIntercept", "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence")


def read_pixels(frames: Sequence[Frame], path: Path) -> np.ndarray:
    """Values ``(K, rows, columns)``, or ``(K, rows, columns, 3)`` uint8 in colour, in the order given.

    Whole numbers where slope and intercept of all frames are, else float32.

    Raises:
        ImageError: a file is cut or damaged, or compressed in a way that cannot be decoded here.
    """
    colour = frames[0].colour
    shape = (len(frames), *frames[0].shape, *((3,) if colour else ()))
    values: np.ndarray | None = None
    for file in dict.fromkeys(frame.file for frame in frames):
        places = [(place, frame) for place, frame in enumerate(frames) if frame.file == file]
        try:
            decoded, data = (_colours(file), None) if colour else _grey(file, places[0][1])
            if values is None:
                values = np.empty(shape, decoded.dtype if colour else _dtype(frames, decoded.dtype))
            for place, frame in places:  # one after the other: scaled values are wider than those kept
                pixels = decoded[frame.number]
                values[place] = pixels if data is None else _scaled(pixels, frame, data)
        except ImageError:
            raise
        except Exception as error:  # pydicom and GDCM raise whatever they meet
            raise unreadable(file, error) from error
    assert values is not None
    return values


def _dtype(frames: Sequence[Frame], stored: np.dtype) -> np.dtype:
    """The smallest type that holds every value that these frames can have."""
    if stored.kind == "f" or any(f.lut or not (f.slope.is_integer() and f.intercept.is_integer()) for f in frames):
        return np.dtype(np.float32)
    ends: list[float] = []
    for frame in frames:
        if (frame.slope, frame.intercept) == (1.0, 0.0):
            kind = np.iinfo(np.dtype(frame.allocated))
            ends += [kind.min, kind.max]
        else:
            ends += [end * frame.slope + frame.intercept for end in frame.stored]
    kinds = (np.uint8, np.uint16, np.uint32) if min(ends) >= 0 else (np.int8, np.int16, np.int32)
    fitting = [kind for kind in kinds if np.iinfo(kind).min <= min(ends) and max(ends) <= np.iinfo(kind).max]
    return np.dtype(fitting[0]) if fitting else np.dtype(np.float32)


def _grey(file: Path, like: Frame) -> tuple[np.ndarray, Dataset]:
    """The stored pixels of one file ``(frames, rows, columns)``, and its header."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data = pydicom.dcmread(file, force=True)
        stored = stored_pixels(data, file)
    rows, columns = like.shape
    stored = stored.reshape(-1, rows, columns)
    if len(stored) < like.frames:
        raise ImageError(f"{file}: holds {len(stored)} of its {like.frames} frames; copy it again")
    return stored, data


def _scaled(stored: np.ndarray, frame: Frame, data: Dataset) -> np.ndarray:
    if frame.inverse and frame.modality not in _MEASURED and stored.dtype.kind in "iu":
        stored = (sum(frame.stored) - stored.astype(np.int64)).astype(stored.dtype)
    if frame.lut:
        found: np.ndarray = apply_modality_lut(stored, data)
        return found
    if (frame.slope, frame.intercept) == (1.0, 0.0):
        return stored
    if stored.dtype.kind in "iu" and frame.slope.is_integer() and frame.intercept.is_integer():
        return stored.astype(np.int64) * int(frame.slope) + int(frame.intercept)
    return stored.astype(np.float64) * frame.slope + frame.intercept


def stored_pixels(data: Dataset, file: Path) -> np.ndarray:
    """Grey pixels as they are stored, without what lies in the bits that belong to no pixel.

    Raises:
        ImageError: they are compressed in a way that cannot be decoded here.
    """
    pixels = data.pixel_array if not _compressed(data) else _decompressed(data, file)
    if pixels.dtype.kind not in "iu":
        return pixels
    allocated, bits = pixels.dtype.itemsize * 8, int(data.get("BitsStored") or data.BitsAllocated)
    above = allocated - 1 - int(data.get("HighBit", bits - 1))
    if bits >= allocated or above < 0 or data.BitsAllocated == 1:
        return pixels
    # Old overlays lie in the bits above; a sign is to be carried there.
    moved: np.ndarray = np.right_shift(np.left_shift(pixels, above), allocated - bits)
    return moved


def _syntax(data: Dataset) -> pydicom.uid.UID:
    meta = getattr(data, "file_meta", None) or FileMetaDataset()
    known = meta.get("TransferSyntaxUID")
    return known or (ImplicitVRLittleEndian if data.is_implicit_VR else ExplicitVRLittleEndian)


def _compressed(data: Dataset) -> bool:
    syntax = _syntax(data)
    if "TransferSyntaxUID" not in getattr(data, "file_meta", ()):
        data.file_meta = FileMetaDataset()
        data.file_meta.TransferSyntaxUID = syntax
    return syntax not in _DECODED_BY_PYDICOM


def _decompressed(data: Dataset, file: Path) -> np.ndarray:
    """What GDCM decodes of a copy without scales, of which it would take the first for all frames."""
    for keyword in _GREY:
        if keyword in data:
            del data[keyword]
    data.PhotometricInterpretation = "MONOCHROME2"
    if str(data.get("SOPClassUID", "")).startswith(_SEGMENTATIONS):  # which GDCM may not know, and has no rules for
        data.SOPClassUID = data.file_meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    with tempfile.TemporaryDirectory(prefix="fewsam-dicom-") as folder:
        plain = Path(folder) / "plain.dcm"
        try:
            data.save_as(plain, write_like_original=False)
            return sitk.GetArrayFromImage(sitk.ReadImage(str(plain), imageIO="GDCMImageIO"))
        except (RuntimeError, ValueError) as error:
            raise ImageError(
                f"{file}: its pixels, compressed as {_syntax(data).name}, cannot be decoded ({brief(error)}); save the "
                "series uncompressed (dcmdjpeg, gdcmconv --raw), or check that the file is whole"
            ) from error


def _colours(file: Path) -> np.ndarray:
    """Frames ``(frames, rows, columns, 3)`` in RGB, whatever colours the file has."""
    image = sitk.ReadImage(str(file), imageIO="GDCMImageIO")
    array = sitk.GetArrayFromImage(image)
    array = array[..., :3] if image.GetNumberOfComponentsPerPixel() > 1 else array[..., None].repeat(3, axis=-1)
    return array if array.ndim == 4 else array[None]
