"""A real server on 127.0.0.1 with studies of its own, which can be killed and started again on the same files."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import psutil
import requests

from fewsam.config import PRESET_DIR

MODEL = "segmentation"
CLASSES = ("ball", "box")
APP = PRESET_DIR.parent / "apps" / "fewsam" / "main.py"
# As little work as shows the mechanism: a training takes two steps and is published whatever it is worth.
TINY: Mapping[str, object] = {
    "labels": ",".join(CLASSES), "keep_better": "false", "ensemble": 1, "prototypes": 1, "views": 1,
    "fresh_views": "false", "steps": 2, "batch": 2, "train_seconds": 20, "detail_size": 64, "untrained": "true",
}  # fmt: skip
WAIT = 600.0  # seconds for a start or a training on a busy machine


class Site:
    """``monailabel start_server`` over ``studies``.

    Args:
        folder: For the log, sessions and downloads; and the app's copy, if ``app`` is not given.
        conf: ``--conf`` pairs.
        environment: Added to the server's environment.
        app: Folder of the app's copy, which holds collection, cache and models.
    """

    def __init__(
        self,
        folder: Path,
        studies: Path | str,
        conf: Mapping[str, object] = TINY,
        environment: Mapping[str, str] | None = None,
        app: Path | None = None,
    ) -> None:
        self.folder, self.studies, self.conf = folder, studies, dict(conf)
        self.environment = dict(environment or {})
        self.app = app or folder / "app"
        self.log = folder / "server.log"
        self.process: subprocess.Popen[bytes] | None = None
        self.url = ""

    @property
    def data(self) -> Path:
        """The task folder: collection, cache, models."""
        return next(path for path in (self.app / "model").iterdir() if path.is_dir())

    def launch(self) -> None:
        """Start without waiting."""
        for folder in (self.folder, self.app):
            folder.mkdir(parents=True, exist_ok=True)
        if not (self.app / "main.py").exists():
            shutil.copy(APP, self.app / "main.py")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        self.url = f"http://127.0.0.1:{port}"
        command = [sys.executable, "-m", "monailabel.main", "start_server", "--host", "127.0.0.1", "--port", str(port)]
        command += ["--app", str(self.app), "--studies", str(self.studies)]
        for key, value in self.conf.items():
            command += ["--conf", key, str(value)]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command, stdout=log, stderr=subprocess.STDOUT, cwd=self.folder, env=self._env()
            )

    def _env(self) -> dict[str, str]:
        env = {key: value for key, value in os.environ.items() if not key.startswith("MONAI_LABEL_")}
        path = [self.environment.get("PYTHONPATH"), str(PRESET_DIR.parent / "lib"), env.get("PYTHONPATH")]
        return {
            **env,
            "MONAI_LABEL_TRACKING_ENABLED": "false",
            "MONAI_LABEL_SESSION_PATH": str(self.folder / "sessions"),
            "PYTHONUNBUFFERED": "1",
            **self.environment,
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), env.get("PATH", "")]),
            "PYTHONPATH": os.pathsep.join(filter(None, path)),
        }

    def start(self) -> float:
        """Start and wait until ``/info/`` answers; seconds that took.

        Raises:
            RuntimeError: it ended; the message ends with its log.
        """
        began = time.monotonic()
        self.launch()
        self.wait(self._answers, "the start of the server")
        return time.monotonic() - began

    def _answers(self) -> bool:
        if self.process is None or self.process.poll() is not None:
            raise RuntimeError(f"the server ended while starting:\n{self.tail()}")
        try:
            return requests.get(f"{self.url}/info/", timeout=30).status_code == 200
        except requests.RequestException:
            return False

    def info(self) -> dict[str, Any]:
        answer = requests.get(f"{self.url}/info/", timeout=120)
        answer.raise_for_status()
        return dict(answer.json())

    def children(self) -> list[psutil.Process]:
        """Its processes, such as a training run."""
        if self.process is None or self.process.poll() is not None:
            return []
        return psutil.Process(self.process.pid).children(recursive=True)

    def kill(self) -> list[psutil.Process]:
        """SIGKILL the server alone; the processes it leaves behind."""
        if self.process is None:
            return []
        left = self.children()
        self.process.kill()
        self.process.wait()
        self.process = None
        return left

    def stop(self) -> None:
        """End it and what it started."""
        left = self.kill()
        for process in left:
            if process.is_running():
                process.kill()
        psutil.wait_procs(left, timeout=10)

    def wait(self, condition: Callable[[], Any], what: str, timeout: float = WAIT) -> Any:
        """The first true value of ``condition``.

        Raises:
            RuntimeError: it stayed false; the message ends with the log.
        """
        until = time.monotonic() + timeout
        while time.monotonic() < until:
            value = condition()
            if value:
                return value
            time.sleep(0.1)
        raise RuntimeError(f"{what} did not come within {timeout:.0f} s:\n{self.tail()}")

    def tail(self, lines: int = 40) -> str:
        """The last lines of the log."""
        text = self.log.read_text(errors="replace") if self.log.exists() else "(no log)"
        return "\n".join(text.splitlines()[-lines:])
