"""Valid inputs from which the cases for each parser are made, as small as a file of the kind can be.

One function a kind of input; each gives a list of bytes.
"""

from __future__ import annotations

import io
import json
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import fewsam  # noqa: F401  first, so that segment_anything can import torchvision

# isort: split
import nibabel as nib
import numpy as np
import SimpleITK as sitk
import torch
from PIL import Image
from safetensors.torch import save as save_tensors

from fewsam.images.dicomseg import write_seg
from fewsam.images.volume import load_volume
from fewsam.synthetic.phantom import write_dataset
from helpers.image_files import AFFINE, NAMES, label_array, seg_nrrd

# -- images and labels


def _written(write: Callable[[Path], object], name: str) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        write(path)
        return path.read_bytes()


def _nifti(name: str, array: np.ndarray, kind: type = nib.Nifti1Image) -> bytes:
    return _written(lambda path: nib.save(kind(array, AFFINE), path), name)


def niftis(ending: str) -> list[bytes]:
    floats = label_array().astype(np.float32)
    extended = nib.Nifti1Image(label_array(), AFFINE)
    extended.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"hello"))
    return [
        _nifti(f"a{ending}", label_array()),
        _nifti(f"a{ending}", floats),
        _nifti(f"a{ending}", label_array(), nib.Nifti2Image),
        _written(lambda path: nib.save(extended, path), f"a{ending}"),
    ]


def nrrds() -> list[bytes]:
    import nrrd

    one = [{"Name": name, "LabelValue": value, "Layer": 0} for value, name in NAMES.items()]
    layers = np.stack([label_array() * (label_array() == value) for value in NAMES])
    world = np.diag([-1, -1, 1, 1]) @ AFFINE
    place = {"space": "left-posterior-superior", "space origin": world[:3, 3], "space directions": world[:3, :3].T}
    head = b"NRRD0004\ntype: uchar\ndimension: 3\nsizes: 8 7 6\nencoding: ascii\n\n"
    return [
        _written(lambda path: seg_nrrd(path, label_array(), one), "a.seg.nrrd"),
        _written(lambda path: seg_nrrd(path, layers, [{**s, "Layer": n} for n, s in enumerate(one)]), "a.seg.nrrd"),
        _written(lambda path: nrrd.write(str(path), label_array(), place | {"encoding": "raw"}), "a.nrrd"),
        _written(lambda path: nrrd.write(str(path), label_array(), place | {"encoding": "bzip2"}), "a.nrrd"),
        head + b" ".join(b"%d" % value for value in label_array().ravel()),
        b"NRRD0004\ntype: uchar\ndimension: 3\nsizes: 8 7 6\nencoding: raw\ndata file: /etc/passwd\n\n",
    ]


def itk_images(ending: str) -> list[bytes]:
    image = sitk.GetImageFromArray(label_array().transpose())
    world = np.diag([-1, -1, 1, 1]) @ AFFINE
    spacing = np.linalg.norm(world[:3, :3], axis=0)
    image.SetSpacing(spacing.tolist())
    image.SetOrigin(world[:3, 3].tolist())
    image.SetDirection((world[:3, :3] / spacing).ravel().tolist())
    drawn = label_array()[:, :, 2].T * (255 if ending == ".jpg" else 1)
    flat = sitk.GetImageFromArray(np.ascontiguousarray(drawn))
    made = flat if ending in (".png", ".jpg", ".bmp", ".tif") else image
    seeds = [
        _written(lambda path, packed=packed: sitk.WriteImage(made, str(path), packed), f"a{ending}")  # type: ignore
        for packed in (False, True)
    ]
    if ending == ".png":
        buffer = io.BytesIO()
        Image.fromarray(np.ascontiguousarray(label_array()[:, :, 2].T), "P").save(buffer, "PNG")
        seeds.append(buffer.getvalue())
    return seeds


_kept = tempfile.TemporaryDirectory(prefix="fewsam-fuzz-scan-")  # removed when the process ends


@cache
def _scan() -> Path:
    """A generated DICOM series, kept for the process."""
    write_dataset(Path(_kept.name), patients=1, shape=(16, 16, 16))
    return Path(_kept.name) / "dicom" / "mr-patient01"


def dicoms() -> list[bytes]:
    return [sorted(_scan().iterdir())[0].read_bytes()]


@cache
def seg_geometry() -> Any:
    return load_volume(_scan(), axis="2").geometry


def segs() -> list[bytes]:
    mask = np.zeros(seg_geometry().slices_shape, bool)
    mask[1:3, 4:9, 5:12] = True
    return [_written(lambda path: write_seg(path, {"liver": mask}, seg_geometry(), _scan()), "a.dcm")]


def raw_voxels() -> list[bytes]:
    return [label_array().tobytes()]


# -- what a client sends beside files


def _as_json(*values: Any) -> list[bytes]:
    return [json.dumps(value).encode() for value in values]


def params() -> list[bytes]:
    info = [{"name": "a", "idx": 1}, {"name": "b", "idx": 2}, {"name": "c", "idx": 3}]
    return _as_json({"label_info": info, "absent_classes": "partial", "complete_slices": [1], "annotator": "x"})


