"""DICOM SEG objects that other tools store in the PACS become labels, once each."""

from __future__ import annotations

import logging
import threading
from collections import deque
from pathlib import Path

from pydicom.dataset import Dataset

from fewsam.core.errors import FewSAMError, StorageError
from fewsam.images.dicomseg import read_seg
from fewsam.server.background.worker import Worker
from fewsam.server.errors import PacsError
from fewsam.server.paths import scratch
from fewsam.server.storage.pacs_datastore import PacsDatastore
from fewsam.server.storage.segrecord import SegRecord
from fewsam.server.tasks.labels import LabelIntake

logger = logging.getLogger(__name__)

POLL_SECONDS = 5.0
PROBLEMS_KEPT = 20


class PacsWatch:
    """Sends what waits in the outbox, and feeds new SEG objects to the intake."""

    def __init__(self, datastore: PacsDatastore, intake: LabelIntake) -> None:
        self.datastore = datastore
        self.intake = intake
        self.lock = threading.RLock()  # held while a label is taken
        self.problems: deque[dict[str, str]] = deque(maxlen=PROBLEMS_KEPT)
        self._looked: dict[str, str] = {}  # SEG series -> its number of instances when looked into
        self._away = ""  # why the PACS did not answer at the last look
        self._worker = Worker("pacs-watch", self._turn, POLL_SECONDS)

    @property
    def record(self) -> SegRecord:
        return self.datastore.record

    def start(self) -> None:
        self.record.forget_refusals()
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
        except PacsError as error:  # what it does not take is no reason to leave out what it has
            refused = error
        for uid, entry in self.datastore.pacs.series().items():
            count = entry.get("NumberOfSeriesRelatedInstances", "")
            if entry.get("Modality") != "SEG" or self._looked.get(uid) == count:
                continue
            done = True
            for header in self.datastore.pacs.instances(entry["StudyInstanceUID"], uid):
                if self._worker.stopping:
                    return
                done &= self._look(header)
            if done:
                self._looked[uid] = count
        if refused is not None:
            raise refused

    def _look(self, header: Dataset) -> bool:
        """Take a SEG that is new; False where it is to be looked at again."""
        instance = str(header.SOPInstanceUID)
        if self.record.outcome(instance) is not None:
            return True
        image_id = _image_of(header)
        if image_id is None or image_id not in self.datastore.list_images():
            return False  # its image may come later
        data = self.datastore.pacs.instance(str(header.StudyInstanceUID), str(header.SeriesInstanceUID), instance)
        name = str(header.get("SeriesDescription") or instance)
        with (
            self.lock,
            scratch(self.intake.workspace.received) as folder,
        ):
            if self.record.outcome(instance) is not None:
                return True
            file = Path(folder) / "seg.dcm"
            data.save_as(file, write_like_original=False)
            path = str(self.datastore.image_folder(image_id))
            try:
                masks = read_seg(file, self.intake.workspace.volume(path).geometry)
                collection = self.intake.workspace.collection
                before = collection.label_state(image_id)
                self.intake.submit_masks(image_id, path, masks, source=f"pacs:{instance}")
                self.datastore.note_state(image_id, collection.label_state(image_id), before)
            except StorageError as error:  # not the file's fault: it is tried again
                self._problem(name, str(error))
                return False
            except FewSAMError as error:
                self.record.add(instance, "refused")
                self._problem(name, str(error))
            else:
                self.record.add(instance, "taken")
        return True

    def _problem(self, name: str, message: str) -> None:
        problem = {"file": f"DICOM SEG {name!r}", "problem": message}
        if problem not in self.problems:
            logger.warning("DICOM SEG %r in the PACS was not taken: %s", name, message)
            self.problems.append(problem)

    def _turn(self) -> None:
        try:
            self.scan()
            self._away = ""
        except PacsError as error:
            if str(error) != self._away:  # the log says it once
                logger.warning("%s", error)
            self._away = str(error)


def _image_of(header: Dataset) -> str | None:
    """Series that a SEG was drawn on."""
    for item in header.get("ReferencedSeriesSequence") or ():
        if item.get("SeriesInstanceUID"):
            return str(item.SeriesInstanceUID)
    return None
