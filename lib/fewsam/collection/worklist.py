"""What people said of whole images: done, unsure, accepted or sent back. Every mark stays; the last one counts."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone

from fewsam.collection.database import Database
from fewsam.collection.reading import CURRENT
from fewsam.core.errors import LabelError

OPEN, DONE, UNSURE = "open", "done", "unsure"
ACCEPTED, SENT_BACK = "accepted", "sent back"
STATES = (OPEN, DONE, UNSURE, ACCEPTED, SENT_BACK)
# Who looks at an image's place in the worklist sees one of these.
NOT_STARTED, IN_PROGRESS = "not started", "in progress"
FINISHED = (DONE, ACCEPTED)
LONGEST_NOTE = 2000

_IN_FORCE = (
    "SELECT slice, shots.submission, annotator FROM shots JOIN images ON images.id = shots.image"
    " JOIN submissions ON submissions.id = shots.submission"
    f" WHERE images.image_id = ? AND images.content_hash = ? AND {CURRENT}"
)
_MARKS = "SELECT marks.id, image_id, state, note, annotator, time, label, COALESCE(instances, '') FROM marks"
_SIZES = " LEFT JOIN marked ON marked.id = marks.id"
_LABEL = "SELECT COALESCE(MAX(shots.id), 0) FROM shots JOIN images ON images.id = shots.image WHERE image_id = ?"


@dataclass(frozen=True)
class Mark:
    """What somebody said of an image.

    Attributes:
        number: Grows from mark to mark.
        state: One of `STATES`.
        note: In their own words; may be empty.
        annotator: Who.
        time: UTC, ISO 8601.
        label: The last label of the image that there was.
        instances: How many instances the series had in the PACS; empty where nobody knows.
    """

    number: int
    image_id: str
    state: str
    note: str
    annotator: str
    time: str
    label: int
    instances: str = ""

    def is_of_another(self, instances: str) -> bool:
        """Whether the series has another number of instances by now than when this was said of it."""
        return bool(self.instances and instances) and self.instances != instances


@dataclass(frozen=True)
class SeenLabels:
    """The labels of an image that a person had before them.

    Attributes:
        content_hash: The image's pixels.
        submissions: Labelled slice -> the submission it was of.
    """

    content_hash: str
    submissions: Mapping[int, int]


class OutdatedMarkError(LabelError):
    """Somebody else has marked or labelled the image since."""


class Worklist:
    """The marks of a collection; nothing else changes them, and none is ever removed."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def mark(
        self,
        image_id: str,
        state: str,
        annotator: str = "",
        note: str = "",
        seen: int | None = None,
        labels: SeenLabels | None = None,
        instances: str = "",
    ) -> Mark:
        """Say what is to be said of an image; when this returns it is on the disk.

        Args:
            seen: Number of the mark that the person saw, 0 for none; None takes whatever there is.
            labels: The labels that the person saw; None takes whatever there are.
            instances: How many instances the series has in the PACS; empty where nobody knows.

        Raises:
            LabelError: a state that there is not, a note that is too long, or a review of what is not done, or is no
                longer, since the series has changed.
            OutdatedMarkError: another mark is there by now than the person saw, or another label.
        """
        if state not in STATES:
            raise LabelError(f"an image cannot be marked as {state[:40]!r}; use one of {', '.join(STATES)}")
        if len(note) > LONGEST_NOTE:
            raise LabelError(f"the note has {len(note)} characters; {LONGEST_NOTE} are kept")

        def work(db: sqlite3.Connection) -> Mark:
            last = _last(db, image_id)
            if seen is not None and seen != (last.number if last else 0):
                who = f" by {last.annotator}" if last and last.annotator else ""
                raise OutdatedMarkError(
                    f"this image was marked as {last.state if last else OPEN}{who} since; look at it again"
                )
            if labels is not None:
                _check_labels(db, image_id, labels)
            if state in (ACCEPTED, SENT_BACK) and (last is None or last.state in (OPEN, SENT_BACK)):
                raise LabelError("only what is marked as done or unsure can be accepted or sent back")
            if state in (ACCEPTED, SENT_BACK) and last is not None and last.is_of_another(instances):
                raise LabelError(
                    f"the series has changed since it was marked as {last.state}; mark it as done again, then review it"
                )
            now = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
            label = db.execute(_LABEL, (image_id,)).fetchone()[0]
            cursor = db.execute(
                "INSERT INTO marks (image_id, state, note, annotator, time, label) VALUES (?, ?, ?, ?, ?, ?)",
                (image_id, state, note.strip(), annotator, now, label),
            )
            number = int(cursor.lastrowid or 0)
            if instances:
                db.execute("INSERT INTO marked (id, instances) VALUES (?, ?)", (number, instances))
            return Mark(number, image_id, state, note.strip(), annotator, now, label, instances)

        return self._database.write(work)

    def marks(self) -> dict[str, Mark]:
        """The last mark of every image that has one."""
        return {mark.image_id: mark for mark in self._read("ORDER BY marks.id")}

    def history(self, image_id: str) -> list[Mark]:
        """Every mark of an image, oldest first."""
        return self._read("WHERE image_id = ? ORDER BY marks.id", image_id)

    def last_labels(self) -> dict[str, tuple[int, str, str]]:
        """The last label of every image that ever had one: its number, who drew it and when."""
        rows = self._database.read(
            lambda db: db.execute(
                "SELECT images.image_id, MAX(shots.id), annotator, time FROM shots"
                " JOIN images ON images.id = shots.image JOIN submissions ON submissions.id = shots.submission"
                " GROUP BY images.image_id"
            ).fetchall()
        )
        return {image_id: (number, annotator, time) for image_id, number, annotator, time in rows}

    def _read(self, condition: str, *values: str) -> list[Mark]:
        def work(db: sqlite3.Connection) -> list[Mark]:
            # Of before there was such a table, and a full disk lets none be made.
            there = {name for (name,) in db.execute("SELECT name FROM sqlite_master")}
            if "marks" not in there:
                return []
            sql = _MARKS + _SIZES if "marked" in there else _MARKS.replace("COALESCE(instances, '')", "''")
            return [Mark(*row) for row in db.execute(f"{sql} {condition}", values)]

        return self._database.read(work)


