"""One task folder opened: its settings, collection, cache, embedder, decoder and predictor.

A task folder holds everything of one task: ``task.yaml`` (settings), the collection, ``cache/``, ``versions/`` with
``current.json``, ``imported/``, ``training/``. The server's folders are of the same kind.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any

import yaml

from fewsam.collection.imported import TaskCollection
from fewsam.collection.repair import MAIN
from fewsam.core.config import Settings, load_settings
from fewsam.core.errors import ConfigError, StorageError
from fewsam.encoders import encoder_info
from fewsam.encoders.cache import EmbeddingCache
from fewsam.encoders.embedder import Embedder, resolve_device
from fewsam.encoders.slices import EncoderSlices
from fewsam.fewshot.inference.predictor import Predictor
from fewsam.fewshot.model.store import ModelStore, write_atomically
from fewsam.images.volume import Volume

TASK_FILE = "task.yaml"


class Workspace:
    """The parts of one task, each opened on first use and closed by :meth:`close`.

    Args:
        settings: Of the task.
        folder: Made when something is written.
        cached_only: Never build the encoder.
    """

    def __init__(self, settings: Settings, folder: Path, *, cached_only: bool = False) -> None:
        self.settings, self.folder, self.cached_only = settings, Path(folder), cached_only
        self._undo: Callable[[], None] | None = None

    @cached_property
    def collection(self) -> TaskCollection:
        s = self.settings
        make_folder(self.folder)
        return TaskCollection(self.folder, s.labels, accept_new=s.new_labels, labelled_slices=s.labelled_slices)

    @cached_property
    def cache(self) -> EmbeddingCache:
        return EmbeddingCache(self.folder / "cache", int(self.settings.cache_gb * 1e9))

    @cached_property
    def embedder(self) -> Embedder:
        return Embedder(self.settings, self.cache, cached_only=self.cached_only)

    @cached_property
    def store(self) -> ModelStore:
        return ModelStore(self.folder)

    @cached_property
    def predictor(self) -> Predictor:
        return Predictor(self.settings, self.embedder, self.collection, self.store)

    def for_training(self) -> Embedder:
        """The embedder a training run gets: with a SAM checkpoint it reads the cache and never builds the encoder."""
        if self.settings.encoder == "compact":
            return self.embedder
        self.__dict__.pop("embedder", None)  # and the memory of an encoder that was built before is free again
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
        for name in ("cache", "collection"):
            opened = self.__dict__.pop(name, None)
            if opened is not None:
                opened.close()

    def __enter__(self) -> Workspace:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
        if kind is not None and self._undo is not None:
            self._undo()


def is_task(folder: Path) -> bool:
    """Whether ``folder`` holds a task, of the command line or of the server."""
    return any((folder / name).is_file() for name in (TASK_FILE, MAIN, "current.json"))


def task_settings(folder: Path, preset: str | None = None, conf: Mapping[str, Any] | None = None) -> Settings:
    """Settings of the task in ``folder``: those kept there, or for a new task those of the preset; ``conf`` on top.

    Without any labels there is nothing to check a class name against, so new names are taken as they come.

    Raises:
        ConfigError: an unknown key, a value that does not fit, or a preset that is not the task's.
    """
    kept = folder / TASK_FILE
    if kept.is_file():
        if preset is not None:
            _check_preset(kept, preset)
        settings = load_settings(kept, conf)
    else:
        settings = load_settings(preset, conf)
    return open_to_names(settings)


def open_to_names(settings: Settings) -> Settings:
    """``settings``, which take new class names where they have none and do not say otherwise."""
    if settings.labels or "new_labels" in settings.model_fields_set:
        return settings
    return settings.model_copy(update={"new_labels": True})


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
    """A function that removes what was put into ``folder`` since, and the folders that were made for it."""
    there = set(folder.iterdir()) if folder.is_dir() else set()
    made = [path for path in (folder, *folder.parents) if not path.exists()]

    def remove() -> None:
        for path in folder.iterdir() if folder.is_dir() else ():
            if path not in there:
                shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        with suppress(OSError):  # somebody else's file lies there by now
            for path in made:
                path.rmdir()

    return remove


def keep_settings(folder: Path, settings: Settings) -> None:
    """Write ``task.yaml``: what was chosen here; all else follows the defaults."""
    chosen = settings.model_dump(mode="json", exclude_unset=True)
    if settings.checkpoint is not None:
        chosen["checkpoint"] = str(settings.checkpoint.expanduser().absolute())
    make_folder(folder)
    head = "# Settings of this task, as the first command gave them. Edit them here, or pass --conf for one command.\n"
    body = yaml.safe_dump(chosen, sort_keys=False, allow_unicode=True) if chosen else "{}\n"
    write_atomically(folder / TASK_FILE, (head + body).encode())


def make_folder(folder: Path) -> None:
    """Make ``folder``.

    Raises:
        StorageError: it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"cannot make the folder {folder}: {error.strerror}; choose another one") from None


def _check_preset(kept: Path, preset: str) -> None:
    have, wanted = load_settings(kept), load_settings(preset)
    for key in wanted.model_fields_set:
        mine, its = getattr(have, key), getattr(wanted, key)
        if key == "labels" and mine[: len(its)] == its:  # an import may have added some
            continue
        if mine != its:
            raise ConfigError(
                f"preset {preset} sets {key} to {its}, but the task in {kept.parent} was made with {mine}: leave "
                f"--preset out, or choose another --task folder (or edit {kept})"
            )
