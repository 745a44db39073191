"""Labels on their way to the PACS as DICOM SEG: kept on the disk, with the reason, until it has them."""

from __future__ import annotations

import json
import logging
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydicom

from fewsam.core.atomic import write_atomically
from fewsam.core.errors import EmptyLabelError, FewSAMError
from fewsam.server.errors import RefusedError, message_of, status_of
from fewsam.server.paths import read_json
from fewsam.server.storage.pacs import Pacs

logger = logging.getLogger(__name__)

WAIT_SECONDS = 10.0  # for the PACS to take what a person sent; then it is sent in the background
RETRY_SECONDS = 60.0  # until what could not be written is tried again; doubled each time
LONGEST_RETRY = 3600.0

Write = Callable[[str, dict[str, Any], Path], None]


@dataclass
class _Trial:
    """Why a label could not be written, and when it is tried again."""

    reason: str
    pause: float
    after: float


class Outbox:
    """What the PACS does not have yet.

    An image has one label at most that waits to be written as DICOM SEG (``<image>.json``): a newer one says all that
    is to be said. Any number of written objects (``<time>_<image>.dcm``) wait to be sent.

    Args:
        folder: made when something waits.
        pacs: where to.
        on_stored: called with the SOP Instance UID before an object is sent.
        write: writes the label of an image, with what `put` was told of it, as DICOM SEG to a path. It may raise
            anything: the label waits then.
    """

    def __init__(self, folder: Path, pacs: Pacs, on_stored: Callable[[str], None], write: Write) -> None:
        self.folder = folder
        self.pacs = pacs
        self.on_stored = on_stored
        self._write = write
        self._lock = threading.Lock()
        self._trials: dict[str, _Trial] = {}  # of labels that could not be written, by image
        self._refused: dict[str, str] = {}  # file name -> why the PACS does not take it
        self._sender: threading.Thread | None = None

    def put(self, image_id: str, said: dict[str, Any]) -> None:
        """Have the label of an image written and sent, with what was ``said`` of it; it waits until `send`.

        Raises:
            StorageError: this cannot be noted on the disk.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        # What is said of two labels may be the same; the time tells that this one came after what is being written.
        noted = {**said, "asked_at": time.time_ns()}
        write_atomically(self.folder / f"{image_id}.json", json.dumps(noted, default=str).encode())
        self._trials.pop(image_id, None)

    def waiting(self) -> list[Path]:
        """What the PACS does not have: written objects, oldest first, then labels that are to be written."""
        if not self.folder.is_dir():
            return []
        return [*sorted(self.folder.glob("*.dcm")), *sorted(self.folder.glob("*.json"))]

    def reasons(self) -> dict[str, str]:
        """Image -> why its label waits; not for those that wait for a PACS that is away."""
        found = {_image_of(file): self._refused[file.name] for file in self.waiting() if file.name in self._refused}
        return {**found, **{image_id: trial.reason for image_id, trial in list(self._trials.items())}}

    def send(self) -> None:
        """Write and send what waits. One that is refused holds up no other.

        Raises:
            PacsError: the PACS is down, or refused one; the files stay.
        """
        refused: RefusedError | None = None
        with self._lock:
            for job in sorted(self.folder.glob("*.json")) if self.folder.is_dir() else ():
                self._write_one(job)
            for file in sorted(self.folder.glob("*.dcm")) if self.folder.is_dir() else ():
                uid = _uid_of(file)
                if uid is None:
                    continue  # the label itself is in the collection, and those behind it must not wait
                self.on_stored(uid)  # before it is there, so that nobody takes it for somebody else's
                try:
                    self.pacs.store(file)
                except RefusedError as error:
                    self._refused[file.name] = str(error)
                    refused = refused or error
                else:
                    self._refused.pop(file.name, None)
                    file.unlink()
        if refused is not None:
            raise refused

    def send_soon(self, seconds: float = WAIT_SECONDS) -> None:
        """`send`, and wait until it is done, but for so long at most: whoever asks may hold up everybody's labels."""
        deadline = time.monotonic() + seconds
        while self.waiting() and (left := deadline - time.monotonic()) > 0:
            running = self._sender
            if running is None or not running.is_alive():
                running = self._sender = threading.Thread(target=self._quietly, name="outbox", daemon=True)
                running.start()
                running.join(left)
                return
            running.join(left)  # it may have begun before what waits now was put here

    def _quietly(self) -> None:
        try:
            self.send()
        except FewSAMError as error:
            logger.warning("what is to be sent to the PACS waits: %s", error)
        except Exception:  # nobody waits for this thread: the files stay, and are tried again
            logger.exception("what is to be sent to the PACS waits")

    def _write_one(self, job: Path) -> None:
        image_id = job.stem
        trial = self._trials.get(image_id)
        if trial is not None and time.monotonic() < trial.after:
            return
        asked = job.read_bytes()
        draft = self.folder / f".{time.time_ns()}_{image_id}.part"
        try:
            self._write(image_id, read_json(job), draft)
            os.replace(draft, self.folder / f"{draft.name[1:-5]}.dcm")
        except EmptyLabelError:
            pass  # that nothing is there has no form as DICOM SEG
        except Exception as error:  # the label is stored and acknowledged: whatever it is, it waits
            self._wait(image_id, error, trial)
            return
        finally:
            draft.unlink(missing_ok=True)
        self._trials.pop(image_id, None)
        if job.read_bytes() == asked:  # else a newer label came meanwhile
            job.unlink()

    def _wait(self, image_id: str, error: Exception, before: _Trial | None) -> None:
        pause = RETRY_SECONDS if before is None else min(2 * before.pause, LONGEST_RETRY)
        trial = _Trial(message_of(error), pause, time.monotonic() + pause)
        if before is None or before.reason != trial.reason:
            logger.warning(
                "the label of %s is stored, and waits to become a DICOM SEG: %s",
                image_id, trial.reason, exc_info=error if status_of(error) == 500 else None,
            )  # fmt: skip
        self._trials[image_id] = trial


def _uid_of(file: Path) -> str | None:
    """SOP Instance UID of a file; a damaged one is set aside."""
    try:
        return str(pydicom.dcmread(file, stop_before_pixels=True).SOPInstanceUID)
    except (pydicom.errors.InvalidDicomError, AttributeError, EOFError, ValueError) as error:
        kept = file.rename(file.with_name(f"{file.name}.damaged"))
        logger.error("%s is no whole DICOM file (%s): it is not sent, and kept as %s", file, error, kept.name)
        return None


def _image_of(file: Path) -> str:
    return file.stem.partition("_")[2]
