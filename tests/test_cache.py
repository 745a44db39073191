"""The embedding cache: contract, bound, pins, several processes, and every kind of accident."""

import logging
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import lmdb
import numpy as np
import pytest

from fewsam import cache as cache_module
from fewsam.cache import EMBEDDING_BYTES, EMBEDDING_SHAPE, EmbeddingCache, embedding_key
from fewsam.errors import StorageError

BIG = 100 * EMBEDDING_BYTES


def embedding(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(EMBEDDING_SHAPE, np.float32).astype(np.float16)


def constant(value: int) -> np.ndarray:
    return np.full(EMBEDDING_SHAPE, value, np.float16)


def test_an_embedding_comes_back_bit_for_bit_also_after_reopening(tmp_path):
    with EmbeddingCache(tmp_path, BIG) as cache:
        assert cache.get("a") is None
        cache.put("a", embedding(1))
        cache.put("b", embedding(2).astype(np.float32))
    with EmbeddingCache(tmp_path, BIG) as cache:
        one, none, two = cache.get_many(["a", "nothing", "b"])
        assert one.dtype == np.float16 and one.shape == EMBEDDING_SHAPE
        assert np.array_equal(one, embedding(1)) and none is None and np.array_equal(two, embedding(2))
        assert cache.contains(["b", "nothing", "a"]) == [True, False, True]
        one[:] = 0  # the caller's own: the stored one stays
        assert np.array_equal(cache.get("a"), embedding(1))


def test_putting_a_key_again_replaces_it(tmp_path):
    with EmbeddingCache(tmp_path, BIG) as cache:
        cache.put("a", constant(1))
        cache.put("a", constant(2))
        assert cache.get("a")[0, 0, 0] == 2
        assert cache.stats() == {"entries": 1, "bytes": EMBEDDING_BYTES, "max_bytes": BIG, "pinned": 0}


def test_a_wrong_shape_is_refused(tmp_path):
    with EmbeddingCache(tmp_path, BIG) as cache, pytest.raises(ValueError, match=r"\(64, 64, 256\)"):
        cache.put("a", np.zeros((64, 64, 256), np.float16))


def test_the_least_recently_used_goes_first(tmp_path):
    with EmbeddingCache(tmp_path, 3 * EMBEDDING_BYTES) as cache:
        for key in "abc":
            cache.put(key, constant(0))
        cache.get("a")
        cache.put("d", constant(0))
        assert cache.contains(list("abcd")) == [True, False, True, True]
        assert cache.stats()["entries"] == 3


def test_the_order_of_use_survives_closing(tmp_path):
    with EmbeddingCache(tmp_path, 2 * EMBEDDING_BYTES) as cache:
        cache.put("a", constant(0))
        cache.put("b", constant(0))
        cache.get("a")
    with EmbeddingCache(tmp_path, 2 * EMBEDDING_BYTES) as cache:
        cache.put("c", constant(0))
        assert cache.contains(list("abc")) == [True, False, True]


def test_after_the_clock_stepped_back_the_newest_entries_stay(tmp_path, monkeypatch):
    now = 2_000_000_000_000_000_000
    monkeypatch.setattr("fewsam.cache.time.time_ns", lambda: now)
    with EmbeddingCache(tmp_path, 3 * EMBEDDING_BYTES) as cache:
        for key in ("a", "b", "c"):
            now += 1000
            cache.put(key, constant(1))
        now -= 86_400_000_000_000
        for key in ("d", "e"):
            now += 1000
            cache.put(key, constant(2))
        assert cache.contains(["a", "b", "c", "d", "e"]) == [False, False, True, True, True]


def test_random_use_agrees_with_a_simple_model(tmp_path):
    rng, capacity = random.Random(0), 4
    model: dict[str, int] = {}  # in the order of use
    with EmbeddingCache(tmp_path, capacity * EMBEDDING_BYTES) as cache:
        for step in range(300):
            key = rng.choice("abcdefgh")
            if rng.random() < 0.5:
                model.pop(key, None)
                model[key] = step
                cache.put(key, constant(step))
                if len(model) > capacity:
                    del model[next(iter(model))]
            else:
                value = cache.get(key)
                assert (None if value is None else int(value[0, 0, 0])) == model.get(key)
                if key in model:
                    model[key] = model.pop(key)
        assert {key for key in "abcdefgh" if cache.contains([key])[0]} == set(model)


def test_pinned_entries_stay_and_unpinned_ones_go_again(tmp_path, caplog):
    with EmbeddingCache(tmp_path, 3 * EMBEDDING_BYTES) as cache:
        cache.pin(["a", "b"])  # before they are there
        cache.pin(["b"])
        for key in "abcdef":
            cache.put(key, constant(0))
        assert cache.contains(list("abcdef")) == [True, True, False, False, False, True]
        assert cache.stats()["pinned"] == 2
        assert "more than its bound" not in caplog.text
        cache.unpin(["a", "never pinned"])
        cache.put("g", constant(0))
        cache.put("h", constant(0))
        assert cache.contains(list("abgh")) == [False, True, True, True]


def test_more_pins_than_the_bound_are_kept_and_told_once(tmp_path, caplog):
    with EmbeddingCache(tmp_path, 2 * EMBEDDING_BYTES) as cache:
        keys = [f"p{n}" for n in range(40)]  # also more than the first memory map takes
        cache.pin(keys)
        for key in keys:
            cache.put(key, constant(1))
        cache.put("new", constant(2))
        assert all(cache.contains([*keys, "new"]))
        assert caplog.text.count("more than its bound") == 1
        cache.put("newer", constant(3))
        assert cache.contains(["new", "newer"]) == [False, True]


def test_the_file_stays_near_its_bound(tmp_path):
    with EmbeddingCache(tmp_path, 10 * EMBEDDING_BYTES) as cache:
        for n in range(200):
            cache.put(str(n), constant(n))
            cache.get(str(n - n % 3))
    assert (tmp_path / "data.mdb").stat().st_size < 16 * EMBEDDING_BYTES


def test_one_folder_can_be_opened_twice_in_a_process(tmp_path):
    first, second = EmbeddingCache(tmp_path, BIG), EmbeddingCache(tmp_path / ".", BIG)
    first.put("a", embedding(1))
    first.close()
    first.close()
    assert np.array_equal(second.get("a"), embedding(1))
    with pytest.raises(StorageError, match="closed"):
        first.get("a")
    second.close()


# -- the key


def test_the_key_tells_pixels_preprocessing_and_encoder(monkeypatch):
    pixels = np.random.default_rng(0).integers(0, 256, (3, 32, 32), np.uint8)
    key = embedding_key(pixels, "encoder")
    assert key == embedding_key(np.asfortranarray(pixels), "encoder")
    other = pixels.copy()
    other[2, 31, 31] ^= 1
    assert embedding_key(other, "encoder") != key
    assert embedding_key(pixels, "another") != key
    assert embedding_key(pixels.reshape(3, 16, 64), "encoder") != key
    monkeypatch.setattr(cache_module, "PREPROCESS_VERSION", cache_module.PREPROCESS_VERSION + 1)
    assert embedding_key(pixels, "encoder") != key


@pytest.mark.parametrize("wrong", [np.zeros((3, 8, 8), np.float32), np.zeros((8, 8), np.uint8)])
def test_the_key_wants_preprocessed_slices(wrong):
    with pytest.raises(ValueError, match="uint8 slice"):
        embedding_key(wrong, "encoder")


# -- several processes; forked ones start at once

fork = pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="no fork on this system")


