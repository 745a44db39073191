"""Taking in one label: check it, compare it, write it in one transaction."""

from __future__ import annotations

import difflib
import json
import sqlite3
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from fewsam.collection.codec import BlobWriter, class_key, digest, masks_to_marks
from fewsam.collection.database import Database
from fewsam.collection.decide import SPOKEN, Label, NewShot, Plan, ShotState, decide
from fewsam.collection.loop import served_labelmap, served_marks
from fewsam.collection.reading import CURRENT
from fewsam.collection.records import Submission
from fewsam.collection.structures import Names, note
from fewsam.collection.writing import (
    ImageKey,
    add_blobs,
    add_classes,
    add_image,
    add_shot,
    add_submission,
    image_row,
)
from fewsam.core.config import MAX_LABELS, MAX_NAME
from fewsam.core.errors import ConfigError, LabelError, OutdatedError, UnknownClassError
from fewsam.images.preprocess import image_stats

if TYPE_CHECKING:
    from fewsam.images.volume import Volume

ABSENT_CLASSES = ("auto", "complete", "partial")
KNOWN = "known"
BESIDE = "beside"
GROUPS = ("added", "superseded", "cleared", "unchanged", "kept", "untouched")

Masks = dict[str, npt.NDArray[np.bool_]]  # class key -> (Z, H, W)


class _StructuresChangedError(Exception):
    """A structure was renamed, deleted or brought back since the label was looked at: its names mean others now."""


