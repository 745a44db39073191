"""Label files to one mask a class on the image's canonical slices: values get names, grids get aligned."""

from __future__ import annotations

import logging
import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fewsam.core.errors import EmptyLabelError, ImageError, LabelError
from fewsam.images.dicomio import is_dicom
from fewsam.images.endings import FLAT_ENDINGS, has_suffix
from fewsam.images.flatlabel import read_flat
from fewsam.images.imagebounds import MAX_LAYERS, max_bytes
from fewsam.images.imageio import NRRD, nrrd_affine, read_native, read_nrrd
from fewsam.images.labelgrid import align
from fewsam.images.volume import Geometry

logger = logging.getLogger(__name__)

NAMING = "give each value a name"
_LEAST_ROOM = 1 << 26  # bytes that any label may take; those of large images may take more
# By this much a scaled label is off: programs keep whole numbers in floats as 16 bits, a slope and an intercept.
_SCALED = 1e-3
_MAX_VALUES = 255  # classes of one file: each gets a mask of the image's size

# Slicer's helpers, which it saves along with what was drawn
_HELPERS = {"background", "foreground_scribbles", "background_scribbles"}


@dataclass(frozen=True)
class _Layer:
    """A labelmap ``(i, j, k)`` of unsigned integers on its own grid; ``affine`` None: the image's, by its size.

    ``names`` maps values to class names where the file itself holds them; ``readings`` are other affines by which
    programs place the same voxels.
    """

    values: np.ndarray
    affine: np.ndarray | None
    names: dict[int, str] | None = None
    readings: tuple[np.ndarray, ...] = ()


def read_label(
    path: str | os.PathLike[str],
    geometry: Geometry,
    names: Mapping[int, str] | None = None,
    label_info: Sequence[Mapping[str, Any]] | None = None,
    naming: str = NAMING,
) -> dict[str, np.ndarray]:
    """Masks of a label file on the image's canonical slices.

    A label on the image's grid, in any orientation or cropped to whole voxels, is taken exactly; on another grid it
    is resampled to the nearest voxel.

    Args:
        path: NIfTI, NRRD (`.seg.nrrd` with layers too), MHA/MHD, PNG, BMP, TIFF, a black-and-white JPEG, or `.bin`
            (raw uint8 on the image's grid, i fastest).
        geometry: the image's.
        names: value to name, for files that come without names.
        label_info: what MONAI Label's clients send: ``[{"name", "idx"}]``, where ``idx`` is the value or, from
            Slicer, a number that skips while the values are 1..N in this order. Names inside the file win over it.
        naming: what to do about values without a name, for the message: there is another way on each side.

    Returns:
        Class name to bool ``(Z, H, W)``, each with at least one voxel, in order of value.

    Raises:
        EmptyLabelError: no voxel of a class.
        LabelError: missing or unreadable label, values without a name or with two possible ones, a grid that
            does not fit the image.
    """
    path = Path(path)
    masks: dict[str, np.ndarray] = {}
    helpers = _HELPERS - {
        name.casefold() for name in (names or {}).values()
    }  # a task may have a structure of that name
    for layer in _read_layers(path, geometry):
        counts = np.bincount(layer.values.reshape(-1, order="A"))
        present = [int(value) for value in np.flatnonzero(counts) if value]
        named = _named(path, present, layer.names, names, label_info, naming)
        wanted = [value for value in present if named[value].casefold() not in helpers]
        if len(wanted) + len(masks) > _MAX_VALUES:
            raise LabelError(f"{path}: holds {len(wanted)} classes; send {_MAX_VALUES} at most in one file")
        if not wanted:
            continue
        affines = None if layer.affine is None else (layer.affine, *layer.readings)
        values = align(path, layer.values, affines, geometry, {value: named[value] for value in wanted})
        slices = geometry.to_slices(values)
        for value in wanted:
            mask = slices == value
            masks[named[value]] = mask | masks[named[value]] if named[value] in masks else mask
    if not masks:
        raise EmptyLabelError(
            f"{path}: the label is empty, no voxel of a class is set; draw at least one and save again"
        )
    if gone := [name for name, mask in masks.items() if not mask.any()]:
        raise LabelError(f"{path}: {', '.join(gone)} holds no voxel on the image's grid; draw it on the image itself")
    return masks


def _read_layers(path: Path, geometry: Geometry) -> list[_Layer]:
    if not path.exists():
        raise LabelError(f"{path}: no such label file; check the path")
    if path.is_dir() or has_suffix(path, (".dcm",)) or is_dicom(path):
        raise LabelError(f"{path}: DICOM labels cannot be read; convert the segmentation to .nii.gz or .seg.nrrd")
    size, expected = path.stat().st_size, math.prod(geometry.shape)
    if size == 0:
        raise LabelError(f"{path}: the file is empty; save the label again")
    if has_suffix(path, (".bin",)):
        if size != expected:
            raise LabelError(
                f"{path}: {size} bytes do not fit the image's grid {geometry.shape}; send one byte for each of its "
                f"{expected} voxels"
            )
        return [_Layer(np.fromfile(path, dtype=np.uint8).reshape(geometry.shape, order="F"), None)]
    limit = min(max_bytes(), max(_LEAST_ROOM, 64 * expected))
    try:
        if has_suffix(path, FLAT_ENDINGS):
            return [_Layer(_whole_numbers(path, read_flat(path, limit)), None)]
        if has_suffix(path, NRRD) and (layers := _read_segments(path, limit)):
            return layers
        image = read_native(path, limit)
    except ImageError as error:
        raise LabelError(str(error)) from error
    if image.array.ndim != 3:
        raise LabelError(f"{path}: the label is in colour; save one whole number a voxel")
    return [_Layer(_whole_numbers(path, image.array), image.affine, readings=image.readings)]


