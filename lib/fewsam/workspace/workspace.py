"""One task folder opened: its settings, collection, cache, embedder, decoder, predictor and images.

A task folder holds everything of one task: ``task.yaml`` (settings), the collection, ``cache/``, ``versions/`` with
``current.json``, ``imported/``, ``training/``. The server's folders are of the same kind, and hold ``results/`` and
``received/`` besides: files on their way to and from clients.
"""

from __future__ import annotations

import logging
import os
import shutil
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from fewsam.collection.imported import TaskCollection
from fewsam.collection.repair import MAIN
from fewsam.core.atomic import sweep
from fewsam.core.cluster import open_pool
from fewsam.core.config import Settings
from fewsam.core.device import resolve_device
from fewsam.core.errors import ConfigError, FewSAMError, ImageError, StorageError
from fewsam.core.lazy import locked_property
from fewsam.core.pool import Pool
from fewsam.encoders import describe_engine, encoder_info
from fewsam.encoders.cache import EmbeddingCache
from fewsam.encoders.embedder import Embedder
from fewsam.encoders.slices import EncoderSlices
from fewsam.fewshot.inference.clicks import Clicks
from fewsam.fewshot.inference.predictor import Predictor
from fewsam.fewshot.model.store import ModelStore
from fewsam.fewshot.selftraining.improve import improve
from fewsam.fewshot.selftraining.sampling import candidates, some_of
from fewsam.fewshot.training.run import TrainProgress
from fewsam.fewshot.training.train import TrainResult, train
from fewsam.images.volume import Volume
from fewsam.workspace.task_folder import MADE, TASK_FILE, is_task
from fewsam.workspace.task_settings import keep_settings, make_folder, task_settings
from fewsam.workspace.volumes import Volumes

logger = logging.getLogger(__name__)


