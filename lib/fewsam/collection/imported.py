"""Labelled slices that came with task files: they prompt the decoder as one's own do, but are stored apart.

Each imported file lies unchanged in ``imported/`` of the task folder. Its slices support predictions at once, without
their pixels; where the file brings pixels, training learns from them as well.
"""

from __future__ import annotations

import json
import logging
import shutil
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from fewsam.collection import Collection, ImageRecord, Place, Shot, structures
from fewsam.collection.structures import Names
from fewsam.collection.taskfile import TaskFile, read_task
from fewsam.core.atomic import replacing, write_atomically
from fewsam.core.errors import CheckpointError
from fewsam.core.files import sha256_of

logger = logging.getLogger(__name__)

IMPORTED = "imported"
ENDING = ".fewsam"


class TaskCollection(Collection):
    """The collection of a task folder, with what was imported into it."""

    def imported_files(self) -> list[Path]:
        """Imported task files, oldest first."""
        paths = (self.folder / IMPORTED).glob(f"*{ENDING}")
        return sorted(paths, key=lambda path: (path.stat().st_mtime_ns, path.name))

    def fingerprint(self) -> str:
        names = [path.name for path in self.imported_files()]  # which are of what the files hold
        return " ".join([super().fingerprint(), *names])

    @property
    def version(self) -> int:
        """Grows with each stored submission and each imported file."""
        return super().version + len(self.imported_files())

    def supports(self) -> list[TaskFile]:
        """Imported task files that can be read, with the names that their structures have now; others are logged."""
        names = self.names
        return [
            replace(task, meta=task.meta.model_copy(update={"classes": _present_names(path, task, names)}))
            for path, task in self._tasks()
        ]

    def shots(
        self, image_id: str | None = None, split: str | None = None, content_hash: str | None = None
    ) -> list[Shot]:
        """The shots in force, oldest first; those of imported files that bring pixels come before all."""
        shots: list[Shot] = []
        if image_id is None and content_hash is None and split in (None, "train"):
            names = self.names
            shots = [shot for path, task in self._tasks() for shot in _shots_of(path, task, names)]
        return shots + super().shots(image_id, split, content_hash)

    def places(self, shot_ids: Iterable[int]) -> set[Place]:
        """Where shots were drawn, imported ones included."""
        asked = set(shot_ids)
        imported = self.shots(split="train") if any(number < 0 for number in asked) else []
        return super().places(asked) | {shot.place for shot in imported if shot.shot_id in asked}

    def add_classes(self, names: Sequence[str]) -> dict[str, str]:
        """Make classes known before anybody draws them; those of the task keep their values. The key of each name."""

        def work(db: sqlite3.Connection) -> dict[str, str]:
            known = self._names(db)
            keys = known.keys_of(names)
            for name, key in keys.items():
                if key not in known.present:
                    keys[name] = structures.add(db, known, name)
                    known = self._names(db)
            return keys

        return self._database.write(work)

    def keep_imported(self, source: Path) -> tuple[bool, dict[str, str]]:
        """Copy a task file into the folder, and make its classes known.

        Beside it stands which structures its names mean. Later one may be renamed, and another one get its name.

        Returns:
            False where the file is there already; and the key of the structure that each of its names means.

        Raises:
            CheckpointError: it is damaged, or no task file.
            StorageError: the disk is full.
        """
        target = self.folder / IMPORTED / f"{sha256_of(source)[:24]}{ENDING}"
        classes = read_task(source).meta.classes
        if target.exists() and set(meant := _meant(target)) >= set(classes):
            self._bring_back(meant.values())
            return False, meant
        meant = self.add_classes(classes)
        target.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(_keys_file(target), json.dumps(meant).encode())
        if target.exists():
            return False, meant
        with source.open("rb") as given, replacing(target) as file:
            shutil.copyfileobj(given, file)
        return True, meant

    def _bring_back(self, keys: Iterable[str]) -> None:
        """Bring deleted structures back, but for those whose name another one has now."""

        def work(db: sqlite3.Connection) -> None:
            for key in keys:
                known = self._names(db)
                if key in known.deleted and known.called(known.deleted[key]) is None:
                    structures.note(db, key, known.deleted[key], deleted=False, annotator="")

        self._database.write(work)

    def _tasks(self) -> list[tuple[Path, TaskFile]]:
        found = []
        for path in self.imported_files():
            try:
                found.append((path, read_task(path)))
            except CheckpointError as error:
                logger.error("an imported task is left out: %s", error)
        return found


def _present_names(path: Path, task: TaskFile, names: Names) -> tuple[str, ...]:
    """What the structures of a task file are called here now: one that was renamed since is still the same one.

    One that was deleted since has no name.
    """
    keys = {**names.keys_of(task.meta.classes), **_meant(path)}
    return tuple(names.present.get(keys[name], "") for name in task.meta.classes)


def _meant(path: Path) -> dict[str, str]:
    """Which structures the names of an imported file meant; nothing where an earlier version imported it."""
    try:
        return {str(name): str(key) for name, key in json.loads(_keys_file(path).read_bytes()).items()}
    except (OSError, ValueError, AttributeError):
        return {}


def _keys_file(path: Path) -> Path:
    """Beside a task file: which structures its names meant when it was imported, name -> key."""
    return path.with_suffix(".structures.json")


def _shots_of(path: Path, task: TaskFile, names: Names) -> list[Shot]:
    """The slices of a task file that have pixels, as shots. Their ids are negative; the collection's are positive."""
    shots = []
    local = _present_names(path, task, names)
    first = int(path.stem[:8], 16) * 10_000
    for n, pixels in sorted(task.pixels.items()):
        meta = task.meta.shots[n]
        support = int(np.flatnonzero(task.shot == n)[0]) if (task.shot == n).any() else -1
        known = task.known[support][1:] if support >= 0 else task.drawn[n].any(axis=(1, 2))
        image_id = f"imported:{meta.image[:32]}"
        image = ImageRecord(image_id, meta.image, meta.shape, meta.spacing, dict(meta.stats), task.meta.fewsam, "train")
        shots.append(
            Shot(
                shot_id=-(first + n + 1),
                image_id=image_id,
                slice=meta.slice,
                pixels=pixels,
                masks={name: mask for name, mask in zip(local, task.drawn[n], strict=True) if name and mask.any()},
                known=frozenset(name for name, flag in zip(local, known, strict=True) if name and flag),
                annotator=meta.annotator,
                time=meta.time,
                source="import",
                submission=0,
                split="train",
                image=image,
            )
        )
    return shots
