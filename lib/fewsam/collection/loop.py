"""What the annotation loop remembers about an image beside the drawings: served labelmaps, scores, reservations."""

from __future__ import annotations

import json
import sqlite3
import time
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from fewsam.collection.codec import Marks, digest, labelmap_to_marks
from fewsam.collection.database import Database
from fewsam.collection.reading import CURRENT
from fewsam.core.errors import LabelError

# A shot of this slice, on these pixels.
_LABELLED_NOW = (
    f"SELECT 1 FROM shots JOIN images ON images.id = shots.image WHERE {CURRENT} AND image_id = ? AND slice = ?"
    " AND content_hash = ?"
)
# A shot of this slice, on the pixels that were labelled last under this id.
_LABELLED = (
    f"{_LABELLED_NOW[:-1]}"
    "(SELECT content_hash FROM shots JOIN images ON images.id = shots.image WHERE image_id = ?"
    " ORDER BY shots.id DESC LIMIT 1)"
)
SERVED_KEPT = 16  # per image: several viewers may each still show another one

# What is recorded of a slice that was not segmented yet, where others of its image were.
NO_SCORE: dict[str, list[float]] = {"uncertainty": [], "foreground": []}


class LoopState:
    """Base of :class:`Collection`: the part that models and the server write."""

    def __init__(self, database: Database) -> None:
        self._database = database

    # -- what was served: tells a person's edits from the model's own output

    def remember_served(
        self, image_id: str, labelmap: npt.NDArray[np.uint8], classes: Sequence[str], model_version: int
    ) -> None:
        """Keep a labelmap (Z, H, W) that was sent to a viewer; value ``i + 1`` means ``classes[i]``, 0 background.

        The last few of each image are kept, since several people may work from different ones.

        Raises:
            LabelError: not a 3D ``uint8`` array, or a value without a class.
            StorageError: it cannot be written.
        """
        if labelmap.dtype != np.uint8 or labelmap.ndim != 3:
            raise LabelError(
                f"served labelmap of {image_id!r} must be uint8 (Z, H, W), got {labelmap.dtype} {labelmap.shape}"
            )
        if labelmap.size and int(labelmap.max()) > len(classes):
            raise LabelError(
                f"served labelmap of {image_id!r} holds value {labelmap.max()}, but only {len(classes)} classes"
            )
        plain = np.ascontiguousarray(labelmap).tobytes()
        marks = [{key: mark.hex() for key, mark in drawn.items()} for drawn in labelmap_to_marks(labelmap, classes)]
        row = (image_id, json.dumps(labelmap.shape), json.dumps(list(classes)), int(model_version), digest(plain))
        packed = (zlib.compress(json.dumps(marks).encode(), 1), zlib.compress(plain, 1))

        def work(db: sqlite3.Connection) -> None:
            columns = "image_id, shape, classes, model_version, digest"
            last = db.execute(
                f"SELECT {columns} FROM served WHERE image_id = ? ORDER BY id DESC", (image_id,)
            ).fetchone()
            if last == row:
                return
            db.execute(f"INSERT INTO served ({columns}, marks, labelmap) VALUES (?, ?, ?, ?, ?, ?, ?)", (*row, *packed))
            old = "image_id = ? AND id <= (SELECT id FROM served WHERE image_id = ? ORDER BY id DESC LIMIT 1 OFFSET ?)"
            values = (image_id, image_id, SERVED_KEPT)
            # One that a label was edited from may be edited further: its marks stay.
            db.execute(f"DELETE FROM served WHERE used = 0 AND {old}", values)
            db.execute(f"UPDATE served SET labelmap = NULL WHERE {old}", values)

        self._database.write(work, precious=False)

    def served(self, image_id: str) -> tuple[npt.NDArray[np.uint8], tuple[str, ...], int] | None:
        """The latest served labelmap (Z, H, W), its classes and the model version; None if there is none."""
        row = self._database.read(
            lambda db: db.execute(
                "SELECT labelmap, shape, classes, model_version FROM served"
                " WHERE image_id = ? ORDER BY id DESC LIMIT 1",
                (image_id,),
            ).fetchone()
        )
        return None if row is None else (_labelmap(row[0], row[1]), tuple(json.loads(row[2])), row[3])

    def served_images(self) -> list[str]:
        """Images of which something was served, in the order in which that was last."""
        rows = self._database.read(
            lambda db: db.execute("SELECT image_id FROM served GROUP BY image_id ORDER BY MAX(id)").fetchall()
        )
        return [image_id for (image_id,) in rows]

    # -- scores of unlabelled slices, for the acquisition

    def record_scores(self, image_id: str, scores: Sequence[Mapping[str, Any]], model_version: int) -> None:
        """Keep what the model said of each slice, e.g. ``{"uncertainty": (C,), "foreground": (C,)}``; arrays become
        lists. The newest replaces the former."""
        data = zlib.compress(json.dumps([dict(score) for score in scores], default=_plain).encode(), 1)
        self._database.write(
            lambda db: db.execute("REPLACE INTO scores VALUES (?, ?, ?)", (image_id, int(model_version), data)),
            precious=False,
        )

    def scores(self, image_id: str) -> tuple[list[dict[str, Any]], int] | None:
        """The last recorded scores, one dict per slice, and the model version; None if there are none."""
        row = self._database.read(
            lambda db: db.execute("SELECT data, model_version FROM scores WHERE image_id = ?", (image_id,)).fetchone()
        )
        return None if row is None else (json.loads(zlib.decompress(row[0])), row[1])

    def all_scores(self) -> dict[str, list[dict[str, Any]]]:
        """The last recorded scores of every image that has some."""
        rows = self._database.read(lambda db: db.execute("SELECT image_id, data FROM scores").fetchall())
        return {image_id: json.loads(zlib.decompress(data)) for image_id, data in rows}

    # -- reservations: two people are never sent to the same slice

    def reserve(self, image_id: str, slice: int, client: str, seconds: float, content_hash: str = "") -> bool:
        """Hold a slice for a client, who gives up the one it held; False where another client holds this one, or it
        has been labelled meanwhile.

        Holding again what one holds extends it. A slice that becomes a shot is released.

        Args:
            content_hash: Of the image as it is now; without it, the version that was labelled last counts.
        """

        def work(db: sqlite3.Connection) -> bool:
            now = _expire(db)
            of = (content_hash,) if content_hash else (image_id,)
            if db.execute(_LABELLED_NOW if content_hash else _LABELLED, (image_id, int(slice), *of)).fetchone():
                return False
            holder = db.execute(
                "SELECT client FROM reservations WHERE image_id = ? AND slice = ?", (image_id, int(slice))
            ).fetchone()
            if holder and holder[0] != client:
                return False
            db.execute("DELETE FROM reservations WHERE client = ?", (client,))
            row = (image_id, int(slice), client, now + seconds, float(seconds))
            db.execute("INSERT INTO reservations VALUES (?, ?, ?, ?, ?)", row)
            return True

        return self._database.write(work, precious=False)

    def reservations(self) -> list[dict[str, Any]]:
        """Slices held at the moment: image_id, slice, client, seconds left."""

        def work(db: sqlite3.Connection) -> list[dict[str, Any]]:
            now = time.time()
            rows = db.execute("SELECT image_id, slice, client, expires, seconds FROM reservations ORDER BY rowid")
            left = [(row[:3], min(row[3] - now, row[4])) for row in rows]
            return [
                {"image_id": row[0], "slice": row[1], "client": row[2], "seconds": seconds}
                for row, seconds in left
                if seconds > 0
            ]

        return self._database.read(work)


