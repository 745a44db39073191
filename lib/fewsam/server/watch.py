"""Labels that people drop into ``labels/final``, and those that lie there at the start."""

from __future__ import annotations

import hashlib
import logging
import sqlite3
import threading
import time
from collections import deque
from pathlib import Path

from fewsam.errors import FewSAMError, StorageError
from fewsam.server.datastore import FolderDatastore
from fewsam.server.labels import LabelIntake
from fewsam.server.paths import split_ending

logger = logging.getLogger(__name__)

POLL_SECONDS = 2.0
SETTLED_SECONDS = 5.0  # at the first look, a file older than this is taken as whole
PROBLEMS_KEPT = 20


class SeenFiles:
    """What was last done with each file of the folder, by content; shared by processes, kept over restarts."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        with self._connect() as db:
            db.execute(
                "CREATE TABLE IF NOT EXISTS seen "
                "(name TEXT PRIMARY KEY, size INTEGER, mtime_ns INTEGER, sha256 TEXT, outcome TEXT)"
            )

    def outcome(self, file: Path) -> str | None:
        """What was done with this content under this name: ``taken``, ``refused``, ``model``; None for new content."""
        with self._connect() as db:
            row = db.execute("SELECT size, mtime_ns, sha256, outcome FROM seen WHERE name = ?", (file.name,)).fetchone()
        if row is None:
            return None
        stat = file.stat()
        if (stat.st_size, stat.st_mtime_ns) == (row[0], row[1]):
            return str(row[3])
        if _digest(file) == row[2]:  # touched only
            self.record(file, row[3])
            return str(row[3])
        return None

    def record(self, file: Path, outcome: str) -> None:
        stat = file.stat()
        with self._connect() as db:
            db.execute(
                "INSERT OR REPLACE INTO seen VALUES (?, ?, ?, ?, ?)",
                (file.name, stat.st_size, stat.st_mtime_ns, _digest(file), outcome),
            )

    def forget_refusals(self) -> None:
        """Let refused files be tried again: the settings may have changed since."""
        with self._connect() as db:
            db.execute("DELETE FROM seen WHERE outcome = 'refused'")

    def _connect(self) -> sqlite3.Connection:
        return sqlite3.connect(self._path, timeout=30)


class FolderWatch:
    """Feeds files of ``labels/final`` to the intake, once each, when they have stopped growing."""

    def __init__(self, datastore: FolderDatastore, intake: LabelIntake, seen: SeenFiles) -> None:
        self.datastore = datastore
        self.intake = intake
        self.seen = seen
        self.lock = threading.RLock()  # held while the server itself writes into the folder
        self.problems: deque[dict[str, str]] = deque(maxlen=PROBLEMS_KEPT)
        self._sizes: dict[str, tuple[int, int]] = {}
        self._waiting: set[str] = set()  # labels without an image: said once, looked at again
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="label-watch", daemon=True)

    def start(self) -> None:
        self.seen.forget_refusals()
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(timeout=10)

    def scan(self) -> None:
        """One look at the folder."""
        folder = self.datastore.final_labels()
        for file in sorted(folder.iterdir()) if folder.is_dir() else ():
            image_id, ending = split_ending(file.name)
            if file.name.startswith(".") or not ending or not file.is_file():
                continue
            with self.lock:
                if self._stop.is_set():
                    return
                try:
                    if self._settled(file) and self.seen.outcome(file) is None:
                        self._take(file, image_id)
                except FileNotFoundError:
                    continue  # removed while we looked

    def _settled(self, file: Path) -> bool:
        stat = file.stat()
        now = (stat.st_size, stat.st_mtime_ns)
        before, self._sizes[file.name] = self._sizes.get(file.name), now
        return before == now or (before is None and time.time() - stat.st_mtime > SETTLED_SECONDS)

    def _take(self, file: Path, image_id: str) -> None:
        if not self.datastore.has_image(image_id):
            if file.name not in self._waiting:
                self._waiting.add(file.name)
                self._problem(file, f"no image is called {image_id!r}; the label waits until there is one")
            return
        self._waiting.discard(file.name)
        try:
            image = self.datastore.get_image_uri(image_id)
            self.intake.submit(image_id, image, file, source=f"labels/final/{file.name}")
        except StorageError as error:
            self._problem(file, str(error))  # not the file's fault: it is tried again
        except FewSAMError as error:
            self.seen.record(file, "refused")
            self._problem(file, str(error))
        else:
            self.seen.record(file, "taken")

    def _problem(self, file: Path, message: str) -> None:
        problem = {"file": file.name, "problem": message}
        if problem not in self.problems:
            logger.warning("labels/final/%s was not taken: %s", file.name, message)
            self.problems.append(problem)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self.scan()
            except Exception:
                logger.exception("looking through the label folder failed; trying again")
            self._stop.wait(POLL_SECONDS)


def _digest(file: Path) -> str:
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
