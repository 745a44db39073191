"""Native labelmaps to files: NIfTI, NRRD as viewers and Slicer read it, PNG; whole or not at all."""

from __future__ import annotations

import io
import os
import uuid
from collections.abc import Mapping
from pathlib import Path

import nibabel as nib
import nrrd
import numpy as np
import SimpleITK as sitk

from fewsam.errors import LabelError, StorageError
from fewsam.imageio import LPS, NIFTI, brief, has_suffix


def write_native_labelmap(path: Path, labelmap: np.ndarray, affine: np.ndarray, names: Mapping[int, str]) -> None:
    """Write a native labelmap ``(i, j, k)``; see `fewsam.volume.save_labelmap`."""
    if has_suffix(path, NIFTI):
        suffix, write = ".nii.gz" if has_suffix(path, (".gz",)) else ".nii", _write_nifti
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
        raise StorageError(f"{path}: cannot be written ({brief(error)}); check free space and permissions") from error
    finally:
        partial.unlink(missing_ok=True)


def _write_nifti(path: Path, labelmap: np.ndarray, affine: np.ndarray, names: Mapping[int, str]) -> None:
    image = nib.Nifti1Image(labelmap, affine)
    image.set_sform(affine, code=1)
    image.set_qform(affine, code=1)  # the nearest rotation; readers that prefer it must not fall back to the identity
    image.header.set_xyzt_units("mm")
    nib.save(image, path)


def _write_nrrd(path: Path, labelmap: np.ndarray, affine: np.ndarray, names: Mapping[int, str]) -> None:
    world = LPS @ affine
    header: dict = {
        "space": "left-posterior-superior",
        "kinds": ["domain", "domain", "domain"],
        "space directions": world[:3, :3].T,
        "space origin": world[:3, 3],
        # viewers in a browser take the bytes after the header as they are
        "encoding": "gzip" if has_suffix(path, (".seg.nrrd",)) else "raw",
    }
    extent = " ".join(f"0 {n - 1}" for n in labelmap.shape)
    texts: dict[bytes, bytes] = {}
    for number, (value, name) in enumerate(sorted(names.items())):
        texts[f"@name{number}@".encode()] = " ".join(name.split()).encode()
        segment = {"ID": f"Segment_{value}", "Name": f"@name{number}@", "LabelValue": value, "Layer": 0}
        header |= {f"Segment{number}_{key}": str(entry) for key, entry in segment.items()}
        header[f"Segment{number}_Extent"] = extent
    buffer = io.BytesIO()
    nrrd.write(buffer, labelmap, header, index_order="F")
    head, payload = buffer.getvalue().split(b"\n\n", 1)
    for token, text in texts.items():  # pynrrd writes ASCII alone; Slicer reads UTF-8
        head = head.replace(token, text)
    path.write_bytes(head + b"\n\n" + payload)


def _write_png(path: Path, labelmap: np.ndarray, affine: np.ndarray, names: Mapping[int, str]) -> None:
    flat = labelmap.squeeze(axis=labelmap.shape.index(1) if labelmap.shape[2] != 1 else 2)
    sitk.WriteImage(sitk.GetImageFromArray(np.ascontiguousarray(flat.T)), str(path))
