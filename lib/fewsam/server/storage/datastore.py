"""MONAI Label's local datastore, made safe for several threads and for a kill in the middle of a write."""

from __future__ import annotations

import filecmp
import hashlib
import json
import logging
import os
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock
from monailabel.datastore.local import DataModel, ImageLabelModel, LocalDatastore, LocalDatastoreModel
from monailabel.interfaces.exception import ImageNotFoundException, LabelNotFoundException

from fewsam.core.atomic import copy_at_once
from fewsam.core.errors import FewSAMError
from fewsam.core.files import sha256_of
from fewsam.images.endings import IMAGE_ENDINGS, split_ending
from fewsam.images.sequences import is_first_file
from fewsam.images.volume import load_volume
from fewsam.server.environment import switched_on
from fewsam.server.errors import RequestError
from fewsam.server.names import check_id
from fewsam.server.storage.left_out import FOLLOW_LINKS, HeaderNotes, left_out
from fewsam.server.storage.replaced import labels_of, retire

INDEX_FILE = "datastore_v2.json"

logger = logging.getLogger(__name__)


class FolderDatastore(LocalDatastore):
    """A folder of images with ``labels/final`` beside them.

    The stock class keeps its index in memory and in a JSON file that it writes in place, from request threads and from
    a file watcher. Here one lock guards both, and every file is replaced at once: a kill leaves the old or the new one.

    Args:
        folder: for index, lock and labels.
        images: folder of the images, where it is another one.
        sequences: as in the settings: only the first sequence of a study is an image of the list.
    """

    _config_ts: float  # modification time of the index that is in memory

    def __init__(
        self, folder: str, *, watch: bool, read_only: bool, images: str = ".", sequences: Sequence[str] = ()
    ) -> None:
        self._sequences = tuple(sequences)
        self._guard = threading.RLock()
        self._refused: set[str] = set()  # links that were refused; each is reported once
        self._left_out: list[dict[str, str]] = []
        self._header_notes = HeaderNotes()
        self.notices = _set_aside_if_broken(Path(folder) / INDEX_FILE)
        patterns = [f"*{ending}" for ending in IMAGE_ENDINGS]
        super().__init__(folder, images_dir=images, extensions=patterns, auto_reload=watch, read_only=read_only)
        if watch:  # files that other processes write appear by renaming
            self._handler.on_moved = self._on_any_event

    def has_image(self, image_id: str) -> bool:
        return image_id in self._datastore.objects

    def final_labels(self) -> Path:
        """Folder of the submitted labels."""
        return Path(self._datastore.label_path("final"))

    def label_file(self, image_id: str, tag: str, label: Path) -> Path:
        """Where a label of this file's kind is stored."""
        return Path(self._datastore.label_path(tag)) / self._filename(image_id, self._to_id(label.name)[1])

    def label_files(self, image_id: str, tag: str) -> list[Path]:
        """Labels of an image in the folder of this tag, of whatever kind; there should be one."""
        return labels_of(Path(self._datastore.label_path(tag)), image_id)

    def written_digest(self, image_id: str, name: str) -> str | None:
        """SHA-256 of the final label of this file name that was stored last through this class."""
        with self._guard:
            entry = self._datastore.objects.get(image_id)
            label = entry.labels.get("final") if entry is not None else None
            return label.info.get("sha256") if label is not None and label.info.get("name") == name else None

    def problems(self) -> list[dict[str, str]]:
        """What of the folder is not listed, and why; and what is to be known of files that are."""
        return list(self._left_out)

    def close(self) -> None:
        """Stop watching the folder."""
        observer = getattr(self, "_observer", None)
        if observer is not None:
            observer.stop()
            observer.join(timeout=5)

    def save_label(self, image_id: str, label_filename: str, label_tag: str, label_info: dict[str, Any]) -> str:
        """Store a label file as ``labels/<tag>/<image_id><ending>``.

        One of another kind, which would count as well where the folder is read anew, goes: what was stored here is
        removed, and what somebody else put there is kept under another name.

        Raises:
            ImageNotFoundException: no image has this id.
        """
        _, ending = self._to_id(os.path.basename(label_filename))
        folder = self._datastore.label_path(label_tag)
        name = self._filename(image_id, ending)
        with self._changing():
            entry = self._entry(image_id)
            os.makedirs(folder, exist_ok=True)
            copy_at_once(label_filename, os.path.join(folder, name))
            before = entry.labels.get(label_tag)
            for file in self.label_files(image_id, label_tag):
                if file.name != name:
                    retire(file, before.info if before is not None else {})
            info = {
                **(label_info or {}),
                "ts": int(time.time()),
                "name": name,
                "sha256": sha256_of(Path(label_filename)),
            }
            entry.labels[label_tag] = DataModel(info=info, ext=ending)
        return image_id

    def retire_labels(self, image_id: str, tag: str, files: Sequence[Path]) -> None:
        """Have an image no label of this tag; of its ``files`` those that were not stored here keep another name."""
        with self._changing():
            label = self._entry(image_id).labels.pop(tag, None)
            for file in files:
                retire(file, label.info if label is not None else {})

    def add_image(self, image_id: str, image_filename: str, image_info: dict[str, Any]) -> str:
        """Store an image file as ``<image_id><ending>``, in place of a link of that name too.

        Raises:
            RequestError: an id that is no name of a file, or that of another image.
        """
        own_id, ending = self._to_id(os.path.basename(image_filename))
        image_id = check_id(image_id or own_id)
        name = self._filename(image_id, ending)
        with self._changing():
            there = self._datastore.objects.get(image_id)
            if there is not None and not self._is_the_same(Path(self.get_image_uri(image_id)), image_filename):
                raise RequestError(
                    f"another image is called {image_id!r}, and what is drawn of it lies beside it: choose another "
                    "name, or remove that image first"
                )
            copy_at_once(image_filename, os.path.join(self._datastore.image_path(), name))
            info = {**(image_info or {}), "ts": int(time.time()), "name": name}
            self._datastore.objects[image_id] = ImageLabelModel(image=DataModel(info=info, ext=ending))
        return image_id

    @staticmethod
    def _is_the_same(there: Path, file: str) -> bool:
        """Whether an image that is there already is the one in this file, packed in another way perhaps, or gone."""
        if not there.exists():
            return True
        if there.is_file() and filecmp.cmp(there, file, shallow=False):
            return True
        try:
            return load_volume(there).content_hash == load_volume(Path(file)).content_hash
        except FewSAMError:
            return False

    def remove_image(self, image_id: str) -> None:
        entry = self._datastore.objects.get(image_id)
        if entry is not None:
            _unlink(os.path.join(self._datastore.image_path(), self._filename(image_id, entry.image.ext)))
        super().remove_image(image_id)

    def remove_label(self, label_id: str, label_tag: str) -> None:
        label = self._datastore.label(label_id, label_tag)
        if label is not None:
            _unlink(os.path.join(self._datastore.label_path(label_tag), self._filename(label_id, label.ext)))
        super().remove_label(label_id, label_tag)

    def get_image_uri(self, image_id: str) -> str:
        return self._own(super().get_image_uri(image_id))

    def get_label_uri(self, label_id: str, label_tag: str) -> str:
        return self._own(super().get_label_uri(label_id, label_tag))

    def is_inside(self, file: Path) -> bool:
        """Whether a file lies in the studies folder itself, links followed; FEWSAM_FOLLOW_LINKS=true allows others."""
        if switched_on(FOLLOW_LINKS):
            return True
        folders = (self._datastore_path, self._datastore.image_path())
        if any(file.resolve().is_relative_to(Path(folder).resolve()) for folder in folders):
            return True
        if file.name not in self._refused:
            self._refused.add(file.name)
            logger.warning(
                "%s is a link out of the studies folder and is left out; %s=true takes it", file, FOLLOW_LINKS
            )
        return False

    def _own(self, path: str) -> str:
        if path and not self.is_inside(Path(path)):
            raise RequestError(
                f"{os.path.basename(path)} is a link out of the studies folder; start the server with "
                f"{FOLLOW_LINKS}=true if it is to be followed"
            )
        return path

    def _to_id(self, file: str) -> tuple[str, str]:
        own_id, ending = split_ending(file, IMAGE_ENDINGS)  # whatever its case
        return (own_id, ending) if ending else super()._to_id(file)

    def _list_files(self, path: str, patterns: list[str]) -> dict[str, str]:
        """Files of the kinds that are read here, in order; of two that would have one id the first."""
        found: dict[str, str] = {}
        for name in sorted(os.listdir(path)):
            own_id, ending = split_ending(name, IMAGE_ENDINGS)
            if not ending or name.startswith(".") or not is_first_file(name, self._sequences):
                continue
            if self.is_inside(Path(path) / name):
                found.setdefault(own_id, name)
        return {name: name for name in found.values()}

    def update_image_info(self, image_id: str, info: dict[str, Any]) -> None:
        with self._changing():
            self._entry(image_id).image.info.update(info)

    def update_label_info(self, label_id: str, label_tag: str, info: dict[str, Any]) -> None:
        with self._changing():
            label = self._entry(label_id).labels.get(label_tag)
            if label is None:
                raise LabelNotFoundException(f"Label {label_id} with tag {label_tag} not found")
            label.info.update(info)

    def list_images(self) -> list[str]:
        with self._guard:
            return list(super().list_images())

    def status(self) -> dict[str, Any]:
        with self._guard:
            return dict(super().status())

    def json(self) -> Any:
        with self._guard:
            return super().json()

    def _reconcile_datastore(self) -> None:
        with self._guard:
            super()._reconcile_datastore()
            names = {image_id: entry.image.ext for image_id, entry in self._datastore.objects.items()}
            listed = {f"{image_id}{ext}" for image_id, ext in names.items()}
            images = Path(self._datastore.image_path())
            found = left_out(images, listed, self._sequences) + self._header_notes.of(images, listed)
            for entry in found:
                if entry not in self._left_out:  # the log says it once
                    logger.warning("%s: %s %s", self._datastore_path, entry["file"], entry["problem"])
            self._left_out = found

    def _init_from_datastore_file(self, throw_exception: bool = False) -> None:
        with self._guard:
            super()._init_from_datastore_file(throw_exception)

    def _update_datastore_file(self, lock: bool = True) -> None:
        with self._guard:
            if lock:
                with FileLock(self._lock_file):
                    self._write_index()
            else:
                self._write_index()

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """A block that changes entries: of the index as other processes left it, written when the block ends well."""
        with self._guard, FileLock(self._lock_file):
            self._reload()
            yield
            self._write_index()

    def _entry(self, image_id: str) -> Any:
        entry = self._datastore.objects.get(image_id)
        if entry is None:
            raise ImageNotFoundException(f"Image {image_id} not found")
        return entry

    def _reload(self) -> None:
        path = Path(self._datastore_config_path)
        if path.exists() and path.stat().st_mtime != self._config_ts:
            self._datastore = LocalDatastoreModel.model_validate_json(path.read_text(encoding="utf-8"))
            self._datastore.base_path = self._datastore_path
            self._config_ts = path.stat().st_mtime

    def _write_index(self) -> None:
        temporary = f"{self._datastore_config_path}.new"
        with open(temporary, "w", encoding="utf-8") as file:
            json.dump(self._datastore.model_dump(exclude={"base_path"}), file, indent=2, default=str)
        os.replace(temporary, self._datastore_config_path)
        self._config_ts = os.stat(self._datastore_config_path).st_mtime


