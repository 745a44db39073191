"""The frames of DICOM files: where each lies, how its values are scaled, and which others it belongs to.

A single-frame file holds one, a multi-frame file (enhanced CT or MR, ultrasound, X-ray angiography) many, each with a
place and a scale of its own. pydicom reads the headers; pixels are read in `dicom_pixels`.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.dataset import Dataset

from fewsam.images.imagebounds import check_size

_GROUPS = ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence")
# What tells the images of a time series or of several echoes apart, in the order in which people name them.
PHASES = (
    "EchoTime", "EchoNumbers", "DiffusionBValue", "TemporalPositionIdentifier", "TemporalPositionIndex", "TriggerTime",
    "NominalPercentageOfCardiacPhase", "AcquisitionNumber", "AcquisitionTime", "ImageType", "ContentTime",
)  # fmt: skip
_TAGS = [
    "SOPClassUID", "SOPInstanceUID", "Modality", "SeriesInstanceUID", "InstanceNumber", "NumberOfFrames",
    "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "ImagerPixelSpacing", "SliceThickness",
    "SpacingBetweenSlices", "Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation",
    "SamplesPerPixel", "PhotometricInterpretation", "RescaleSlope", "RescaleIntercept", "ModalityLUTSequence",
    "DetectorInformationSequence", "SliceVector",
    *PHASES, *_GROUPS,
]  # fmt: skip


@dataclass(frozen=True)
class Frame:
    """One frame of a DICOM file; lengths in mm, places in LPS as DICOM has them.

    Attributes:
        number: of the frame in its file, from 0.
        instance: SOPInstanceUID, "" where the file has none.
        shape: rows, columns.
        position: centre of its first pixel; None where the file does not say.
        orientation: direction cosines along a row and along a column.
        spacing: between rows and between columns.
        thickness: distance to its neighbour by the header, for a frame that is alone.
        stored: least and greatest value that its bits can hold.
        allocated: dtype of the pixels as they are stored.
        lut: whether a modality look-up table stands for slope and intercept.
        phase: values that tell it from other frames at its position.
    """

    file: Path
    number: int
    frames: int
    instance: str
    series: str
    modality: str
    order: int
    shape: tuple[int, int]
    colour: bool
    inverse: bool
    position: tuple[float, ...] | None
    orientation: tuple[float, ...] | None
    spacing: tuple[float, float] | None
    thickness: float | None
    slope: float
    intercept: float
    lut: bool
    stored: tuple[int, int]
    allocated: str
    phase: tuple[tuple[str, str], ...]

    @property
    def multiframe(self) -> bool:
        """Whether its file holds others too."""
        return self.frames > 1


def read_header(file: Path) -> Dataset:
    """What `frames_of` needs of a file; raises whatever pydicom meets in a file that is none or is damaged."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # values that break the rules of their type are looked at where they matter
        return pydicom.dcmread(file, stop_before_pixels=True, specific_tags=_TAGS, force=True)


