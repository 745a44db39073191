"""The app that ``monailabel start_server --app apps/fewsam`` runs."""

from __future__ import annotations

import copy
import logging
import os
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from monailabel.config import settings as monai_settings
from monailabel.interfaces.app import MONAILabelApp
from monailabel.interfaces.datastore import Datastore, DefaultLabelTag
from monailabel.interfaces.exception import MONAILabelException
from monailabel.interfaces.tasks.batch_infer import BatchInferTask
from monailabel.interfaces.tasks.infer_v2 import InferTask
from monailabel.interfaces.tasks.scoring import ScoringMethod
from monailabel.interfaces.tasks.strategy import Strategy
from monailabel.interfaces.tasks.train import TrainTask
from monailabel.interfaces.utils import app as monai_apps

from fewsam.core.errors import CheckpointError, ConfigError
from fewsam.core.version import __version__
from fewsam.server.background import label_files, prefork
from fewsam.server.background.background import Background
from fewsam.server.errors import BusyError, NotFoundError, PacsError, RequestError, TrainingError, hide_folders
from fewsam.server.guard import api_key
from fewsam.server.names import check_answer_tag, check_tag
from fewsam.server.routes.threads import INFER_THREADS
from fewsam.server.storage.datastore import FolderDatastore, open_folder
from fewsam.server.storage.pacs import Pacs
from fewsam.server.storage.pacs_datastore import PacsDatastore
from fewsam.server.tasks.batch_infer import BatchInfer
from fewsam.server.tasks.index import ImageIndex
from fewsam.server.tasks.infer import SegmentationTask
from fewsam.server.tasks.infer import as_answer as as_json
from fewsam.server.tasks.labels import LabelParams
from fewsam.server.tasks.opening import shared_workspace
from fewsam.server.tasks.points import PointsTask
from fewsam.server.tasks.startup import stop_with_one_line
from fewsam.server.tasks.strategy import strategies
from fewsam.server.tasks.train import SERVER_PROCESS, TRAINER, DecoderTraining, runs_on
from fewsam.workspace.workspace import Workspace

logger = logging.getLogger(__name__)

MODEL = TRAINER
MAKE_WAY_SECONDS = 60.0  # for a run on unlabelled images to end
RUN_LOOK_SECONDS = 0.2  # between two looks whether a run has ended
POINTS = "points"  # the viewers' own interactive tools use this one


