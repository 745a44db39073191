"""What is known of an image, to take away: slices as they were drawn over the answer served last, and its volumes."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fewsam.collection import Shot
from fewsam.collection.store import Collection
from fewsam.images.dicomseg import write_seg
from fewsam.images.labelwrite import write_native_masks
from fewsam.images.measure import volumes_ml
from fewsam.images.volume import Volume, save_labelmap
from fewsam.server.errors import NotFoundError, RequestError
from fewsam.server.storage.palette import colours_of
from fewsam.server.tasks.shown import served_labelmap, shown_labelmap

FORMATS = ("nii.gz", "nrrd", "seg.nrrd", "dcm")


@dataclass(frozen=True)
class Result:
    """Structures of an image as they are known now.

    Attributes:
        masks: Structure -> bool (Z, H, W), in the order of the task; structures may overlap where they were drawn so.
        drawn: Labelled slices, canonical.
        model_version: Of the answer below the drawn slices; None where nothing was served.
    """

    masks: dict[str, np.ndarray]
    drawn: tuple[int, ...]
    model_version: int | None


def result_of(collection: Collection, image_id: str, volume: Volume) -> Result:
    """The structures of an image; nothing is computed.

    Raises:
        NotFoundError: nothing is known of it yet.
    """
    classes, shape = collection.classes, volume.slices.shape[:3]
    shots = collection.shots(image_id, content_hash=volume.content_hash)
    served = served_labelmap(collection, image_id, shape, classes)
    if served is None and not shots:
        raise NotFoundError(f"nothing is known of {image_id!r} yet; segment it, or draw on a slice and submit")
    labels = served[0] if served is not None else np.zeros(shape, np.uint8)
    masks = {name: labels == value for value, name in enumerate(classes, start=1)}
    for shot in shots:
        for name, mask in masks.items():
            _draw(mask, shot, name)
    return Result(masks, tuple(sorted(shot.slice for shot in shots)), served[1] if served is not None else None)


def _draw(mask: np.ndarray, shot: Shot, name: str) -> None:
    """Put what a shot says of a structure into its mask (Z, H, W); what it does not know stays as it was served."""
    if name in shot.known or name in shot.masks:
        mask[shot.slice] = shot.masks.get(name, False)
    else:  # other structures that were drawn here take their place, as in what is shown
        for other in shot.masks.values():
            mask[shot.slice] &= ~other


def volumes_of(result: Result, volume: Volume) -> dict[str, float | None]:
    """Millilitres by structure; None for a flat image, which has no volume."""
    if volume.depth == 1:
        return dict.fromkeys(result.masks)
    return dict(volumes_ml(result.masks, volume.geometry))


def write_result_file(folder: Path, form: str, collection: Collection, image_id: str, volume: Volume) -> Path:
    """Write what is known of an image as a new file in ``folder``.

    Args:
        form: One of `FORMATS`. NIfTI and NRRD hold one structure a voxel, the later one of the task where they
            overlap; a Slicer segmentation (``seg.nrrd``) and DICOM SEG hold overlaps too.

    Raises:
        NotFoundError: nothing is known of it yet.
        RequestError: another form, or a DICOM SEG of an image that is no DICOM series.
        EmptyLabelError: a DICOM SEG of no voxel at all.
    """
    if form not in FORMATS:
        raise RequestError(f"format {form[:40]!r} is not written here; use one of {', '.join(FORMATS)}")
    if form == "dcm" and not Path(volume.source).is_dir():
        raise RequestError(
            "a DICOM SEG refers to the DICOM series that it was drawn on, and this image is another kind of file; "
            "use nii.gz, nrrd or seg.nrrd"
        )
    result = result_of(collection, image_id, volume)
    folder.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=folder, prefix="result-", suffix=f".{form}")
    os.close(handle)
    path = Path(name)
    try:
        _write(path, form, result, collection, image_id, volume)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return path


def _write(path: Path, form: str, result: Result, collection: Collection, image_id: str, volume: Volume) -> None:
    geometry, classes = volume.geometry, collection.classes
    if form == "dcm":
        authors = _authors(collection.shots(image_id, content_hash=volume.content_hash))
        write_seg(
            path,
            result.masks,
            geometry,
            Path(volume.source),
            colours=colours_of(collection.names),
            annotator=authors,
            description="fewsam result",
        )
    elif form == "seg.nrrd":
        write_native_masks(path, {n: geometry.to_native(m) for n, m in result.masks.items()}, geometry.affine)
    else:
        labels, _ = shown_labelmap(collection, image_id, volume, classes)
        save_labelmap(path, labels, geometry, dict(enumerate(classes, start=1)))


def _authors(shots: Sequence[Shot]) -> str:
    """Those who drew, each once."""
    return ", ".join(dict.fromkeys(shot.annotator for shot in shots if shot.annotator))