def served_marks(
    db: sqlite3.Connection, shape: tuple[int, int, int], content_hash: str, names: Sequence[str]
) -> list[tuple[int, Marks]]:
    """Row id and marks of the labelmaps served for an image of this shape, newest first.

    Args:
        content_hash: The image's pixels: what was served under any name by which these were labelled counts.
        names: Other names under which the image may have been segmented.
    """
    of_names = ", ".join("?" * len(names))
    rows = db.execute(
        f"SELECT id, marks FROM served WHERE shape = ? AND (image_id IN ({of_names})"
        " OR image_id IN (SELECT image_id FROM images WHERE content_hash = ?)) ORDER BY id DESC",
        (json.dumps(shape), *names, content_hash),
    )
    return [
        (number, [{k: bytes.fromhex(v) for k, v in drawn.items()} for drawn in json.loads(zlib.decompress(data))])
        for number, data in rows
    ]


def served_labelmap(db: sqlite3.Connection, number: int) -> tuple[npt.NDArray[np.uint8], list[str], int] | None:
    """Labelmap, classes and model version of a row; None where only its marks are kept."""
    row = db.execute("SELECT labelmap, shape, classes, model_version FROM served WHERE id = ?", (number,)).fetchone()
    return None if row is None or row[0] is None else (_labelmap(row[0], row[1]), json.loads(row[2]), row[3])


def _labelmap(data: bytes, shape: str) -> npt.NDArray[np.uint8]:
    return np.frombuffer(zlib.decompress(data), np.uint8).reshape(json.loads(shape))


def _expire(db: sqlite3.Connection) -> float:
    """Drop what has run out; returns now. After the clock was set back nobody holds longer than they asked for."""
    now = time.time()
    db.execute("DELETE FROM reservations WHERE expires <= ?", (now,))
    db.execute("UPDATE reservations SET expires = ? + seconds WHERE expires > ? + seconds", (now, now))
    return now


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    raise TypeError(f"scores hold {type(value).__name__}, which is neither a number, a string nor an array")