def frames_of(file: Path, header: Dataset) -> list[Frame]:
    """Frames of one file; raises whatever pydicom meets in values that are none.

    Raises:
        ImageError: it claims more than one image may have, or more frames than it has bytes.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        count = max(1, int(header.get("NumberOfFrames") or 1))
        shared = _first(header.get(_GROUPS[0]))
        own = list(header.get(_GROUPS[1]) or ())
        _check_claims(file, header, count)
        if own and len(own) != count:
            raise ValueError(f"{count} frames, and the places of {len(own)}")
        if not own:
            first = _frame(file, header, 0, count, [shared])
            if count > 1 and (places := _reconstructed(header, count)):
                turned, positions = places
                return [
                    replace(first, number=number, position=position, orientation=turned)
                    for number, position in enumerate(positions)
                ]
            # nothing tells them apart
            return [first, *(replace(first, number=number) for number in range(1, count))]
        return [_frame(file, header, number, count, [own[number], shared]) for number in range(count)]


def _reconstructed(header: Dataset, count: int) -> tuple[tuple[float, ...], list[tuple[float, ...]]] | None:
    """Orientation and place of each frame of a reconstructed SPECT; None of other files, and of one that is gated.

    The first slice's place is the detector's; the others follow along the normal by Spacing Between Slices, which has
    a sign here (DICOM PS3.3 C.8.4.15), in the order of the Slice Vector.
    """
    detector = _first(header.get("DetectorInformationSequence"))
    position, turned = (
        _numbers(detector.get(word), n) for word, n in (("ImagePositionPatient", 3), ("ImageOrientationPatient", 6))
    )
    between = header.get("SpacingBetweenSlices") or header.get("SliceThickness")
    kind = [str(value) for value in header.get("ImageType") or ()]
    if header.get("Modality") != "NM" or not position or not turned or not between or "RECON TOMO" not in kind:
        return None
    order = [int(value) - 1 for value in header.get("SliceVector") or range(1, count + 1)]
    if len(order) != count or len(set(order)) < count:
        return None
    normal = np.cross(turned[:3], turned[3:])
    steps = np.outer(order, normal * float(between))
    return turned, [tuple(place) for place in (np.array(position) + steps).tolist()]


def _check_claims(file: Path, header: Dataset, count: int) -> None:
    """Before the frames are listed: a few bytes may claim two thousand million."""
    pixels = [count, int(header.Rows), int(header.Columns), int(header.get("SamplesPerPixel") or 1)]
    check_size(file, pixels, max(1, int(header.get("BitsAllocated") or 16) // 8))
    check_size(file, [count], 1, room=file.stat().st_size)  # however they are compressed


def _frame(file: Path, header: Dataset, number: int, count: int, groups: Sequence[Dataset]) -> Frame:
    def of(sequence: str, keyword: str) -> Any:
        """A value of the frame's own functional group, of the one for all frames, or of the file."""
        for group in groups:
            if (value := _first(group.get(sequence)).get(keyword)) not in (None, ""):
                return value
        return header.get(keyword)

    allocated, bits = int(header.get("BitsAllocated") or 16), int(header.get("BitsStored") or 0)
    signed = bool(header.get("PixelRepresentation") or 0)
    bits = bits or allocated
    spacing = _numbers(of("PixelMeasuresSequence", "PixelSpacing") or header.get("ImagerPixelSpacing"), 2)
    between = of("PixelMeasuresSequence", "SpacingBetweenSlices") or of("PixelMeasuresSequence", "SliceThickness")
    slope, intercept = (of("PixelValueTransformationSequence", word) for word in ("RescaleSlope", "RescaleIntercept"))
    position = _numbers(of("PlanePositionSequence", "ImagePositionPatient"), 3)
    orientation = _numbers(of("PlaneOrientationSequence", "ImageOrientationPatient"), 6)
    placed = count == 1 or any("PlanePositionSequence" in group for group in groups)
    return Frame(
        file=file,
        number=number,
        frames=count,
        instance=_instance(header),
        series=str(header.get("SeriesInstanceUID") or ""),
        modality=str(header.get("Modality") or ""),
        order=int(header.get("InstanceNumber") or 0),
        shape=(int(header.Rows), int(header.Columns)),
        colour=int(header.get("SamplesPerPixel") or 1) > 1
        or str(header.get("PhotometricInterpretation")) == "PALETTE COLOR",
        inverse=str(header.get("PhotometricInterpretation")) == "MONOCHROME1",
        position=position if orientation and placed else None,
        orientation=orientation if position and placed else None,
        spacing=(spacing[0], spacing[1]) if spacing else None,
        thickness=float(between) if between else None,
        slope=1.0 if slope in (None, "") else float(slope),
        intercept=0.0 if intercept in (None, "") else float(intercept),
        lut=bool(header.get("ModalityLUTSequence")),
        stored=(-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1),
        allocated=f"{'i' if signed else 'u'}{max(1, allocated // 8)}",
        phase=tuple(_phase(header, groups)),
    )


def _instance(header: Dataset) -> str:
    """SOPInstanceUID, which the file's own preamble has too."""
    meta = getattr(header, "file_meta", None) or Dataset()
    return str(header.get("SOPInstanceUID") or meta.get("MediaStorageSOPInstanceUID") or "")


def _phase(header: Dataset, groups: Sequence[Dataset]) -> Iterator[tuple[str, str]]:
    for keyword in PHASES:
        value = next((item[keyword].value for group in groups for item in _items(group) if keyword in item), None)
        value = header.get(keyword) if value is None else value
        if value not in (None, ""):
            yield keyword, str(value)


def _items(group: Dataset) -> Iterator[Dataset]:
    """Items of a frame's functional groups, one level deep."""
    for element in group:
        if element.VR == "SQ" and element.value:
            yield element.value[0]


def _first(sequence: Any) -> Dataset:
    return sequence[0] if sequence else Dataset()


def _numbers(value: Any, count: int) -> tuple[float, ...] | None:
    """A place or direction of a header; None where it is missing."""
    if value is None or value == "" or len(value) == 0:
        return None
    if len(value) != count:
        raise ValueError(f"{list(value)} where {count} numbers belong")
    return tuple(float(v) for v in value)
