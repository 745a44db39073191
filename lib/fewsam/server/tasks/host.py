"""What routes and background threads know of the app, so that only `app` knows both sides."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from monailabel.interfaces.datastore import Datastore
from monailabel.interfaces.utils import app as monai_apps
from monailabel.utils.sessions import Sessions

from fewsam.server.tasks.index import ImageIndex
from fewsam.server.tasks.labels import LabelParams
from fewsam.server.tasks.train import DecoderTraining
from fewsam.workspace.workspace import Workspace


class Host(Protocol):
    """The running app: one task with its images, its model and what is done with them.

    Attributes:
        workspace: The task.
        trainer: The training task, which knows how far a run is.
        index: What is known of each image without opening it.
        opened: Images that somebody asked for, the last one at the end: id -> path.
        shown: The slice of an image that somebody looks at, as far as a client said so: id -> canonical slice.
    """

    workspace: Workspace
    trainer: DecoderTraining
    index: ImageIndex
    opened: dict[str, str]
    shown: dict[str, int]

    def datastore(self) -> Datastore:
        """Where images and label files are."""

    def sessions(self) -> Sessions | None:
        """Images that clients keep for a while; None where sessions are switched off."""

    def info(self) -> dict[str, Any]:
        """The answer of ``GET /info/``."""

    def background_status(self) -> dict[str, Any]:
        """The part of :meth:`info` that comes from the background threads; empty before they are started."""

    def image_path(self, image_id: Any) -> str:
        """File or folder of an image; `NotFoundError` where there is none."""

    def somebody_works(self) -> None:
        """A person asked for something that takes work: what is done while nobody waits makes way."""

    def infer(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Segment an image as MONAI Label's clients ask for it."""

    def segment(self, image_id: str) -> tuple[np.ndarray, dict[str, Any]]:
        """Segment an image of the studies: labelmap (Z, H, W) uint8, and the JSON beside it."""

    def submit_label(
        self, image_id: str, file: Path, tag: str, raw: dict[str, Any], params: LabelParams
    ) -> dict[str, Any]:
        """Store a label that a client sent, and say what became of its slices."""

    def renew_label(self, image_id: str, annotator: str) -> dict[str, Any]:
        """Have the files for other programs say what is in force, after a label was taken back."""

    def on_save_label(self, image_id: str, label_id: str) -> Mapping[str, Any] | None:
        """MONAI Label's hook after a label file was stored; what it returns becomes part of the answer."""

    def offer(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """The image and slice to label next; empty when everything is labelled."""

    def before_training(self, model: str | None, enqueue: bool, unlabelled: bool = False) -> None:
        """Check a training request, and have the server encode what the training process will read."""

    def async_training(self, model: str | None, params: Any = None) -> Any:
        """Start a training process."""

    def training_result(self, task: Mapping[str, Any]) -> dict[str, Any]:
        """Wait for the end of a training process, and say how it ended; `TrainingError` where it failed."""

    def reload(self) -> None:
        """Read the studies anew, in an app that takes this one's place."""


def current() -> Host:
    """The app that answers requests now; after ``POST /reload`` it is another one."""
    host: Host = monai_apps.app_instance()
    return host