def _last(db: sqlite3.Connection, image_id: str) -> Mark | None:
    sql = f"{_MARKS}{_SIZES} WHERE image_id = ? ORDER BY marks.id DESC LIMIT 1"
    row = db.execute(sql, (image_id,)).fetchone()
    return Mark(*row) if row else None


def _check_labels(db: sqlite3.Connection, image_id: str, seen: SeenLabels) -> None:
    """Raises: OutdatedMarkError: other labels are in force than the person saw."""
    found = db.execute(_IN_FORCE, (image_id, seen.content_hash)).fetchall()
    if {z: submission for z, submission, _ in found} == dict(seen.submissions):
        return
    newer = sorted({annotator for z, submission, annotator in found if seen.submissions.get(z) != submission} - {""})
    who = f" by {', '.join(newer)}" if newer else ""
    raise OutdatedMarkError(f"labels of this image were changed{who} since you looked; look at it again")


def state_of(mark: Mark | None, labelled: bool, last_label: int, instances: str = "") -> tuple[str, bool]:
    """Where an image stands in the worklist, and whether it was labelled after it was marked.

    What was accepted and then labelled again is done, and waits for a review once more. What was finished is not, once
    the series has other instances in the PACS: nobody has looked at those.
    """
    grown = mark is not None and mark.state in FINISHED and mark.is_of_another(instances)
    if mark is None or mark.state == OPEN or grown:
        return (IN_PROGRESS if labelled else NOT_STARTED), False
    changed = last_label > mark.label
    return (DONE if changed and mark.state == ACCEPTED else mark.state), changed


def is_finished(mark: Mark, instances: str) -> bool:
    """Whether a mark says that nothing is left to do, of the series as it is now."""
    return mark.state in FINISHED and not mark.is_of_another(instances)


def counts(states: Mapping[str, str]) -> dict[str, int]:
    """How many images stand where; every state is named."""
    found = dict.fromkeys((NOT_STARTED, IN_PROGRESS, UNSURE, SENT_BACK, DONE, ACCEPTED), 0)
    for state in states.values():
        found[state] += 1
    return found