def _read_segments(path: Path, limit: int) -> list[_Layer]:
    """Layers of a Slicer segmentation; empty where the file has no segments."""
    try:
        array, header = read_nrrd(path, limit)
        segments = sorted({int(m[1]) for key in header if (m := re.match(r"Segment([0-9]{1,6})_", key))})
        return _layers(path, array, header, segments) if segments else []
    except (ImageError, LabelError):
        raise
    except Exception as error:  # pynrrd raises its own kinds and those of zlib and bz2
        raise LabelError(f"{path}: cannot be read ({error}); check that the file is whole") from error


def _layers(path: Path, array: np.ndarray, header: Mapping[str, Any], segments: list[int]) -> list[_Layer]:
    if array.ndim == 4:
        directions = header.get("space directions")
        lists = [
            a for a, d in enumerate(directions if directions is not None else ()) if d is None or np.isnan(d).any()
        ]
        array = np.moveaxis(array, lists[0] if lists else 0, -1)
    elif array.ndim == 3:
        array = array[..., None]
    else:
        raise LabelError(f"{path}: a segmentation of shape {array.shape} cannot be read; save it from Slicer again")
    if 0 in array.shape or array.shape[3] > MAX_LAYERS:
        raise LabelError(f"{path}: a segmentation of shape {array.shape} cannot be read; save it from Slicer again")
    named: dict[int, dict[int, str]] = {}
    stacked = array.shape[3] > 1
    for position, number in enumerate(segments):
        name = str(header.get(f"Segment{number}_Name") or header.get(f"Segment{number}_ID") or "").strip()
        # files from before layers were shared give each segment a layer of its own, or its place as value
        layer = int(header.get(f"Segment{number}_Layer", position if stacked else 0))
        value = int(header.get(f"Segment{number}_LabelValue", 1 if stacked else position + 1))
        if name and 0 <= layer < array.shape[3]:
            named.setdefault(layer, {})[value] = name
    affine = nrrd_affine(header)
    return [_Layer(_whole_numbers(path, array[..., n]), affine, named.get(n, {})) for n in range(array.shape[3])]


def _whole_numbers(path: Path, array: np.ndarray) -> np.ndarray:
    """The array as uint8 or uint16, refused if that would change a value."""
    if array.size == 0 or array.dtype.kind not in "biuf":
        raise LabelError(f"{path}: {array.size} voxels of {array.dtype}; save one whole number a voxel")
    low, high = array.min(), array.max()
    near = min(max(_SCALED, float(high) / 60_000), 0.1) if array.dtype.kind == "f" else 0  # half a step of 16 bits
    if not (low >= -near and high <= 65535):  # NaN fails too
        raise LabelError(f"{path}: label values run from {low} to {high}; they must be whole numbers from 0 to 65535")
    kind = np.uint8 if high < 255.5 else np.uint16
    if array.dtype.kind != "f":
        return array.astype(kind)
    whole = np.rint(array).astype(kind)
    if (np.abs(whole - array) > near).any():
        raise LabelError(f"{path}: label values are not whole numbers (probabilities?); threshold them and save again")
    return whole


def _named(
    path: Path,
    present: list[int],
    inside: dict[int, str] | None,
    names: Mapping[int, str] | None,
    label_info: Sequence[Mapping[str, Any]] | None,
    naming: str,
) -> dict[int, str]:
    """Name of each value present, from the file itself, else ``label_info``, else ``names``."""
    known = {int(value): str(name).strip() for value, name in (names or {}).items()}
    if inside is not None:
        readings, source = [inside], "the file's own segments"
    elif label_info:
        readings, source = _readings(path, label_info), "the names that came with it"
    else:
        readings, source = [known], "the class list"
    if present == [255] and has_suffix(path, FLAT_ENDINGS) and len(readings[0]) == 1:
        return {255: next(iter(readings[0].values()))}  # a black-and-white mask of the only class
    fitting = [{v: reading[v] for v in present} for reading in readings if all(reading.get(v) for v in present)]
    if not fitting:
        nameless = [v for v in present if not readings[0].get(v)]
        raise LabelError(
            f"{path}: values {', '.join(map(str, nameless))} have no name in {source}; {naming}, or save a .seg.nrrd, "
            "which holds its names"
        )
    if has_suffix(path, (".bin",)) or all(reading == fitting[0] for reading in fitting):
        return fitting[0]  # the viewer that sends .bin writes the values itself
    agreeing = [sum(known.get(v, "").casefold() == name.casefold() for v, name in r.items()) for r in fitting]
    if agreeing[0] != agreeing[1]:
        return fitting[int(np.argmax(agreeing))]
    raise LabelError(
        f"{path}: value {present[0]} may be {fitting[0][present[0]]!r} (by the number that came with that name) or "
        f"{fitting[1][present[0]]!r} (by its place in the list); number the structures from 1 without gaps, or save as "
        ".seg.nrrd"
    )


def _readings(path: Path, label_info: Sequence[Mapping[str, Any]]) -> list[dict[int, str]]:
    """The two ways to read label_info: ``idx`` is the value, or the position (from 1) is."""
    try:
        entries = [(str(entry["name"]).strip(), int(entry.get("idx", n + 1))) for n, entry in enumerate(label_info)]
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        shown = repr(label_info)[:200]
        raise LabelError(
            f"{path}: the names that came with it must be a list of {{name, idx}}, and are {shown}"
        ) from error
    entries = [(name, idx) for name, idx in entries if idx != 0]  # background by name
    return [{idx: name for name, idx in entries}, {n + 1: name for n, (name, _) in enumerate(entries)}]
