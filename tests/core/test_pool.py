"""Processes of this machine as a pool: results, failures, deaths and the end."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from fewsam.core.errors import ConfigError, ImageError
from fewsam.core.jobs import Job, as_finished
from fewsam.core.pool import ProcessPool, WorkerLostError


def double(number: int) -> int:
    return 2 * number


def refuse(name: str) -> None:
    raise ImageError(f"{name}: cannot be read")


def break_down() -> None:
    raise ZeroDivisionError("a bug")


def die_once(marker: str) -> str:
    """Kill the process at the first call, and answer at the next."""
    if not os.path.exists(marker):
        Path(marker).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return "done"


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def length_and_process(text: str) -> tuple[int, int]:
    return len(text), os.getpid()


def unsendable() -> object:
    return lambda: None


def test_results_failures_and_deaths_come_by_name(tmp_path: Path) -> None:
    """One job that kills its worker is tried again, one that always does is given up, and the others go on."""
    jobs = [
        Job("two", double, (2,), about="kept here"),
        Job("bad image", refuse, ("a.nii.gz",)),
        Job("bug", break_down, ()),
        Job("dies once", die_once, (str(tmp_path / "marker"),)),
        Job("dies", die, ()),
        Job("cannot be sent back", unsendable, ()),
        Job("cannot be sent", double, (lambda: None,)),  # type: ignore[arg-type]
        Job("three", double, (3,)),
    ]
    with ProcessPool(2) as pool:
        done = {one.job.name: one for one in as_finished(pool, jobs)}
    assert len(done) == len(jobs)
    assert done["two"].value == 4 and done["three"].value == 6
    assert done["two"].job.about == "kept here"
    assert isinstance(done["bad image"].error, ImageError) and done["bad image"].why == "a.nii.gz: cannot be read"
    assert done["bug"].why == "ZeroDivisionError: a bug"
    assert "break_down" in str(done["bug"].error), "the traceback of the worker"
    assert done["dies once"].value == "done"
    assert isinstance(done["dies"].error, WorkerLostError)
    assert "cannot be sent" in done["cannot be sent back"].why
    assert done["cannot be sent"].error is not None


def test_a_shared_value_is_sent_once_and_arrives_as_itself() -> None:
    with ProcessPool(1) as pool:
        text = pool.share("x" * 1000)
        assert not isinstance(text, str), "a stand-in, not the value"
        found = [done.value for done in as_finished(pool, [Job(str(n), length_and_process, (text,)) for n in range(3)])]
    assert {length for length, _ in found} == {1000}
    assert len({process for _, process in found}) == 1


def test_jobs_are_taken_when_workers_will_be_free() -> None:
    taken = []

    def jobs():
        for number in range(20):
            taken.append(number)
            yield Job(str(number), double, (number,))

    with ProcessPool(1) as pool:
        results = as_finished(pool, jobs())
        first = next(results)
        assert len(taken) <= 3, "what the others carry is not in memory yet"
        assert {first.value, *(done.value for done in results)} == {2 * n for n in range(20)}


def test_leaving_the_block_ends_the_workers_and_what_they_do() -> None:
    with ProcessPool(1) as pool:
        process = pool.submit(os.getpid).result()
        hanging = pool.submit(signal.pause)
        while not hanging.running():
            time.sleep(0.01)
        with pytest.raises(KeyboardInterrupt), pool:
            raise KeyboardInterrupt
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)
    assert isinstance(hanging.exception(), WorkerLostError)
    with pytest.raises(RuntimeError, match="closed"):
        pool.submit(double, 1)


def test_a_cluster_that_is_none_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("distributed")
    from fewsam.core.cluster import open_pool

    for cluster, words in (
        ("http://x", "is no cluster"),
        ("tls://127.0.0.1:1", "no certificates are configured"),
        (f"slurm:{tmp_path / 'none.yaml'}", "not valid YAML"),
    ):
        with pytest.raises(ConfigError, match=words):
            open_pool(1, cluster)


def test_a_worker_that_cannot_start_is_an_error_for_each_job_and_no_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: object) -> None:
        raise AssertionError("daemonic processes are not allowed to have children")

    with ProcessPool(1) as pool:
        with monkeypatch.context() as patched:
            patched.setattr("multiprocessing.context.SpawnProcess.start", refuse)
            for _ in range(2):
                with pytest.raises(AssertionError, match="daemonic"):
                    pool.submit(os.getpid).result(timeout=60)
        assert pool.submit(os.getpid).result(timeout=120) != os.getpid()
