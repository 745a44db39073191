"""The store below the embedding cache: one folder opened twice, several processes, and every kind of accident."""

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

from fewsam.core.errors import StorageError
from fewsam.encoders import lmdb_env
from fewsam.encoders.cache import EmbeddingCache
from helpers.cached_embeddings import BIG, constant, embedding, filled


def test_one_folder_can_be_opened_twice_in_a_process(tmp_path):
    first, second = EmbeddingCache(tmp_path, BIG), EmbeddingCache(tmp_path / ".", BIG)
    first.put("a", embedding(1))
    first.close()
    first.close()
    assert np.array_equal(second.get("a"), embedding(1))
    with pytest.raises(StorageError, match="closed"):
        first.get("a")
    second.close()


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


def _starts_empty(folder: Path, caplog) -> None:
    with caplog.at_level(logging.WARNING), EmbeddingCache(folder, BIG) as cache:
        assert cache.stats()["entries"] == 0
        cache.put("new", embedding(9))
    assert "set aside" in caplog.text
    with EmbeddingCache(folder, BIG) as cache:
        assert np.array_equal(cache.get("new"), embedding(9))


@pytest.fixture
def checks(monkeypatch):
    """The folders whose file was read as a whole."""
    found, real = [], lmdb_env._damage
    monkeypatch.setattr(lmdb_env, "_damage", lambda folder: found.append(folder) or real(folder))
    return found


def test_a_file_that_was_closed_is_not_read_as_a_whole_again(tmp_path, checks):
    filled(tmp_path)
    assert len(checks) == 1, "there was none yet"
    with EmbeddingCache(tmp_path, BIG) as cache:
        assert np.array_equal(cache.get("2"), embedding(2))
        assert len(checks) == 1
        running, pipe = _start(tmp_path, 100, 2)  # a process that opens it meanwhile
        _drain(pipe)
        running.join()
        assert running.exitcode == 0
    with (tmp_path / "data.mdb").open("r+b") as file:  # at once, within the same tick of the clock
        file.write(file.read(1))
    with EmbeddingCache(tmp_path, BIG):
        assert len(checks) == 2, "somebody else wrote it"
    with EmbeddingCache(tmp_path, BIG):
        assert len(checks) == 2


_ENDS = """
import sys
from fewsam.encoders.cache import EmbeddingCache
cache = EmbeddingCache(sys.argv[1], 1 << 30)
cache.get("2")
"""


def test_a_process_that_ends_closes_what_it_has_open(tmp_path, checks):
    filled(tmp_path)
    subprocess.run([sys.executable, "-c", _ENDS, str(tmp_path)], check=True)
    with EmbeddingCache(tmp_path, BIG):
        assert len(checks) == 1, "that of the new file"


def _use(folder: Path, pipe, last: str) -> None:
    """Open the cache, say whether its file was read as a whole, and end as told."""
    found, real = [], lmdb_env._damage
    lmdb_env._damage = lambda folder: found.append(folder) or real(folder)
    cache = EmbeddingCache(folder, BIG)
    pipe.send(len(found))
    if last == "wait":
        pipe.recv()
        cache.close()
    else:
        cache.put("new", constant(1))
    os._exit(0)


@fork
def test_the_file_is_checked_after_a_death_and_not_while_others_use_it(tmp_path):
    def use(last: str):
        context = multiprocessing.get_context("fork")
        mine, theirs = context.Pipe()
        process = context.Process(target=_use, args=(tmp_path, theirs, last))
        process.start()
        return process, mine

    filled(tmp_path)
    died, pipe = use("die")
    assert pipe.recv() == 0, "it was closed before"
    died.join()
    user, its = use("wait")
    assert its.recv() == 1, "the one before died with it open"
    other, pipe = use("die")
    assert pipe.recv() == 0, "it is open elsewhere"
    other.join()
    its.send("close")
    user.join()
    with EmbeddingCache(tmp_path, BIG) as cache:
        assert np.array_equal(cache.get("3"), embedding(3))


@pytest.mark.parametrize("share", [0.0001, 0.001, 0.5, 0.9])
def test_a_truncated_file_is_set_aside(tmp_path, caplog, share):
    content = filled(tmp_path)
    cut = content[: int(len(content) * share)]
    (tmp_path / "data.mdb").write_bytes(cut)
    _starts_empty(tmp_path, caplog)
    assert (tmp_path / "data.mdb.damaged").read_bytes() == cut


def test_a_file_of_something_else_is_set_aside(tmp_path, caplog):
    (tmp_path / "data.mdb").write_bytes(b"not a database" * 5000)
    _starts_empty(tmp_path, caplog)


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
from fewsam.encoders.cache import EMBEDDING_BYTES, EMBEDDING_SHAPE, EmbeddingCache
from fewsam.core.errors import StorageError

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
