"""Servers of tests come from a process that has imported the libraries already.

The start of a server is 5 to 8 s of processor time, nearly all of it imports of torch, MONAI and the like, and there
are some thirty starts. multiprocessing's fork server imports the libraries once for each process of tests, and a
server is a fork of it. Our own code and MONAI Label's are imported in each server anew, with the environment and the
arguments it is given. Servers with a PYTHONPATH of their own are started by the command as ever, and so are those of
tests that take `cold_starts`; FEWSAM_COLD=1 has all of them so.
"""

from __future__ import annotations

import multiprocessing.connection
import multiprocessing.forkserver
import subprocess
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from fewsam.core import processes
from helpers.forked_server import serve

LIBRARIES = (
    "fewsam.core._torchvision",
    "torch", "torchvision", "segment_anything", "monai", "monai.networks.nets", "monai.losses",
    "monai.inferers", "monai.transforms", "scipy.ndimage", "scipy.stats", "sklearn.linear_model", "matplotlib.pyplot",
    "nibabel", "nrrd", "SimpleITK", "itk", "pydicom", "pydicom_seg", "pydicom.sr", "dicomweb_client", "h5py", "lmdb",
    "safetensors.torch", "fastapi", "starlette.testclient", "uvicorn", "pydantic_settings", "requests", "httpx",
    "girder_client", "google.auth", "jwt", "passlib.context", "PIL.Image", "watchdog.observers", "psutil", "einops",
)  # fmt: skip


class Forked:
    """What `ServerProcess` uses of a Popen."""

    def __init__(self, process: Any) -> None:
        self._process, self._lock, self.pid = process, threading.Lock(), process.pid

    @property
    def returncode(self) -> int | None:
        return self.poll()

    def poll(self) -> int | None:
        with self._lock:  # two threads that read the exit status at once would get two
            status: int | None = self._process.exitcode
        return status

    def wait(self, timeout: float | None = None) -> int:
        if not multiprocessing.connection.wait([self._process.sentinel], timeout):
            raise subprocess.TimeoutExpired("server", timeout or 0.0)
        status = self.poll()
        assert status is not None
        return status

    def terminate(self) -> None:
        if self.poll() is None:
            self._process.terminate()

    def kill(self) -> None:
        if self.poll() is None:
            self._process.kill()


def begin(server: processes.ServerProcess, command: Sequence[str], environment: Mapping[str, str]) -> Any:
    """In place of `ServerProcess._begin`."""
    if "PYTHONPATH" in server._environment or list(command[1:3]) != ["-m", "monailabel.main"]:
        return begin_cold(server, command, environment)
    given = (list(command[2:]), dict(environment), str(server.folder), str(server.log))
    process = _context().Process(target=serve, args=given, daemon=True)
    process.start()
    return Forked(process)


begin_cold = processes.ServerProcess._begin
_made: list[Any] = []


def _context() -> Any:
    """The fork server, started with the libraries' own first server."""
    if not _made:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(list(LIBRARIES))
        with pytest.MonkeyPatch.context() as patch:
            for name, value in processes.environment_of().items():
                patch.setenv(name, value)
            multiprocessing.forkserver.ensure_running()
        _made.append(context)
    return _made[0]
