"""Writes the collection's labels as a data set in nnU-Net v2's layout; unlabelled voxels get the ignore label."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fewsam.collection import Collection, Shot
from fewsam.core.atomic import replacing, write_atomically
from fewsam.core.class_values import names_by_value, values_by_name
from fewsam.core.errors import LabelError, StorageError
from fewsam.core.version import __version__
from fewsam.images.labelwrite import nifti_of
from fewsam.images.preprocess import image_stats
from fewsam.images.sequences import load_image
from fewsam.images.volume import Geometry, Volume, save_labelmap
from fewsam.workspace.anonymous import shuffled

ENDING = ".nii.gz"
RESERVED = ("background", "ignore")
MAX_CLASSES = 254  # of the values of a byte, background and the ignore label take one each


@dataclass(frozen=True)
class Exported:
    """One case: its name in the data set, where its image came from, and which slices are labelled."""

    case: str
    source: str
    slices: tuple[int, ...]


def export_nnunet(
    collection: Collection,
    images: Sequence[Path],
    folder: Path,
    *,
    axis: str = "auto",
    sequences: Sequence[str] = (),
    anonymous: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> list[Exported]:
    """Write ``imagesTr``, ``labelsTr`` and ``dataset.json``; an image is known by its pixels, not by its name.

    Values are 0 for background, 1.. for the classes that are drawn, in the collection's order, and the highest one
    is nnU-Net's ignore label. It stands on every slice that is not labelled, and on the undrawn pixels of a slice on
    which some class was not looked for.

    Args:
        images: Files or DICOM folders; those without a labelled slice are left out.
        folder: Becomes ``DatasetXXX_Name``; must not hold a data set yet.
        axis: As in the settings.
        sequences: As in the settings; each becomes a channel.
        anonymous: Cases are called ``case_0001`` and so on, in random order, instead of by the images' ids.
        progress: Called with images done and in all.

    Raises:
        LabelError: no image has a labelled slice, colours are mixed with grey, or a class has a reserved name.
        StorageError: the folder is in use or cannot be written.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise StorageError(f"{folder} is not empty; give a new folder, nothing in it is overwritten")
    found = _labelled(collection, images, axis, sequences)
    drawn = {name for image in found for shot in image.shots for name in shot.masks}
    classes = [name for name in collection.classes if name in drawn]
    _check(classes, found)
    found = shuffled(found) if anonymous else found
    exported: list[Exported] = []
    for done, image in enumerate(found, 1):
        taken = [other.case for other in exported]
        case = f"case_{done:04d}" if anonymous else _case(image.shots[0].image_id, taken)
        _write_case(folder, case, load_image(image.path, axis, sequences), image.shots, classes)
        exported.append(Exported(case, str(image.path), tuple(sorted(shot.slice for shot in image.shots))))
        if progress:
            progress(done, len(found))
    description = {
        "channel_names": _channels(found[0].is_rgb, {image.modality for image in found}, sequences),
        "labels": label_values(classes),
        "numTraining": len(exported),
        "file_ending": ENDING,
        "name": folder.name,
        "description": f"Labelled slices of a few-shot task; all others carry the ignore label. fewsam {__version__}",
    }
    # written last: its presence says that the data set is whole
    write_atomically(folder / "dataset.json", (json.dumps(description, indent=2, ensure_ascii=False) + "\n").encode())
    return exported


@dataclass(frozen=True)
class _LabelledImage:
    path: Path
    shots: list[Shot]
    is_rgb: bool
    modality: str


def _labelled(
    collection: Collection, images: Sequence[Path], axis: str, sequences: Sequence[str]
) -> list[_LabelledImage]:
    """Those of the images that have labelled slices."""
    found = []
    for path in images:
        volume = load_image(path, axis, sequences)
        shots = collection.shots(content_hash=volume.content_hash)
        if shots:
            found.append(_LabelledImage(path, shots, volume.is_rgb, modality(volume)))
    return found


def _check(classes: Sequence[str], found: Sequence[_LabelledImage]) -> None:
    """Raise LabelError where nnU-Net could not take these classes and images."""
    if not classes:
        raise LabelError("none of the images has a labelled slice in this task; check --images and --task")
    for name in classes:
        if name.casefold() in RESERVED:
            raise LabelError(f"class {name!r} has a name that nnU-Net keeps for itself; rename it")
    if len(classes) > MAX_CLASSES:
        raise LabelError(f"{len(classes)} classes leave no value for the ignore label; export at most {MAX_CLASSES}")
    if len({image.is_rgb for image in found}) > 1:
        raise LabelError("colour and grey images cannot be in one data set; export them one after the other")


def _write_case(folder: Path, case: str, volume: Volume, shots: Sequence[Shot], classes: Sequence[str]) -> None:
    write_image(folder / "imagesTr", case, volume)
    save_labelmap(
        folder / "labelsTr" / f"{case}{ENDING}",
        labelmap_with_ignore(shots, classes, volume.geometry.slices_shape),
        volume.geometry,
        names_by_value(classes),
    )


def label_values(classes: Sequence[str]) -> dict[str, int]:
    """``labels`` of ``dataset.json``: background, the classes, and the ignore label as the highest value."""
    return {"background": 0, **values_by_name(classes), "ignore": len(classes) + 1}


def labelmap_with_ignore(shots: Sequence[Shot], classes: Sequence[str], shape: tuple[int, int, int]) -> np.ndarray:
    """Labels (Z, H, W) uint8 of the shots of one image; the value after the last class is the ignore label."""
    ignore = len(classes) + 1
    labelmap = np.full(shape, ignore, np.uint8)
    for shot in shots:
        labelmap[shot.slice] = 0 if shot.known.issuperset(classes) else ignore
        for value, name in enumerate(classes, 1):
            if name in shot.masks:
                labelmap[shot.slice][shot.masks[name]] = value
    return labelmap


def write_image(folder: Path, case: str, volume: Volume) -> None:
    geometry: Geometry = volume.geometry
    native = geometry.to_native(volume.slices)
    count = len(volume.sequences) or 3  # of two sequences the third channel is the first again
    channels = [native[..., c] for c in range(count)] if native.ndim == 4 else [native]
    for number, channel in enumerate(channels):
        if channel.dtype.kind in "iu" and channel.dtype.itemsize == 8:
            channel = channel.astype(np.float32)  # many readers of NIfTI know no 64-bit integers
        image = nifti_of(np.asarray(channel), geometry.affine, geometry.upright)
        path = folder / f"{case}_{number:04d}{ENDING}"
        # Without a name or a time in gzip's header: the same image gives the same bytes.
        with replacing(path) as file, gzip.GzipFile("", "wb", compresslevel=1, fileobj=file, mtime=0) as packed:
            image.to_stream(packed)
        path.chmod(0o644)


def _case(image_id: str, taken: Sequence[str]) -> str:
    plain = re.sub(r"[^A-Za-z0-9-]+", "_", image_id).strip("_") or "case"
    name, number = plain, 2
    while name in taken:
        name, number = f"{plain}_{number}", number + 1
    return name


def modality(volume: Volume) -> str:
    # nnU-Net normalises "CT" by the data set's Hounsfield units and everything else image by image
    return "CT" if image_stats(volume)["ct"] else volume.modality or "image"


def _channels(rgb: bool, modalities: set[str], sequences: Sequence[str]) -> dict[str, str]:
    if sequences:
        return {str(number): name.strip("_- ") for number, name in enumerate(sequences)}
    if rgb:
        return {"0": "red", "1": "green", "2": "blue"}
    return {"0": modalities.pop() if len(modalities) == 1 else "image"}
