"""The format of the portable task file: what is written is read, and a file from anywhere can do no harm."""

from __future__ import annotations

import json
import pickle
import struct
import warnings
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import load as load_arrays
from safetensors.numpy import save as save_arrays

from fewsam.collection import taskfile
from fewsam.collection.taskfile import TaskFile, read_task, write_task
from fewsam.collection.taskmeta import TaskMeta
from fewsam.core.errors import CheckpointError

META: dict[str, Any] = {
    "format": 1,
    "fewsam": "0.1.0",
    "written": "2026-01-01T00:00:00+00:00",
    "classes": ["liver", "bead"],
    "encoder": {"name": "compact", "input_size": 128, "fingerprint": "ab12"},
    "preprocessing": 1,
    "settings": {"axis": "auto"},
    "detail_size": 64,
    "shots": [{"image": "00ff", "slice": 3, "shape": [5, 8, 9], "spacing": [5, 1, 1], "annotator": "ann"}],
}


def small_task(**changes: Any) -> TaskFile:
    rng = np.random.default_rng(0)
    task = TaskFile(
        TaskMeta.model_validate(META),
        shot=np.zeros(1, np.int64),
        embeddings=rng.normal(size=(1, 256, 64, 64)).astype(np.float16),
        masks=rng.random((1, 3, 64, 64)).astype(np.float32),
        known=np.array([[True, True, False]]),
        z=np.array([0.75], np.float32),
    )
    return replace(task, **changes)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("file") / "small.fewsam"
    pixels = {0: np.arange(3 * 8 * 9, dtype=np.int16).reshape(3, 8, 9)}
    write_task(path, small_task(pixels=pixels, drawn={0: np.eye(8, 9, dtype=bool)[None].repeat(2, 0)}))
    return path


def test_what_is_written_is_read(whole: Path) -> None:
    task, made = read_task(whole), small_task()
    assert task.meta == made.meta
    for name in ("shot", "embeddings", "masks", "known", "z"):
        np.testing.assert_array_equal(getattr(task, name), getattr(made, name))
    np.testing.assert_array_equal(task.pixels[0], np.arange(216, dtype=np.int16).reshape(3, 8, 9))
    np.testing.assert_array_equal(task.drawn[0], np.eye(8, 9, dtype=bool)[None].repeat(2, 0))
    assert task.decoder is None


def rebuilt(source: Path, target: Path, **members: bytes | None) -> Path:
    """The same zip with some members replaced, added or (None) left out; ``_`` in a name stands for the dot."""
    with zipfile.ZipFile(source) as archive:
        content: dict[str, bytes | None] = {name: archive.read(name) for name in archive.namelist()}
    content.update({name.replace("_", "."): body for name, body in members.items()})
    with zipfile.ZipFile(target, "w") as archive:
        for name, body in content.items():
            if body is not None:
                archive.writestr(name, body)
    return target


def changed_meta(**changes: Any) -> bytes:
    return json.dumps({**META, **changes}).encode()


def changed_arrays(source: Path, **changes: np.ndarray | None) -> bytes:
    with zipfile.ZipFile(source) as archive:
        arrays = load_arrays(archive.read("shots.safetensors"))
    arrays.update({name: value for name, value in changes.items() if value is not None})
    return save_arrays({name: value for name, value in arrays.items() if changes.get(name, value) is not None})


NAN = np.full((1, 256, 64, 64), np.nan, np.float16)

BAD_META: list[tuple[bytes, str]] = [
    (b"[1, 2]", "no JSON object"),
    (b"[" * 100_000, "no JSON object"),
    (pickle.dumps({"format": 1}), "no JSON object"),
    (changed_meta(format=2), "has format 2, this version reads 1"),
    (changed_meta(classes=[]), "classes"),
    (changed_meta(classes=["liver", "LIVER"]), "one name"),
    (changed_meta(classes=["liver", "a\x1b[31m"]), "cannot be shown"),
    (changed_meta(classes=["liver"]), "masks is float32"),
    (changed_meta(shots=[]), "shots"),
    (changed_meta(shots=[{**META["shots"][0], "image": "../../etc/passwd"}]), "image"),
    (changed_meta(shots=[{**META["shots"][0], "shape": [5, 10**9, 10**9]}]), "shape"),
    (changed_meta(detail_size=10**6), "detail_size"),
    (changed_meta(card={"classes": ["liver"]}), "a card a decoder"),
]


@pytest.mark.parametrize(("body", "told"), BAD_META)
def test_bad_meta_is_refused(whole: Path, tmp_path: Path, body: bytes, told: str) -> None:
    with pytest.raises(CheckpointError, match=told):
        read_task(rebuilt(whole, tmp_path / "bad.fewsam", meta_json=body))


