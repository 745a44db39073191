"""Native labelmaps to files: NIfTI, NRRD as viewers and Slicer read it, PNG; whole or not at all."""

from __future__ import annotations

import errno
import io
import os
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import nibabel as nib
import nrrd
import numpy as np
import SimpleITK as sitk

from fewsam.core.errors import LabelError, StorageError
from fewsam.images.endings import NIFTI, has_suffix
from fewsam.images.imageio import brief
from fewsam.images.native import LPS


def write_native_labelmap(
    path: Path, labelmap: np.ndarray, affine: np.ndarray, names: Mapping[int, str], upright: np.ndarray | None = None
) -> None:
    """Write a native labelmap ``(i, j, k)``; see `fewsam.images.volume.save_labelmap`.

    Args:
        upright: for a sheared ``affine``, the one for programs that read no shears.
    """
    write: Callable[[Path, np.ndarray, np.ndarray, Mapping[int, str]], None]
    if has_suffix(path, NIFTI):
        suffix = ".nii.gz" if has_suffix(path, (".gz",)) else ".nii"

        def write(to: Path, array: np.ndarray, place: np.ndarray, _: Mapping[int, str]) -> None:
            nib.save(nifti_of(array, place, upright), to)
    elif has_suffix(path, (".nrrd",)):
        suffix, write = (".seg.nrrd" if has_suffix(path, (".seg.nrrd",)) else ".nrrd"), _write_nrrd
    elif has_suffix(path, (".png",)):
        suffix, write = ".png", _write_png
        if 1 not in labelmap.shape:
            raise LabelError(
                f"{path}: a volume of shape {labelmap.shape} does not fit into a PNG; write .nii.gz or .nrrd"
            )
    else:
        raise LabelError(
            f"{path}: labelmaps are written as .nii, .nii.gz, .nrrd, .seg.nrrd or .png; choose one of these"
        )
    # Written beside and renamed, so that a reader never sees half a file and a full disk spoils no older one.
    partial = path.with_name(f".{uuid.uuid4().hex}{suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(partial, labelmap, affine, names)
        os.replace(partial, path)
    except (OSError, RuntimeError) as error:  # SimpleITK reports a full disk as RuntimeError
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StorageError(f"{path}: cannot be written: the disk is full; free space, then try again") from error
        raise StorageError(f"{path}: cannot be written ({brief(error)}); check free space and permissions") from error
    finally:
        partial.unlink(missing_ok=True)


def nifti_of(array: np.ndarray, affine: np.ndarray, upright: np.ndarray | None = None) -> nib.Nifti1Image:
    """A NIfTI of a native array ``(i, j, k)``, or in colour ``(i, j, k, 3)`` uint8, in one place for every reader.

    Args:
        upright: for a sheared ``affine``, the one for readers that know no shears, such as ITK.
    """
    if array.ndim == 4:  # as a record of R, G and B: a fourth axis would be taken for time
        colours = np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")])
        array = np.ascontiguousarray(array, np.uint8).view(colours)[..., 0]
    image = nib.Nifti1Image(array, affine)
    image.set_sform(affine, code=1)
    # The nearest rotation; readers that prefer it must not fall back to the identity.
    image.set_qform(affine if upright is None else upright, code=1)
    image.header.set_xyzt_units("mm")
    return image


def write_native_masks(path: Path, masks: Mapping[str, np.ndarray], affine: np.ndarray) -> None:
    """Write masks, name -> bool ``(i, j, k)``, as a `.seg.nrrd` with a layer each, so that they may overlap."""
    stacked = np.stack([np.asarray(mask, np.uint8) for mask in masks.values()])
    segments = [(name, 1, layer) for layer, name in enumerate(masks)]
    path.write_bytes(_nrrd(stacked, affine, segments, "gzip"))


def _write_nrrd(path: Path, labelmap: np.ndarray, affine: np.ndarray, names: Mapping[int, str]) -> None:
    # viewers in a browser take the bytes after the header as they are
    encoding = "gzip" if has_suffix(path, (".seg.nrrd",)) else "raw"
    path.write_bytes(_nrrd(labelmap, affine, [(name, value, 0) for value, name in sorted(names.items())], encoding))


def _nrrd(array: np.ndarray, affine: np.ndarray, segments: Sequence[tuple[str, int, int]], encoding: str) -> bytes:
    """``(i, j, k)`` or, with layers, ``(layer, i, j, k)``; ``segments`` are (name, value, layer)."""
    world = LPS @ affine
    layers = array.ndim - 3
    header: dict = {
        "space": "left-posterior-superior",
        "kinds": ["list"] * layers + ["domain", "domain", "domain"],
        "space directions": np.vstack([np.full((layers, 3), np.nan), world[:3, :3].T]),
        "space origin": world[:3, 3],
        "encoding": encoding,
    }
    extent = " ".join(f"0 {n - 1}" for n in array.shape[layers:])
    texts: dict[bytes, bytes] = {}
    for number, (name, value, layer) in enumerate(segments):
        texts[f"@name{number}@".encode()] = " ".join(name.splitlines()).encode()
        # By number: a value may come in several layers.
        segment = {"ID": f"Segment_{number + 1 if layers else value}", "Name": f"@name{number}@"}
        segment |= {"LabelValue": str(value), "Layer": str(layer), "Extent": extent}
        header |= {f"Segment{number}_{key}": entry for key, entry in segment.items()}
    buffer = io.BytesIO()
    nrrd.write(buffer, array, header, index_order="F")
    head, payload = buffer.getvalue().split(b"\n\n", 1)
    for token, text in texts.items():  # pynrrd writes ASCII alone; Slicer reads UTF-8
        head = head.replace(token, text)
    return head + b"\n\n" + payload


def _write_png(path: Path, labelmap: np.ndarray, affine: np.ndarray, names: Mapping[int, str]) -> None:
    flat = labelmap.squeeze(axis=labelmap.shape.index(1) if labelmap.shape[2] != 1 else 2)
    sitk.WriteImage(sitk.GetImageFromArray(np.ascontiguousarray(flat.T)), str(path))
