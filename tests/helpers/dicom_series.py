"""DICOM series as scanners write them, and what pydicom alone reads of them."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

CT, MR, PET = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.5.1.4.1.1.128"
ENHANCED_CT, X_RAY = "1.2.840.10008.5.1.4.1.1.2.1", "1.2.840.10008.5.1.4.1.1.1.1"
NUCLEAR = "1.2.840.10008.5.1.4.1.1.20"
ULTRASOUND_CLIP = "1.2.840.10008.5.1.4.1.1.3.1"


@dataclass
class Slice:
    """What one frame is written with; ``pixels`` as they are stored."""

    pixels: np.ndarray
    position: Sequence[float] | None
    orientation: Sequence[float] = (1, 0, 0, 0, 1, 0)
    spacing: Sequence[float] = (0.8, 0.6)
    slope: float | str | None = 1
    intercept: float | str | None = 0
    bits: int = 16
    stored: int = 0
    signed: bool = False
    extra: dict[str, object] = field(default_factory=dict)


def blank(sop: str = CT, modality: str = "CT", **extra: object) -> FileDataset:
    """A whole header without pixels."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = sop, generate_uid()
    meta.TransferSyntaxUID, meta.ImplementationClassUID = ExplicitVRLittleEndian, generate_uid()
    data = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    data.SOPClassUID, data.SOPInstanceUID, data.Modality = sop, meta.MediaStorageSOPInstanceUID, modality
    data.StudyInstanceUID, data.SeriesInstanceUID, data.FrameOfReferenceUID = "1.2.3.4", "1.2.3.4.5", "1.2.3.4.6"
    data.PatientName, data.PatientID, data.PatientSex, data.StudyDate = "Test^Case", "T1", "O", "20240101"
    data.is_little_endian, data.is_implicit_VR = True, False
    for key, value in extra.items():
        setattr(data, key, value)
    return data


def set_pixels(data: Dataset, pixels: np.ndarray, bits: int = 16, stored: int = 0, signed: bool = False) -> None:
    """Grey ``([frames,] rows, columns)``, or colour with a last axis of 3 and 8 bits."""
    colour = pixels.shape[-1] == 3
    data.Rows, data.Columns = pixels.shape[-3:-1] if colour else pixels.shape[-2:]
    data.SamplesPerPixel, data.PhotometricInterpretation = (3, "RGB") if colour else (1, "MONOCHROME2")
    if colour:
        data.PlanarConfiguration = 0
    data.BitsAllocated, data.BitsStored = bits, stored or bits
    data.HighBit, data.PixelRepresentation = data.BitsStored - 1, int(signed)
    raw = pixels.astype(f"{'i' if signed else 'u'}{bits // 8}")
    if signed and stored:  # the bits above are not of the number
        raw = raw.view(f"u{bits // 8}") & ((1 << stored) - 1)
    data.PixelData = raw.tobytes() + b"\0" * (raw.nbytes % 2)


def write_series(folder: Path, slices: Sequence[Slice], sop: str = CT, modality: str = "CT", **extra: object) -> Path:
    """One file a slice, their names in another order than the slices."""
    folder.mkdir(parents=True, exist_ok=True)
    for n, one in enumerate(slices):
        data = blank(sop, modality, InstanceNumber=n + 1, **extra)
        _place(data, data, data, data, one)
        set_pixels(data, one.pixels, one.bits, one.stored, one.signed)
        for key, value in one.extra.items():
            setattr(data, key, value)
        _save(data, folder / f"IM{(n * 7) % 100:03d}_{n}.dcm")
    return folder


def write_multiframe(file: Path, slices: Sequence[Slice], sop: str = ENHANCED_CT, **extra: object) -> Path:
    """One file with functional groups of each frame."""
    file.parent.mkdir(parents=True, exist_ok=True)
    data = blank(sop, InstanceNumber=1, NumberOfFrames=len(slices), **extra)
    groups = []
    for one in slices:
        group, place, turn, measures, values = (Dataset() for _ in range(5))
        _place(place, turn, measures, values, one)
        group.PlanePositionSequence, group.PlaneOrientationSequence = [place], [turn]
        group.PixelMeasuresSequence, group.PixelValueTransformationSequence = [measures], [values]
        groups.append(group)
    data.SharedFunctionalGroupsSequence, data.PerFrameFunctionalGroupsSequence = [Dataset()], groups
    set_pixels(data, np.stack([one.pixels for one in slices]), slices[0].bits, slices[0].stored, slices[0].signed)
    _save(data, file)
    return file


def _place(place: Dataset, turn: Dataset, measures: Dataset, values: Dataset, one: Slice) -> None:
    if one.position is not None:
        place.ImagePositionPatient = [_ds(v) for v in one.position]
        turn.ImageOrientationPatient = [_ds(v) for v in one.orientation]
    measures.PixelSpacing = [_ds(v) for v in one.spacing]
    if one.slope is not None:
        values.RescaleSlope, values.RescaleIntercept = str(one.slope), str(one.intercept)


def _ds(value: float) -> str:
    return pydicom.valuerep.format_number_as_ds(float(value))


def _save(data: Dataset, file: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data.save_as(file, write_like_original=False)


@dataclass
class Read:
    """One frame as pydicom reads it: values ``(rows, columns)``, and its place in LPS."""

    instance: str
    number: int
    values: np.ndarray
    position: np.ndarray
    right: np.ndarray  # mm from one column to the next
    down: np.ndarray  # mm from one row to the next


def read_by_pydicom(folder: Path) -> list[Read]:
    """All frames below a folder in no order, each by its own header. Knows nothing of fewsam."""
    found = []
    for file in sorted(p for p in folder.rglob("*") if p.is_file()):
        data = pydicom.dcmread(file, force=True)
        pixels = data.pixel_array.reshape(-1, data.Rows, data.Columns)
        for n, stored in enumerate(pixels):
            if "PerFrameFunctionalGroupsSequence" in data:
                group = data.PerFrameFunctionalGroupsSequence[n]
                place, turn = group.PlanePositionSequence[0], group.PlaneOrientationSequence[0]
                measures, values = group.PixelMeasuresSequence[0], group.PixelValueTransformationSequence[0]
            else:
                place = turn = measures = values = data
            spare = data.BitsAllocated - data.BitsStored  # bits above the number
            number = (stored << spare) >> spare if spare else stored
            cosines = np.array([float(v) for v in turn.ImageOrientationPatient])
            found.append(
                Read(
                    str(data.SOPInstanceUID),
                    n,
                    number * float(values.get("RescaleSlope", 1)) + float(values.get("RescaleIntercept", 0)),
                    np.array([float(v) for v in place.ImagePositionPatient]),
                    cosines[:3] * float(measures.PixelSpacing[1]),
                    cosines[3:] * float(measures.PixelSpacing[0]),
                )
            )
    return found