BAD_ARRAYS: list[tuple[dict[str, np.ndarray | None], str]] = [
    ({"embeddings": NAN}, "no numbers"),
    ({"embeddings": np.zeros((1, 256, 64, 64), np.float32)}, "embeddings is float32"),
    ({"embeddings": None}, "embeddings is missing"),
    ({"masks": np.full((1, 3, 64, 64), 2, np.float32)}, "between 0 and 1"),
    ({"shot": np.array([1], np.int64)}, "beyond the 1 listed"),
    ({"shot": np.array([-1], np.int64)}, "beyond the 1 listed"),
    ({"shot": np.zeros(0, np.int64)}, "expected int64"),
    ({"known": np.ones((1, 3), np.uint8)}, "known is uint8"),
    ({"drawn.0": None}, "do not fit its slice"),
    ({"drawn.0": np.zeros(3, np.uint8)}, "do not fit its slice"),
    ({"pixels.0": np.zeros((3, 9, 8), np.int16)}, "do not fit its slice"),
    ({"pixels.0": np.full((3, 8, 9), np.inf, np.float32)}, "no numbers"),
]


@pytest.mark.parametrize(("changes", "told"), BAD_ARRAYS)
def test_bad_tensors_are_refused(whole: Path, tmp_path: Path, changes: dict[str, np.ndarray | None], told: str) -> None:
    body = changed_arrays(whole, **changes)
    with pytest.raises(CheckpointError, match=told):
        read_task(rebuilt(whole, tmp_path / "bad.fewsam", shots_safetensors=body))


class Trap:
    """Unpickled, it would leave a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return (Path.touch, (self.path,))


def test_a_pickle_is_never_loaded(whole: Path, tmp_path: Path) -> None:
    trap = pickle.dumps(Trap(tmp_path / "sprung"))
    for member in ("shots_safetensors", "decoder_safetensors", "meta_json"):
        with pytest.raises(CheckpointError):
            read_task(rebuilt(whole, tmp_path / "bad.fewsam", **{member: trap}))
    (tmp_path / "bare.fewsam").write_bytes(trap)
    with pytest.raises(CheckpointError):
        read_task(tmp_path / "bare.fewsam")
    assert not (tmp_path / "sprung").exists()
    pickle.loads(trap)  # the trap itself works
    assert (tmp_path / "sprung").exists()


@pytest.mark.parametrize("name", ["../evil.txt", "/tmp/evil.txt", "meta.json/../x", "run.pkl", "META.JSON"])
def test_other_members_are_refused(whole: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / "a").mkdir()
    path = rebuilt(whole, tmp_path / "a" / "bad.fewsam")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(name, b"x")
    with pytest.raises(CheckpointError, match="it must hold"):
        read_task(path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["a"]
    assert [entry.name for entry in (tmp_path / "a").iterdir()] == ["bad.fewsam"]


def test_strange_archives_are_refused(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bad = tmp_path / "bad.fewsam"
    with warnings.catch_warnings(), zipfile.ZipFile(bad, "w") as archive:
        warnings.simplefilter("ignore")
        for name in ("meta.json", "shots.safetensors", "meta.json"):
            archive.writestr(name, b"{}")
    with pytest.raises(CheckpointError, match="once each"):
        read_task(bad)
    with zipfile.ZipFile(bad, "w", zipfile.ZIP_DEFLATED) as archive:  # a bomb: a gigabyte in a megabyte
        archive.writestr("meta.json", b"{}")
        archive.writestr("shots.safetensors", bytes(10_000_000))
    with pytest.raises(CheckpointError, match="is compressed"):
        read_task(bad)
    with pytest.raises(CheckpointError, match=r"lacks shots\.safetensors"):
        read_task(rebuilt(whole, bad, shots_safetensors=None))
    encrypted = bytearray(whole.read_bytes())
    directory = encrypted.rindex(b"PK\x01\x02")
    struct.pack_into("<H", encrypted, directory + 8, 1)
    bad.write_bytes(encrypted)
    with pytest.raises(CheckpointError):
        read_task(bad)
    monkeypatch.setitem(taskfile.MEMBERS, "shots.safetensors", 1000)
    with pytest.raises(CheckpointError, match="larger than any task needs"):
        read_task(whole)
    with pytest.raises(CheckpointError, match="no such task file"):
        read_task(tmp_path / "none.fewsam")
    with pytest.raises(CheckpointError, match="is a folder"):
        read_task(tmp_path)


@given(data=st.data())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_damaged_file_is_refused_or_reads_the_same(whole: Path, tmp_path: Path, data: st.DataObject) -> None:
    body = bytearray(whole.read_bytes())
    if data.draw(st.booleans(), label="cut"):
        body = body[: data.draw(st.integers(0, len(body) - 1))]
    else:
        # the ends hold the structure: headers, JSON, directory
        near = data.draw(st.one_of(st.integers(0, 3000), st.integers(len(body) - 400, len(body) - 1)))
        body[near] ^= data.draw(st.integers(1, 255))
    path = tmp_path / "damaged.fewsam"
    path.write_bytes(body)
    try:
        task = read_task(path)
    except CheckpointError:
        return
    np.testing.assert_array_equal(task.embeddings, small_task().embeddings)
    assert task.meta == small_task().meta