class FewSAMApp(MONAILabelApp):
    """Few-shot SAM in MONAI Label.

    MONAI Label constructs the app anew in every training process, so that constructing opens no cache, builds no
    encoder and starts no thread. Only the server calls :meth:`on_init_complete`, which starts the background work.

    Args:
        app_dir: The app folder; the task's own files go to ``<app_dir>/model``.
        studies: Folder of images or address of a DICOMweb server.
        conf: ``--conf`` strings: ``preset`` and any setting of :class:`fewsam.core.config.Settings`.
    """

    def __init__(self, app_dir: str, studies: str, conf: dict[str, str] | None) -> None:
        if _serving():
            prefork.prepare()  # first of all, while nothing is open yet
        try:
            if _serving():
                api_key.configured()
            self.workspace: Workspace = shared_workspace(app_dir, studies, conf or {})
        except (CheckpointError, ConfigError) as error:
            stop_with_one_line(error)
            raise
        self.trainer = DecoderTraining(self.workspace)
        self.index = ImageIndex(self.workspace.folder / "index")
        self.background: Background | None = None
        self.opened: dict[str, str] = {}  # images that somebody asked for: id -> path
        self.shown: dict[str, int] = {}  # of these, the slice that somebody looks at: id -> canonical slice
        super().__init__(
            app_dir=app_dir,
            studies=studies,
            conf=conf or {},
            name="fewsam",
            description="Few-shot SAM: label a few slices, get the volume",
            version=__version__,
            labels=list(self.workspace.settings.labels),  # OHIF's panel crashes on a dict
        )

    # -- what MONAI Label builds the app from

    def init_datastore(self) -> Datastore:
        if self.studies.startswith(("http://", "https://")):
            if monai_settings.MONAI_LABEL_DATASTORE.lower() in ("xnat", "dsa") or "googleapis.com" in self.studies:
                return super().init_datastore()
            return PacsDatastore(Pacs(self.studies), self.workspace.folder / "pacs", self.workspace.settings.sequences)
        serving = _serving()  # a training process must not write the index
        return open_folder(
            Path(self.studies),
            self.workspace.folder / "studies",
            watch=serving and monai_settings.MONAI_LABEL_DATASTORE_AUTO_RELOAD,
            read_only=not serving or monai_settings.MONAI_LABEL_DATASTORE_READ_ONLY,
            sequences=self.workspace.settings.sequences,
        )

    def init_infers(self) -> dict[str, InferTask]:
        return {MODEL: SegmentationTask(self.workspace), POINTS: PointsTask(self.workspace)}

    def init_trainers(self) -> dict[str, TrainTask]:
        return {MODEL: self.trainer}

    def init_strategies(self) -> dict[str, Strategy]:
        return strategies(self.workspace, self.index, self.image_path)

    def init_scoring_methods(self) -> dict[str, ScoringMethod]:
        return {}  # each would start a process after every step; slices are scored where they are segmented

    def init_batch_infer(self) -> BatchInferTask:
        return BatchInfer()

    # -- background work: in the server only

    def on_init_complete(self) -> None:
        studies = () if self.studies.startswith(("http://", "https://")) else (self.studies,)
        hide_folders(self.workspace.folder, self.app_dir, tempfile.gettempdir(), *studies)
        # MONAI Label reads this variable without a default when it starts a training process.
        os.environ.setdefault("PYTHONPATH", "")
        os.environ[SERVER_PROCESS] = str(os.getpid())  # training processes end with the server
        from monailabel.app import app as web

        from fewsam.server.guard import log_redaction
        from fewsam.server.routes import routes, threads

        log_redaction.install()
        threads.for_workers(self.workspace.settings.workers)
        routes.install(web)
        super().on_init_complete()
        self.start_background()

    def start_background(self) -> None:
        self.background = Background(self)
        self.background.start()

    def reload(self) -> None:
        """Have a new app, which reads the studies anew, take this one's place."""
        new = type(self)(app_dir=self.app_dir, studies=self.studies, conf=self.conf)
        new.server_mode(True)
        key = next(key for key, value in monai_apps.apps.items() if value is self)
        monai_apps.apps[key] = new  # other requests see the old app or the new one, never none
        self.stop_background()
        new.start_background()

    def background_status(self) -> dict[str, Any]:
        """The part of :meth:`info` that comes from the background threads; empty before they are started."""
        return self.background.status() if self.background is not None else {}

    def stop_background(self) -> None:
        """Stop the threads of this instance; the task's collection, cache and model stay open."""
        if self.background is not None:
            self.background.stop()
        if isinstance(self._datastore, FolderDatastore):
            self._datastore.close()

    # -- requests

    def info(self) -> dict[str, Any]:
        meta: dict[str, Any] = super().info()
        meta["labels"] = list(self.workspace.collection.classes)
        meta.update(self.background_status())
        meta["queue"] = INFER_THREADS.status()
        return meta

    def image_path(self, image_id: Any) -> str:
        """File or folder of an image of the studies.

        Raises:
            NotFoundError: there is no such image.
        """
        datastore = self.datastore()
        if not isinstance(image_id, str) or not image_id:
            raise RequestError(f"an image is named by its id, got {image_id!r}")
        if image_id not in datastore.list_images():
            datastore.refresh()  # it may have been copied there a moment ago
        if image_id not in datastore.list_images():
            if isinstance(datastore, PacsDatastore) and datastore.problem:
                raise PacsError(datastore.problem)  # only a PACS that answers can say that there is no such image
            raise NotFoundError(f"no image is called {image_id!r}; GET /datastore/?output=all lists those there are")
        pacs = isinstance(datastore, PacsDatastore)
        path = str(datastore.image_folder(image_id) if pacs else datastore.get_image_uri(image_id))
        self.opened.pop(image_id, None)
        self.opened[image_id] = path  # at the end: it is the one opened last
        return path

    def infer(self, request: Mapping[str, Any], datastore: Datastore | None = None) -> dict[str, Any]:
        """Segment ``request["image"]``, an image id, or ``request["image_file"]``, an uploaded file.

        Raises:
            NotFoundError: unknown model or image.
            RequestError: the answer is to be saved as a final label, which are people's.
            FewSAMError: the image or the request is at fault.
        """
        self.somebody_works()
        model = request.get("model")
        task = self._infers.get(model)
        if task is None:
            raise NotFoundError(f"no model is called {model!r}; there is: {', '.join(self._infers)}")
        request = {**copy.deepcopy(dict(request)), "description": task.description}
        image_id = None if request.get("image_file") else request.get("image")
        request["image"] = request.get("image_file") or self.image_path(image_id)
        request["image_id"] = image_id
        request |= self._waiting(image_id, request.get("encode_wait"))
        save = request.get("save_label") in (True, "true", "True", 1)
        tag = (check_answer_tag if save else check_tag)(request.get("label_tag") or DefaultLabelTag.ORIGINAL)
        file, answer = task(request)
        if save and file and image_id is not None:
            info = {"model": model, "params": answer}
            if self.background is not None:
                label_files.keep_prediction(self.background, image_id, Path(file), tag, info)
            else:  # batch inference, in a process of its own
                self.datastore().save_label(image_id, file, tag, info)
        return {"label": file, "tag": tag, "file": file, "params": answer}

    def segment(self, image_id: str) -> tuple[np.ndarray, dict[str, Any]]:
        """Segment an image of the studies: labelmap (Z, H, W) uint8, and the JSON beside it.

        Raises:
            FewSAMError: the image is at fault.
        """
        self.somebody_works()
        task: SegmentationTask = self._infers[MODEL]
        volume = self.workspace.volume(self.image_path(image_id))
        waiting = self._waiting(image_id, self.workspace.settings.encode_wait)
        prediction = task.predict({"image_id": image_id, **waiting}, volume)
        return prediction.labelmap, as_json(prediction)

    def _waiting(self, image_id: str | None, seconds: Any) -> dict[str, Any]:
        """How long a request waits for slices to be encoded, and which it would have first.

        It waits for all of them where the background will not encode the image, or has done so.
        """
        encoding = self.workspace.settings.precompute and self.background is not None
        if image_id is None or not encoding or self.index.is_encoded(image_id):
            return {"encode_wait": None}
        return {"encode_wait": seconds, "shown": self.shown.get(image_id)}

    def somebody_works(self) -> None:
        """A person asked for something that takes work: what is done while nobody waits makes way.

        An open viewer asks for the state all the time, which is no work.
        """
        if self.background is not None:
            self.background.somebody_works()

    def infer_wsi(self, request: Mapping[str, Any], datastore: Datastore | None = None) -> dict[str, Any]:
        raise NotFoundError("whole-slide images are not supported; use POST /infer/segmentation")

    def submit_label(
        self, image_id: str, file: Path, tag: str, raw: dict[str, Any], params: LabelParams
    ) -> dict[str, Any]:
        """Take a label that a client sent: the collection first, then the datastore's own copy.

        Raises:
            FewSAMError: the label is refused; nothing of it is kept.
        """
        return label_files.submit_label(self._running(), image_id, file, tag, raw, params)

    def renew_label(self, image_id: str, annotator: str) -> dict[str, Any]:
        """Have the datastore and the PACS say what is in force, after a label was taken back."""
        return label_files.renew_label(self._running(), image_id, annotator)

    def next_sample(self, request: Mapping[str, Any]) -> dict[str, Any]:
        self.somebody_works()
        strategy = self._strategies.get(request.get("strategy") or "random")
        if strategy is None:
            known = ", ".join(self._strategies)
            raise NotFoundError(f"no strategy is called {request.get('strategy')!r}; there are: {known}")
        result = strategy(request, self.datastore())
        return {**result, "path": self.image_path(result["id"])} if result else {}

    def offer(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """The next sample with what the datastore knows of the image; empty when everything is labelled."""
        result = self.next_sample(request)
        if not result:
            return {}
        image_id = result["id"]
        info = self.datastore().get_image_info(image_id)
        offered = {
            **info.get("strategy", {}),
            request["strategy"]: {"ts": int(time.time()), "client_id": request["client_id"]},
        }
        try:  # the slice stands in the image info too, which is where viewers look
            self.datastore().update_image_info(image_id, {"strategy": offered, "slice": result["slice"]})
        except MONAILabelException as error:
            logger.warning("image info of %s was not updated: %s", image_id, error.msg)
        return {**info, **result}

    def before_training(self, model: str | None, enqueue: bool, unlabelled: bool = False) -> None:
        """Check a training request, and have the server encode what the training process will read.

        Args:
            unlabelled: The run is to learn from unlabelled images too. Such a run makes way for any other.

        Raises:
            NotFoundError: unknown trainer.
            BusyError: a run is on, and this one may not wait for it.
            LabelError: there is no trained decoder that could learn from unlabelled images.
        """
        if model is not None and model not in self._trainers:
            raise NotFoundError(f"no trainer is called {model!r}; there is: {', '.join(self._trainers)}")
        if not unlabelled:
            self._make_way()
        if runs_on() > enqueue:  # one run may wait; it learns from all labels that come until it starts
            raise BusyError("training is on already; wait for it to end, or stop it with DELETE /train/")
        if unlabelled:
            self._running().unlabelled_training_requested()
        else:
            self._running().training_requested()

    def _make_way(self) -> None:
        """End a run on unlabelled images, and wait until it has ended: it looks at every step."""
        self.trainer.make_way()
        until = time.monotonic() + MAKE_WAY_SECONDS
        while self.trainer.is_making_way and runs_on() and time.monotonic() < until:
            time.sleep(RUN_LOOK_SECONDS)

    def training_result(self, task: Mapping[str, Any]) -> dict[str, Any]:
        """Wait for the end of a run, a task of MONAI Label's, and return its stats.

        Raises:
            TrainingError: the run was not possible.
        """
        while task["status"] in ("SUBMITTED", "RUNNING"):
            time.sleep(RUN_LOOK_SECONDS)
        stats = self.trainer.stats()
        if task["status"] == "ERROR":
            early = "the training process ended early; the server's log says more"
            raise TrainingError(str(stats.get("error") or early))
        return stats

    def _running(self) -> Background:
        if self.background is None:
            raise RequestError("the server is still starting; try again in a few seconds")
        return self.background


def _serving() -> bool:
    """Whether this is the server, and not one of MONAI Label's processes for training or batches."""
    return "monailabel.app" in sys.modules
