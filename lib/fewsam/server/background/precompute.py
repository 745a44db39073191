"""Background work of the server: views of labelled slices for training, then every image of the folder."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import numpy as np

from fewsam.core.errors import FewSAMError, ImageError
from fewsam.encoders.cache import EMBEDDING_SHAPE
from fewsam.encoders.slices import EncoderSlices, descriptors, nearest
from fewsam.fewshot.training.episodes import prepare_views
from fewsam.server.background.worker import Worker
from fewsam.server.tasks.index import ImageIndex, IndexEntry, signature
from fewsam.workspace.workspace import Workspace

logger = logging.getLogger(__name__)

LOOK_SECONDS = 3.0  # between two looks for new images
RETRY_SECONDS = 60.0  # after an error that no single image caused
NICE = 10


class Precompute:
    """Two threads: one for views, which a person who trains may be waiting for, and one of low priority for images.

    Images wait while views are encoded, and the image that somebody opened last comes before all others. Within an
    image the slice that somebody looks at comes first, and then its neighbours, outwards.

    Args:
        workspace: The task.
        index: Filled with depths and descriptors.
        images: Ids and paths of the images to encode; asked for again every few seconds.
        opened: Ids of the images that people opened, the last one at the end.
        shown: The slice of an image that somebody looks at; None where nobody said so, which means the middle.
    """

    def __init__(
        self,
        workspace: Workspace,
        index: ImageIndex,
        images: Callable[[], dict[str, str]],
        opened: Callable[[], Sequence[str]] = tuple,
        shown: Callable[[str], int | None] = lambda image_id: None,
    ) -> None:
        self.workspace = workspace
        self.index = index
        self.images, self.opened, self.shown = images, opened, shown
        self.progress: dict[str, Any] = {"state": "waiting", "done": 0, "total": 0}
        self._views_wanted, self._views_begun = threading.Event(), threading.Event()
        self._view_keys: dict[int, list[str]] = {}  # of each labelled slice, in the cache
        self._views_wanted.set()  # a preparation that a restart cut short goes on
        self._todo: list[str] = []  # what the last look at all images found; to look at thousands takes a while
        self._met: set[str] = set()  # opened images that were looked at
        self._failed: dict[str, str] = {}  # image id -> signature that could not be encoded
        self._checked = False  # whether the index was compared with the cache
        self._views_worker = Worker("precompute-views", self._views_turn, LOOK_SECONDS)
        self._worker = Worker("precompute", self._turn, LOOK_SECONDS, prepare=_lower_priority)

    def start(self) -> None:
        self._views_worker.start()
        self._worker.start()

    def stop(self) -> None:
        self._views_worker.stop()
        self._worker.stop()

    def want_views(self) -> None:
        """Have the views encoded that the next training will read, before any image."""
        self._views_wanted.set()
        self._views_worker.wake()

    def _views_turn(self) -> bool:
        """Encode the views that are wanted."""
        if self._views_wanted.is_set():
            self._guarded(self._prepare_views, self._views_worker)
            self._worker.wake()
        return self._views_wanted.is_set()

    def _turn(self) -> bool:
        """Encode one image, and return whether there may be another one."""
        if self._views_first():
            return False
        return self._guarded(self._next_image, self._worker)

    def _views_first(self) -> bool:
        return self._views_wanted.is_set() or self._views_begun.is_set()

    def _guarded(self, work: Callable[[], bool], worker: Worker) -> bool:
        """Do some work; what goes wrong is said once, and ``worker`` waits for a while."""
        try:
            return work()
        except FewSAMError as error:  # without a checkpoint, or on a full disk, nothing can be encoded now
            self._trouble(str(error), worker)
        except Exception:
            logger.exception("encoding in the background failed")
            self._trouble("unexpected error; the log says more", worker)
        return True

    def _next_image(self) -> bool:
        if not self._checked and self.workspace.cache.stats()["entries"] == 0:
            self.index.clear()  # the embeddings that it rests on are gone
        self._checked = True
        return self._encode_next()

    def _trouble(self, message: str, worker: Worker) -> None:
        if self.progress.get("error") != message:
            logger.error("nothing is encoded in the background: %s", message)
        self.progress = {**self.progress, "state": "waiting", "error": message}
        worker.hold_back(RETRY_SECONDS)

    def _prepare_views(self) -> bool:
        workspace = self.workspace
        self._views_begun.set()
        self._views_wanted.clear()
        try:
            if workspace.collection.version:
                shots = workspace.collection.shots()
                prepare_views(workspace.settings, shots, workspace.embedder, self._view_progress, known=self._view_keys)
        except FewSAMError:
            self._views_wanted.set()  # they are still wanted
            raise
        finally:
            self._views_begun.clear()
        self.progress = {key: value for key, value in self.progress.items() if key != "views"}
        return False

    def _view_progress(self, done: int, total: int) -> None:
        self.progress = {**self.progress, "views": {"done": done, "total": total}}

    def _encode_next(self) -> bool:
        """Encode one image that is not encoded yet. False where there is none left."""
        images = self.images()
        self._todo = [image_id for image_id in self._todo if image_id in images]
        if not self._todo:
            self._todo = [image_id for image_id, path in images.items() if not self._done(image_id, path)]
        self._take_in_opened(lambda: images)
        todo = self._todo
        state = "encoding" if todo and self.workspace.settings.precompute else "done"
        if state != self.progress["state"] and (todo or len(images) != self.progress["total"]):
            logger.info("background encoding: %d of %d images done", len(images) - len(todo), len(images))
        self.progress = {"state": state, "done": len(images) - len(todo), "total": len(images), "unit": "images"}
        if not todo:
            return False
        image_id = self._most_wanted() or todo[0]
        path = images[image_id]
        try:
            self._encode(image_id, path)
        except (ImageError, OSError) as error:
            with suppress(OSError):
                self._failed[image_id] = signature(path, self.workspace.settings)
            logger.warning("image %s was not encoded: %s", image_id, error)
        if self._done(image_id, path):  # otherwise something more urgent came up
            todo.remove(image_id)
        return True

    def _take_in_opened(self, images: Callable[[], dict[str, str]]) -> None:
        """Add what was opened since the last look at all images: one of a PACS is among them only then."""
        new = [image_id for image_id in self.opened() if image_id not in self._met]
        known = images() if new else {}
        for image_id in new:
            if image_id in known:
                self._met.add(image_id)
                if image_id not in self._todo and not self._done(image_id, known[image_id]):
                    self._todo.append(image_id)

    def _most_wanted(self) -> str | None:
        """The image opened last of those that are not encoded; None where nobody opened one."""
        return next((image_id for image_id in reversed(self.opened()) if image_id in self._todo), None)

    def _done(self, image_id: str, path: str) -> bool:
        try:
            now = signature(path, self.workspace.settings)
        except OSError:
            return True  # the image is gone meanwhile
        entry = self.index.get(image_id)
        encoded = entry is not None and (entry.descriptors is not None or not self.workspace.settings.precompute)
        return self._failed.get(image_id) == now or (encoded and entry is not None and entry.signature == now)

    def _encode(self, image_id: str, path: str) -> None:
        settings = self.workspace.settings
        made_from = signature(path, settings)
        volume = self.workspace.volume(path)
        if not settings.precompute:
            self.index.put(image_id, IndexEntry(made_from, volume.depth, None, volume.content_hash))
            return
        slices, left = EncoderSlices(volume, settings, self.workspace.embedder), set(range(volume.depth))
        found = np.empty((volume.depth, EMBEDDING_SHAPE[0]), np.float32)
        while left:
            self._take_in_opened(self.images)
            if self._worker.stopping or self._views_first() or self._most_wanted() not in (None, image_id):
                return  # the cache keeps what is done; the image comes up again
            z = nearest(left, self.shown(image_id), volume.depth)  # asked for each time: people scroll meanwhile
            found[z] = descriptors(slices.embed([z], priority=False))[0]  # every request goes first
            left.remove(z)
            progress = {"image": image_id, "slices_done": volume.depth - len(left), "slices_total": volume.depth}
            self.progress = {**self.progress, **progress}
        self.index.put(image_id, IndexEntry(made_from, volume.depth, found, volume.content_hash))
        logger.info("image %s is encoded (%d slices)", image_id, volume.depth)


def _lower_priority() -> None:
    """Linux: the priority of this thread alone."""
    with suppress(OSError, AttributeError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)