class Ingest:
    """One submission. :meth:`run` is called once."""

    def __init__(
        self,
        database: Database,
        read_names: Callable[[sqlite3.Connection], Names],
        accept_new: bool | str,
        volume: Volume,
        image_id: str,
        *,
        annotator: str,
        source: str,
        also_known_as: str = "",
    ) -> None:
        self._database = database
        self._read_names = read_names
        self._accept_new = accept_new
        self._volume = volume
        self._image_id, self._also_known_as = image_id, also_known_as
        self._annotator = annotator
        self._source = source
        self._shape: tuple[int, int, int] = tuple(int(n) for n in volume.slices.shape[:3])  # type: ignore[assignment]
        self._image: ImageKey = (image_id, volume.content_hash, *self._shape)
        self._masks: Masks = {}
        self._names: dict[str, str] = {}
        self._keys: dict[str, str] = {}  # name as given -> class key
        self._beside: frozenset[int] = frozenset()  # slices whose label in force stays, with this one beside it
        self._over: Mapping[int, int] = {}  # slice -> the submission in force that the label was compared with
        self._left_out: list[str] = []  # names of drawn classes that are not taken
        self._blobs = BlobWriter()
        self._stats_text = ""

    def run(
        self,
        masks: Mapping[str, npt.NDArray[np.bool_]],
        said: str | None,
        default: str,
        complete: frozenset[int],
        by_hand: frozenset[int] = frozenset(),
        beside: frozenset[int] = frozenset(),
        over: Mapping[int, int] = MappingProxyType({}),
    ) -> Submission:
        """Take in the label: ``said`` and ``default`` are the label's and the collection's ``absent_classes``."""
        self._beside, self._over = beside, over
        for value in (said or default, default):
            if value not in ABSENT_CLASSES and value != SPOKEN:
                raise ConfigError(f"absent_classes cannot be {value!r}; choose one of {', '.join(ABSENT_CLASSES)}")
        while True:
            marks = self._checked(self._taken(masks), complete | by_hand)
            label = Label(marks, frozenset(self._masks), self._annotator, complete, said, default, by_hand)
            # Comparing and compressing once ahead keeps the transaction short: others are waiting for it.
            _, plan, _ = self._database.read(lambda db: self._plan(db, label))  # noqa: B023 - called at once
            for shot in plan.shots:
                self._encode(shot)
            if plan.shots:
                self._stats()
            try:
                return self._database.write(lambda db: self._store(db, label))  # noqa: B023 - called at once
            except _StructuresChangedError:
                continue

    def check(self, masks: Mapping[str, npt.NDArray[np.bool_]], complete: frozenset[int]) -> None:
        """Raise what `run` would raise of this label, and store nothing."""
        self._checked(self._taken(masks), complete)
        self._database.read(self._resolve)

    def _taken(self, masks: Mapping[str, npt.NDArray[np.bool_]]) -> Mapping[str, npt.NDArray[np.bool_]]:
        """The masks that count: where known classes alone are taken, without the others if any is left."""
        if self._accept_new != KNOWN:
            return masks
        names = self._database.read(self._read_names)
        known = {name: mask for name, mask in masks.items() if names.called(name) is not None}
        if not any(np.any(mask) for mask in known.values()):
            return masks  # refused, as nothing of it can be taken
        self._left_out = [name.strip() for name in masks if name not in known]
        return known

    def _checked(self, masks: Mapping[str, npt.NDArray[np.bool_]], meant: frozenset[int]) -> list[dict[str, bytes]]:
        """The marks of each slice; those that are ``meant`` say something even where they are empty."""
        self._check(masks, meant)
        marks = masks_to_marks(self._masks, self._shape[0])
        if not any(marks) and not meant:
            raise LabelError(
                f"label of {self._image_id!r} is empty: no class is drawn on any slice; draw one,"
                " or mark the slices complete if there is nothing to draw"
            )
        return marks

    def _check(self, masks: Mapping[str, npt.NDArray[np.bool_]], meant: frozenset[int]) -> None:
        image = repr(self._image_id)
        if not self._image_id:
            raise LabelError("a label needs the id of its image")
        self._masks, self._names = {}, {}
        self._keys = self._database.read(self._read_names).keys_of(masks)
        for name, mask in masks.items():
            key = self._keys[name]
            if not key or len(key) > MAX_NAME or not key.isprintable():
                raise LabelError(
                    f"label of {image} has a class named {name!r}; use 1 to {MAX_NAME} printable characters"
                )
            if mask.shape != self._shape:
                raise LabelError(
                    f"label of {image}: class {name!r} has shape {mask.shape}, the image's slices {self._shape};"
                    " draw on this image, or resample the label onto it"
                )
            mask = np.asarray(mask).astype(np.bool_, copy=False)
            # Two segments of one name are one class: what is drawn in either counts.
            self._masks[key] = self._masks[key] | mask if key in self._masks else mask
            self._names.setdefault(key, name.strip())
        outside = sorted(z for z in meant if not 0 <= z < self._shape[0])
        if outside:
            raise LabelError(f"label of {image}: slices {outside} are named, but it has {self._shape[0]} slices")

    def _resolve(self, db: sqlite3.Connection) -> tuple[dict[str, str], list[str], list[str]]:
        """All classes (key -> name), the keys that this label brings, and its names to ignore."""
        names = self._read_names(db).present
        unknown = [key for key in self._masks if key not in names]
        drawn = [key for key in unknown if self._masks[key].any()]
        if drawn and self._accept_new is not True:
            asked = ", ".join(repr(self._names[key]) for key in drawn)
            near = difflib.get_close_matches(drawn[0], names, n=1)
            hint = f" (did you mean {names[near[0]]!r}?)" if near else ""
            raise UnknownClassError(
                f"label of {self._image_id!r} draws {asked}, which this task does not have{hint};"
                f" it has {', '.join(names.values()) or 'none'}: rename the structure, or let the task take new names"
                " (its setting new_labels: true, or known, which takes the others of a label)"
            )
        if len(names) + len(drawn) > MAX_LABELS:
            raise LabelError(f"label of {self._image_id!r} would make more than {MAX_LABELS} classes; remove some")
        names.update((key, self._names[key]) for key in drawn)
        return names, drawn, [self._names[key] for key in unknown if key not in drawn] + self._left_out

    def _plan(self, db: sqlite3.Connection, label: Label) -> tuple[dict[str, str], Plan, list[int]]:
        names, _, _ = self._resolve(db)
        states: dict[int, list[ShotState]] = {}
        for z, drawn, known, annotator in db.execute(
            "SELECT slice, drawn, known, annotator FROM shots JOIN submissions ON submissions.id = shots.submission"
            " WHERE image = ? ORDER BY shots.id",
            (image_row(db, self._image),),
        ):
            marks = {key: bytes.fromhex(value) for key, value in json.loads(drawn).items()}
            states.setdefault(z, []).append(ShotState(marks, frozenset(json.loads(known)), annotator))
        served = served_marks(db, self._shape, self._volume.content_hash, (self._image_id, self._also_known_as))
        current = {z: history[-1] for z, history in states.items() if not history[-1].withdrawn}
        former = {z: history[:-1] for z, history in states.items()}
        plan = decide(label, names.keys(), current, former, [marks for _, marks in served])
        return names, plan, [number for number, _ in served]

    def _encode(self, shot: NewShot) -> list[bytes]:
        """Digests of the slice's planes; they and the new masks wait in ``_blobs``."""
        for key in shot.drawn.keys() & self._masks.keys():
            self._blobs.mask(self._masks[key][shot.slice])
        return self._blobs.planes(self._volume.raw_slice(shot.slice))

    def _stats(self) -> str:
        if not self._stats_text:
            self._stats_text = json.dumps(image_stats(self._volume))
        return self._stats_text

    def _store(self, db: sqlite3.Connection, label: Label) -> Submission:
        if self._read_names(db).keys_of(self._keys) != self._keys:
            raise _StructuresChangedError
        key = self._digest(label)
        names, new, ignored = self._resolve(db)
        # What draws a structure that is not there (any more) is no repetition: it brings it back.
        if not new and (repeated := self._repeated(db, key, ignored)):
            return repeated
        self._check_over(db)
        _, plan, served = self._plan(db, label)
        aside = self._beside & {*plan.superseded, *plan.cleared}
        outcome: dict[str, Any] = {
            name: tuple(z for z in getattr(plan, name) if z not in aside or name not in ("superseded", "cleared"))
            for name in GROUPS
        }
        if aside:
            outcome[BESIDE] = tuple(sorted(aside))
        base = served[plan.base] if plan.base is not None else None
        curve = self._curve(db, plan, base, served, names)
        number = add_submission(
            db,
            self._image,
            key,
            annotator=self._annotator,
            source=self._source,
            absent_classes=label.absence,
            outcome=outcome,
            curve=curve,
        )
        deleted = self._read_names(db).deleted
        add_classes(db, {class_: names[class_] for class_ in new})
        for class_ in new:
            if class_ in deleted:  # who draws it wants it back
                note(db, class_, names[class_], deleted=False, annotator=self._annotator)
        if plan.shots:
            self._store_shots(db, number, plan, names, aside)
        if base is not None:
            db.execute("UPDATE served SET used = 1 WHERE id = ?", (base,))
        return Submission(
            number,
            self._image_id,
            unknown_names=tuple(ignored),
            new_classes=tuple(names[class_] for class_ in new),
            **outcome,
        )

    def _check_over(self, db: sqlite3.Connection) -> None:
        image = image_row(db, self._image)
        for z, seen in self._over.items():
            row = db.execute(
                f"SELECT submission FROM shots WHERE image = ? AND slice = ? AND {CURRENT}", (image, z)
            ).fetchone()
            if seen != (row[0] if row else 0):
                raise OutdatedError(f"slice {z} of {self._image_id!r} was labelled from elsewhere meanwhile")

    def _digest(self, label: Label) -> bytes:
        """What makes two submissions the same one."""
        absence = label.absence, label.absent_classes is not None
        hand = [sorted(label.by_hand)] if label.by_hand else []
        beside = [BESIDE, sorted(self._beside)] if self._beside else []
        said = json.dumps([*absence, sorted(label.complete), *hand, *beside, sorted(label.spoken), self._shape])
        for drawn in label.marks:
            said += json.dumps({key: value.hex() for key, value in sorted(drawn.items())})
        return digest(f"{self._volume.content_hash} {said}".encode())

    def _repeated(self, db: sqlite3.Connection, key: bytes, ignored: list[str]) -> Submission | None:
        """The receipt of the image's last submission where this label is the same one again."""
        last = db.execute(
            "SELECT id, digest, outcome FROM submissions WHERE image_id = ? ORDER BY id DESC LIMIT 1", (self._image_id,)
        ).fetchone()
        if last is None or last[1] != key:
            return None
        earlier = {name: tuple(slices) for name, slices in json.loads(last[2]).items()}
        shots = sorted(z for name in ("added", "superseded", "cleared", "unchanged") for z in earlier[name])
        return Submission(
            last[0],
            self._image_id,
            unchanged=tuple(shots),
            kept=earlier["kept"],
            untouched=earlier["untouched"],
            beside=earlier.get(BESIDE, ()),
            unknown_names=tuple(ignored),
            duplicate=True,
        )

    def _store_shots(
        self, db: sqlite3.Connection, submission: int, plan: Plan, names: dict[str, str], aside: frozenset[int]
    ) -> None:
        image = image_row(db, self._image)
        if image is None:
            spacing, source = self._volume.geometry.spacing, str(self._volume.source)
            image = add_image(db, self._image, spacing=spacing, stats=self._stats(), source=source)
        for shot in plan.shots:
            add_classes(db, {key: name for key, name in names.items() if key in shot.drawn})
            table = "readings" if shot.slice in aside else "shots"
            add_shot(db, submission, image, shot.slice, self._encode(shot), shot.drawn, shot.known, table)
            db.execute("DELETE FROM reservations WHERE image_id = ? AND slice = ?", (self._image_id, shot.slice))
        add_blobs(db, self._blobs.blobs)

    def _curve(
        self, db: sqlite3.Connection, plan: Plan, base: int | None, served: list[int], names: Mapping[str, str]
    ) -> dict[str, Any] | None:
        """Dice of what was served against this label, on slices that a person drew or corrected for the first time.

        On others the answer was right by definition (a drawn slice is pasted into it) or nobody has said so: slices
        left as they were would raise the curve with the size of the volume. A class that nobody had drawn when the
        answer was made was not answered: it has no Dice.
        """
        number = base if base is not None else next(iter(served), None)
        found = served_labelmap(db, number) if number is not None else None
        if found is None:
            return None
        labelmap, classes, version = found
        slices = plan.added
        dice: dict[str, float] = {}
        for key, mask in self._masks.items():
            value = next((i + 1 for i, name in enumerate(classes) if class_key(name) == key), None)
            drawn = mask[slices]
            if not value or not ((labelmap == value).any() or _was_drawn(db, key)):
                continue
            shown = labelmap[slices] == value
            total = int(shown.sum()) + int(drawn.sum())
            if total:
                dice[names.get(key, self._names[key])] = 2 * int((shown & drawn).sum()) / total
        return {"model_version": version, "slices": slices, "dice": dice} if dice else None


def _was_drawn(db: sqlite3.Connection, key: str) -> bool:
    """Whether any stored shot, of any image, draws a class."""
    text = f"{json.dumps(key)}: "  # as a key of `drawn` is written
    return db.execute("SELECT 1 FROM shots WHERE instr(drawn, ?) LIMIT 1", (text,)).fetchone() is not None
