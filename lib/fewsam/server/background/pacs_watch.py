"""DICOM SEG objects that other tools store in the PACS become labels, once each."""

from __future__ import annotations

import logging
import threading
from collections import deque
from dataclasses import dataclass
from pathlib import Path

from pydicom.dataset import Dataset

from fewsam.core.errors import FewSAMError, LabelError, StorageError
from fewsam.images.dicomseg import read_seg
from fewsam.server.background.seg_image import images_of
from fewsam.server.background.worker import Worker
from fewsam.server.errors import PacsError, RefusedError, UnreadableError, reworded
from fewsam.server.paths import scratch
from fewsam.server.storage.pacs_datastore import PacsDatastore
from fewsam.server.storage.pacs_segment import is_prediction
from fewsam.server.storage.segrecord import SegRecord
from fewsam.server.tasks.labels import LabelIntake

logger = logging.getLogger(__name__)

POLL_SECONDS = 5.0
PROBLEMS_KEPT = 20


@dataclass(frozen=True)
class _Unplaced:
    """A SEG series without an image, and what there was in the PACS at that look: its instances, and the images."""

    problem: dict[str, str]
    at: tuple[str, frozenset[str]]


def _written_at(header: Dataset) -> tuple[str, str]:
    """When the content of an object was made, as DICOM writes dates and times; empty where it does not say."""
    date = header.get("ContentDate") or header.get("SeriesDate") or ""
    time = header.get("ContentTime") or header.get("SeriesTime") or ""
    return str(date), str(time)