def points() -> list[bytes]:
    return _as_json(
        {"liver": [[1, 2, 3]], "background": [[0, 0, 3]]},
        {"foreground": [[1, 2, 3]], "label": "liver"},
    )


def clicks() -> list[bytes]:
    return _as_json({"image": "a", "slice": 1, "label": "liver", "include": [[1, 2]], "exclude": [[0, 0]]})


def archives() -> list[bytes]:
    zipped, tarred = io.BytesIO(), io.BytesIO()
    with zipfile.ZipFile(zipped, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/b.dcm", b"hello" * 20)
        archive.writestr("../../up.txt", b"out")
    with tarfile.open(fileobj=tarred, mode="w") as bundle:
        for name, kind, link in (("a.dcm", tarfile.REGTYPE, ""), ("l", tarfile.SYMTYPE, "/etc/passwd")):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, link
            bundle.addfile(info, io.BytesIO())
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/b.dcm", b"hello" * 20)
    return [zipped.getvalue(), tarred.getvalue(), whole.getvalue()]


def file_names() -> list[bytes]:
    return [b"a.nii.gz", b"../../etc/passwd", b"C:\\x\\y.nii", b"..", b"\0"]


# -- settings and lists

_PRESET = (
    b"labels: [liver, spleen]\nwindow: soft_tissue\npercentiles: [1, 99]\nsteps: 5\nauto_train: every:3\nseed: 1\n"
)
_TASKS = b"tasks:\n- name: a\n  folder: ct\n  names: {1: liver}\n  spacing: [1, 2, 3]\n  settings: {axis: '2'}\n"
_BOMB = b"a: &a [x,x,x,x,x,x,x,x,x]\n" + b"".join(
    b"%c: &%c [*%c,*%c,*%c,*%c,*%c,*%c,*%c,*%c,*%c]\n" % ((c, c) + (c - 1,) * 9) for c in range(98, 106)
)


def confs() -> list[bytes]:
    return [
        b"labels=liver,spleen\nwindow=-100,200",
        b"auto_train=idle:30\nseed=3\nviews=4",
        b"percentiles=1,99\ncheckpoint=none\ncache_gb=2",
    ]


def numbers() -> list[bytes]:
    return [b"1,2,5-9", b"1=liver,2=spleen"]


def presets() -> list[bytes]:
    return [_PRESET, _BOMB]


def task_lists() -> list[bytes]:
    return [_TASKS, _BOMB]


def datasets() -> list[bytes]:
    return _as_json(
        {"labels": {"background": 0, "liver": 1}, "file_ending": ".nii.gz", "channel_names": {"0": "CT"}},
        {"labels": {"0": "background", "1": "liver"}, "training": [{"image": "./a.nii.gz", "label": "./b.nii.gz"}]},
    )


# -- checkpoints and task files

_STATE = {"image_encoder.pos_embed": torch.zeros(1, 2, 2, 3), "mask_decoder.a": torch.ones(2)}
_CARD = {
    "classes": ["liver"], "slots": ["liver"], "encoder": "ab", "detail_size": 64, "switches": {"stride": 4},
    "shots": [1], "metric": 0.5, "measured_on": [], "largest_component": [], "steps": 3, "seconds": 1.0,
    "trained_at": "", "format": 1,
}  # fmt: skip
_META = {
    "format": 1, "fewsam": "0.1.0", "written": "2026-01-01", "classes": ["liver", "bead"], "preprocessing": 1,
    "encoder": {"name": "compact", "input_size": 128, "fingerprint": "ab12"}, "settings": {"axis": "auto"},
    "detail_size": 64, "shots": [{"image": "00ff", "slice": 3, "shape": [5, 8, 9], "spacing": [5, 1, 1]}],
}  # fmt: skip


def sam_checkpoints() -> list[bytes]:
    return [_pth(_STATE), _pth({"model": _STATE}), _pth(_STATE, old=True)]


def _pth(value: Any, old: bool = False) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer, _use_new_zipfile_serialization=not old)
    return buffer.getvalue()


def tensors() -> list[bytes]:
    return [save_tensors(_STATE)]


def cards() -> list[bytes]:
    return _as_json(_CARD)


def pointers() -> list[bytes]:
    return [b'{"version": 3}']


@cache
def whole_shots() -> bytes:
    """The tensors that belong to :func:`task_metas`."""
    from safetensors.numpy import save

    return save(
        {
            "shot": np.zeros(1, np.int64),
            "embeddings": np.zeros((1, 256, 64, 64), np.float16),
            "masks": np.zeros((1, 3, 64, 64), np.float32),
            "known": np.zeros((1, 3), bool),
            "z": np.zeros(1, np.float32),
        }
    )


def task_metas() -> list[bytes]:
    return _as_json(_META)


def task_files() -> list[bytes]:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("meta.json", json.dumps(_META))
        archive.writestr("shots.safetensors", save_tensors({"shot": torch.zeros(1, dtype=torch.int64)}))
    return [buffer.getvalue()]
