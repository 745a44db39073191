"""The real MONAI Label server as a subprocess, and small studies to give it.

    with Server(tmp_path, studies, conf={"labels": "ball,box"}) as server:
        server.client.info()

Each server gets a copy of ``apps/fewsam`` of its own, so that tests neither share a collection nor leave files in the
repository. Its log stays in ``server.log`` and ends every error message of the harness.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import psutil
import requests
from monailabel.client import MONAILabelClient

REPOSITORY = Path(__file__).resolve().parents[1]
MODEL = "segmentation"
CLASSES = ("ball", "box")


class Server:
    """``monailabel start_server`` on 127.0.0.1 and a free port; stopped by its own process id.

    Args:
        folder: For the app's copy, sessions and the log; the app's files survive a restart with the same folder.
        studies: Folder of images.
        conf: ``--conf`` pairs.
        environment: Added to the server's environment.
    """

    def __init__(
        self,
        folder: Path,
        studies: Path | str,
        conf: Mapping[str, object] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.folder, self.studies = folder, studies
        self.conf = dict(conf or {})
        self.app = folder / "app"
        self.log = folder / "server.log"
        self.port = 0
        self.process: subprocess.Popen[bytes] | None = None
        self._environment = dict(environment or {})

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def client(self) -> MONAILabelClient:
        """A client as Slicer has it."""
        downloads = self.folder / "downloads"
        downloads.mkdir(exist_ok=True)
        return MONAILabelClient(self.url, tmpdir=str(downloads), client_id="tester")

    @property
    def data(self) -> Path:
        """The one task folder of this app: collection, cache, versions."""
        return next(path for path in (self.app / "model").iterdir() if path.is_dir())

    def start(self, timeout: float = 180.0) -> Server:
        """Start and wait until ``/info/`` answers.

        Raises:
            RuntimeError: it ended or did not answer in time; the message ends with its log.
        """
        self.launch()
        until = time.monotonic() + timeout
        while time.monotonic() < until:
            if self.process is None or self.process.poll() is not None:
                raise RuntimeError(f"the server ended while starting:\n{self.tail()}")
            try:
                if requests.get(f"{self.url}/info/", timeout=5).status_code in (200, 401):  # 401: log in
                    return self
            except requests.RequestException:
                pass
            time.sleep(0.2)
        self.kill()
        raise RuntimeError(f"the server did not answer within {timeout:.0f} s:\n{self.tail()}")

    def launch(self) -> None:
        """Start without waiting."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.app.mkdir(exist_ok=True)
        shutil.copy(REPOSITORY / "apps" / "fewsam" / "main.py", self.app / "main.py")
        self.port = _free_port()
        command = [sys.executable, "-m", "monailabel.main", "start_server", "--host", "127.0.0.1"]
        command += ["--port", str(self.port), "--app", str(self.app), "--studies", str(self.studies)]
        for key, value in self.conf.items():
            command += ["--conf", key, str(value)]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command, stdout=log, stderr=subprocess.STDOUT, cwd=self.folder, env=self._env()
            )

    def _env(self) -> dict[str, str]:
        env = {key: value for key, value in os.environ.items() if not key.startswith("MONAI_LABEL_")}
        path = [str(REPOSITORY / "lib"), *filter(None, [env.get("PYTHONPATH")])]
        env.update(
            PYTHONPATH=os.pathsep.join(path),
            PATH=os.pathsep.join([str(Path(sys.executable).parent), env.get("PATH", "")]),
            PYTHONUNBUFFERED="1",
            MONAI_LABEL_TRACKING_ENABLED="false",
            MONAI_LABEL_SESSION_PATH=str(self.folder / "sessions"),
        )
        env.update(self._environment)
        return env

    def stop(self) -> None:
        """Ask it to end; make sure that it and its training processes do."""
        if self.process is None:
            return
        children = self.children()
        self.process.terminate()
        try:
            self.process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        _end(children)
        self.process = None

    def kill(self) -> None:
        """``kill -9``, children included."""
        if self.process is None:
            return
        children = self.children()
        self.process.kill()
        self.process.wait()
        _end(children)
        self.process = None

    def children(self) -> list[psutil.Process]:
        """Its processes, such as a training run."""
        if self.process is None or self.process.poll() is not None:
            return []
        return psutil.Process(self.process.pid).children(recursive=True)

    def tail(self, lines: int = 60) -> str:
        """The last lines of the log."""
        if not self.log.exists():
            return "(no log)"
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def wait(self, condition: Callable[[], Any], what: str, timeout: float = 120.0) -> Any:
        """The first true value of ``condition``.

        Raises:
            TimeoutError: it stayed false; the message ends with the log.
        """
        until = time.monotonic() + timeout
        while time.monotonic() < until:
            value = condition()
            if value:
                return value
            time.sleep(0.2)
        raise TimeoutError(f"{what} did not happen within {timeout:.0f} s:\n{self.tail()}")

    def train(self, timeout: float = 900.0, **params: object) -> dict[str, Any]:
        """Train through the client and wait for the end; the final stats."""
        self.client.train_start(MODEL, params)
        return self.wait_for_training(timeout)

    def wait_for_training(self, timeout: float = 900.0) -> dict[str, Any]:
        """Wait until no run is on; the stats of the last one."""
        self.wait(lambda: not self.client.info()["training"]["running"], "the end of training", timeout)
        return dict(self.client.info()["train_stats"][MODEL])

    def infer(self, image_id: str, **params: object) -> tuple[np.ndarray, dict[str, Any]]:
        """Segment as Slicer does: the labelmap's native voxels, and the JSON beside them."""
        file, answer = self.client.infer(MODEL, image_id, params)
        return np.asarray(nib.load(file).dataobj), answer

    def __enter__(self) -> Server:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()


