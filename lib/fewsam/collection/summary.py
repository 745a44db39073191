"""What people and the server are told of a collection: labelled slices and counts, histories, the learning curve."""

from __future__ import annotations

import json
import sqlite3
from typing import Any

from fewsam.collection.codec import class_key, digest
from fewsam.collection.reading import CURRENT, read_image
from fewsam.collection.records import ImageRecord
from fewsam.collection.structures import GONE
from fewsam.collection.task_structures import TaskStructures


class CollectionSummary(TaskStructures):
    """Base of :class:`Collection`: it reads what was stored, and changes nothing."""

    def label_state(self, image_id: str) -> str:
        """Changes when the shots in force of an image change, or what their classes are called; never otherwise."""

        def work(db: sqlite3.Connection) -> str:
            names = self._class_names(db)
            rows = db.execute(
                "SELECT shots.id, slice, drawn FROM shots JOIN images ON images.id = shots.image"
                f" WHERE image_id = ? AND {CURRENT} ORDER BY shots.id",
                (image_id,),
            )

            def said_of(key: str) -> str:
                if key not in names:
                    return f"{GONE}{key}"
                return names[key] if class_key(names[key]) == key else f"{key}{GONE}{names[key]}"

            said = [(number, z, sorted(map(said_of, json.loads(drawn)))) for number, z, drawn in rows]
            return digest(json.dumps(said).encode()).hex()

        return self._database.read(work)

    def fingerprint(self) -> str:
        """What an answer learns from, as one digest: the pixels and masks of the shots in force, and the names."""

        def work(db: sqlite3.Connection) -> str:
            shots = db.execute(
                "SELECT content_hash, split, slice, drawn, known FROM shots JOIN images ON images.id = shots.image"
                f" WHERE {CURRENT} ORDER BY shots.id"
            ).fetchall()
            return digest(json.dumps([shots, list(self._class_names(db).items())]).encode()).hex()

        return self._database.read(work)

    def labelled_by_image(self) -> dict[str, list[int]]:
        """The labelled slices of every image with shots, at once."""
        found: dict[str, tuple[str, int, dict[str, list[int]]]] = {}
        for image_id, content, z, last in self._rows(
            "SELECT image_id, content_hash, slice, MAX(shots.id) FROM shots JOIN images ON images.id = shots.image"
            f" WHERE {CURRENT} GROUP BY image_id, content_hash, slice ORDER BY MIN(images.id), slice"
        ):
            newest, latest, slices = found.get(image_id, (content, 0, {}))
            slices.setdefault(content, []).append(z)
            found[image_id] = (content, last, slices) if last > latest else (newest, latest, slices)
        return {image_id: slices[newest] for image_id, (newest, _, slices) in found.items()}

    def counts(self) -> dict[str, int]:
        """How many shots in force each class is drawn on."""

        def work(db: sqlite3.Connection) -> dict[str, int]:
            names = self._class_names(db)
            counts = dict.fromkeys(names.values(), 0)
            for (drawn,) in db.execute(f"SELECT drawn FROM shots WHERE {CURRENT}"):
                for key in json.loads(drawn):
                    if key in names:  # else deleted since
                        counts[names[key]] += 1
            return counts

        return self._database.read(work)

    def history(self, image_id: str, slice: int) -> list[dict[str, Any]]:
        """Every shot a slice ever had, oldest first; ``shot(entry["shot_id"])`` gives its masks."""
        rows = self._rows(
            "SELECT shots.id, shots.submission, submissions.time, submissions.annotator, submissions.source,"
            " images.content_hash, shots.drawn, shots.known FROM shots JOIN images ON images.id = shots.image"
            " JOIN submissions ON submissions.id = shots.submission"
            " WHERE images.image_id = ? AND shots.slice = ? ORDER BY shots.id",
            image_id,
            int(slice),
        )
        names = self.names
        fields = ("shot_id", "submission", "time", "annotator", "source", "content_hash")
        return [
            dict(zip(fields, row, strict=False))
            | {
                "drawn": [names.shown(key) for key in json.loads(row[6])],
                "known": sorted(names.shown(key) for key in json.loads(row[7])),
            }
            for row in rows
        ]

    def images(self) -> list[ImageRecord]:
        """Images with shots, in the order of their first one."""
        return self._database.read(
            lambda db: [
                read_image(db, number) for (number,) in db.execute("SELECT id FROM images ORDER BY id").fetchall()
            ]
        )

    def learning_curve(self) -> list[dict[str, Any]]:
        """The Dice of what was served against what was then submitted, for each submission after an answer.

        Each entry: ``submission``, ``image``, ``time``, ``model_version``, ``slices`` (those compared: drawn or
        corrected by a person for the first time) and ``dice`` by class.
        """
        rows = self._rows("SELECT id, image_id, time, curve FROM submissions WHERE curve IS NOT NULL ORDER BY id")
        return [{"submission": row[0], "image": row[1], "time": row[2], **json.loads(row[3])} for row in rows]

    def _rows(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        return self._database.read(lambda db: db.execute(sql, values).fetchall())

    def _value(self, sql: str, *values: Any) -> Any:
        rows = self._rows(sql, *values)
        return rows[0][0] if rows else None
