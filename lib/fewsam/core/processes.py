"""The server and the embedded PACS as processes on 127.0.0.1: for `fewsam ohif`, simulations, attacks and tests."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil
import requests

from fewsam.core.app_folder import make_app_folder
from fewsam.core.errors import FewSAMError

MODEL = "segmentation"
LIBRARY = Path(__file__).resolve().parents[2]  # where `import fewsam` finds it
PATIENCE = 600.0  # seconds for a start or a training on a busy machine
POLL = 0.1
TAIL = 30  # lines of a log in an error


class ProcessError(FewSAMError):
    """A process did not start, ended by itself or did not do what was waited for; the message ends with its log."""


def unused_port() -> int:
    """A port of 127.0.0.1 that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def descendants(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """The processes that it started, and those that they started, such as a training; empty once it has ended."""
    try:
        return psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
    except psutil.NoSuchProcess:
        return []


def kill_all(processes: Sequence[psutil.Process]) -> None:
    for process in processes:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue
    psutil.wait_procs(processes, timeout=10)


def end(process: subprocess.Popen[bytes], seconds: float = 20.0) -> None:
    """Ask a process to end, kill it after ``seconds``, and kill what it started."""
    family = descendants(process)
    process.terminate()
    try:
        process.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    kill_all(family)


def environment_of(folder: Path | None = None, more: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of a process that fewsam starts: this installation, without the settings of the caller's own."""
    given = dict(more or {})
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("MONAI_LABEL_", "FEWSAM_API_KEY"))}
    paths = [given.pop("PYTHONPATH", ""), str(LIBRARY), kept.get("PYTHONPATH", "")]
    return {
        **kept,
        "MONAI_LABEL_TRACKING_ENABLED": "false",
        **({"MONAI_LABEL_SESSION_PATH": str(folder / "sessions")} if folder else {}),
        "PYTHONUNBUFFERED": "1",
        **given,
        # monailabel's own command starts `python` from the path, and looks there for dcmqi's tools
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), kept.get("PATH", "")]),
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
    }