def _write(folder: Path, first: int, count: int, pipe) -> None:
    with EmbeddingCache(folder, BIG) as cache:
        for n in range(first, first + count):
            cache.put(str(n), constant(n))
            pipe.send(n)


def _start(folder: Path, first: int, count: int):
    context = multiprocessing.get_context("fork")
    mine, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_write, args=(folder, first, count, theirs))
    process.start()
    theirs.close()
    return process, mine


def _drain(pipe) -> list[int]:
    told = []
    try:
        while True:
            told.append(pipe.recv())
    except EOFError:
        return told


@fork
def test_several_processes_write_and_read_at_once(tmp_path):
    with EmbeddingCache(tmp_path, BIG) as cache:
        cache.put("parent", constant(7))
        running = [_start(tmp_path, first, 15) for first in (0, 100)]
        while any(process.is_alive() for process, _ in running):
            assert cache.get("parent")[0, 0, 0] == 7
        for process, pipe in running:
            assert len(_drain(pipe)) == 15
            assert process.exitcode == 0
        for n in [*range(15), *range(100, 115)]:
            assert np.array_equal(cache.get(str(n)), constant(n))


@fork
def test_a_forked_child_uses_the_parents_cache(tmp_path):
    with EmbeddingCache(tmp_path, BIG) as cache:
        cache.put("a", constant(1))
        child = os.fork()
        if child == 0:
            try:
                cache.put("b", cache.get("a") + 1)
                os._exit(0)
            finally:
                os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert cache.get("b")[0, 0, 0] == 2


