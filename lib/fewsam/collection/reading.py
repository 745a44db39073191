"""Rows of the collection as the records it hands out."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping

import numpy as np

from fewsam.collection.codec import open_blob, unpack_mask, unpack_plane
from fewsam.collection.records import ImageRecord, Shot
from fewsam.core.errors import StorageError

# A shot that says nothing of any class: somebody has taken the label of this slice back.
WITHDRAWN = "(shots.drawn = '{}' AND shots.known = '[]')"
# The shot in force is the last one of its slice: superseding is adding a row, so order never hangs on a clock.
CURRENT = (
    "shots.id = (SELECT MAX(s.id) FROM shots s WHERE s.image = shots.image AND s.slice = shots.slice)"
    f" AND NOT {WITHDRAWN}"
)


def read_image(db: sqlite3.Connection, number: int) -> ImageRecord:
    row = db.execute(
        "SELECT image_id, content_hash, depth, height, width, spacing, stats, source, split FROM images WHERE id = ?",
        (number,),
    ).fetchone()
    z, height, width = json.loads(row[5])
    return ImageRecord(
        image_id=row[0],
        content_hash=row[1],
        shape=(row[2], row[3], row[4]),
        spacing=(z, height, width),
        stats=json.loads(row[6]),
        source=row[7],
        split=row[8],
    )


def read_readings(db: sqlite3.Connection, image_id: str, content_hash: str, names: Mapping[str, str]) -> list[Shot]:
    """The labels that are kept beside those in force, of an image's pixels, oldest first."""
    try:
        rows = db.execute(
            "SELECT readings.id FROM readings JOIN images ON images.id = readings.image"
            " WHERE image_id = ? AND content_hash = ? ORDER BY readings.id",
            (image_id, content_hash),
        ).fetchall()
    except sqlite3.OperationalError as error:
        if "no such table" in str(error):  # of before there was one, and a full disk lets none be made
            return []
        raise
    return [read_shot(db, number, names, "readings") for (number,) in rows]


def read_shot(db: sqlite3.Connection, shot_id: int, names: Mapping[str, str], table: str = "shots") -> Shot:
    """A shot with its pixels and masks; ``names`` are class key -> display name.

    Raises:
        KeyError: there is none of this id.
        StorageError: its stored bytes are damaged.
    """
    row = db.execute(
        "SELECT slice, planes, drawn, known, submission, annotator, time, submissions.source, image"
        f" FROM {table} JOIN submissions ON submissions.id = submission WHERE {table}.id = ?",
        (shot_id,),
    ).fetchone()
    if row is None:
        raise KeyError(f"the collection has no shot {shot_id}")
    z, planes, drawn, known, submission, annotator, time, source, image_row = row
    image = read_image(db, image_row)
    return Shot(
        shot_id=shot_id,
        image_id=image.image_id,
        slice=z,
        pixels=np.stack([unpack_plane(_blob(db, key)) for key in json.loads(planes)]),
        masks={
            names[key]: unpack_mask(_blob(db, value), image.shape[1:])
            for key, value in json.loads(drawn).items()
            if key in names  # else of a structure that was deleted since
        },
        known=frozenset(names[key] for key in json.loads(known) if key in names),
        annotator=annotator,
        time=time,
        source=source,
        submission=submission,
        split=image.split,
        image=image,
    )


def _blob(db: sqlite3.Connection, key: str) -> bytes:
    row = db.execute("SELECT data FROM blobs WHERE digest = ?", (bytes.fromhex(key),)).fetchone()
    if row is None:
        raise StorageError(f"blob {key} of the collection is missing; its file needs a repair or a backup")
    return open_blob(bytes.fromhex(key), row[0])
