"""A real Dask scheduler with real workers, each a process of its own, on this machine's loopback."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from fewsam.core.processes import PATIENCE, ProcessError, end, environment_of, unused_port

POLL = 0.1


class LoopbackCluster:
    """A scheduler and its workers, which can be killed one by one. As a context manager it ends them all.

    Args:
        folder: For their logs and what workers keep on disk.
        workers: How many are started with the scheduler.
        port: 0 takes a free one.
    """

    def __init__(self, folder: Path, workers: int, port: int = 0) -> None:
        self.folder = folder
        self.port = port or unused_port()
        self.address = f"tcp://127.0.0.1:{self.port}"
        self.scheduler: subprocess.Popen[bytes] | None = None
        self.workers: list[subprocess.Popen[bytes]] = []
        self._first_workers = workers

    def __enter__(self) -> LoopbackCluster:
        self.folder.mkdir(parents=True, exist_ok=True)
        place = ["--host", "127.0.0.1", "--port", str(self.port)]
        self.scheduler = self._begin("distributed.cli.dask_scheduler", *place, "--no-dashboard")
        for _ in range(self._first_workers):
            self.add_worker()
        self.wait_for_workers(self._first_workers)
        return self

    def __exit__(self, *_: object) -> None:
        for process in [*self.workers, *([self.scheduler] if self.scheduler else [])]:
            end(process)

    def add_worker(self) -> subprocess.Popen[bytes]:
        """Start one more worker of one thread, without a process that would start it again."""
        once = ["--nthreads", "1", "--no-nanny", "--no-dashboard", "--host", "127.0.0.1", "--memory-limit", "0"]
        once += ["--local-directory", str(self.folder), "--death-timeout", str(int(PATIENCE))]
        process = self._begin("distributed.cli.dask_worker", self.address, *once)
        self.workers.append(process)
        return process

    def wait_for_workers(self, count: int) -> None:
        """Return when the scheduler has ``count`` workers.

        Raises:
            ProcessError: they did not come.
        """
        from distributed import Client

        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            try:
                with Client(self.address, timeout=5, set_as_default=False) as client:
                    client.wait_for_workers(count, timeout=PATIENCE)
                    return
            except (OSError, TimeoutError):
                if self.scheduler is None or self.scheduler.poll() is not None:
                    break
                time.sleep(POLL)
        raise ProcessError(f"the scheduler on port {self.port} or its workers did not start; logs are in {self.folder}")

    def kill_worker(self) -> None:
        """SIGKILL the worker that was started first."""
        worker = self.workers.pop(0)
        worker.kill()
        worker.wait()

    def kill_scheduler(self) -> None:
        """SIGKILL the scheduler; the workers are left behind."""
        assert self.scheduler is not None
        self.scheduler.kill()
        self.scheduler.wait()

    def _begin(self, module: str, *arguments: str) -> subprocess.Popen[bytes]:
        with (self.folder / f"{module.rpartition('.')[2]}.log").open("ab") as log:
            command = [sys.executable, "-m", module, *arguments]
            return subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=environment_of())