class PacsWatch:
    """Sends what waits in the outbox, and hands new SEG objects to the intake."""

    def __init__(self, datastore: PacsDatastore, intake: LabelIntake) -> None:
        self.datastore = datastore
        self.intake = intake
        self.lock = threading.RLock()  # held while a label is taken
        self._problems: deque[dict[str, str]] = deque(maxlen=PROBLEMS_KEPT)
        self._unplaced: dict[str, _Unplaced] = {}  # SEG series that belong to no image that is here
        self._looked: dict[str, str] = {}  # SEG series -> its number of instances when it was looked into last
        self._away = ""  # why the PACS did not answer at the last look
        self._worker = Worker("pacs-watch", self._turn, POLL_SECONDS)

    @property
    def record(self) -> SegRecord:
        return self.datastore.record

    def start(self) -> None:
        self.record.forget_refusals()
        self.datastore.clear_downloads()
        self._worker.start()

    def stop(self) -> None:
        self._worker.stop()

    def scan(self) -> None:
        """One look at the PACS.

        Raises:
            PacsError: it does not answer, or refuses what waits for it.
        """
        refused: PacsError | None = None
        try:
            if self.datastore.outbox.waiting():
                self.datastore.outbox.send()
        except PacsError as error:  # objects that it does not take must not keep us from those that it has
            refused = error
        series = self.datastore.pacs.series()
        for uid in self._unplaced.keys() - series.keys():
            del self._unplaced[uid]
        new, looked = self._new_headers(series)
        # The latest of several labels of an image counts, whatever the order in which the PACS lists them.
        for header in sorted(new, key=_written_at):
            if self._worker.stopping:
                return
            uid = str(header.SeriesInstanceUID)
            if not self._guarded_look(header, looked.get(uid, "")):
                looked.pop(uid, None)
        self._looked.update(looked)
        if refused is not None:
            raise refused

    def _new_headers(self, series: dict[str, dict[str, str]]) -> tuple[list[Dataset], dict[str, str]]:
        """Instances of SEG series that are to be looked into, and the number of instances of each series."""
        headers: list[Dataset] = []
        counts: dict[str, str] = {}
        for uid, entry in series.items():
            count = entry.get("NumberOfSeriesRelatedInstances", "")
            if entry.get("Modality") != "SEG" or self._looked.get(uid) == count or self._still_unplaced(uid, count):
                continue
            self._unplaced.pop(uid, None)
            name = entry.get("SeriesDescription") or uid
            try:
                found = self.datastore.pacs.instances(entry["StudyInstanceUID"], uid)
            except (RefusedError, UnreadableError) as error:  # one series that cannot be had holds up no other
                self._problem(name, str(error))
                continue
            if all(tag in header for header in found for tag in ("SOPInstanceUID", "SeriesInstanceUID")):
                headers += found
                counts[uid] = count
            else:
                self._problem(name, "its headers lack SOPInstanceUID or SeriesInstanceUID")
        return headers, counts

    def _guarded_look(self, header: Dataset, count: str) -> bool:
        """Look at a SEG; one that cannot be had, or that breaks the reading of it, holds up no other."""
        instance = str(header.SOPInstanceUID)
        name = str(header.get("SeriesDescription") or instance)
        try:
            return self._look(header, count)
        except (RefusedError, UnreadableError) as error:
            self._problem(name, str(error))
            return False  # it may be handed out later
        except (FewSAMError, OSError):
            raise  # the PACS is away, or the disk is full
        except Exception as error:
            logger.exception("DICOM SEG %r in the PACS cannot be read", name)
            self.record.add(instance, "refused")
            self._problem(name, f"it cannot be read ({type(error).__name__}: {error})")
            return True

    def _still_unplaced(self, uid: str, count: str) -> bool:
        """Whether a SEG series belonged to no image at the last look, and nothing has come since."""
        before = self._unplaced.get(uid)
        return before is not None and before.at == (count, frozenset(self.datastore.list_images()))

    def _look(self, header: Dataset, count: str) -> bool:
        """Take in a SEG that is new. False where it must be looked at again."""
        instance = str(header.SOPInstanceUID)
        if self.record.outcome(instance) is not None:
            return True
        if is_prediction(header):  # what a model found is no label, whichever task it is of
            self.record.add(instance, "prediction")
            return True
        name = str(header.get("SeriesDescription") or instance)
        images = self.datastore.list_images()
        try:
            candidates = images_of(header, self.datastore.pacs, set(images))
        except LabelError as error:  # its image may come later
            at = (count, frozenset(images))
            self._unplaced[str(header.SeriesInstanceUID)] = _Unplaced(_entry(name, str(error)), at)
            logger.warning("DICOM SEG %r in the PACS was not taken: %s", name, error)
            return False
        data = self.datastore.pacs.instance(str(header.StudyInstanceUID), str(header.SeriesInstanceUID), instance)
        with self.lock, scratch(self.intake.workspace.received) as folder:
            if self.record.outcome(instance) is not None:
                return True
            file = Path(folder) / "seg.dcm"
            data.save_as(file, write_like_original=False)
            titles = {repr(image_id): self.datastore.title(image_id) for image_id in candidates}
            try:
                with reworded({f"{file}: ": "", f"{file.name}: ": "", **titles}):
                    notes = self._take(file, candidates, instance)
                for note in notes:
                    self._problem(name, f"taken, but {note}")
            except (StorageError, PacsError) as error:  # the file is not at fault: it is tried again
                self._problem(name, str(error))
                return False
            except FewSAMError as error:
                self.record.add(instance, "refused")
                self._problem(name, str(error))
            else:
                self.record.add(instance, "taken")
        return True

    def _take(self, file: Path, candidates: list[str], instance: str) -> list[str]:
        """Submit a SEG for the first of the images on which it can be placed; what a person should know of it."""
        collection, refused = self.intake.workspace.collection, None
        for image_id in candidates:
            path = str(self.datastore.image_folder(image_id))
            notes: list[str] = []
            try:
                masks = read_seg(file, self.intake.workspace.volume(path).geometry, notes)
            except StorageError:
                raise
            except FewSAMError as error:
                refused = refused or error
                continue
            before = collection.label_state(image_id)
            self.intake.submit_masks(image_id, path, masks, source=f"pacs:{instance}")
            self.datastore.note_state(image_id, collection.label_state(image_id), before)
            return notes
        assert refused is not None
        raise refused

    @property
    def problems(self) -> list[dict[str, str]]:
        """SEG objects that were not taken, and why."""
        return [*(one.problem for one in list(self._unplaced.values())), *self._problems]

    def _problem(self, name: str, message: str) -> None:
        problem = _entry(name, message)
        if problem not in self._problems:
            logger.warning("DICOM SEG %r in the PACS: %s", name, message)
            self._problems.append(problem)

    def _turn(self) -> None:
        try:
            self.scan()
            self._away = ""
        except PacsError as error:
            if str(error) != self._away:  # the log says it once
                logger.warning("%s", error)
            self._away = str(error)


def _entry(name: str, message: str) -> dict[str, str]:
    return {"file": f"DICOM SEG {name!r}", "problem": message}
