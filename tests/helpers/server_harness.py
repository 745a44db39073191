"""The real MONAI Label server as a subprocess, and small studies to give it.

    with Server(tmp_path, studies, conf={"labels": "ball,box"}) as server:
        server.client.info()

Each server gets a copy of ``apps/fewsam`` of its own, so that tests neither share a collection nor leave files in the
repository. Its log stays in ``server.log`` and ends every error message of the harness.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import psutil
from monailabel.client import MONAILabelClient

from fewsam.core.processes import MODEL, PATIENCE, ServerProcess, kill_all
from fewsam.server.tasks.opening import settings_for
from fewsam.workspace.workspace import Workspace

REPOSITORY = Path(__file__).resolve().parents[2]
CLASSES = ("ball", "box")
# As little work as shows the mechanism.
QUICK = {
    "keep_better": "false",  # four steps do no good: publish them all the same
    "labels": "ball,box",
    "ensemble": 1,
    "prototypes": 1,
    "views": 1,
    "fresh_views": "false",
    "steps": 4,
    "train_seconds": 8,
}


class Server(ServerProcess):
    """The server of a test: a workspace, with MONAI Label's client, that a kill ends with all its processes.

    Its encoder, unless ``conf`` names one, is compact, which is quick, at half of its own size, which is finer than
    what tests segment.
    """

    def __init__(
        self,
        folder: Path,
        studies: Path | str,
        conf: Mapping[str, object] | None = None,
        environment: Mapping[str, str] | None = None,
        app: Path | None = None,
    ) -> None:
        conf = dict(conf or {})
        if "encoder" not in conf:
            conf = {"encoder": "compact", "input_size": 128, **conf}
        super().__init__(folder, studies, conf, environment, app)

    @property
    def client(self) -> MONAILabelClient:
        """A client as Slicer has it."""
        downloads = self.folder / "downloads"
        downloads.mkdir(exist_ok=True)
        return MONAILabelClient(self.url, tmpdir=str(downloads), client_id="tester")

    def kill(self) -> list[psutil.Process]:
        """``kill -9``, children included."""
        kill_all(super().kill())
        return []

    def train(self, timeout: float = PATIENCE, **params: object) -> dict[str, Any]:
        """Train through the client and wait for the end; the final stats."""
        self.client.train_start(MODEL, params)
        return self.wait_for_training(timeout)

    def wait_for_training(self, timeout: float = PATIENCE) -> dict[str, Any]:
        """Wait until no run is on; the stats of the last one."""
        self.wait(lambda: not self.client.info()["training"]["running"], "the end of training", timeout)
        return dict(self.client.info()["train_stats"][MODEL])

    def infer(self, image_id: str, **params: object) -> tuple[np.ndarray, dict[str, Any]]:
        """Segment as Slicer does: the labelmap's native voxels, and the JSON beside them."""
        file, answer = self.client.infer(MODEL, image_id, params)
        return np.asarray(nib.load(file).dataobj), answer

    def __enter__(self) -> Server:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def write_label(file: Path, voxels: np.ndarray, slices: Sequence[int] | None = None, like: Path | None = None) -> Path:
    """Write labels (i, j, k) as NIfTI, only ``slices`` (along k) of them, on the grid of ``like``."""
    kept = np.zeros_like(voxels)
    chosen = slice(None) if slices is None else list(slices)
    kept[:, :, chosen] = voxels[:, :, chosen]
    affine = nib.load(like).affine if like is not None else np.diag([2.0, 2.0, 5.0, 1.0])
    file.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(kept.astype(np.uint8), affine), file)
    return file


def shots(server: Server) -> dict[str, int]:
    """How many labelled slices each image has that has any."""
    return dict(server.client.info()["labelled_slices"])


def workspace_of(tmp_path: Path, **conf: str) -> Workspace:
    """What a server has of a task, without the server."""
    small = {"encoder": "compact", "input_size": "128", "labels": "ball,box"}
    settings, _ = settings_for({**small, **conf}, "http://nowhere")
    return Workspace(settings, tmp_path / "task")
