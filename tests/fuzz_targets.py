"""One target for each parser of ours: bytes in; a result, or our own error that names the input. Anything else falls.

``tests/test_fuzz.py`` feeds them by hypothesis, ``tools/fuzz.py`` by coverage.
"""

from __future__ import annotations

import io
import json
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any

import fewsam  # noqa: F401  first, so that segment_anything can import torchvision

# isort: split
import nibabel as nib
import numpy as np
import SimpleITK as sitk
import torch
from PIL import Image
from pydantic import ValidationError
from safetensors.torch import save as save_tensors

from fewsam import taskfile
from fewsam.casefiles import names_beside, parse_names
from fewsam.cli.common import parse_conf, parse_numbers
from fewsam.clicks import Clicks
from fewsam.config import load_settings
from fewsam.dicomseg import read_seg, write_seg
from fewsam.encoders.compact import build_compact, parameter_count
from fewsam.encoders.sam import build_sam_encoder, read_sam_checkpoint
from fewsam.errors import FewSAMError
from fewsam.evaluation.datasets import in_dataset
from fewsam.evaluation.tasks import read_tasks
from fewsam.labelfile import read_label
from fewsam.model import ModelStore
from fewsam.phantom import write_dataset
from fewsam.server.errors import RequestError
from fewsam.server.labels import check_tag, parse_params
from fewsam.server.panel import ClickRequest, _inside
from fewsam.server.points import points_of
from fewsam.server.uploads import plain_name, unpack
from fewsam.volume import geometry_for, load_volume
from images import AFFINE, NAMES, image_geometry, label_array, seg_nrrd

Run = Callable[[bytes, Path], None]


@dataclass(frozen=True)
class Target:
    """A parser under attack.

    Attributes:
        run: what is done with the bytes, in an empty folder of their own; it raises what the parser raises.
        seeds: valid inputs to start from.
        named: whether the error must name the file.
        cases: share of all cases, 1 for most; less where each starts another program.
    """

    name: str
    run: Run
    seeds: Callable[[], list[bytes]] = field(default=lambda: [b""])
    named: bool = True
    cases: float = 1.0

    def check(self, data: bytes) -> str:
        """Feed the target: how it ended, in one word.

        Raises:
            Exception: what fell.
        """
        with tempfile.TemporaryDirectory(prefix="fewsam-fuzz-") as name:
            folder = Path(name) / "in"
            folder.mkdir()
            try:
                self.run(data, folder)
            except FewSAMError as error:
                told = str(error)
                assert told.encode(errors="replace"), "the error says nothing"
                assert len(told) < 5000, f"the error is {len(told)} characters long"
                assert not self.named or folder.name in told or "input" in told, f"does not name the input: {told}"
                return "refused"
            finally:
                outside = [path.name for path in Path(name).iterdir() if path.name != "in"]
                assert not outside, f"wrote {outside} beside its folder"
        return "taken"


def _file(ending: str, use: Callable[[Path], object], data: bytes, folder: Path) -> None:
    path = folder / f"input{ending}"
    path.write_bytes(data)
    use(path)


def _label(path: Path) -> None:
    flat = path.name.endswith((".png", ".bmp", ".tif", ".jpg"))
    names = {1: "liver"} if path.name.endswith(".jpg") else NAMES
    masks = read_label(path, geometry_for((8, 7, 1), AFFINE) if flat else image_geometry(), names)
    assert masks and all(mask.any() and mask.dtype == bool for mask in masks.values())


def _image(path: Path) -> None:
    volume = load_volume(path)
    assert volume.slices.size and volume.geometry.slices_shape == volume.slices.shape[:3]


def _both(path: Path) -> None:
    with suppress(FewSAMError):
        _image(path)
    _label(path)


# -- seeds: as small as a file of the kind can be


def _written(write: Callable[[Path], object], name: str) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        write(path)
        return path.read_bytes()


def _nifti(name: str, array: np.ndarray, kind: type = nib.Nifti1Image) -> bytes:
    return _written(lambda path: nib.save(kind(array, AFFINE), path), name)


def _seeds_nifti(ending: str) -> list[bytes]:
    floats = label_array().astype(np.float32)
    extended = nib.Nifti1Image(label_array(), AFFINE)
    extended.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"hello"))
    return [
        _nifti(f"a{ending}", label_array()),
        _nifti(f"a{ending}", floats),
        _nifti(f"a{ending}", label_array(), nib.Nifti2Image),
        _written(lambda path: nib.save(extended, path), f"a{ending}"),
    ]


def _seeds_nrrd() -> list[bytes]:
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


def _seeds_sitk(ending: str) -> list[bytes]:
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


@cache
def _scan() -> Path:
    """A generated DICOM series, kept for the process."""
    folder = Path(tempfile.mkdtemp(prefix="fewsam-fuzz-scan-"))
    write_dataset(folder, patients=1, shape=(16, 16, 16))
    return folder / "dicom" / "mr-patient01"


