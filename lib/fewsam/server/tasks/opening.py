"""What the parts of one task share in one process: settings, folder, collection, cache, embedder, model, images.

Nothing is opened before it is first used: MONAI Label constructs the app anew for every training run, and that must
cost nothing.
"""

from __future__ import annotations

import logging
import os
import shutil
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from fewsam.collection.imported import TaskCollection
from fewsam.core.atomic import sweep
from fewsam.core.config import Settings, load_settings
from fewsam.core.errors import FewSAMError, ImageError, StorageError
from fewsam.encoders import encoder_info
from fewsam.encoders.cache import EmbeddingCache
from fewsam.encoders.embedder import Embedder
from fewsam.fewshot.inference.clicks import Clicks
from fewsam.fewshot.inference.predictor import Predictor
from fewsam.fewshot.model.store import ModelStore
from fewsam.images.volume import Volume, load_volume
from fewsam.server.paths import PRESET_BESIDE_IMAGES, data_folder

logger = logging.getLogger(__name__)

MONAI_LABEL_KEYS = ("server_mode",)  # what MONAI Label itself may put among the --conf keys
VOLUME_BYTES = 1 << 30  # decoded images kept in memory at most


def settings_for(conf: Mapping[str, Any], studies: str) -> tuple[Settings, str | None]:
    """Settings of ``--conf`` strings, and the preset they rest on.

    ``preset`` names the preset; without it a ``fewsam.yaml`` that lies beside the images is taken. With neither a
    preset nor ``labels`` there is nothing to check a class name against, so the first submitted labels name them.

    Raises:
        ConfigError: an unknown key or a value that does not fit.
    """
    overrides = {key: value for key, value in conf.items() if key not in (*MONAI_LABEL_KEYS, "preset")}
    preset = conf.get("preset") or None
    beside = Path(studies) / PRESET_BESIDE_IMAGES
    if preset is None and not studies.startswith(("http://", "https://")) and beside.is_file():
        settings = load_settings(beside, overrides)
    else:
        settings = load_settings(preset, overrides)
    if studies.startswith(("http://", "https://")) and settings.axis == "auto":
        # Slices are those that were stored: a viewer of a PACS draws on no others.
        settings = settings.model_copy(update={"axis": "2"})
    if not settings.labels and "new_labels" not in overrides:
        logger.warning(
            "no labels are set (--conf labels liver,spleen or --conf preset NAME): taking new names as they come"
        )
        settings = settings.model_copy(update={"new_labels": True})
    return settings, preset


class Context:
    """One task in this process. Parts are opened on first use and closed by :meth:`close`."""

    def __init__(self, settings: Settings, folder: Path, *, cached_only: bool = False) -> None:
        self.settings = settings
        self.folder = folder
        self.cached_only = cached_only
        self._volumes: OrderedDict[tuple[str, int, int], Volume] = OrderedDict()
        self._lock = threading.RLock()

    @cached_property
    def collection(self) -> TaskCollection:
        with self._lock:
            s = self.settings
            self.folder.mkdir(parents=True, exist_ok=True)
            return TaskCollection(self.folder, s.labels, accept_new=s.new_labels, labelled_slices=s.labelled_slices)

    @cached_property
    def cache(self) -> EmbeddingCache:
        with self._lock:
            return EmbeddingCache(self.folder / "cache", int(self.settings.cache_gb * 1e9))

    @cached_property
    def embedder(self) -> Embedder:
        with self._lock:
            return Embedder(self.settings, self.cache, cached_only=self.cached_only)

    @cached_property
    def store(self) -> ModelStore:
        with self._lock:
            return ModelStore(self.folder)

    @cached_property
    def predictor(self) -> Predictor:
        with self._lock:
            return Predictor(self.settings, self.embedder, self.collection, self.store)

    @cached_property
    def clicks(self) -> Clicks:
        with self._lock:
            return Clicks(self.predictor)

    @property
    def received(self) -> Path:
        """Folder for what clients and the PACS send; the next start empties it if the server is killed meanwhile."""
        folder = self.folder / "received"
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    @cached_property
    def repaired(self) -> tuple[str, ...]:
        """Looks, once in the server's process, for what a kill or a full disk left; what was repaired."""
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

    @cached_property
    def encoder(self) -> dict[str, Any]:
        """The encoder in use, or why there is none. Hashing a SAM checkpoint takes a second: kept."""
        try:
            return encoder_info(self.settings).as_dict()
        except FewSAMError as error:
            return {"name": self.settings.encoder, "error": str(error)}

    def volume(self, path: str) -> Volume:
        """Image at ``path``, from memory where the file has not changed since.

        Raises:
            ImageError: the file is missing or unreadable.
        """
        try:
            stat = os.stat(path)
        except OSError:
            raise ImageError(f"image file {Path(path).name} is missing from the studies folder") from None
        key = (path, stat.st_mtime_ns, stat.st_size)
        with self._lock:
            if key in self._volumes:
                self._volumes.move_to_end(key)
                return self._volumes[key]
        volume = load_volume(path, axis=self.settings.axis)
        with self._lock:
            for old in [other for other in self._volumes if other[0] == path]:
                del self._volumes[old]
            self._volumes[key] = volume
            while len(self._volumes) > 1 and sum(v.slices.nbytes for v in self._volumes.values()) > VOLUME_BYTES:
                self._volumes.popitem(last=False)
        return volume

    def close(self) -> None:
        """Close what was opened."""
        for name in ("cache", "collection"):
            close: Callable[[], None] | None = getattr(self.__dict__.get(name), "close", None)
            if close is not None:
                close()


_contexts: dict[Path, Context] = {}
_contexts_lock = threading.Lock()


def shared_context(app_dir: str, studies: str, conf: Mapping[str, Any]) -> Context:
    """The one :class:`Context` of this process for these arguments: ``POST /reload`` must not open the files twice."""
    settings, preset = settings_for(conf, studies)
    folder = data_folder(app_dir, preset, studies)
    with _contexts_lock:
        context = _contexts.get(folder)
        if context is None or context.settings != settings:
            context = _contexts[folder] = Context(settings, folder)
        return context
