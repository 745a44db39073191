"""One collection folder as reads and whole-or-nothing writes, from several threads and processes."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TypeVar

from fewsam.collection.repair import COPY, MAIN, is_readable, prepare, refresh_copy
from fewsam.collection.schema import connect, is_full, rollback, storage_errors
from fewsam.core.errors import StorageError

log = logging.getLogger(__name__)
Result = TypeVar("Result")


class Database:
    """Opens a connection for each piece of work (a third of a millisecond): none is shared by threads or carried
    over a fork, and between submissions the collection is one file at rest.

    Where a full disk prevents the check at opening, what is there can be read; the first write checks it.

    Attributes:
        notices: What had to be repaired, for people.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / MAIN
        self.copy = folder / COPY
        self.notices: list[str] = []
        self._checked = False
        there = self.path.exists() and self.path.stat().st_size > 0
        try:
            self._check()
        except StorageError as error:
            if not there or not is_readable(folder, error):
                raise
            why = error.__cause__
            self.notices = [f"{MAIN} was not checked at the start: {why}; nothing is stored until disk space is freed"]
            log.warning("collection %s: %s", folder, self.notices[0])

    def _check(self) -> None:
        self.notices = prepare(self.path.parent)
        self._checked = True

    def _connect(self, alone: bool = False) -> sqlite3.Connection:
        if not self.path.exists():  # SQLite would make an empty one
            raise StorageError(f"the collection {self.path} is gone; restart: it is rebuilt from its copy")
        return connect(self.path, alone=alone)

    def _inode(self) -> int:
        return self.path.stat().st_ino if self.path.exists() else -1

    def read(self, work: Callable[[sqlite3.Connection], Result]) -> Result:
        """Run ``work`` on one snapshot; it may run again where the disk is full."""
        with storage_errors(self.path):
            try:
                return self._read(work, alone=False)
            except sqlite3.OperationalError as error:
                if not is_full(error):
                    raise
                return self._read(work, alone=True)

    def _read(self, work: Callable[[sqlite3.Connection], Result], alone: bool) -> Result:
        with closing(self._connect(alone)) as db:
            db.execute("BEGIN")
            try:
                return work(db)
            finally:
                rollback(db)

    def write(self, work: Callable[[sqlite3.Connection], Result], *, precious: bool = True) -> Result:
        """Run ``work`` in one transaction: when this returns it is on the disk, when it raises nothing is.

        Args:
            work: may run again when another process has set the file aside meanwhile.
            precious: it wrote what a person drew, which goes to the second copy as well.

        Raises:
            StorageError: the disk is full, or the file is damaged or held by another process.
        """
        if not self._checked:
            # The second copy may hold labels that this file lacks: a row added before they are back would take their
            # number, and make two histories of one.
            self._check()
        for _ in range(3):
            with storage_errors(self.path):
                before = self._inode()
                with closing(self._connect()) as db:
                    db.execute("BEGIN IMMEDIATE")
                    try:
                        result = work(db)
                        db.execute("COMMIT")
                    except BaseException:
                        rollback(db)
                        raise
            if precious:
                self._second_copy()
            if self._inode() == before:
                return result
        raise StorageError(f"the collection {self.path} is being replaced again and again; submit again")

    def _second_copy(self) -> None:
        # The label is on the disk already: a failure here must not refuse it. The next one, or the next start,
        # catches up.
        try:
            refresh_copy(self.path, self.copy)
        except (sqlite3.Error, OSError) as error:
            log.warning("the second copy %s is behind: %s", self.copy, error)