def _seeds_dicom() -> list[bytes]:
    return [sorted(_scan().iterdir())[0].read_bytes()]


@cache
def _seg_geometry() -> Any:
    return load_volume(_scan(), axis="2").geometry


def _seeds_seg() -> list[bytes]:
    mask = np.zeros(_seg_geometry().slices_shape, bool)
    mask[1:3, 4:9, 5:12] = True
    return [_written(lambda path: write_seg(path, {"liver": mask}, _seg_geometry(), _scan()), "a.dcm")]


def _seeds_json(*values: Any) -> list[bytes]:
    return [json.dumps(value).encode() for value in values]


# -- what a client sends beside files


def _params(data: bytes, folder: Path) -> None:
    text = data.decode("utf-8", "replace")
    raw, ours = parse_params(text, "ann")
    check_tag(raw.get("label_tag", "final"))
    if ours.label_info:
        path = folder / "input.nii"
        path.write_bytes(_seeds_nifti(".nii")[0])
        read_label(path, image_geometry(), None, ours.label_info)


@cache
def _volume() -> Any:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.nii"
        path.write_bytes(_seeds_nifti(".nii")[0])
        return load_volume(path)


def _points(data: bytes, folder: Path) -> None:
    request, _ = parse_params(data.decode("utf-8", "replace"))
    for (z, name), (include, exclude) in points_of(request, ("liver", "spleen"), _volume()).items():
        Clicks._check(_volume(), z, include, exclude)
        assert name in ("liver", "spleen")


def _clicks(data: bytes, folder: Path) -> None:
    try:
        request = ClickRequest.model_validate_json(data)
    except ValidationError as error:
        raise RequestError(f"input: {str(error)[:200]}") from None
    sides = [_inside(_volume(), points, request.slice) for points in (request.include, request.exclude)]
    Clicks._check(_volume(), request.slice, *sides)


def _archive(data: bytes, folder: Path) -> None:
    path = folder / "input.zip"
    path.write_bytes(data)
    (folder / "out").mkdir()
    unpack(path, folder / "out")
    for file in folder.rglob("*"):
        assert not file.is_symlink() and (file.is_file() or file.is_dir())


def _seeds_archive() -> list[bytes]:
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


def _name(data: bytes, folder: Path) -> None:
    name = plain_name(data.decode("utf-8", "surrogateescape"), "input")
    (folder / name).write_bytes(b"x")
    assert (folder / name).resolve().parent == folder.resolve()


# -- settings, lists and names


def _conf(data: bytes, folder: Path) -> None:
    load_settings(None, parse_conf(data.decode("utf-8", "replace").split("\n")))


def _numbers(data: bytes, folder: Path) -> None:
    text = data.decode("utf-8", "replace")
    try:
        parse_numbers(text, "input")
    except FewSAMError:
        parse_names(text)


def _dataset(path: Path) -> None:
    try:
        names_beside(path)
    finally:
        in_dataset(path)


def _fixed(name: str, use: Callable[[Path], object], data: bytes, folder: Path) -> None:
    (folder / name).write_bytes(data)
    use(folder / name)


# -- checkpoints


def _pth(value: Any, old: bool = False) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer, _use_new_zipfile_serialization=not old)
    return buffer.getvalue()


def _sam(path: Path) -> None:
    state = read_sam_checkpoint(path)
    build_sam_encoder("vit_b", state, 128, str(path))


def _compact(path: Path) -> None:
    parameter_count(path)
    build_compact(path)


_STATE = {"image_encoder.pos_embed": torch.zeros(1, 2, 2, 3), "mask_decoder.a": torch.ones(2)}


def _card(data: bytes, folder: Path) -> None:
    """A decoder's card, in a file whose tensors are whole."""
    (folder / "versions").mkdir()
    text = data.decode("utf-8", "replace")
    (folder / "versions" / "decoder-00001.safetensors").write_bytes(
        save_tensors({"a": torch.zeros(1)}, metadata={"card": text})
    )
    (folder / "current.json").write_text('{"version": 1}')
    store = ModelStore(folder)
    store.info()
    store.load()


def _pointer(data: bytes, folder: Path) -> None:
    (folder / "current.json").write_bytes(data)
    store = ModelStore(folder)
    store.info()
    store.load()


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


@cache
def _shots() -> bytes:
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


def _meta(data: bytes, folder: Path) -> None:
    """``meta.json`` of a task file whose tensors are whole."""
    path = folder / "input.fewsam"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("meta.json", data)
        archive.writestr("shots.safetensors", _shots())
    taskfile.read_task(path)


