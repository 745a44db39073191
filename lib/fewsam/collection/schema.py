"""The collection's SQLite files: tables, connections, and their failures as errors a person can act on."""

from __future__ import annotations

import random
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fewsam.core.errors import StorageError

APPLICATION_ID = 0x66534D43  # "fSMC"
# 2: structures that were renamed or deleted; 3: the worklist, second readings; 4: how large a series was when marked
VERSION = 4
BUSY_SECONDS = 60.0

# Rows of these are only ever added, in the order of their id: the second copy is brought up to date by id.
APPEND_ONLY = ("classes", "images", "blobs", "submissions", "shots", "structures", "marks", "readings", "marked")

TABLES = """
CREATE TABLE IF NOT EXISTS classes (id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, name TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS images (
    id INTEGER PRIMARY KEY, image_id TEXT NOT NULL, content_hash TEXT NOT NULL,
    depth INTEGER NOT NULL, height INTEGER NOT NULL, width INTEGER NOT NULL,
    spacing TEXT NOT NULL, stats TEXT NOT NULL, source TEXT NOT NULL, split TEXT NOT NULL,
    UNIQUE (image_id, content_hash, depth, height, width));
CREATE TABLE IF NOT EXISTS blobs (id INTEGER PRIMARY KEY, digest BLOB NOT NULL UNIQUE, data BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS submissions (
    id INTEGER PRIMARY KEY, image_id TEXT NOT NULL, content_hash TEXT NOT NULL, digest BLOB NOT NULL,
    annotator TEXT NOT NULL, time TEXT NOT NULL, source TEXT NOT NULL, policy TEXT NOT NULL,
    outcome TEXT NOT NULL, curve TEXT);
CREATE TABLE IF NOT EXISTS shots (
    id INTEGER PRIMARY KEY, submission INTEGER NOT NULL, image INTEGER NOT NULL, slice INTEGER NOT NULL,
    planes TEXT NOT NULL, drawn TEXT NOT NULL, known TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS structures (
    id INTEGER PRIMARY KEY, key TEXT NOT NULL, name TEXT NOT NULL, deleted INTEGER NOT NULL,
    annotator TEXT NOT NULL, time TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS marks (
    id INTEGER PRIMARY KEY, image_id TEXT NOT NULL, state TEXT NOT NULL, note TEXT NOT NULL,
    annotator TEXT NOT NULL, time TEXT NOT NULL, label INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS marked (id INTEGER PRIMARY KEY, instances TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS readings (
    id INTEGER PRIMARY KEY, submission INTEGER NOT NULL, image INTEGER NOT NULL, slice INTEGER NOT NULL,
    planes TEXT NOT NULL, drawn TEXT NOT NULL, known TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS marks_by_image ON marks (image_id, id);
CREATE INDEX IF NOT EXISTS readings_by_slice ON readings (image, slice, id);
CREATE INDEX IF NOT EXISTS shots_by_slice ON shots (image, slice, id);
CREATE INDEX IF NOT EXISTS submissions_by_image ON submissions (image_id, id);
"""

# What the loop remembers; none of it was drawn by a person, and the second copy does without.
LOOP_TABLES = """
CREATE TABLE IF NOT EXISTS served (
    id INTEGER PRIMARY KEY, image_id TEXT NOT NULL, shape TEXT NOT NULL, classes TEXT NOT NULL,
    model_version INTEGER NOT NULL, digest BLOB NOT NULL, marks BLOB NOT NULL, labelmap BLOB,
    used INTEGER NOT NULL DEFAULT 0);
CREATE INDEX IF NOT EXISTS served_by_image ON served (image_id, id);
CREATE TABLE IF NOT EXISTS scores (image_id TEXT PRIMARY KEY, model_version INTEGER NOT NULL, data BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS reservations (
    image_id TEXT NOT NULL, slice INTEGER NOT NULL, client TEXT NOT NULL,
    expires REAL NOT NULL, seconds REAL NOT NULL, PRIMARY KEY (image_id, slice));
"""


def connect(path: Path, *, wal: bool = True, alone: bool = False) -> sqlite3.Connection:
    """A connection in autocommit mode: transactions are opened by hand. Every commit reaches the disk.

    Args:
        alone: Nobody else may use the file meanwhile, and the index of the log is kept in memory: a file beside it,
            which readers too need otherwise, finds no room on a full disk.
    """
    # The busy timeout does not cover the switch to WAL when two processes make it at once. And of two that want to be
    # alone each keeps the lock that the other waits for, until it closes its connection.
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        db = sqlite3.connect(path, timeout=0.0 if alone else BUSY_SECONDS, isolation_level=None)
        try:
            if alone:
                db.execute("PRAGMA locking_mode = EXCLUSIVE")
            db.execute("PRAGMA synchronous = FULL")
            if wal:
                db.execute("PRAGMA journal_mode = WAL")
            return db
        except sqlite3.OperationalError as error:
            db.close()
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(random.uniform(0.005, 0.035))
        except BaseException:
            db.close()
            raise


def create(db: sqlite3.Connection, *, loop: bool = True) -> None:
    """Make the tables that are not there."""
    db.execute("BEGIN IMMEDIATE")
    try:
        for statement in (TABLES + (LOOP_TABLES if loop else "")).split(";"):
            if statement.strip():
                db.execute(statement)
        db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        db.execute(f"PRAGMA user_version = {VERSION}")
        db.execute("COMMIT")
    except BaseException:
        rollback(db)
        raise


def rollback(db: sqlite3.Connection) -> None:
    if db.in_transaction:
        db.execute("ROLLBACK")


@contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Turn failures of SQLite and of the file system into :class:`StorageError`."""
    try:
        yield
    except sqlite3.Error as error:
        raise StorageError(_explain(path, error)) from error
    except OSError as error:
        raise StorageError(
            f"cannot use the collection {path}: {error.strerror or error}; nothing was stored"
        ) from error


def is_full(error: sqlite3.Error) -> bool:
    """Whether the disk is full. SQLite says one or the other, depending on the file that it could not write."""
    return "full" in str(error) or "disk I/O" in str(error)


def _explain(path: Path, error: sqlite3.Error) -> str:
    text = str(error)
    if is_full(error):
        return f"cannot write the collection {path} ({text}); nothing was stored: free disk space and submit again"
    if "locked" in text or "busy" in text:
        return f"another process held the collection {path} for {BUSY_SECONDS:.0f} s; nothing was stored: submit again"
    if "malformed" in text or "not a database" in text:
        return f"the collection {path} is damaged ({text}); restart: it is then set aside and rebuilt from its copy"
    return f"cannot use the collection {path}: {text}; check that the folder exists and may be written"
