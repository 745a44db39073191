"""One target for each parser of ours: bytes in; a result, or our own error that names the input. Anything else falls.

The cases start from ``fuzz_seeds.py``; ``test_fuzz.py`` feeds them by hypothesis, ``tools/fuzz.py`` by coverage.
"""

from __future__ import annotations

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
import torch
from pydantic import ValidationError
from safetensors.torch import save as save_tensors

from fewsam.cli.common import parse_conf, parse_numbers
from fewsam.collection import taskfile
from fewsam.core.config import load_settings
from fewsam.core.errors import FewSAMError
from fewsam.encoders.build_compact import build_compact, parameter_count
from fewsam.encoders.sam import build_sam_encoder, read_sam_checkpoint
from fewsam.evaluation.data.datasets import in_dataset
from fewsam.evaluation.data.tasks import read_tasks
from fewsam.fewshot.inference.clicks import Clicks
from fewsam.fewshot.model.store import ModelStore
from fewsam.images.casefiles import names_beside, parse_names
from fewsam.images.dicomseg import read_seg
from fewsam.images.labelfile import read_label
from fewsam.images.volume import geometry_for, load_volume
from fewsam.server.errors import RequestError
from fewsam.server.names import check_tag
from fewsam.server.routes.panel import ClickRequest, _inside
from fewsam.server.routes.uploads import plain_name, unpack
from fewsam.server.tasks.labels import parse_params
from fewsam.server.tasks.points import points_of
from helpers import fuzz_seeds as seeds
from helpers.image_files import AFFINE, NAMES, image_geometry

Run = Callable[[bytes, Path], None]


@dataclass(frozen=True)
class Target:
    """A parser under attack.

    Attributes:
        run: what is done with the bytes, in an empty folder of their own; it raises what the parser raises.
        seeds: gives valid inputs to start from.
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


def _seg(path: Path) -> None:
    read_seg(path, seeds.seg_geometry())


# -- what a client sends beside files


def _params(data: bytes, folder: Path) -> None:
    text = data.decode("utf-8", "replace")
    raw, ours = parse_params(text, "ann")
    check_tag(raw.get("label_tag", "final"))
    if ours.label_info:
        path = folder / "input.nii"
        path.write_bytes(seeds.niftis(".nii")[0])
        read_label(path, image_geometry(), None, ours.label_info)


@cache
def _volume() -> Any:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.nii"
        path.write_bytes(seeds.niftis(".nii")[0])
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


def _sam(path: Path) -> None:
    state = read_sam_checkpoint(path)
    build_sam_encoder("vit_b", state, 128, str(path))


def _compact(path: Path) -> None:
    parameter_count(path)
    build_compact(path)


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


def _meta(data: bytes, folder: Path) -> None:
    """``meta.json`` of a task file whose tensors are whole."""
    path = folder / "input.fewsam"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("meta.json", data)
        archive.writestr("shots.safetensors", seeds.whole_shots())
    taskfile.read_task(path)


TARGETS = {
    target.name: target
    for target in (
        Target("nifti", partial(_file, ".nii", _both), partial(seeds.niftis, ".nii")),
        Target("nifti-gz", partial(_file, ".nii.gz", _both), partial(seeds.niftis, ".nii.gz")),
        Target("nrrd", partial(_file, ".nrrd", _both), seeds.nrrds),
        Target("seg-nrrd", partial(_file, ".seg.nrrd", _label), seeds.nrrds),
        Target("mha", partial(_file, ".mha", _both), partial(seeds.itk_images, ".mha")),
        Target("png", partial(_file, ".png", _both), partial(seeds.itk_images, ".png")),
        Target("bmp", partial(_file, ".bmp", _both), partial(seeds.itk_images, ".bmp")),
        Target("tiff", partial(_file, ".tif", _both), partial(seeds.itk_images, ".tif")),
        Target("jpeg", partial(_file, ".jpg", _both), partial(seeds.itk_images, ".jpg")),
        Target("bin", partial(_file, ".bin", _label), seeds.raw_voxels),
        Target("dicom", partial(_file, ".dcm", _image), seeds.dicoms),
        Target("dicom-seg", partial(_file, ".dcm", _seg), seeds.segs, False, 0.1),
        Target("params", _params, seeds.params, False),
        Target("points", _points, seeds.points, False),
        Target("clicks", _clicks, seeds.clicks, False),
        Target("archive", _archive, seeds.archives, False),
        Target("file-name", _name, seeds.file_names, False),
        Target("conf", _conf, seeds.confs, False),
        Target("numbers", _numbers, seeds.numbers, False),
        Target("preset", partial(_file, ".yaml", load_settings), seeds.presets, False),
        Target("task-list", partial(_file, ".yaml", read_tasks), seeds.task_lists),
        Target("dataset-json", partial(_fixed, "dataset.json", _dataset), seeds.datasets),
        Target("task-file", partial(_file, ".fewsam", taskfile.read_task), seeds.task_files),
        Target("task-meta", _meta, seeds.task_metas),
        Target("sam-pth", partial(_file, ".pth", _sam), seeds.sam_checkpoints),
        Target("sam-safetensors", partial(_file, ".safetensors", _sam), seeds.tensors),
        Target("compact-safetensors", partial(_file, ".safetensors", _compact), seeds.tensors),
        Target("decoder-card", _card, seeds.cards, False),
        Target("decoder-pointer", _pointer, seeds.pointers, False),
    )
}
