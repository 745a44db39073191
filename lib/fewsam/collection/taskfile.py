"""The portable task file: one zip with a decoder, labelled slices as embeddings and masks, and where they are from.

``meta.json`` (:class:`TaskMeta`), ``shots.safetensors`` and, where the task is trained, ``decoder.safetensors``.
Members are stored uncompressed. There are no image pixels in it unless they were asked for.

A file comes from anywhere: members are read by these fixed names into memory, within bounds, and everything in them
is checked. Nothing is extracted, and nothing in it is ever executed.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.numpy import load as load_arrays
from safetensors.numpy import save as save_arrays
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from fewsam.collection.taskmeta import FORMAT, TaskMeta
from fewsam.core.atomic import replacing, sweep
from fewsam.core.errors import CheckpointError

MEMBERS = {"meta.json": 16 << 20, "decoder.safetensors": 512 << 20, "shots.safetensors": 4 << 30}  # bytes at most
_PIXELS = {"uint8", "int8", "uint16", "int16", "uint32", "int32", "float32"}


@dataclass(frozen=True)
class TaskFile:
    """A task file in memory. S supports are views of the N shots of ``meta.shots``; C classes and background before.

    Attributes:
        shot: (S,) int64, position in ``meta.shots``.
        embeddings: (S, 256, 64, 64) float16.
        masks: (S, 1 + C, 64, 64) float32 in 0..1.
        known: (S, 1 + C) bool: the absence of this class on the slice is knowledge.
        z: (S,) float32 in 0..1, place along the volume.
        decoder: State dict of the decoder; None where the task is not trained.
        pixels: Shot to (3, H, W), only where they were asked for.
        drawn: Shot to bool (C, H, W), wherever there are pixels.
    """

    meta: TaskMeta
    shot: np.ndarray
    embeddings: np.ndarray
    masks: np.ndarray
    known: np.ndarray
    z: np.ndarray
    decoder: dict[str, Tensor] | None = None
    pixels: dict[int, np.ndarray] = field(default_factory=dict)
    drawn: dict[int, np.ndarray] = field(default_factory=dict)


def write_task(path: Path, task: TaskFile) -> None:
    """Write a task file, whole or not at all.

    Raises:
        StorageError: it cannot be written.
    """
    arrays = {name: np.ascontiguousarray(getattr(task, name)) for name in ("shot", "embeddings", "masks", "known", "z")}
    for n, pixels in task.pixels.items():
        arrays[f"pixels.{n}"] = np.ascontiguousarray(pixels)
        arrays[f"drawn.{n}"] = np.packbits(task.drawn[n])
    sweep([path.parent], name=path.name)  # an export that was killed leaves as much as it had written
    with replacing(path) as file:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
            # of 1980, as ZipInfo has it: the day of writing stands in meta.json, if anywhere
            archive.writestr(_member("meta.json"), task.meta.model_dump_json(indent=1))
            archive.writestr(_member("shots.safetensors"), save_arrays(arrays))
            if task.decoder is not None:
                state = {name: value.contiguous() for name, value in task.decoder.items()}
                archive.writestr(_member("decoder.safetensors"), save_tensors(state))
        Path(file.name).chmod(0o644)


def _member(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.external_attr = 0o644 << 16
    return info


def read_task(path: Path) -> TaskFile:
    """Read a task file and check all that is in it.

    Raises:
        CheckpointError: missing, damaged, of a later format, or not a task file.
    """
    members = _members(path)
    meta = _meta(path, members["meta.json"])
    try:
        arrays = load_arrays(members["shots.safetensors"])
        decoder = load_tensors(members["decoder.safetensors"]) if "decoder.safetensors" in members else None
    except (SafetensorError, KeyError, ValueError, TypeError, OverflowError, AttributeError) as error:
        raise _damaged(path, f"its tensors cannot be read: {error}") from None
    count = len(arrays["shot"]) if "shot" in arrays and arrays["shot"].ndim == 1 else 0
    classes = 1 + len(meta.classes)
    expected: Mapping[str, tuple[tuple[int, ...], str]] = {
        "shot": ((count,), "int64"),
        "embeddings": ((count, 256, 64, 64), "float16"),
        "masks": ((count, classes, 64, 64), "float32"),
        "known": ((count, classes), "bool"),
        "z": ((count,), "float32"),
    }
    for name, (shape, dtype) in expected.items():
        array = arrays.get(name)
        if count == 0 or array is None or array.shape != shape or array.dtype != dtype:
            found = "missing" if array is None else f"{array.dtype} {array.shape}"
            raise _damaged(path, f"{name} is {found}, expected {dtype} {shape}")
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise _damaged(path, f"{name} holds values that are no numbers")
    for name in ("masks", "z"):
        if arrays[name].min() < 0 or arrays[name].max() > 1:
            raise _damaged(path, f"{name} must lie between 0 and 1")
    if arrays["shot"].min() < 0 or arrays["shot"].max() >= len(meta.shots):
        raise _damaged(path, f"a support names a shot beyond the {len(meta.shots)} listed")
    _check_decoder(path, meta, decoder)
    pixels, drawn = _pixels(path, meta, arrays)
    shot, embeddings, masks, known, z = (arrays[name] for name in expected)
    return TaskFile(meta, shot, embeddings, masks, known, z, decoder, pixels, drawn)


def _members(path: Path) -> dict[str, bytes]:
    """Bytes of the members, by name."""
    try:
        with zipfile.ZipFile(path) as archive:
            listed = archive.infolist()
            names = [info.filename for info in listed]
            if len(set(names)) != len(names) or not set(names) <= set(MEMBERS):
                strange = next((name for name in names if name not in MEMBERS), names[-1])
                raise _damaged(path, f"it must hold {', '.join(MEMBERS)} once each, and holds {strange[:80]!r}")
            if missing := {"meta.json", "shots.safetensors"} - set(names):
                raise _damaged(path, f"it lacks {', '.join(sorted(missing))}")
            for info in listed:
                if info.compress_type != zipfile.ZIP_STORED or info.file_size != info.compress_size:
                    raise _damaged(path, f"{info.filename} is compressed, task files are not")
                if info.file_size > MEMBERS[info.filename]:
                    raise _damaged(path, f"{info.filename} of {info.file_size} bytes is larger than any task needs")
            return {name: archive.read(name) for name in names}
    except FileNotFoundError:
        raise CheckpointError(f"{path}: no such task file; check the path") from None
    except IsADirectoryError:
        raise CheckpointError(f"{path} is a folder; give the file that `fewsam export` wrote") from None
    except (OSError, zipfile.BadZipFile, NotImplementedError, RuntimeError, ValueError, EOFError) as error:
        raise _damaged(path, str(error)) from None


def _meta(path: Path, body: bytes) -> TaskMeta:
    try:
        values = json.loads(body)
        version = values.get("format")
    except (ValueError, RecursionError, AttributeError) as error:
        raise _damaged(path, f"meta.json is no JSON object: {error}") from None
    if version != FORMAT:
        raise CheckpointError(f"{path} has format {str(version)[:20]}, this version reads {FORMAT}; update fewsam")
    try:
        meta = TaskMeta.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise _damaged(path, f"meta.json: {where[:80]}: {first['msg']}") from None
    if len({name.strip().casefold() for name in meta.classes}) != len(meta.classes):
        raise _damaged(path, "two of its classes have one name")
    if not all(name.isprintable() and name.strip() for name in meta.classes):
        raise _damaged(path, "a class name holds characters that cannot be shown")
    return meta


def _check_decoder(path: Path, meta: TaskMeta, decoder: dict[str, Tensor] | None) -> None:
    if (decoder is None) != (meta.card is None):
        raise _damaged(path, "a decoder needs a card in meta.json, and a card a decoder")
    for name, value in (decoder or {}).items():
        if value.dtype != torch.float32 or not bool(torch.isfinite(value).all()):
            raise _damaged(path, f"decoder weights {name[:80]!r} are not finite float32")


def _pixels(
    path: Path, meta: TaskMeta, arrays: Mapping[str, np.ndarray]
) -> tuple[dict[int, np.ndarray], dict[int, np.ndarray]]:
    pixels, drawn = {}, {}
    for n, shot in enumerate(meta.shots):
        image, bits = arrays.get(f"pixels.{n}"), arrays.get(f"drawn.{n}")
        if image is None and bits is None:
            continue
        _, height, width = shot.shape
        shape = (len(meta.classes), height, width)
        fits = image is not None and image.shape == (3, height, width) and str(image.dtype) in _PIXELS
        if not fits or bits is None or bits.dtype != np.uint8 or bits.shape != (-(-int(np.prod(shape)) // 8),):
            raise _damaged(path, f"pixels of shot {n} do not fit its slice of {height} x {width}")
        assert image is not None
        if image.dtype.kind == "f" and not np.isfinite(image).all():
            raise _damaged(path, f"pixels of shot {n} hold values that are no numbers")
        pixels[n] = image
        drawn[n] = np.unpackbits(bits, count=int(np.prod(shape))).reshape(shape).astype(bool)
    return pixels, drawn


def _damaged(path: Path, why: str) -> CheckpointError:
    return CheckpointError(f"{path} is no whole task file: {why}; export it again")
