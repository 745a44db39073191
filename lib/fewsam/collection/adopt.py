"""Shots of another installation, from a task file, become shots here."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterable

from fewsam.collection.codec import BlobWriter, class_key, digest
from fewsam.collection.database import Database
from fewsam.collection.records import Shot
from fewsam.collection.writing import (
    ImageKey,
    add_blobs,
    add_classes,
    add_image,
    add_shot,
    add_submission,
    image_row,
)


def adopt(
    database: Database,
    class_names: Callable[[sqlite3.Connection], dict[str, str]],
    shots: Iterable[Shot],
    source: str,
) -> list[tuple[str, int]]:
    """Add shots where none is in force; returns their (image id, slice). All of them or, on an error, none."""
    blobs = BlobWriter()
    groups: dict[tuple[ImageKey, str], list[tuple[Shot, list[bytes], dict[str, bytes]]]] = {}
    for shot in shots:
        key: ImageKey = (shot.image_id, shot.image.content_hash, *shot.image.shape)
        drawn = {class_key(name): blobs.mask(mask) for name, mask in shot.masks.items()}
        groups.setdefault((key, shot.annotator), []).append((shot, blobs.planes(shot.pixels), drawn))

    def work(db: sqlite3.Connection) -> list[tuple[str, int]]:
        adopted: list[tuple[str, int]] = []
        for (key, annotator), group in groups.items():
            image = image_row(db, key)
            taken = {z for (z,) in db.execute("SELECT slice FROM shots WHERE image = ?", (image,))}
            new = {shot.slice: (shot, planes, drawn) for shot, planes, drawn in group if shot.slice not in taken}
            if not new:
                continue
            first, names = group[0][0].image, class_names(db)
            if image is None:
                stats = json.dumps(first.stats)
                image = add_image(db, key, spacing=first.spacing, stats=stats, source=first.source, split=first.split)
            said = json.dumps({z: sorted((k, v.hex()) for k, v in entry[2].items()) for z, entry in new.items()})
            outcome = {"added": sorted(new)}
            submission = add_submission(
                db, key, digest(said.encode()), annotator=annotator, source=source, policy="auto", outcome=outcome
            )
            for z, (shot, planes, drawn) in new.items():
                add_classes(db, {class_key(name): names.get(class_key(name), name) for name in shot.masks})
                add_shot(db, submission, image, z, planes, drawn, {class_key(name) for name in shot.known})
                adopted.append((shot.image_id, z))
        add_blobs(db, blobs.blobs)
        return adopted

    return database.write(work)
