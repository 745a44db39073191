"""The rows that a submission adds; all within the caller's transaction."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection as Items
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from typing import Any

# What makes an image row: id, pixels, and the grid they are cut into.
ImageKey = tuple[str, str, int, int, int]  # image_id, content_hash, Z, H, W
IMAGE_KEY = "image_id, content_hash, depth, height, width"


def add_submission(
    db: sqlite3.Connection,
    image: ImageKey,
    digest: bytes,
    *,
    annotator: str,
    source: str,
    absent_classes: str,
    outcome: Mapping[str, Sequence[int]],
    curve: Mapping[str, Any] | None = None,
) -> int:
    now = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
    curve_text = json.dumps(curve) if curve else None
    return _added(
        db.execute(
            "INSERT INTO submissions (image_id, content_hash, digest, annotator, time, source, policy, outcome, curve)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (*image[:2], digest, annotator, now, source, absent_classes, json.dumps(outcome), curve_text),
        )
    )


def image_row(db: sqlite3.Connection, image: ImageKey) -> int | None:
    row = db.execute(f"SELECT id FROM images WHERE ({IMAGE_KEY}) = (?, ?, ?, ?, ?)", image).fetchone()
    return int(row[0]) if row else None


def add_image(
    db: sqlite3.Connection,
    image: ImageKey,
    *,
    spacing: Sequence[float],
    stats: str,
    source: str,
) -> int:
    """Add a row for a new image, and draw whether it is for training or for validation."""
    values = (*image, json.dumps([float(mm) for mm in spacing]), stats, source, _split(db, image))
    return _added(
        db.execute(
            f"INSERT INTO images ({IMAGE_KEY}, spacing, stats, source, split) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            values,
        )
    )


def add_classes(db: sqlite3.Connection, names: Mapping[str, str]) -> None:
    """Register drawn classes (key -> display name) for good, in this order."""
    db.executemany("INSERT OR IGNORE INTO classes (key, name) VALUES (?, ?)", names.items())


def add_shot(
    db: sqlite3.Connection,
    submission: int,
    image: int,
    slice: int,
    planes: Sequence[bytes],
    drawn: Mapping[str, bytes],
    known: Items[str],
    table: str = "shots",
) -> None:
    """``drawn``: class key -> mask digest; ``known``: class keys. The blobs are added by :func:`add_blobs`.

    ``table`` is ``readings`` for a label that is kept beside the one in force.
    """
    db.execute(
        f"INSERT INTO {table} (submission, image, slice, planes, drawn, known) VALUES (?, ?, ?, ?, ?, ?)",
        (
            submission,
            image,
            slice,
            json.dumps([key.hex() for key in planes]),
            json.dumps({key: value.hex() for key, value in sorted(drawn.items())}),
            json.dumps(sorted(known)),
        ),
    )


def add_blobs(db: sqlite3.Connection, blobs: Mapping[bytes, bytes]) -> None:
    db.executemany("INSERT OR IGNORE INTO blobs (digest, data) VALUES (?, ?)", blobs.items())


def withdraw(db: sqlite3.Connection, image_id: str, slice: int, shot_id: int, annotator: str) -> bool:
    """A shot that says nothing, over the shot in force; False where that is another one by now."""
    row = db.execute(
        "SELECT image, planes, depth, height, width, content_hash FROM shots JOIN images ON images.id = shots.image"
        " WHERE shots.id = ? AND slice = ? AND image_id = ?"
        " AND shots.id = (SELECT MAX(s.id) FROM shots s WHERE s.image = shots.image AND s.slice = shots.slice)",
        (shot_id, slice, image_id),
    ).fetchone()
    if row is None:
        return False
    image, planes, depth, height, width, content = row
    key: ImageKey = (image_id, content, depth, height, width)
    outcome = {"withdrawn": [slice]}
    number = add_submission(
        db, key, b"", annotator=annotator, source="withdrawn", absent_classes="auto", outcome=outcome
    )
    add_shot(db, number, image, slice, [bytes.fromhex(plane) for plane in json.loads(planes)], {}, ())
    return True


def _split(db: sqlite3.Connection, image: ImageKey) -> str:
    """Train or validation, drawn once for an image. The same pixels, or the same id, are the same image."""
    for column, value in (("content_hash", image[1]), ("image_id", image[0])):
        row = db.execute(f"SELECT split FROM images WHERE {column} = ? ORDER BY id LIMIT 1", (value,)).fetchone()
        if row:
            return str(row[0])
    # A handful of images is needed for learning first; then every fourth measures it.
    count = db.execute("SELECT COUNT(DISTINCT image_id) FROM images").fetchone()[0]
    return "val" if count % 4 == 3 else "train"


def _added(cursor: sqlite3.Cursor) -> int:
    assert cursor.lastrowid is not None
    return cursor.lastrowid
