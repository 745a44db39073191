"""A real scheduler and real workers on loopback: results, deaths, and the scheduler's end."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("distributed")  # an optional extra: requirements-cluster.txt

from fewsam.core.cluster import ClusterLostError, open_pool
from fewsam.core.errors import ConfigError
from fewsam.core.jobs import Job, as_finished
from fewsam.core.processes import unused_port
from fewsam.evaluation.scaling.loopback_cluster import LoopbackCluster

# What the workers run: this file is no module that they could import.
length, refuse, pause = len, os.listdir, time.sleep


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoopbackCluster]:
    with LoopbackCluster(tmp_path_factory.mktemp("cluster"), 2) as one:
        yield one


def test_jobs_shared_values_and_failures(cluster: LoopbackCluster) -> None:
    with open_pool(1, cluster.address) as pool:
        assert pool.size == 2
        shared = pool.share("x" * 1000)
        jobs = [Job("shared", length, (shared,)), Job("missing", refuse, ("/nowhere",)), Job("list", length, ([1, 2],))]
        done = {one.job.name: one for one in as_finished(pool, jobs)}
    assert done["shared"].value == 1000 and done["list"].value == 2
    assert done["missing"].why.startswith("FileNotFoundError")


def test_the_job_of_a_killed_worker_is_done_by_another(cluster: LoopbackCluster) -> None:
    with open_pool(1, cluster.address) as pool:
        jobs = (Job(str(n), pause, (0.3,)) for n in range(6))
        results = as_finished(pool, jobs)
        names = [next(results).job.name]
        cluster.kill_worker()
        rest = list(results)
    assert [one.error for one in rest] == [None] * 5
    assert sorted([*names, *(one.job.name for one in rest)]) == [str(n) for n in range(6)], "each once"


def test_without_the_scheduler_the_run_ends_with_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fewsam.core.cluster.CONNECT_SECONDS", 1)
    with LoopbackCluster(tmp_path, 1) as cluster, open_pool(1, cluster.address) as pool:
        results = as_finished(pool, (Job(str(n), pause, (0.2,)) for n in range(100)))
        assert next(results).error is None
        cluster.kill_scheduler()
        with pytest.raises(ClusterLostError, match="what is done is kept"):
            list(results)
    with pytest.raises(ConfigError, match="no scheduler answers there"):
        open_pool(1, f"tcp://127.0.0.1:{unused_port()}")
