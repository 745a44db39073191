"""The work of the server beside its requests: label intake, folder watch, encoding ahead, automatic training."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fewsam.collection import Submission
from fewsam.core.device import resolve_device
from fewsam.core.errors import FewSAMError, StorageError
from fewsam.encoders import prepare_engine
from fewsam.fewshot.selftraining.improve import check_improvable
from fewsam.server.background.autotrain import AutoTrain, Unlabelled
from fewsam.server.background.pacs_watch import PacsWatch
from fewsam.server.background.precompute import Precompute
from fewsam.server.background.watch import PROBLEMS_KEPT, FolderWatch, SeenFiles
from fewsam.server.errors import without_folders
from fewsam.server.storage.datastore import FolderDatastore
from fewsam.server.storage.pacs_datastore import PacsDatastore
from fewsam.server.tasks.host import Host
from fewsam.server.tasks.labels import LabelIntake
from fewsam.server.tasks.train import TRAINER, UNLABELLED, is_training
from fewsam.workspace.task_settings import keep_settings

logger = logging.getLogger(__name__)

CURVE_POINTS = 200  # of the learning curve in info(), which viewers ask for all the time


class Background:
    """Starts and stops the server's threads, and knows what ``info()`` shows of them."""

    def __init__(self, app: Host) -> None:
        self.app = app
        workspace = self.workspace = app.workspace
        self.intake = LabelIntake(workspace, self._label_stored)
        self.seen = SeenFiles(workspace.folder / "labels_seen.sqlite")
        datastore = app.datastore()
        self.watch: FolderWatch | PacsWatch | None = None
        if isinstance(datastore, FolderDatastore):
            self.watch = FolderWatch(datastore, self.intake, self.seen)
        elif isinstance(datastore, PacsDatastore):
            self.watch = PacsWatch(datastore, self.intake)
        self.precompute = Precompute(workspace, app.index, self._images, lambda: list(app.opened), app.shown.get)
        self.auto_train = AutoTrain(
            workspace.settings.auto_train,
            workspace.folder,
            is_training,
            self._train,
            self._train_unlabelled,
            self._unlabelled_state,
        )
        self.repaired: list[str] = [*self.seen.notices]
        self._writing = threading.RLock()
        self._own_problems: dict[str, str] = {}
        self._known: tuple[tuple[int, int], dict[str, Any]] | None = None

    def start(self) -> None:
        workspace = self.workspace
        try:
            # With these settings the command line can open the folder.
            keep_settings(workspace.folder, workspace.settings)
        except StorageError as error:  # no label can be stored now, but what is there can be looked at
            logger.error("%s", error)
        self.repaired += workspace.repaired
        if isinstance(self.app.datastore(), FolderDatastore):
            self.repaired += self.app.datastore().notices
        for notice in self.repaired:
            logger.warning("repaired at the start: %s", notice)
        encoder = workspace.encoder  # here, since hashing a large checkpoint must not happen in a request
        if "error" in encoder:
            logger.error("the encoder cannot be used: %s", encoder["error"])
        else:
            prepare_engine(workspace.settings, resolve_device(workspace.settings.device))
            if not encoder["trained"]:
                logger.warning("the %s encoder is untrained: results rest on submitted labels alone", encoder["name"])
        logger.info("few-shot collection in %s: %d submissions", workspace.folder, workspace.collection.version)
        for part in (self.watch, self.precompute, self.auto_train):
            if part is not None:
                part.start()

    def stop(self) -> None:
        for part in (self.auto_train, self.watch, self.precompute):
            if part is not None:
                part.stop()

    @contextmanager
    def own_write(self, image_id: str, tag: str, file: Path, outcome: str) -> Iterator[None]:
        """A block in which the server itself copies ``file`` to ``labels/<tag>``.

        The folder watch waits meanwhile, and does not take the file for somebody's label afterwards, nor after a kill
        in between.
        """
        lock = self.watch.lock if self.watch is not None else self._writing
        with lock:
            if not isinstance(self.watch, FolderWatch) or tag != "final":
                yield
                return
            target = self.watch.datastore.label_file(image_id, tag, file)
            for there in {target, *self.watch.datastore.label_files(image_id, tag)}:
                self.watch.set_aside(there)
            with self.seen.own(target, file, outcome):
                yield

    def drop_label(self, image_id: str, tag: str) -> None:
        """Take away the copy of a label of which nothing is in force.

        What somebody put there and nobody has looked at yet stays: it is taken in at the next look.
        """
        datastore = self.app.datastore()
        with self.watch.lock if self.watch is not None else self._writing:
            if isinstance(self.watch, FolderWatch):
                there = self.watch.datastore.label_files(image_id, tag)
                known = [file for file in there if self.seen.outcome(file) in ("taken", "model")]
                self.watch.datastore.retire_labels(image_id, tag, known)
            else:
                datastore.remove_label(image_id, tag)

    def training_requested(self) -> None:
        """Prepare a training run that somebody starts: encode what it will read, and count labels from here."""
        if not is_training():
            self.app.trainer.announce()
        self.auto_train.training_started()
        self.precompute.want_views()

    def unlabelled_training_requested(self) -> None:
        """Prepare a run that learns from unlabelled images: those that are encoded.

        Raises:
            LabelError: no decoder is trained yet, or it is none that such images help.
            StorageError: the disk is full.
        """
        check_improvable(self.workspace.store)
        index = self.app.index
        encoded = {image_id: path for image_id, path in self._images().items() if index.is_encoded(image_id)}
        self.app.trainer.offer_unlabelled(encoded)
        if not is_training():
            self.app.trainer.announce(UNLABELLED)
        self.precompute.want_views()

    def somebody_works(self) -> None:
        """A person asked for something: a run on unlabelled images makes way."""
        self.auto_train.somebody_works()
        self.app.trainer.make_way()

    def status(self) -> dict[str, Any]:
        """What ``info()`` adds. Nearly every request asks for it, so that counts are kept until something changes."""
        settings = self.workspace.settings
        waiting = self.auto_train.waiting  # read first, so that a run that begins now does not look as if it had ended
        return {
            **self._counts(),
            "encoder": self.workspace.encoder,
            "encoding": self.precompute.progress,
            "training": {
                "running": is_training(),
                "auto_train": settings.auto_train,
                "labels_since_training": waiting,
            },
            "repaired": list(self.repaired),
            "label_problems": self._problems(),
        }

    def problem(self, what: str, why: str = "") -> None:
        """Let people see what went wrong with a stored label; an empty ``why`` says that it is well again."""
        self._own_problems.pop(what, None)
        if why:
            self._own_problems[what] = why

    def _problems(self) -> list[dict[str, str]]:
        datastore = self.app.datastore()
        stored = datastore.problems() if isinstance(datastore, (FolderDatastore, PacsDatastore)) else []
        own = [{"file": what, "problem": why} for what, why in list(self._own_problems.items())[-PROBLEMS_KEPT:]]
        every = [*stored, *own, *(self.watch.problems if self.watch is not None else ())]
        return [{**one, "problem": without_folders(one["problem"])} for one in every]

    def _counts(self) -> dict[str, Any]:
        collection, store = self.workspace.collection, self.workspace.store
        try:
            now = (collection.version, store.version())
            if self._known is None or self._known[0] != now:
                known: dict[str, Any] = {
                    "model_version": now[1],
                    "trained": now[1] > 0,
                    "shots": collection.counts(),
                    "labelled_slices": {image: len(zs) for image, zs in collection.labelled_by_image().items()},
                    "learning_curve": collection.learning_curve()[-CURVE_POINTS:],
                }
                self._known = (now, known)
            return self._known[1]
        except FewSAMError as error:
            return {"problem": str(error)}

    def _images(self) -> dict[str, str]:
        """Images to encode ahead: all images of a folder, and those of a PACS that somebody opened once."""
        datastore = self.app.datastore()
        if isinstance(datastore, FolderDatastore):
            return {image_id: datastore.get_image_uri(image_id) for image_id in sorted(datastore.list_images())}
        before = datastore.downloaded() if isinstance(datastore, PacsDatastore) else {}
        return {**before, **self.app.opened}

    def _label_stored(self, submission: Submission, image_id: str) -> None:
        self.precompute.want_views()
        self.somebody_works()
        self.auto_train.label_stored()

    def _train(self) -> None:
        self.training_requested()
        self.app.async_training(None)

    def _train_unlabelled(self) -> None:
        self.unlabelled_training_requested()
        self.app.async_training(TRAINER, {TRAINER: {UNLABELLED: True}})

    def _unlabelled_state(self) -> Unlabelled | None:
        """The labels and the images that are encoded. None while labels wait, where a run would be refused, and where
        the served decoder has learnt from unlabelled images since its last labels.
        """
        store = self.workspace.store
        if not store.version() or self.auto_train.waiting:
            return None
        try:
            check_improvable(store)
            if store.info()["unlabelled_slices"]:
                return None
        except FewSAMError as error:
            logger.debug("not learnt from unlabelled images: %s", error)
            return None
        progress = self.precompute.progress
        return Unlabelled(self.workspace.collection.version, int(progress["done"]), progress["state"] == "done")