class Workspace:
    """The parts of one task, each opened once, on first use, and closed by :meth:`close`.

    Several threads may use one workspace.

    Args:
        settings: Of the task.
        folder: Made when something is written.
        cached_only: Never build the encoder.
    """

    def __init__(self, settings: Settings, folder: Path, *, cached_only: bool = False) -> None:
        self.settings, self.folder, self.cached_only = settings, Path(folder), cached_only
        self._undo: Callable[[], None] | None = None
        self.lock = threading.RLock()
        self._volumes = Volumes(settings.axis, settings.sequences)

    @locked_property
    def collection(self) -> TaskCollection:
        s = self.settings
        make_folder(self.folder)
        return TaskCollection(self.folder, s.labels, accept_new=s.new_labels, absent_classes=s.absent_classes)

    @locked_property
    def cache(self) -> EmbeddingCache:
        return EmbeddingCache(self.folder / "cache", int(self.settings.cache_gb * 1e9))

    @locked_property
    def embedder(self) -> Embedder:
        return Embedder(self.settings, self.cache, cached_only=self.cached_only)

    @locked_property
    def pool(self) -> Pool | None:
        """The workers that the setting ``workers`` asks for; None where there are none."""
        given = self.settings.workers
        return None if given is None else open_pool(int(given)) if given.isdigit() else open_pool(1, given)

    @locked_property
    def store(self) -> ModelStore:
        return ModelStore(self.folder)

    @locked_property
    def predictor(self) -> Predictor:
        return Predictor(self.settings, self.embedder, self.collection, self.store)

    @locked_property
    def clicks(self) -> Clicks:
        return Clicks(self.predictor)

    @locked_property
    def encoder(self) -> dict[str, Any]:
        """The encoder in use, or why there is none. Hashing a SAM checkpoint takes a second: kept."""
        try:
            device = resolve_device(self.settings.device)
            return {**encoder_info(self.settings).as_dict(), "engine": describe_engine(self.settings, device)}
        except FewSAMError as error:
            return {"name": self.settings.encoder, "error": str(error)}

    @locked_property
    def repaired(self) -> tuple[str, ...]:
        """What a kill or a full disk left in the folder, repaired when a server first asks for it."""
        notices = list(self.collection.notices)
        leftovers = sweep([self.folder, *(path for path in self.folder.iterdir() if path.is_dir())], own=True)
        if leftovers:
            notices.append(f"{len(leftovers)} half-written files of a killed process were deleted")
        for name in ("results", "received"):  # answers and uploads that a kill left behind
            shutil.rmtree(self.folder / name, ignore_errors=True)
        try:
            notices += self.store.repair()
            notices += self.cache.notices
        except StorageError as error:
            notices.append(str(error))
        return tuple(notices)

    @property
    def received(self) -> Path:
        """Folder for what clients and the PACS send; the next start empties it if the server is killed meanwhile."""
        folder = self.folder / "received"
        make_folder(folder)
        return folder

    def volume(self, path: str | os.PathLike[str]) -> Volume:
        """The image at ``path``, from memory where the file has not changed since.

        Raises:
            ImageError: the file is missing or unreadable.
        """
        return self._volumes.open(path)

    def train(
        self,
        progress: Callable[[TrainProgress], None] | None = None,
        should_stop: Callable[[], bool] | None = None,
    ) -> TrainResult:
        """Train on the collection as it is now and publish the result; the arguments and errors are those of `train`.

        With a SAM checkpoint the run reads the cache and never builds the encoder.
        """
        return train(
            self.settings,
            self.collection,
            self.for_training(),
            self.store,
            folder=self.folder / "training",
            progress=progress,
            should_stop=should_stop,
        )

    def improve(
        self,
        images: Mapping[str, str],
        progress: Callable[[TrainProgress], None] | None = None,
        should_stop: Callable[[], bool] | None = None,
    ) -> TrainResult:
        """Have the served decoder learn from images that nobody labelled too; the errors are those of `improve`.

        Args:
            images: Paths by id. Slices that are not in the cache are passed over where the encoder is a SAM's.
        """
        return improve(
            self.settings,
            self.collection,
            self.for_training(),
            self.store,
            list(images),
            lambda image_id: self.volume(images[image_id]),
            folder=self.folder / "training",
            progress=progress,
            should_stop=should_stop,
        )

    def encode_unlabelled(self, images: Mapping[str, str], progress: Callable[[int, int], None] | None = None) -> None:
        """Fill the cache with what `improve` looks at of these images; the one that cannot be read is passed over.

        Args:
            images: Paths by id.
            progress: Called with images done and in all.
        """
        chosen = some_of(images, self.settings.seed)
        for done, image_id in enumerate(chosen, 1):
            try:
                volume = self.volume(images[image_id])
            except ImageError as error:
                logger.warning("%s is not learnt from: %s", image_id, error)
            else:
                slices = EncoderSlices(volume, self.settings, self.embedder)
                for z in candidates(volume.depth):
                    self.embedder.ensure(slices.inputs(slices.raw([z])), priority=False)
            if progress:
                progress(done, len(chosen))

    def for_training(self) -> Embedder:
        """The embedder a training run gets: with a SAM checkpoint it reads the cache and never builds the encoder."""
        with self.lock:
            if self.settings.encoder == "compact" or self.cached_only:
                return self.embedder
            self.__dict__.pop("embedder", None)  # the memory of an encoder that was built before is free again
            return Embedder(self.settings, self.cache, cached_only=True)

    def encode(self, volume: Volume, progress: Callable[[int, int], None] | None = None) -> int:
        """Fill the cache with a volume's slices; returns how many were not there.

        Args:
            progress: Called with slices done and in all.
        """
        slices, new = EncoderSlices(volume, self.settings, self.embedder), 0
        for chunk in slices.chunks():
            new += self.embedder.ensure(slices.inputs(slices.raw(chunk)), priority=True)
            if progress:
                progress(chunk.stop, volume.depth)
        return new

    def undo_unless_kept(self, undo: Callable[[], None]) -> None:
        """Have ``undo`` called where a ``with`` block of this object ends in an error before :meth:`keep`."""
        self._undo = undo

    def keep(self) -> None:
        """What the command has made by now stays, however it ends."""
        self._undo = None

    def close(self) -> None:
        """Close what was opened."""
        with self.lock:
            if (pool := self.__dict__.pop("pool", None)) is not None:
                pool.shutdown(wait=False, cancel_futures=True)
            for name in ("cache", "collection"):
                opened = self.__dict__.pop(name, None)
                if opened is not None:
                    opened.close()

    def __enter__(self) -> Workspace:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        undo = self._undo if kind is not None and not self._holds_labels() else None
        self.close()
        if undo is not None:
            undo()

    def _holds_labels(self) -> bool:
        """Whether somebody has labelled in this folder, this command or another one; also where that cannot be told."""
        try:
            return (self.folder / MAIN).is_file() and bool(self.collection.worklist.last_labels())
        except FewSAMError:
            return True


def open_task(
    folder: Path, preset: str | None = None, conf: Mapping[str, Any] | None = None, *, create: bool = False
) -> Workspace:
    """Open the task in ``folder``.

    Args:
        create: Make it where there is none, and keep its settings there; later ``conf`` count for one call only. A
            task that was made here is gone again where the ``with`` block of the result fails before
            `Workspace.keep`: its settings would stand against the corrected command.

    Raises:
        ConfigError: as `task_settings`; there is no task and none is to be made; or the device cannot be used.
    """
    if not create and not is_task(folder):
        raise ConfigError(f"{folder} holds no task; make one with `fewsam train` or `fewsam import`, or check --task")
    settings = task_settings(folder, preset, conf)
    encoder_info(settings)  # refuse a missing checkpoint before anything is made
    workspace = Workspace(settings, folder)
    if create and not is_task(folder):
        resolve_device(settings.device)
        workspace.undo_unless_kept(_remover(folder))
    if create and not (folder / TASK_FILE).is_file():
        keep_settings(folder, settings)
    return workspace


def _remover(folder: Path) -> Callable[[], None]:
    """A function that removes what a task has put into ``folder`` since, and the folders that were made for it."""
    there = set(folder.iterdir()) if folder.is_dir() else set()
    made = [path for path in (folder, *folder.parents) if not path.exists()]

    def remove() -> None:
        for path in folder.iterdir() if folder.is_dir() else ():
            if path not in there and any(path.match(own) for own in MADE):
                shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        with suppress(OSError):  # somebody else's file lies there by now
            for path in made:
                path.rmdir()

    return remove
