"""The structures of a task: each has a key of its own for good, a display name that may change, and may be deleted.

The key is what labels are stored under. A change of name adds a row, as a deletion does: nothing that was drawn is
touched, and adding a structure of the name again brings a deleted one back with its labels.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import TypeVar

from fewsam.collection.codec import class_key
from fewsam.core.config import MAX_LABELS, MAX_NAME
from fewsam.core.errors import LabelError

GONE = "\0"  # before what no structure can be called
Seen = TypeVar("Seen")
Read = TypeVar("Read")


@dataclass
class Names:
    """Display names by key, in the order of the structures' labelmap values.

    Attributes:
        present: Those that there are.
        deleted: Those that were deleted.
        former: Every name that a structure has had, as `class_key` -> key.
        order: The keys of all, in the order in which they came: a place there is a structure's for good.
    """

    present: dict[str, str] = field(default_factory=dict)
    deleted: dict[str, str] = field(default_factory=dict)
    former: dict[str, str] = field(default_factory=dict)
    order: tuple[str, ...] = ()

    def lasting(self) -> dict[int, str]:
        """The names by labelmap value for a file that says none; "" for the values that a deletion has moved.

        Such a file may have been made before the deletion: its values would be taken for the structures that
        followed.
        """
        places = {key: place for place, key in enumerate(self.order)}
        moved = min((places[key] for key in self.deleted), default=len(places))
        return {value: name if places[key] < moved else "" for value, (key, name) in enumerate(self.present.items(), 1)}

    def called(self, name: str) -> str | None:
        """Key of the structure with this name now, or, where none has it, of the present one that once had it."""
        wanted = class_key(name)
        for key, shown in self.present.items():
            if class_key(shown) == wanted:
                return key
        former = self.former.get(wanted)
        return former if former in self.present else None

    def deleted_as(self, name: str) -> str | None:
        """Key of the structure with this name that was deleted last."""
        return next((key for key, shown in reversed(self.deleted.items()) if class_key(shown) == class_key(name)), None)

    def key_of(self, name: str) -> str:
        """The key under which a label of this name is stored, also of a structure that is not there yet."""
        return self.called(name) or self._other(name)

    def keys_of(self, given: Iterable[str]) -> dict[str, str]:
        """`key_of` each of the names that stand in one label or file.

        A former name beside the present one of its structure means another structure.
        """
        given = list(given)
        keys = {name: self.key_of(name) for name in given}
        exact = {key for name, key in keys.items() if class_key(self.present.get(key, GONE)) == class_key(name)}
        return {
            name: key if key not in exact or class_key(self.present[key]) == class_key(name) else self._other(name)
            for name, key in keys.items()
        }

    def distinct(self, key: str) -> str:
        """The display name; of a structure that was deleted and whose name another one has now, a name of none."""
        shown = self.shown(key)
        if key not in self.present and any(class_key(shown) == class_key(name) for name in self.present.values()):
            return GONE + key
        return shown

    def shown(self, key: str) -> str:
        """Display name of a key, or of a name of before there were keys."""
        return self.present.get(key) or self.deleted.get(key) or key

    def _other(self, name: str) -> str:
        return self.deleted_as(name) or self._new_key(name)

    def _new_key(self, name: str) -> str:
        key, number = class_key(name), 2
        while key in self.present or key in self.deleted:  # the key of one that has another name now
            key, number = f"{class_key(name)}~{number}", number + 1
        return key


def steadily(look: Callable[[], Seen], read: Callable[[], Read]) -> tuple[Seen, Read]:
    """What ``look`` says of the structures and what ``read`` gives, of one moment.

    A structure may be renamed or deleted meanwhile, for seconds where labelled slices are encoded: all is read again
    then.
    """
    while True:
        before, found = look(), read()
        if look() == before:
            return before, found


def read_names(db: sqlite3.Connection, labels: Sequence[str]) -> Names:
    """The structures: the settings' ``labels`` first, then those drawn or added beyond them."""
    first = {class_key(name): name for name in labels}
    stored = db.execute("SELECT key, name FROM classes ORDER BY id").fetchall()
    for key, name in stored:
        first.setdefault(key, name)
    names = Names(dict(first), {}, {class_key(name): key for key, name in first.items()})
    events = _events(db)
    for key, name, deleted in events:
        names.former[class_key(name)] = key
        names.present[key] = name
        names.deleted.pop(key, None)
        if deleted:
            names.deleted[key] = name
    # The settings may call a structure by the name that it got since, under which nothing is stored.
    unused = set(first) - {key for key, *_ in (*stored, *events)}
    taken = {class_key(name) for key, name in names.present.items() if key not in unused}
    left_out = {key for key in unused if key in taken} | set(names.deleted)
    names.order = tuple(dict.fromkeys((*first, *names.present)))
    names.present = {key: names.present[key] for key in names.order if key not in left_out}
    return names


def add(db: sqlite3.Connection, names: Names, name: str, annotator: str = "") -> str:
    """Make a structure, or bring back the deleted one of this name; its key.

    Raises:
        LabelError: no usable name, or too many structures.
    """
    name = checked(name)
    there = next((key for key, shown in names.present.items() if class_key(shown) == class_key(name)), None)
    if there is not None:
        return there
    if len(names.present) >= MAX_LABELS:
        raise LabelError(f"there are {MAX_LABELS} structures already; delete one first")
    back = names.deleted_as(name)
    if back is not None:
        note(db, back, name, deleted=False, annotator=annotator)
        return back
    key = names._new_key(name)
    db.execute("INSERT OR IGNORE INTO classes (key, name) VALUES (?, ?)", (key, name))
    return key


def rename(db: sqlite3.Connection, names: Names, key: str, name: str, annotator: str = "") -> None:
    """Give a structure another name; its labels stay its own.

    Raises:
        LabelError: there is no such structure, another one has this name, or it is no usable name.
    """
    name = checked(name)
    if key not in names.present:
        raise LabelError(f"there is no structure {names.shown(key)!r} any more; reload the page")
    other = next((k for k, shown in names.present.items() if class_key(shown) == class_key(name)), key)
    if other != key:
        raise LabelError(f"another structure is called {names.present[other]!r}; choose another name")
    if names.present[key] != name:
        note(db, key, name, deleted=False, annotator=annotator)


def delete(db: sqlite3.Connection, names: Names, key: str, annotator: str = "") -> None:
    """Take a structure out of the task; its labels stay in the history, and one of its name brings them back."""
    if key in names.present:
        note(db, key, names.present[key], deleted=True, annotator=annotator)


def note(db: sqlite3.Connection, key: str, name: str, *, deleted: bool, annotator: str) -> None:
    now = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
    db.execute(
        "INSERT INTO structures (key, name, deleted, annotator, time) VALUES (?, ?, ?, ?, ?)",
        (key, name, int(deleted), annotator, now),
    )


def checked(name: str) -> str:
    """A name as it is shown.

    Raises:
        LabelError: it is empty, too long, or holds what cannot be printed.
    """
    name = name.strip()
    if not name or len(name) > MAX_NAME or not name.isprintable():
        raise LabelError(f"a structure cannot be called {name[:80]!r}; use 1 to {MAX_NAME} printable characters")
    return name


def _events(db: sqlite3.Connection) -> list[tuple[str, str, int]]:
    try:
        return db.execute("SELECT key, name, deleted FROM structures ORDER BY id").fetchall()
    except sqlite3.OperationalError as error:
        if "no such table" in str(error):  # of before there was one, and a full disk lets none be made
            return []
        raise
