"""Opening the collection: check it, keep a second copy of it, rebuild it when it is damaged. Never delete a row."""

from __future__ import annotations

import json
import logging
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from filelock import FileLock

from fewsam.collection.codec import open_blob
from fewsam.collection.schema import (
    APPEND_ONLY,
    APPLICATION_ID,
    VERSION,
    connect,
    create,
    is_full,
    rollback,
    storage_errors,
)
from fewsam.core.errors import StorageError

MAIN = "collection.sqlite"
COPY = "collection.copy.sqlite"  # every acknowledged row again, in a file of its own
REBUILT = "collection.rebuilt.sqlite"
GAP = 1000  # unreadable ids in a row after which a damaged table counts as read to its end

# Tables into which people write by themselves, what a row of each is to them, and what tells two rows apart. The rows
# of all others come along with these.
_COUNTED = {
    "submissions": "submissions",
    "classes": "structures",
    "structures": "changes of structures",
    "marks": "marks of the worklist",
}
_TELLING = {
    "submissions": ("digest", "time"),
    "classes": ("key",),
    "structures": ("key", "time"),
    "marks": ("image_id", "time"),
}

log = logging.getLogger(__name__)


def prepare(folder: Path) -> list[str]:
    """Make ``folder`` ready to use and say what had to be repaired.

    A damaged file is renamed to ``*.damaged-N``, never deleted, and a new one is filled from the second copy and
    from every row of the damaged one that can still be read.

    Raises:
        StorageError: the disk is full, the folder cannot be written, or a newer fewsam wrote the collection.
    """
    notices = _prepare(folder)
    for notice in notices:
        log.warning("collection %s: %s", folder, notice)
    return notices


def is_readable(folder: Path, error: StorageError) -> bool:
    """Whether ``prepare`` failed only because the disk is full, so that the tables can still be read."""
    if not isinstance(error.__cause__, sqlite3.Error) or not is_full(error.__cause__):
        return False
    main = folder / MAIN
    try:
        if main.stat().st_size == 0:  # SQLite would take it for a database without tables
            return False
        with closing(connect(main, alone=True)) as db:
            return db.execute("SELECT 1 FROM sqlite_master WHERE name = 'shots'").fetchone() is not None
    except (sqlite3.Error, OSError):
        return False


def _prepare(folder: Path) -> list[str]:
    main, copy, notices = folder / MAIN, folder / COPY, list[str]()
    with storage_errors(main):
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / "collection.lock", timeout=600):
            reason = _damage(copy)
            if reason:
                notices.append(f"{copy.name} was damaged ({reason}); kept as {_set_aside(copy).name} and made anew")
            reason = _damage(main)
            if not main.exists() and (folder / REBUILT).exists():
                (folder / REBUILT).replace(main)  # killed between the two renames below
                notices.append(f"{main.name} was rebuilt from what could be read")
            elif reason or (not main.exists() and copy.exists()):
                found = _rebuild(main, copy)
                aside = f"kept as {_set_aside(main).name}" if reason else "it was missing"
                (folder / REBUILT).replace(main)
                notices.append(f"{main.name}: {reason or 'no such file'}; {aside}; rebuilt with {found}")
            with closing(connect(main)) as db:
                if db.execute("PRAGMA user_version").fetchone()[0] != VERSION:  # a full disk must not stop a reader
                    create(db)
            notices += _reconcile(main, copy)
    return notices


def refresh_copy(main: Path, copy: Path) -> None:
    """Add to the second copy what ``main`` has since gained."""
    with closing(connect(copy, wal=False)) as db:
        db.execute("PRAGMA journal_mode = DELETE")  # one file at rest
        if db.execute("PRAGMA user_version").fetchone()[0] != VERSION:
            create(db, loop=False)
        db.execute("ATTACH ? AS origin", (str(main),))
        _copy_rows(db, "origin", newer_only=True)


