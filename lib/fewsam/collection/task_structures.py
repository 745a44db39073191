"""The structures of a collection: listing and changing them, and translating served labelmaps to their keys."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from fewsam.collection import structures
from fewsam.collection.database import Database
from fewsam.collection.loop import LoopState


class TaskStructures(LoopState):
    """Base of :class:`Collection`: the task's structures.

    Args:
        labels: display names of the task's classes, in the order of their labelmap values.
    """

    def __init__(self, database: Database, labels: Sequence[str]) -> None:
        super().__init__(database)
        self._labels = tuple(name.strip() for name in labels)

    @property
    def classes(self) -> tuple[str, ...]:
        """Display names; a class's value in labelmaps is its position + 1. The settings' labels come first, then
        what was drawn beyond them, in the order of first drawing."""
        return tuple(self._database.read(self._class_names).values())

    def _class_names(self, db: sqlite3.Connection) -> dict[str, str]:
        return self._names(db).present

    def _names(self, db: sqlite3.Connection) -> structures.Names:
        return structures.read_names(db, self._labels)

    @property
    def names(self) -> structures.Names:
        """The structures by key, those that were deleted too."""
        return self._database.read(self._names)

    def add_structure(self, name: str, annotator: str = "") -> str:
        """Make a structure before anybody draws it, or bring a deleted one of this name back; its key.

        Raises:
            LabelError: no usable name, or too many structures.
        """
        return self._database.write(lambda db: structures.add(db, self._names(db), name, annotator))

    def rename_structure(self, key: str, name: str, annotator: str = "") -> None:
        """Give a structure another name; its labels, and its value in labelmaps, stay.

        Raises:
            LabelError: there is no such structure, or another one has this name.
        """
        self._database.write(lambda db: structures.rename(db, self._names(db), key, name, annotator))

    def delete_structure(self, key: str, annotator: str = "") -> None:
        """Take a structure out of the task; its labels stay in the history."""
        self._database.write(lambda db: structures.delete(db, self._names(db), key, annotator))

    # -- what was served speaks of structures by key, so that it fits after one got another name

    def remember_served(
        self,
        image_id: str,
        labelmap: npt.NDArray[np.uint8],
        classes: Sequence[str],
        model_version: int,
        keys: Sequence[str] = (),
    ) -> None:
        """As in `LoopState`; ``keys`` are those of ``classes``, by default of the structures that are called so now."""
        names = self.names
        keys = keys or [names.key_of(name) for name in classes]
        super().remember_served(image_id, labelmap, keys, model_version)

    def served(self, image_id: str) -> tuple[npt.NDArray[np.uint8], tuple[str, ...], int] | None:
        found = super().served(image_id)
        if found is None:
            return None
        labelmap, keys, version = found
        names = self.names
        known = {*names.present, *names.deleted}  # of before there were keys, names were remembered
        return labelmap, tuple(names.distinct(key if key in known else names.key_of(key)) for key in keys), version