@fork
def test_a_killed_writer_leaves_the_cache_whole(tmp_path, caplog):
    rng, written = random.Random(0), []
    for round_ in range(10):
        process, pipe = _start(tmp_path, 1000 * round_, 1000)
        first = pipe.recv()
        time.sleep(rng.uniform(0, 0.02))  # anywhere in a later write
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        told = [first, *_drain(pipe)]
        assert process.exitcode == -signal.SIGKILL and len(told) < 1000
        written = (written + told)[-60:]
        with EmbeddingCache(tmp_path, BIG) as cache:
            for n in written:
                assert np.array_equal(cache.get(str(n)), constant(n))
            cache.put(f"after {round_}", constant(0))
    assert "damaged" not in caplog.text


# -- accidents


def _filled(folder: Path) -> bytes:
    with EmbeddingCache(folder, BIG) as cache:
        for n in range(4):
            cache.put(str(n), embedding(n))
    return (folder / "data.mdb").read_bytes()


def _starts_empty(folder: Path, caplog) -> None:
    with caplog.at_level(logging.WARNING), EmbeddingCache(folder, BIG) as cache:
        assert cache.stats()["entries"] == 0
        cache.put("new", embedding(9))
    assert "set aside" in caplog.text
    with EmbeddingCache(folder, BIG) as cache:
        assert np.array_equal(cache.get("new"), embedding(9))


@pytest.mark.parametrize("share", [0.0001, 0.001, 0.5, 0.9])
def test_a_truncated_file_is_set_aside(tmp_path, caplog, share):
    content = _filled(tmp_path)
    cut = content[: int(len(content) * share)]
    (tmp_path / "data.mdb").write_bytes(cut)
    _starts_empty(tmp_path, caplog)
    assert (tmp_path / "data.mdb.damaged").read_bytes() == cut


def test_a_file_of_something_else_is_set_aside(tmp_path, caplog):
    (tmp_path / "data.mdb").write_bytes(b"not a database" * 5000)
    _starts_empty(tmp_path, caplog)


def test_a_damaged_entry_is_a_miss_and_the_others_stay(tmp_path, caplog):
    content = bytearray(_filled(tmp_path))
    payload = embedding(2).tobytes()
    at = content.index(payload[1000:2000])
    content[at] ^= 1
    (tmp_path / "data.mdb").write_bytes(content)
    with EmbeddingCache(tmp_path, BIG) as cache:
        assert cache.get("2") is None
        assert np.array_equal(cache.get("3"), embedding(3))
    assert "damaged" in caplog.text and "set aside" not in caplog.text


def test_a_deleted_folder_starts_anew_under_a_running_cache(tmp_path):
    folder = tmp_path / "cache"
    with EmbeddingCache(folder, BIG) as cache:
        cache.put("a", constant(1))
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()
        assert cache.get("a") is None
        cache.put("a", constant(2))
        assert cache.get("a")[0, 0, 0] == 2
    assert (folder / "data.mdb").exists()


def test_a_folder_that_cannot_be_made_is_a_storage_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="file"):
        EmbeddingCache(tmp_path / "file" / "cache", BIG)


_FULL = """
import resource, signal, sys
import numpy as np
from fewsam.cache import EMBEDDING_BYTES, EMBEDDING_SHAPE, EmbeddingCache
from fewsam.errors import StorageError

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
with EmbeddingCache(sys.argv[1], 100 * EMBEDDING_BYTES) as cache:
    cache.put("before", np.full(EMBEDDING_SHAPE, 1, np.float16))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4 * EMBEDDING_BYTES, hard))
    try:
        for n in range(20):
            cache.put(str(n), np.full(EMBEDDING_SHAPE, 2, np.float16))
    except StorageError as error:
        print("refused:", error)
    assert cache.get("before")[0, 0, 0] == 1
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    cache.put("after", np.full(EMBEDDING_SHAPE, 3, np.float16))
"""


def test_a_write_that_does_not_fit_is_refused_and_loses_nothing(tmp_path):
    # A bound on the file size makes the kernel refuse real writes in the middle, as a full disk does.
    done = subprocess.run([sys.executable, "-c", _FULL, str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "refused" in done.stdout and str(tmp_path) in done.stdout
    with EmbeddingCache(tmp_path, BIG) as cache:
        assert cache.get("before")[0, 0, 0] == 1 and cache.get("after")[0, 0, 0] == 3


def test_a_full_disk_is_named(tmp_path, monkeypatch):
    with EmbeddingCache(tmp_path, BIG) as cache:

        def full(*_: object, **__: object) -> None:
            raise lmdb.DiskError("No space left on device")

        monkeypatch.setattr(cache, "_evict", full)
        with pytest.raises(StorageError, match="no space left on the disk"):
            cache.put("a", constant(1))
        monkeypatch.undo()
        cache.put("a", constant(1))
        assert cache.stats()["entries"] == 1
