"""MONAI Label's datastore over a PACS: images are its series; labels lie beside, and in the PACS as DICOM SEG.

MONAI Label's own class keeps lists for two hours, lists CT alone, and names segments by their position.
"""

from __future__ import annotations

import json
import logging
import re
import shutil
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from monailabel.interfaces.datastore import Datastore, DefaultLabelTag
from monailabel.interfaces.exception import ImageNotFoundException, LabelNotFoundException

from fewsam.core.atomic import copy_at_once, write_atomically
from fewsam.core.errors import StorageError
from fewsam.images.endings import LABEL_ENDINGS, split_ending
from fewsam.images.sequences import sequence_of_series
from fewsam.images.volume import load_volume, save_image
from fewsam.server.errors import PacsError, RequestError
from fewsam.server.names import check_tag
from fewsam.server.paths import read_json
from fewsam.server.storage.label_seg import write_label_seg
from fewsam.server.storage.outbox import Outbox
from fewsam.server.storage.pacs import PARTIAL, Pacs, is_image
from fewsam.server.storage.segrecord import SegRecord

logger = logging.getLogger(__name__)


class PacsDatastore(Datastore):
    """Series of a PACS.

    Args:
        pacs: the PACS.
        folder: for downloaded images, labels and what is noted about them.
        sequences: as in the settings: only the first sequence of a study is an image of the list.
    """

    def __init__(self, pacs: Pacs, folder: Path, sequences: Sequence[str] = ()) -> None:
        self.pacs = pacs
        self.folder = folder
        self._sequences = tuple(sequences)
        self.record = SegRecord(folder / "segs.json")
        self.outbox = Outbox(folder / "outbox", pacs, lambda uid: self.record.add(uid, "sent"), self._write_seg)
        self._guard = threading.RLock()
        self._series_locks: dict[str, threading.RLock] = {}
        self._problem = ""
        self._known = folder / "series.json"  # the last list, for a start while the PACS is away
        self._noted: dict[str, dict[str, str]] = read_json(self._known)

    # -- images

    def list_images(self) -> list[str]:
        """Series that can be labelled; while the PACS is away, those it had."""
        try:
            series = self.pacs.series()
            self._problem = ""
            self._note_series(series)
        except PacsError as error:
            if str(error) != self._problem:
                logger.warning("%s", error)
            self._problem, series = str(error), self.pacs.known_series() or self._noted
        return [uid for uid, entry in series.items() if self._is_image_of_the_list(entry)]

    def downloaded(self) -> dict[str, str]:
        """Images of the last list that lie here since somebody opened them, also before this start: id -> folder."""
        images = self.folder / "images"
        here = {path.name: str(path) for path in images.iterdir() if path.is_dir()} if images.is_dir() else {}
        listed = self.pacs.known_series() or self._noted
        return {uid: here[uid] for uid, entry in listed.items() if uid in here and self._is_image_of_the_list(entry)}

    def clear_downloads(self) -> None:
        """Remove what an earlier server had not downloaded whole when it was killed; before anybody opens an image."""
        for partial in (self.folder / "images").glob(f"{PARTIAL}*"):
            shutil.rmtree(partial, ignore_errors=True)

    def _is_image_of_the_list(self, entry: dict[str, str]) -> bool:
        return is_image(entry) and (not self._sequences or self._sequence(entry) == self._sequences[0])

    def _sequence(self, entry: dict[str, str]) -> str | None:
        return sequence_of_series(entry.get("SeriesDescription", ""), self._sequences)

    def _note_series(self, series: dict[str, dict[str, str]]) -> None:
        with self._guard:
            if series != self._noted:
                self._noted = dict(series)
                try:
                    _write(self._known, self._noted)
                except StorageError as error:
                    logger.warning("the list of series is not kept: %s", error)

    @property
    def problem(self) -> str:
        """Why the PACS could not be asked last; empty while all is well."""
        return self._problem

    def image_folder(self, image_id: str) -> Path:
        """Folder with the DICOM files of an image, downloaded where it is not there or has changed.

        Raises:
            ImageNotFoundException: no such series.
            PacsError: it is not here, and the PACS does not answer.
        """
        folder = self._downloaded(image_id)
        if self._sequences:  # they are looked for beside it
            series = self.pacs.known_series() or self._noted
            study = series.get(image_id, {}).get("StudyInstanceUID")
            for uid, entry in series.items():
                beside = uid != image_id and entry.get("StudyInstanceUID") == study
                if beside and is_image(entry) and self._sequence(entry) not in (None, self._sequences[0]):
                    self._downloaded(uid)
        return folder

    def has_changed(self, image_id: str) -> bool:
        """Whether the PACS has another number of instances of an image than were downloaded once."""
        folder = self.folder / "images" / _plain_uid(image_id)
        have = len(list(folder.glob("*.dcm"))) if folder.is_dir() else 0
        return bool(have) and _differs(self._entry(image_id), have)

    def _lock_of(self, image_id: str) -> threading.RLock:
        """Whoever wants a series waits while it is downloaded, and nobody else."""
        with self._guard:
            return self._series_locks.setdefault(image_id, threading.RLock())

    def _downloaded(self, image_id: str) -> Path:
        folder = self.folder / "images" / _plain_uid(image_id)
        with self._lock_of(image_id):
            have = len(list(folder.glob("*.dcm"))) if folder.is_dir() else 0
            try:
                entry = self.pacs.series().get(image_id)
            except PacsError:
                if have:
                    return folder
                raise
            if entry is None:
                raise ImageNotFoundException(f"no series {image_id} in the PACS")
            if not have or _differs(entry, have):
                self.pacs.download(entry["StudyInstanceUID"], image_id, folder)
            return folder

    def get_image_uri(self, image_id: str) -> str:
        """The image as NIfTI, which is what Slicer downloads; made when first asked for."""
        source = self.image_folder(image_id)
        file = self.folder / "images" / f"{image_id}.nii.gz"
        with self._lock_of(image_id):
            if not file.exists() or file.stat().st_mtime < source.stat().st_mtime:
                volume = load_volume(source, axis="2")
                partial = file.with_name(f".{file.name}")
                save_image(partial, volume)
                partial.replace(file)
        return str(file)

    def get_image(self, image_id: str, params: Any = None) -> Any:
        return Path(self.get_image_uri(image_id)).read_bytes()

    def get_image_info(self, image_id: str) -> dict[str, Any]:
        return {**self._entry(image_id), **read_json(self._note(image_id))}

    def update_image_info(self, image_id: str, info: dict[str, Any]) -> None:
        with self._guard:
            _write(self._note(image_id), {**read_json(self._note(image_id)), **info})

    def add_image(self, image_id: str, image_filename: str, image_info: dict[str, Any]) -> str:
        raise RequestError("images are stored in the PACS itself, not through this server")

    def remove_image(self, image_id: str) -> None:
        raise RequestError("images are removed in the PACS itself, not through this server")

    # -- labels

    def save_label(self, image_id: str, label_filename: str, label_tag: str, label_info: dict[str, Any]) -> str:
        """Keep a label file; a final one goes to the PACS as DICOM SEG too, at once or when the PACS is back."""
        _, ending = split_ending(Path(label_filename).name)
        folder = self._labels(label_tag)
        file = folder / f"{image_id}{ending or '.nii.gz'}"
        with self._guard:
            folder.mkdir(parents=True, exist_ok=True)
            copy_at_once(label_filename, str(file))
            for old in self._files(image_id, label_tag):
                if old != file:
                    old.unlink()
            _write(folder / f"{image_id}.json", {**(label_info or {}), "ts": int(time.time()), "name": file.name})
        if label_tag == DefaultLabelTag.FINAL.value:
            self._queue_seg(image_id, label_info or {})
        return image_id

    def _queue_seg(self, image_id: str, info: dict[str, Any]) -> None:
        """Have the final label sent as DICOM SEG, unless its state is the one that was sent last."""
        state = str(info.get("label_state") or "")
        if not state or state != self._queued(image_id):
            kept = ("classes", "colours", "label_info", "annotator", "client_id")
            self.outbox.put(image_id, {key: info[key] for key in kept if key in info})
            self.note_state(image_id, state)
        self.outbox.send_soon()

    def note_state(self, image_id: str, state: str, before: str | None = None) -> None:
        """Labels of this state are in the PACS or on their way there; where ``before`` is given, only if those were."""
        if before is None or before == (self._queued(image_id) or before):
            self.update_image_info(image_id, {"seg_state": state})

    def _queued(self, image_id: str) -> str:
        return str(read_json(self._note(image_id)).get("seg_state") or "")

    def _write_seg(self, image_id: str, info: dict[str, Any], path: Path) -> None:
        """Write the final label of an image as DICOM SEG."""
        label = self._files(image_id, DefaultLabelTag.FINAL.value)
        if not label:
            raise StorageError("its label file is gone from the server; submit the label again")
        write_label_seg(path, label[0], self.image_folder(image_id), info)

    def problems(self) -> list[dict[str, str]]:
        """Labels that are stored here, and that the PACS or DICOM SEG does not take."""
        waits = "It is stored here, and is tried again."
        found = []
        for image_id, reason in self.outbox.reasons().items():
            patient = self._entry(image_id).get("PatientID", "")
            whose = f" of patient {patient}" if patient else ""
            problem = f"not in the PACS: {_sentence(reason)} {waits}"
            found.append({"file": f"label of {self.title(image_id)}{whose}", "problem": problem})
        return found

    def title(self, image_id: str) -> str:
        """An image as a person knows it; without its patient, since refusals go to the log."""
        words = [self._entry(image_id).get(key, "") for key in ("Modality", "SeriesDescription")]
        return " ".join(word for word in words if word) or image_id or "an image"

    def _entry(self, image_id: str) -> dict[str, str]:
        """What the PACS said last of a series; empty where it never named it."""
        return (self.pacs.known_series() or self._noted).get(image_id, {})

    def get_labels_by_image_id(self, image_id: str) -> dict[str, str]:
        return {tag: image_id for tag in self._tags() if self._files(image_id, tag)}

    def get_label_by_image_id(self, image_id: str, tag: str) -> str:
        return self.get_labels_by_image_id(image_id).get(tag, "")

    def get_label_uri(self, label_id: str, label_tag: str) -> str:
        files = self._files(label_id, label_tag)
        return str(files[0]) if files else ""

    def get_label(self, label_id: str, label_tag: str, params: Any = None) -> Any:
        uri = self.get_label_uri(label_id, label_tag)
        return Path(uri).read_bytes() if uri else None

    def get_label_info(self, label_id: str, label_tag: str) -> dict[str, Any]:
        return read_json(self._labels(label_tag) / f"{_plain_uid(label_id)}.json")

    def update_label_info(self, label_id: str, label_tag: str, info: dict[str, Any]) -> None:
        if not self._files(label_id, label_tag):
            raise LabelNotFoundException(f"Label {label_id} with tag {label_tag} not found")
        with self._guard:
            _write(self._labels(label_tag) / f"{label_id}.json", {**self.get_label_info(label_id, label_tag), **info})

    def remove_label(self, label_id: str, label_tag: str) -> None:
        for file in self._files(label_id, label_tag):
            file.unlink()

    def get_labeled_images(self, label_tag: str | None = None, labels: list[str] | None = None) -> list[str]:
        tags = [label_tag] if label_tag else [DefaultLabelTag.FINAL.value]
        return [uid for uid in self.list_images() if any(self._files(uid, tag) for tag in tags)]

    def get_unlabeled_images(self, label_tag: str | None = None, labels: list[str] | None = None) -> list[str]:
        labelled = set(self.get_labeled_images(label_tag, labels))
        return [uid for uid in self.list_images() if uid not in labelled]

    # -- the rest of the interface

    def name(self) -> str:
        return self.pacs.address

    def set_name(self, name: str) -> None:
        raise RequestError("the name of the datastore is the address of the PACS")

    def description(self) -> str:
        return f"DICOMweb at {self.pacs.address}"

    def set_description(self, description: str) -> None:
        raise RequestError("the description of the datastore is fixed")

    def datalist(self) -> list[dict[str, Any]]:
        final = DefaultLabelTag.FINAL.value
        return [
            {"image": self.get_image_uri(uid), "label": self.get_label_uri(uid, final)}
            for uid in self.get_labeled_images()
        ]

    def get_dataset_archive(self, limit_cases: int | None) -> str:
        raise RequestError("a PACS is not handed out as an archive; `fewsam export` writes the labelled slices")

    def refresh(self) -> None:
        try:
            self.pacs.series(fresh=True)
        except PacsError as error:
            self._problem = str(error)

    def status(self) -> dict[str, Any]:
        images = self.list_images()
        tags = {tag: sum(bool(self._files(uid, tag)) for uid in images) for tag in self._tags()}
        return {
            "total": len(images),
            "completed": tags.get(DefaultLabelTag.FINAL.value, 0),
            "label_tags": tags,
            "train": [],
        }

    def json(self) -> dict[str, Any]:
        return {
            "name": self.name(),
            "description": self.description(),
            "objects": {
                uid: {
                    "image": {"info": self.get_image_info(uid), "ext": ""},
                    "labels": {
                        tag: {"info": self.get_label_info(uid, tag)} for tag in self.get_labels_by_image_id(uid)
                    },
                }
                for uid in self.list_images()
            },
        }

    def _labels(self, tag: str) -> Path:
        return self.folder / "labels" / check_tag(tag)

    def _tags(self) -> list[str]:
        root = self.folder / "labels"
        return sorted(path.name for path in root.iterdir() if path.is_dir()) if root.is_dir() else []

    def _files(self, image_id: str, tag: str) -> list[Path]:
        folder, uid = self._labels(tag), _plain_uid(image_id)
        return [file for ending in LABEL_ENDINGS if (file := folder / f"{uid}{ending}").is_file()]

    def _note(self, image_id: str) -> Path:
        return self.folder / "notes" / f"{_plain_uid(image_id)}.json"


def _differs(entry: dict[str, str], have: int) -> bool:
    """Whether a series has another number of instances by what the PACS says, which may say nothing."""
    there = entry.get("NumberOfSeriesRelatedInstances") or "0"
    return there.isdigit() and int(there) not in (0, have)


def _plain_uid(uid: str) -> str:
    if not re.fullmatch(r"[0-9][0-9.]{0,63}", uid):
        raise ImageNotFoundException(f"{uid!r} is no DICOM UID")
    return uid


def _sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else f"{text}."


def _write(path: Path, values: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, json.dumps(values, default=str).encode())