def make_studies(
    folder: Path, images: Sequence[str] = ("a", "b"), shape: tuple[int, int, int] = (40, 36, 10), seed: int = 0
) -> dict[str, np.ndarray]:
    """Write a small CT-like NIfTI volume for each id; their truth (i, j, k) with values 1 ball, 2 box."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    truth: dict[str, np.ndarray] = {}
    grid = np.stack(np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij"))
    affine = np.diag([2.0, 2.0, 5.0, 1.0])
    for image_id in images:
        shift = rng.uniform(-0.1, 0.1, 3)
        x, y, z = grid - shift[:, None, None, None]
        body = x**2 / 0.8 + y**2 / 0.7 < 1
        ball = (x + 0.35) ** 2 + y**2 + (0.35 * z) ** 2 < 0.09
        box = (abs(x - 0.35) < 0.2) & (abs(y - 0.1) < 0.25) & (abs(z) < 0.7)
        labels = np.zeros(shape, np.uint8)
        labels[ball], labels[box] = 1, 2
        voxels = np.where(body, 40.0, -900.0)
        voxels[ball], voxels[box] = 160, -60
        voxels += rng.normal(0, 12, shape)
        nib.save(nib.Nifti1Image(voxels.astype(np.int16), affine), folder / f"{image_id}.nii.gz")
        truth[image_id] = labels
    return truth


def write_label(file: Path, voxels: np.ndarray, slices: Sequence[int] | None = None, like: Path | None = None) -> Path:
    """Write labels (i, j, k) as NIfTI, only ``slices`` (along k) of them, on the grid of ``like``."""
    kept = np.zeros_like(voxels)
    chosen = slice(None) if slices is None else list(slices)
    kept[:, :, chosen] = voxels[:, :, chosen]
    affine = nib.load(like).affine if like is not None else np.diag([2.0, 2.0, 5.0, 1.0])
    file.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(kept.astype(np.uint8), affine), file)
    return file


def put_label(server: Server, image_id: str, file: Path, params: object = None, tag: str = "") -> requests.Response:
    """``PUT /datastore/label`` with the answer as it comes, errors included."""
    query = {"image": image_id, **({"tag": tag} if tag else {})}
    with file.open("rb") as label:
        return requests.put(
            f"{server.url}/datastore/label",
            params=query,
            data={"params": params if isinstance(params, str) else json.dumps(params or {})},
            files={"label": (file.name, label)},
            timeout=60,
        )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _end(processes: Sequence[psutil.Process]) -> None:
    for process in processes:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue
    psutil.wait_procs(processes, timeout=10)