def _unlink(path: str) -> None:
    """Remove a link, never what it leads to."""
    if os.path.islink(path):
        os.unlink(path)


def open_folder(
    studies: Path, own: Path, *, watch: bool, read_only: bool, sequences: Sequence[str] = ()
) -> FolderDatastore:
    """The datastore over a folder of images; of one that cannot be written to, all that is written lies in ``own``."""
    if os.access(studies, os.W_OK) or not studies.is_dir():
        return FolderDatastore(str(studies), watch=watch, read_only=read_only, sequences=sequences)
    place = own / hashlib.sha256(str(studies.resolve()).encode()).hexdigest()[:12]
    logger.warning("%s is read-only: index, lock and labels lie in %s", studies, place)
    return FolderDatastore(
        str(place), watch=watch, read_only=read_only, images=str(studies.resolve()), sequences=sequences
    )


def _set_aside_if_broken(index: Path) -> list[str]:
    """Set a damaged index aside; it is made anew from the folder's files. Returns what was done, for people."""
    try:
        LocalDatastoreModel.model_validate_json(index.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return []
    except ValueError:  # it is no UTF-8, no JSON, or no index
        kept = index.with_name(f"{index.name}.broken-{int(time.time())}")
        os.replace(index, kept)
        notice = f"{index.name} was not readable and is kept as {kept.name}; it was rebuilt from the folder"
        logger.warning("%s: %s", index.parent, notice)
        return [notice]
    return []