class ServerProcess:
    """``monailabel start_server`` on a free port.

    Args:
        folder: For the log, sessions and the app's copy.
        studies: Folder of images, or a DICOMweb address.
        conf: ``--conf`` pairs; a list becomes commas.
        environment: Added to the server's.
        app: Folder of the app's copy, if not below ``folder``: collection, cache and models survive a restart there.
    """

    def __init__(
        self,
        folder: Path,
        studies: Path | str,
        conf: Mapping[str, object] | None = None,
        environment: Mapping[str, str] | None = None,
        app: Path | None = None,
    ) -> None:
        self.folder, self.studies, self.conf = folder, studies, dict(conf or {})
        self.app = app or folder / "app"
        self.log = folder / "server.log"
        self.process: subprocess.Popen[bytes] | None = None
        self.url = ""
        self._environment = dict(environment or {})

    @property
    def data(self) -> Path:
        """The one task folder of this app: collection, cache, models."""
        return next(path for path in (self.app / "model").iterdir() if path.is_dir())

    def launch(self) -> None:
        """Start without waiting."""
        self.folder.mkdir(parents=True, exist_ok=True)
        make_app_folder(self.app)
        port = unused_port()
        self.url = f"http://127.0.0.1:{port}"
        command = [sys.executable, "-m", "monailabel.main", "start_server", "--host", "127.0.0.1", "--port", str(port)]
        command += ["--app", str(self.app), "--studies", str(self.studies)]
        for key, value in self.conf.items():
            text = ",".join(map(str, value)) if isinstance(value, (tuple, list)) else str(value)
            command += ["--conf", key, text]
        self.process = self._begin(command, environment_of(self.folder, self._environment))

    def _begin(self, command: Sequence[str], environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as log:
            return subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, cwd=self.folder, env=environment)

    def start(self) -> float:
        """Start and wait until ``/info/`` answers; seconds that took.

        Raises:
            ProcessError: it ended or did not answer.
        """
        began = time.monotonic()
        self.launch()
        self.wait(self._answers, "the start of the server")
        return time.monotonic() - began

    def _answers(self) -> bool:
        try:
            return requests.get(f"{self.url}/info/", timeout=30).status_code in (200, 401)  # 401: log in
        except requests.RequestException:
            return False

    def info(self) -> dict[str, Any]:
        answer = requests.get(f"{self.url}/info/", timeout=120)
        answer.raise_for_status()
        return dict(answer.json())

    def put_label(self, image: str, label: Path, params: object = None, tag: str = "") -> requests.Response:
        """``PUT /datastore/label`` with the answer as it comes, errors included; ``params``: JSON, or its text."""
        text = params if isinstance(params, str) else json.dumps(params or {})
        with label.open("rb") as file:
            return requests.put(
                f"{self.url}/datastore/label",
                params={"image": image, **({"tag": tag} if tag else {})},
                data={"params": text},
                files={"label": (label.name, file)},
                timeout=PATIENCE,
            )

    def kill(self) -> list[psutil.Process]:
        """SIGKILL the server alone; the processes it leaves behind."""
        if self.process is None:
            return []
        left = descendants(self.process)
        self.process.kill()
        self.process.wait()
        self.process = None
        return left

    def stop(self) -> None:
        """End it and what it started."""
        if self.process is not None:
            end(self.process)
            self.process = None

    def children(self) -> list[psutil.Process]:
        """Its processes, such as a training run; not the template process that they are forked from (`prefork`)."""
        return [] if self.process is None else [p for p in descendants(self.process) if not self._is_template(p)]

    def _is_template(self, process: psutil.Process) -> bool:
        assert self.process is not None
        try:
            server = psutil.Process(self.process.pid)
            return process.ppid() == server.pid and process.cmdline() == server.cmdline()
        except psutil.NoSuchProcess:
            return False

    def wait(self, condition: Callable[[], Any], what: str, timeout: float = PATIENCE) -> Any:
        """The first true value of ``condition``.

        Raises:
            ProcessError: it stayed false, or the server ended by itself meanwhile.
        """
        until = time.monotonic() + timeout
        while time.monotonic() < until:
            try:
                value = condition()
            except requests.RequestException:
                if self.process is None or self.process.poll() is None:
                    raise
                value = None
            if value:
                return value
            if self.process is not None and self.process.poll() is not None:
                raise ProcessError(f"the server ended before {what}:\n{self.tail()}")
            time.sleep(POLL)
        raise ProcessError(f"{what} did not come within {timeout:.0f} s:\n{self.tail()}")

    def tail(self, lines: int = TAIL) -> str:
        """The last lines of the log."""
        text = self.log.read_text(errors="replace") if self.log.exists() else "(no log)"
        return "\n".join(text.splitlines()[-lines:])


class PacsProcess:
    """``fewsam pacs`` over a folder; the same port after each start.

    Args:
        folder: DICOM files.
        port: 0 takes a free one.
    """

    def __init__(self, folder: Path, port: int = 0) -> None:
        self.folder = folder
        self.port = port or unused_port()
        self.dicomweb = f"http://127.0.0.1:{self.port}/dicom-web"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> PacsProcess:
        """Start, and return when it answers.

        Raises:
            ProcessError: it ended or did not answer; what it says stands in this process's own output.
        """
        command = [sys.executable, "-m", "fewsam.cli", "pacs", str(self.folder), "--port", str(self.port)]
        # In a session of its own: Ctrl-C comes to the one that started it, and the end has an order.
        self.process = subprocess.Popen(command, env=environment_of(), start_new_session=True)
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until and self.process.poll() is None:
            try:
                if requests.get(f"{self.dicomweb}/studies", params={"limit": 1}, timeout=5).ok:
                    return self
            except requests.RequestException:
                time.sleep(POLL)
        self.stop()
        raise ProcessError(f"the PACS over {self.folder} did not start on port {self.port}; its output is above")

    def kill(self) -> None:
        """SIGKILL."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def stop(self) -> None:
        if self.process is not None:
            end(self.process)
            self.process = None
