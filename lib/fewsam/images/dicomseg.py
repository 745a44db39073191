"""Masks to DICOM SEG objects by highdicom, each frame on the slice that it was drawn on; `segread` reads them."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pydicom
from pydicom import config, valuerep
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

from fewsam.core.errors import EmptyLabelError, LabelError
from fewsam.core.version import __version__
from fewsam.images.dicom_frames import Frame
from fewsam.images.dicom_series import find_series
from fewsam.images.imageio import brief
from fewsam.images.native import LPS
from fewsam.images.segcodes import code_of
from fewsam.images.segread import read_seg
from fewsam.images.volume import Geometry

if TYPE_CHECKING:
    from highdicom.seg import Segmentation, SegmentDescription

__all__ = ["code_of", "read_seg", "write_seg"]

_CATEGORY = {"CodeValue": "123037004", "CodingSchemeDesignator": "SCT", "CodeMeaning": "Anatomical Structure"}
# What says whose image it is; empty where the image's own value breaks the rules of its type.
_IDENTITY = (
    "PatientName", "PatientID", "IssuerOfPatientID", "PatientBirthDate", "PatientSex", "PatientAge", "PatientSize",
    "PatientWeight", "OtherPatientIDs", "EthnicGroup", "PatientIdentityRemoved", "DeidentificationMethod", "StudyDate",
    "StudyTime", "StudyID", "AccessionNumber", "ReferringPhysicianName", "StudyDescription",
)  # fmt: skip
# A PACS files by them: they stay as they are, whatever their form.
_AS_THEY_ARE = ("PatientID", "PatientName", "AccessionNumber", "StudyID")
_NEEDED = (
    "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "StudyID",
    "AccessionNumber", "ReferringPhysicianName",
)  # fmt: skip
_SERIES_NUMBER = 300
_LABEL = 64  # characters of a segment's label

Colour = Sequence[int]


def write_seg(
    path: Path,
    masks: Mapping[str, np.ndarray],
    geometry: Geometry,
    images: Path,
    *,
    colours: Mapping[str, Colour] | None = None,
    annotator: str = "",
    description: str = "fewsam label",
) -> None:
    """Write masks as one DICOM SEG with a segment for each name.

    Every frame lies where its image is, however the images are spaced, and names the instance and frame of it.
    Images that say of no place (X-ray, ultrasound) get a frame of reference for this purpose.

    Args:
        masks: class name -> bool (Z, H, W) on canonical slices, each with at least one voxel; may overlap.
        geometry: the image's.
        images: folder with the image's DICOM files, which the SEG refers to.
        colours: class name -> (r, g, b), 0 to 255.

    Raises:
        LabelError: nothing to write, another series than the geometry's, or headers that highdicom cannot use.
    """
    from highdicom.seg import Segmentation

    drawn = {name: mask for name, mask in masks.items() if mask.any()}
    if not drawn:
        raise EmptyLabelError("a DICOM SEG needs at least one voxel of a class; draw something first")
    frames = find_series(images).frames
    if (frames[0].shape[1], frames[0].shape[0], len(frames)) != geometry.shape:
        raise LabelError(f"{images}: is not the series that was labelled, which has the shape {geometry.shape}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # values of the image's header that break the rules of their type
        first = pydicom.dcmread(frames[0].file, stop_before_pixels=True, force=True)
        for keyword in ("SeriesInstanceUID", "StudyInstanceUID"):  # where they are missing, the same ones each time
            if not first.get(keyword):
                setattr(first, keyword, generate_uid(entropy_srcs=[keyword, frames[0].series or str(images)]))
        standins = [_standin(frame, k, first, geometry) for k, frame in enumerate(frames)]
        pixels = np.stack([geometry.to_native(mask).transpose(2, 1, 0) for mask in drawn.values()], axis=-1)
        try:
            data = Segmentation(
                source_images=standins,
                pixel_array=np.ascontiguousarray(pixels, np.uint8),
                segmentation_type="BINARY",
                segment_descriptions=[
                    _segment(number, name, (colours or {}).get(name)) for number, name in enumerate(drawn, start=1)
                ],
                series_instance_uid=generate_uid(),
                series_number=_SERIES_NUMBER,
                sop_instance_uid=generate_uid(),
                instance_number=1,
                manufacturer="fewsam",
                manufacturer_model_name="fewsam",
                software_versions=__version__,
                device_serial_number="1",
                content_label="SEGMENTATION",
                content_description="labels submitted to fewsam",
            )
        except (ValueError, TypeError, AttributeError, KeyError) as error:
            raise LabelError(f"{images}: no DICOM SEG can be written for this image ({brief(error)})") from error
        _refer(data, {standin.SOPInstanceUID: frame for standin, frame in zip(standins, frames, strict=True)})
        _set_texts(data, first, list(drawn), annotator, description)
        data.save_as(path, write_like_original=False)


def _standin(frame: Frame, k: int, first: Dataset, geometry: Geometry) -> Dataset:
    """A single-frame image in the place of a frame, with what highdicom needs and nothing that it could refuse."""
    data = Dataset()
    data.SOPClassUID = str(first.get("SOPClassUID") or "")
    data.SOPInstanceUID = generate_uid()  # one a frame; `_refer` puts the real ones in their places
    data.StudyInstanceUID, data.SeriesInstanceUID = first.StudyInstanceUID, first.SeriesInstanceUID
    data.FrameOfReferenceUID = first.get("FrameOfReferenceUID") or generate_uid(
        entropy_srcs=[str(first.SeriesInstanceUID)]
    )
    data.PositionReferenceIndicator = ""
    data.Modality = "OT"
    for keyword in _NEEDED:
        setattr(data, keyword, "")
    data.Rows, data.Columns = frame.shape
    world = LPS @ geometry.affine
    right, down, step = np.linalg.norm(world[:3, :3], axis=0)
    data.PixelSpacing = [_decimal(down), _decimal(right)]
    data.SliceThickness = _decimal(frame.thickness or step)
    if geometry.positions is None and geometry.shape[2] > 1:
        data.SpacingBetweenSlices = _decimal(step)
    place = frame.position if frame.position is not None else world[:3, 3] + k * world[:3, 2]
    turned = (world[:3, :2] / np.linalg.norm(world[:3, :2], axis=0)).T.ravel()
    data.ImagePositionPatient = [_decimal(v) for v in place]
    data.ImageOrientationPatient = [_decimal(v) for v in turned]
    return data


def _decimal(value: float) -> str:
    return valuerep.format_number_as_ds(float(value))


def _segment(number: int, name: str, colour: Colour | None) -> SegmentDescription:
    from highdicom import AlgorithmIdentificationSequence
    from highdicom.seg import SegmentDescription
    from highdicom.sr import CodedConcept
    from pydicom.sr.codedict import codes

    family: Any = codes.DCM
    category = CodedConcept(_CATEGORY["CodeValue"], "SCT", _CATEGORY["CodeMeaning"])
    algorithm = AlgorithmIdentificationSequence(f"fewsam {__version__}", family.ArtificialIntelligence, __version__)
    segment = SegmentDescription(number, f"segment {number}", category, category, "SEMIAUTOMATIC", algorithm)
    segment.RecommendedDisplayCIELabValue = list(_cielab(colour or (220, 60, 60)))
    return segment


def _cielab(colour: Colour) -> tuple[int, int, int]:
    """An sRGB colour as DICOM has it."""
    from highdicom.color import CIELabColor
    from PIL import Image, ImageCms

    transform = ImageCms.buildTransform(ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB")
    pixel = ImageCms.applyTransform(Image.new("RGB", (1, 1), tuple(int(v) for v in colour)), transform)
    light, green_red, blue_yellow = np.asarray(pixel, np.uint8).reshape(3)
    found: tuple[int, int, int] = CIELabColor(
        light / 255 * 100, float(green_red.view(np.int8)), float(blue_yellow.view(np.int8))
    ).value
    return found


def _refer(data: Segmentation, frames: Mapping[str, Frame]) -> None:
    """References to the real instances, and to their frames where they have several, instead of the stand-ins."""
    for group in data.PerFrameFunctionalGroupsSequence:
        sources = [item for derivation in group.DerivationImageSequence for item in derivation.SourceImageSequence]
        for item in sources:
            frame = frames[item.ReferencedSOPInstanceUID]
            item.ReferencedSOPInstanceUID = frame.instance
            if frame.multiframe:
                item.ReferencedFrameNumber = frame.number + 1
        if not all(item.ReferencedSOPInstanceUID for item in sources):  # images without a UID cannot be named
            group.DerivationImageSequence = []
    items = []
    for instance in dict.fromkeys(frame.instance for frame in frames.values() if frame.instance):
        items.append(Dataset())
        items[-1].ReferencedSOPClassUID = data.SourceImageSequence[0].ReferencedSOPClassUID
        items[-1].ReferencedSOPInstanceUID = instance
    data.SourceImageSequence = items
    data.ReferencedSeriesSequence[0].ReferencedInstanceSequence = items


def _set_texts(data: Segmentation, first: Dataset, names: list[str], annotator: str, description: str) -> None:
    """Names, codes, people and whose image it is, in any script."""
    first.decode()
    data.SpecificCharacterSet = "ISO_IR 192"
    for keyword in _IDENTITY:
        if keyword in first:
            element = first[keyword]
            right = keyword in _AS_THEY_ARE or _follows_rules(element.VR, element.value)
            if right or keyword in _NEEDED:
                setattr(data, keyword, element.value if right else "")
    data.SeriesDescription, data.ContentCreatorName = description[:64], annotator[:64] or "fewsam"
    data.SeriesDate, data.SeriesTime = data.ContentDate, data.ContentTime
    for segment, name, label in zip(data.SegmentSequence, names, _labels(names), strict=True):
        segment.SegmentLabel = segment.SegmentDescription = label
        for keyword, code in code_of(name).items():
            setattr(segment, keyword, [_dataset(code)])


def _labels(names: Sequence[str]) -> list[str]:
    """Names in the 64 characters that DICOM has for them, all different."""
    labels: list[str] = []
    for name in names:
        label, number = name[:_LABEL], 2
        while label in labels:
            ending = f" ({number})"
            label, number = name[: _LABEL - len(ending)] + ending, number + 1
        labels.append(label)
    return labels


def _follows_rules(kind: str, value: object) -> bool:
    values = value if isinstance(value, (list, pydicom.multival.MultiValue)) else [value]
    try:
        for one in values:
            if one not in (None, ""):
                valuerep.validate_value(kind, str(one), config.RAISE)
    except ValueError:
        return False
    return True


def _dataset(code: Mapping[str, str]) -> Dataset:
    item = Dataset()
    for keyword, value in code.items():
        setattr(item, keyword, value)
    return item