def _two_histories(db: sqlite3.Connection) -> bool:
    """Whether the copy, attached as ``twin``, and the file have different rows of one number."""
    for table, columns in _TELLING.items():
        if _in_twin(db, table):
            differing = " OR ".join(f"a.{column} <> b.{column}" for column in columns)
            if db.execute(f"SELECT 1 FROM main.{table} a JOIN twin.{table} b USING (id) WHERE {differing}").fetchone():
                return True
    return False


def _lacking(db: sqlite3.Connection) -> list[str]:
    """What the copy, attached as ``twin``, has and the file lacks, for people; an older copy has fewer tables."""
    found = []
    for table, what in _COUNTED.items():
        if _in_twin(db, table):
            missing = f"SELECT COUNT(*) FROM twin.{table} WHERE id NOT IN (SELECT id FROM main.{table})"
            if number := db.execute(missing).fetchone()[0]:
                found.append(f"{number} {what}")
    return found


def _in_twin(db: sqlite3.Connection, table: str) -> bool:
    return db.execute("SELECT 1 FROM twin.sqlite_master WHERE name = ?", (table,)).fetchone() is not None


def _copy_rows(db: sqlite3.Connection, origin: str, newer_only: bool) -> None:
    db.execute("BEGIN")
    try:
        there = {name for (name,) in db.execute(f"SELECT name FROM {origin}.sqlite_master")}
        for table in (name for name in APPEND_ONLY if name in there):  # an older file has fewer
            after = f"WHERE id > (SELECT COALESCE(MAX(id), 0) FROM main.{table})" if newer_only else ""
            db.execute(f"INSERT OR IGNORE INTO main.{table} SELECT * FROM {origin}.{table} {after} ORDER BY id")
        db.execute("COMMIT")
    except BaseException:
        rollback(db)
        raise


def _damage(path: Path) -> str | None:
    """What is wrong with a file, or None. A lock, a full disk or missing rights are no damage, but errors."""
    if not path.exists():
        return None
    try:
        with closing(sqlite3.connect(path, timeout=60)) as db:
            application = db.execute("PRAGMA application_id").fetchone()[0]
            version = db.execute("PRAGMA user_version").fetchone()[0]
            if application == APPLICATION_ID and version > VERSION:
                raise StorageError(f"a newer fewsam wrote the collection {path}; update fewsam to open it")
            found = db.execute("PRAGMA quick_check(1)").fetchone()[0]
            tables = db.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()[0]
            if found == "ok" and tables and application != APPLICATION_ID:
                return "it is not a collection"
            return None if found == "ok" else str(found)
    except sqlite3.OperationalError as error:
        if "malformed" in str(error):
            return str(error)
        raise
    except sqlite3.DatabaseError as error:
        return str(error)


def _set_aside(path: Path) -> Path:
    number = 1
    while (target := path.with_name(f"{path.name}.damaged-{number}")).exists():
        number += 1
    path.rename(target)
    for suffix in ("-wal", "-shm", "-journal"):  # what SQLite had not merged yet belongs to the file
        side = path.with_name(path.name + suffix)
        if side.exists():
            side.rename(target.with_name(target.name + suffix))
    return target


def _rebuild(main: Path, copy: Path) -> str:
    """Fill a new file from ``copy`` and from what is readable of ``main``; it waits under another name."""
    folder = main.parent
    part, trial = folder / "collection.part.sqlite", folder / "collection.trial.sqlite"
    for leftover in folder.glob("collection.part.sqlite*"):
        leftover.unlink()
    with closing(connect(part, wal=False)) as db:
        create(db)
        if copy.exists():
            db.execute("ATTACH ? AS origin", (str(copy),))
            _copy_rows(db, "origin", newer_only=False)
        if main.exists():
            try:
                for suffix in ("", "-wal"):  # a trial copy: reading replays the log, and the original must stay
                    if (side := main.with_name(main.name + suffix)).exists():
                        shutil.copyfile(side, trial.with_name(trial.name + suffix))
                lost = _salvage(trial, db)
            finally:
                for leftover in folder.glob("collection.trial.sqlite*"):
                    leftover.unlink()
        else:
            lost = 0
        _complete(db)
        submissions = db.execute("SELECT COUNT(*) FROM submissions").fetchone()[0]
        shots = db.execute("SELECT COUNT(*) FROM shots").fetchone()[0]
    part.replace(folder / REBUILT)
    return f"{submissions} submissions and {shots} shots" + (f"; {lost} rows could not be read" if lost else "")


