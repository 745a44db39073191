"""Label files that people put into ``labels/final``, and those that lie there at the start."""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fewsam.collection.schema import storage_errors
from fewsam.core.errors import FewSAMError, StorageError
from fewsam.core.files import sha256_of
from fewsam.images.endings import split_ending
from fewsam.server.background.worker import Worker
from fewsam.server.storage.datastore import FolderDatastore
from fewsam.server.storage.replaced import replaced_name
from fewsam.server.tasks.labels import LabelIntake

logger = logging.getLogger(__name__)

POLL_SECONDS = 2.0
SETTLED_SECONDS = 5.0  # a file that is older than this at the first look is taken as whole
PROBLEMS_KEPT = 20


Content = tuple[int, int, str]  # bytes, time of change in ns, SHA-256


def content_of(file: Path) -> Content:
    stat = file.stat()  # before it is read: of a file that is saved meanwhile the time is then another one
    return stat.st_size, stat.st_mtime_ns, sha256_of(file)


class SeenFiles:
    """What was last done with each file of the folder, by content; shared by processes, kept over restarts.

    Attributes:
        notices: What had to be repaired at opening; usually empty.
        lost: The record was damaged and is kept aside: nothing is known of any file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.notices: list[str] = []
        self.lost = False
        with storage_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                self._prepare()
            except sqlite3.DatabaseError as error:
                if isinstance(error, sqlite3.OperationalError) and "malformed" not in str(error):
                    raise  # the file is locked or the disk is full: that is no damage
                kept = path.with_name(f"{path.name}.damaged-{time.time_ns()}")
                path.rename(kept)
                self.notices.append(f"{path.name} was damaged ({error}); kept as {kept.name} and made anew")
                self.lost = True
                self._prepare()

    def _prepare(self) -> None:
        with self._connect() as db:
            found = db.execute("PRAGMA quick_check(1)").fetchone()[0]
            if found != "ok":
                raise sqlite3.DatabaseError(str(found))
            db.execute(
                "CREATE TABLE IF NOT EXISTS seen "
                "(name TEXT PRIMARY KEY, size INTEGER, mtime_ns INTEGER, sha256 TEXT, outcome TEXT)"
            )
            db.execute("CREATE TABLE IF NOT EXISTS writing (name TEXT PRIMARY KEY, sha256 TEXT, outcome TEXT)")

    def outcome(self, file: Path) -> str | None:
        """What was done with this content under this name: ``taken``, ``refused``, ``model``; None for new content."""
        with self._connect() as db:
            row = db.execute("SELECT size, mtime_ns, sha256, outcome FROM seen WHERE name = ?", (file.name,)).fetchone()
            begun = db.execute("SELECT sha256, outcome FROM writing WHERE name = ?", (file.name,)).fetchone()
        stat = file.stat()
        if row is not None and (stat.st_size, stat.st_mtime_ns) == (row[0], row[1]):
            return str(row[3])
        if row is None and begun is None:
            return None
        content = sha256_of(file)
        for known, outcome in (row[2:] if row else (None, None), begun or (None, None)):
            if content == known:  # the file was touched only, or the server was killed between writing and noting it
                self.record(file, str(outcome))
                return str(outcome)
        return None

    def record(self, file: Path, outcome: str, content: Content | None = None) -> None:
        """Note what was done with a file: with ``content``, where it may have been saved again meanwhile."""
        known = content or content_of(file)
        with self._connect() as db:
            db.execute("INSERT OR REPLACE INTO seen VALUES (?, ?, ?, ?, ?)", (file.name, *known, outcome))
            db.execute("DELETE FROM writing WHERE name = ?", (file.name,))

    @contextmanager
    def own(self, target: Path, source: Path, outcome: str) -> Iterator[None]:
        """A block in which the server copies ``source`` to ``target``.

        The file is known as done before it is there. Otherwise a kill in between would make a label of it, read
        without what the client said of it.
        """
        with storage_errors(self._path), self._connect() as db:
            row = (target.name, sha256_of(source), outcome)
            db.execute("INSERT OR REPLACE INTO writing VALUES (?, ?, ?)", row)
        yield
        try:
            self.record(target, outcome)
        except (sqlite3.Error, OSError) as error:  # the label is stored, and must not be refused
            logger.warning("%s is noted as being written only: %s", target.name, error)

    def forget_refusals(self) -> None:
        """Let refused files be tried again: the settings may have changed since."""
        with self._connect() as db:
            db.execute("DELETE FROM seen WHERE outcome = 'refused'")

    def _connect(self) -> sqlite3.Connection:
        return sqlite3.connect(self._path, timeout=30)


class FolderWatch:
    """Hands files of ``labels/final`` to the intake, once each, when they have stopped growing."""

    def __init__(self, datastore: FolderDatastore, intake: LabelIntake, seen: SeenFiles) -> None:
        self.datastore = datastore
        self.intake = intake
        self.seen = seen
        self.lock = threading.RLock()  # held while the server itself writes into the folder
        self.problems: deque[dict[str, str]] = deque(maxlen=PROBLEMS_KEPT)
        self._sizes: dict[str, tuple[int, int]] = {}
        self._waiting: set[str] = set()  # labels without an image; each is reported once, and looked at again
        self._worker = Worker("label-watch", self.scan, POLL_SECONDS)

    def start(self) -> None:
        try:
            if self.seen.lost:
                self._recognise()
            self.seen.forget_refusals()
        except (sqlite3.Error, OSError) as error:  # a full disk must not stop the server
            logger.error("the record of label files cannot be written: %s", error)
        self._worker.start()

    def _recognise(self) -> None:
        """Note that files which the server itself wrote, by the datastore's index, are no new labels."""
        folder = self.datastore.final_labels()
        for file in sorted(folder.iterdir()) if folder.is_dir() else ():
            image_id, ending = split_ending(file.name)
            if ending and file.is_file() and self.datastore.written_digest(image_id, file.name) == sha256_of(file):
                self.seen.record(file, "taken")

    def stop(self) -> None:
        self._worker.stop()

    def scan(self) -> None:
        """One look at the folder."""
        folder = self.datastore.final_labels()
        oldest_first = sorted(folder.iterdir(), key=_age) if folder.is_dir() else []
        for file in oldest_first:  # of two labels of an image the newer one counts
            image_id, ending = split_ending(file.name)
            if file.name.startswith(".") or not ending or not file.is_file() or not self.datastore.is_inside(file):
                continue
            with self.lock:
                if self._worker.stopping:
                    return
                try:
                    if self._settled(file) and self.seen.outcome(file) is None:
                        self._take(file, image_id)
                except FileNotFoundError:
                    continue  # the file was removed meanwhile
                except sqlite3.Error as error:  # a full disk is reported once; every look tries again
                    self._problem(file, f"what was done with it cannot be noted ({error})")

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
        content = content_of(file)
        try:
            image = self.datastore.get_image_uri(image_id)
            self.intake.submit(image_id, image, file, source=f"labels/final/{file.name}")
        except StorageError as error:
            self._problem(file, str(error))  # the file is not at fault: it is tried again
        except FewSAMError as error:
            self.seen.record(file, "refused", content)
            self._problem(file, str(error))
        else:
            self.seen.record(file, "taken", content)

    def set_aside(self, file: Path) -> None:
        """Keep a label that was not taken in under another name, where the server is about to write one in its place.

        It is older than what takes its place, so that it is not taken in after that. The caller holds the lock.
        """
        if not file.is_file() or self.seen.outcome(file) in ("taken", "model"):
            return
        kept = replaced_name(file)
        file.rename(kept)
        self._problem(file, f"a newer label came before it was taken; it is kept as {kept.name}")

    def _problem(self, file: Path, message: str) -> None:
        problem = {"file": file.name, "problem": message}
        if problem not in self.problems:
            logger.warning("labels/final/%s was not taken: %s", file.name, message)
            self.problems.append(problem)


def _age(file: Path) -> tuple[int, str]:
    try:
        return file.stat().st_mtime_ns, file.name
    except OSError:  # it was removed meanwhile
        return 0, file.name
