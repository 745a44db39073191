"""DICOM SEG objects to masks, frame by frame: onto the slice that a frame names, or that it lies on.

A frame whose pixels are the image's own, whole or in part, flipped or not, is taken exactly. One on another grid is
resampled to the nearest voxel. Nothing relies on an even distance between frames, on segment numbers without gaps, or
on what else the standard asks for and tools leave out.
"""

from __future__ import annotations

import logging
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.dataset import Dataset

from fewsam.core.errors import EmptyLabelError, ImageError, LabelError
from fewsam.images.dicom_pixels import stored_pixels
from fewsam.images.imagebounds import check_size
from fewsam.images.segplace import SegFrame, place_frames
from fewsam.images.volume import Geometry

logger = logging.getLogger(__name__)

_KINDS = {"1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7"}  # segmentation, label map segmentation


def read_seg(path: Path, geometry: Geometry, notes: list[str] | None = None) -> dict[str, np.ndarray]:
    """Masks of a DICOM SEG on the image's canonical slices.

    Args:
        geometry: the image's.
        notes: gets what a person should know of how the file was read.

    Returns:
        Segment label -> bool (Z, H, W), each with at least one voxel.

    Raises:
        LabelError: unreadable, empty, or a segment that lies altogether outside of the image.
    """
    said = [] if notes is None else notes
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data = _opened(path)
        names = _segment_names(data)
        try:
            frames = _frames(path, data, said)
        except (LabelError, ImageError) as error:
            raise LabelError(str(error)) from None
        except Exception as error:  # pydicom raises whatever it meets in a damaged file
            raise LabelError(
                f"{path.name}: its frames cannot be read ({' '.join(str(error).split())[:300]})"
            ) from error
    masks: dict[str, np.ndarray] = {}
    for number, own in sorted(frames.items()):
        name = names.get(number, f"segment {number}")
        native, outside = place_frames(own, geometry)
        if not native.any():
            raise LabelError(
                f"{path.name}: segment {name!r} lies outside the image; the segmentation belongs to another image"
            )
        if outside:
            said.append(f"{outside} voxels of {name} lie outside the image, or at no known place, and are left out")
        mask = geometry.to_slices(native)
        masks[name] = masks[name] | mask if name in masks else mask
    if not masks:
        raise EmptyLabelError("the DICOM SEG holds no voxel; draw at least one and export again")
    for note in said:
        logger.warning("%s: %s", path.name, note)
    return masks


def _opened(path: Path) -> Dataset:
    try:
        head = pydicom.dcmread(path, stop_before_pixels=True)
        if head.get("Modality") != "SEG" and head.get("SOPClassUID") not in _KINDS:
            raise LabelError(f"{path.name}: is no DICOM SEG, its modality is {str(head.get('Modality'))[:20]!r}")
        check_size(path, [int(head.get(word) or 1) for word in ("NumberOfFrames", "Rows", "Columns")], 1)
        return pydicom.dcmread(path)
    except LabelError:
        raise
    except ImageError as error:
        raise LabelError(str(error)) from None
    except Exception as error:
        raise LabelError(f"{path.name}: not a DICOM SEG ({_one_line(error)})") from error


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__


def _segment_names(data: Dataset) -> dict[int, str]:
    names: dict[int, str] = {}
    for place, item in enumerate(data.get("SegmentSequence") or (), start=1):
        number = int(item.get("SegmentNumber") or place)
        label = item.get("SegmentLabel") or f"segment {number}"
        names[number] = label if isinstance(label, str) else "\\".join(label)  # pydicom parts it at a backslash
    return names


def _frames(path: Path, data: Dataset, notes: list[str]) -> dict[int, list[SegFrame]]:
    """Frames with at least one voxel, by segment number."""
    pixels = stored_pixels(data, path).reshape(-1, int(data.Rows), int(data.Columns))
    count = int(data.get("NumberOfFrames") or 1)
    groups = list(data.get("PerFrameFunctionalGroupsSequence") or ())
    shared = _first(data.get("SharedFunctionalGroupsSequence"))
    if len(pixels) < count or len(groups) not in (0, count):
        raise LabelError(
            f"{path.name}: {count} frames, pixels of {len(pixels)} and places of {len(groups)}; export it again"
        )
    kind = str(data.get("SegmentationType") or "BINARY").upper()
    if kind == "FRACTIONAL":
        most = int(data.get("MaximumFractionalValue") or 255)
        if len(np.unique(pixels)) > 2:
            notes.append("its segments are fractional; a voxel belongs to one from 0.5 on")
        pixels = pixels >= most / 2
    numbers = [int(item.get("SegmentNumber") or place) for place, item in enumerate(data.SegmentSequence, start=1)]
    background = int(data.get("PixelPaddingValue") or 0)
    found: dict[int, list[SegFrame]] = {}
    for index in range(count):
        of = _Groups([*groups[index : index + 1], shared])
        if kind == "LABELMAP":
            present = {int(v): pixels[index] == v for v in np.unique(pixels[index]) if v not in (0, background)}
        else:
            number = of.get("SegmentIdentificationSequence", "ReferencedSegmentNumber")
            if number is None and len(numbers) != 1:
                raise LabelError(f"{path.name}: frame {index + 1} does not say of which segment it is; export it again")
            present = {int(numbers[0] if number is None else number): pixels[index] > 0}
        for number, mask in present.items():
            if mask.any():
                found.setdefault(number, []).append(_frame(mask, of))
    return found


def _frame(mask: np.ndarray, of: _Groups) -> SegFrame:
    position = of.get("PlanePositionSequence", "ImagePositionPatient")
    turned = of.get("PlaneOrientationSequence", "ImageOrientationPatient")
    spacing = of.get("PixelMeasuresSequence", "PixelSpacing")
    between, thickness = (of.get("PixelMeasuresSequence", word) for word in ("SpacingBetweenSlices", "SliceThickness"))
    placed = position is not None and turned is not None and spacing is not None
    sources = [
        (str(item.get("ReferencedSOPInstanceUID") or ""), int(_one(item.get("ReferencedFrameNumber")) or 1) - 1)
        for derivation in of.all("DerivationImageSequence")
        for item in derivation.get("SourceImageSequence") or ()
    ]
    return SegFrame(
        mask=mask,
        position=np.array(position, float) if placed else None,
        turned=np.array(turned, float).reshape(2, 3) if placed else None,
        spacing=(float(spacing[0]), float(spacing[1])) if placed else None,
        between=abs(float(between)) if between else None,
        thickness=float(thickness) if thickness else None,
        sources=tuple(sources),
    )


class _Groups:
    """A frame's own functional groups before those for all frames."""

    def __init__(self, groups: list[Dataset]) -> None:
        self.groups = groups

    def all(self, sequence: str) -> list[Dataset]:
        return next((list(found) for group in self.groups if (found := group.get(sequence))), [])

    def get(self, sequence: str, keyword: str) -> Any:
        for group in self.groups:
            if (value := _first(group.get(sequence)).get(keyword)) not in (None, ""):
                return value
        return None


def _one(value: Any) -> Any:
    return value[0] if isinstance(value, (list, pydicom.multival.MultiValue)) and value else value


def _first(sequence: Any) -> Dataset:
    return sequence[0] if sequence else Dataset()