def _seeds_task() -> list[bytes]:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("meta.json", json.dumps(_META))
        archive.writestr("shots.safetensors", save_tensors({"shot": torch.zeros(1, dtype=torch.int64)}))
    return [buffer.getvalue()]


_PRESET = (
    b"labels: [liver, spleen]\nwindow: soft_tissue\npercentiles: [1, 99]\nsteps: 5\nauto_train: every:3\nseed: 1\n"
)
_TASKS = b"tasks:\n- name: a\n  folder: ct\n  names: {1: liver}\n  spacing: [1, 2, 3]\n  settings: {axis: '2'}\n"
_BOMB = b"a: &a [x,x,x,x,x,x,x,x,x]\n" + b"".join(
    b"%c: &%c [*%c,*%c,*%c,*%c,*%c,*%c,*%c,*%c,*%c]\n" % ((c, c) + (c - 1,) * 9) for c in range(98, 106)
)
_DATASETS = (
    {"labels": {"background": 0, "liver": 1}, "file_ending": ".nii.gz", "channel_names": {"0": "CT"}},
    {"labels": {"0": "background", "1": "liver"}, "training": [{"image": "./a.nii.gz", "label": "./b.nii.gz"}]},
)

TARGETS = {
    target.name: target
    for target in (
        Target("nifti", partial(_file, ".nii", _both), partial(_seeds_nifti, ".nii")),
        Target("nifti-gz", partial(_file, ".nii.gz", _both), partial(_seeds_nifti, ".nii.gz")),
        Target("nrrd", partial(_file, ".nrrd", _both), _seeds_nrrd),
        Target("seg-nrrd", partial(_file, ".seg.nrrd", _label), _seeds_nrrd),
        Target("mha", partial(_file, ".mha", _both), partial(_seeds_sitk, ".mha")),
        Target("png", partial(_file, ".png", _both), partial(_seeds_sitk, ".png")),
        Target("bmp", partial(_file, ".bmp", _both), partial(_seeds_sitk, ".bmp")),
        Target("tiff", partial(_file, ".tif", _both), partial(_seeds_sitk, ".tif")),
        Target("jpeg", partial(_file, ".jpg", _both), partial(_seeds_sitk, ".jpg")),
        Target("bin", partial(_file, ".bin", _label), lambda: [label_array().tobytes()]),
        Target("dicom", partial(_file, ".dcm", _image), _seeds_dicom),
        Target("dicom-seg", partial(_file, ".dcm", lambda p: read_seg(p, _seg_geometry())), _seeds_seg, False, 0.1),
        Target("params", _params, lambda: _seeds_json({"label_info": [{"name": "a", "idx": 1}, {"name": "b", "idx": 2},
               {"name": "c", "idx": 3}], "policy": "partial", "complete_slices": [1], "annotator": "x"}), False),
        Target("points", _points, lambda: _seeds_json({"liver": [[1, 2, 3]], "background": [[0, 0, 3]]},
               {"foreground": [[1, 2, 3]], "label": "liver"}), False),
        Target("clicks", _clicks, lambda: _seeds_json({"image": "a", "slice": 1, "label": "liver", "include": [[1, 2]],
               "exclude": [[0, 0]]}), False),
        Target("archive", _archive, _seeds_archive, False),
        Target("file-name", _name, lambda: [b"a.nii.gz", b"../../etc/passwd", b"C:\\x\\y.nii", b"..", b"\0"], False),
        Target("conf", _conf, lambda: [b"labels=liver,spleen\nwindow=-100,200", b"auto_train=idle:30\nseed=3\nviews=4",
               b"percentiles=1,99\ncheckpoint=none\ncache_gb=2"], False),
        Target("numbers", _numbers, lambda: [b"1,2,5-9", b"1=liver,2=spleen"], False),
        Target("preset", partial(_file, ".yaml", load_settings), lambda: [_PRESET, _BOMB], False),
        Target("task-list", partial(_file, ".yaml", read_tasks), lambda: [_TASKS, _BOMB]),
        Target("dataset-json", partial(_fixed, "dataset.json", _dataset), lambda: _seeds_json(*_DATASETS)),
        Target("task-file", partial(_file, ".fewsam", taskfile.read_task), _seeds_task),
        Target("task-meta", _meta, lambda: _seeds_json(_META)),
        Target("sam-pth", partial(_file, ".pth", _sam),
               lambda: [_pth(_STATE), _pth({"model": _STATE}), _pth(_STATE, old=True)]),
        Target("sam-safetensors", partial(_file, ".safetensors", _sam), lambda: [save_tensors(_STATE)]),
        Target("compact-safetensors", partial(_file, ".safetensors", _compact), lambda: [save_tensors(_STATE)]),
        Target("decoder-card", _card, lambda: _seeds_json(_CARD), False),
        Target("decoder-pointer", _pointer, lambda: [b'{"version": 3}'], False),
    )
}  # fmt: skip