def _complete(db: sqlite3.Connection) -> None:
    """Add placeholders for unreadable rows that a readable shot refers to."""
    drawn = set[str]()
    for table in ("shots", "readings"):
        db.execute(
            f"INSERT OR IGNORE INTO submissions SELECT {table}.submission, image_id, content_hash, x'', '', '',"
            f" 'recovered', 'auto', '{{}}', NULL FROM {table} JOIN images ON images.id = {table}.image"
        )
        drawn |= {key for (text,) in db.execute(f"SELECT drawn FROM {table}") for key in json.loads(text)}
    db.executemany("INSERT OR IGNORE INTO classes (key, name) VALUES (?, ?)", [(key, key) for key in sorted(drawn)])


def _salvage(damaged: Path, db: sqlite3.Connection) -> int:
    """Copy every readable row of a damaged file that ``db`` has not; returns how many looked lost."""
    lost = 0
    try:
        with closing(sqlite3.connect(damaged)) as old:
            for table in (*APPEND_ONLY, "served"):
                have = {row[0] for row in db.execute(f"SELECT id FROM {table}")}
                db.execute("BEGIN")
                for row in _readable(old, table, have):
                    if row is None:
                        lost += 1
                    elif table != "blobs" or _sound(row[1], row[2]):
                        marks = ", ".join("?" * len(row))
                        db.execute(f"INSERT OR IGNORE INTO {table} VALUES ({marks})", row)
                db.execute("COMMIT")
    except sqlite3.DatabaseError as error:
        rollback(db)
        log.warning("nothing more can be read from the damaged collection: %s", error)
    return lost


def _readable(old: sqlite3.Connection, table: str, have: set[int]) -> Iterator[tuple | None]:
    """Rows by id, None for one that cannot be read: a point look-up fails only where its own page is damaged."""
    try:
        last = old.execute(f"SELECT MAX(id) FROM {table}").fetchone()[0] or 0
    except sqlite3.DatabaseError:
        last = 0
    number = misses = 0
    while number < last or (last == 0 and misses < GAP):
        number += 1
        if number in have:
            misses = 0
            continue
        try:
            row = old.execute(f"SELECT * FROM {table} WHERE id = ?", (number,)).fetchone()
        except sqlite3.DatabaseError:
            misses += 1
            if last:
                yield None
            continue
        if row is None:
            misses += 1
        else:
            misses = 0
            yield row


def _sound(key: bytes, data: bytes) -> bool:
    try:
        open_blob(key, data)
    except (StorageError, TypeError):
        return False
    return True


def _reconcile(main: Path, copy: Path) -> list[str]:
    """Bring the file and its copy together: rows that only one of them has go to the other."""
    notices, differs = list[str](), False
    if copy.exists():
        with closing(connect(main)) as db:
            db.execute("ATTACH ? AS twin", (str(copy),))
            if db.execute("SELECT 1 FROM twin.sqlite_master WHERE name = 'shots'").fetchone():
                differs = _two_histories(db)
                if not differs and (missing := _lacking(db)):
                    _copy_rows(db, "twin", newer_only=False)
                    notices.append(f"{', '.join(missing)} were missing in {main.name}; taken from {copy.name}")
        if differs:  # two histories, e.g. an old backup that was written on: both are kept
            notices.append(f"{copy.name} holds another history; kept as {_set_aside(copy).name}")
    try:
        refresh_copy(main, copy)
    except (sqlite3.Error, OSError) as error:
        notices.append(f"{copy.name} is behind and could not be brought up to date ({error}); free disk space")
    return notices
