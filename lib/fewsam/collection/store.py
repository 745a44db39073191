"""The few-shot collection: labels come in, shots go out, nothing a person drew goes away."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from fewsam.collection.database import Database
from fewsam.collection.ingest import Ingest
from fewsam.collection.reading import CURRENT, read_readings, read_shot
from fewsam.collection.records import Place, Shot, Submission
from fewsam.collection.summary import CollectionSummary
from fewsam.collection.worklist import Worklist
from fewsam.collection.writing import withdraw
from fewsam.core.errors import StorageError

if TYPE_CHECKING:
    from fewsam.images.volume import Volume

log = logging.getLogger(__name__)

NAMED = 3  # of the labelled slices that cannot be read, in a message


class Collection(CollectionSummary):
    """Labelled slices in ``folder``, for several threads and processes at once.

    Args:
        folder: made if missing.
        labels: display names of the task's classes, in the order of their labelmap values.
        accept_new: whether a submitted label may bring a class that is not among them; "known": what it brings of
            these is left out, and the others are taken.
        absent_classes: what a class that is not drawn on a labelled slice means, unless a submission says:
            "complete" background, "partial" nothing, "auto" background if that class is drawn anywhere in the
            submission or on an earlier shot of the image.

    Raises:
        StorageError: the folder cannot be used. A damaged file is no error: it is set aside and rebuilt.
    """

    def __init__(
        self,
        folder: Path,
        labels: Sequence[str] = (),
        accept_new: bool | str = False,
        absent_classes: str = "auto",
    ) -> None:
        super().__init__(Database(Path(folder)), labels)
        self._accept_new = accept_new
        self._absent_classes = absent_classes

    @property
    def worklist(self) -> Worklist:
        """Which images are done, unsure or reviewed."""
        return Worklist(self._database)

    def readings(self, image_id: str, content_hash: str) -> list[Shot]:
        """The second readings of an image's slices, oldest first; their ids are not those of shots."""
        return self._database.read(lambda db: read_readings(db, image_id, content_hash, self._class_names(db)))

    @property
    def notices(self) -> tuple[str, ...]:
        """What had to be repaired, for people; usually empty."""
        return tuple(self._database.notices)

    @property
    def folder(self) -> Path:
        return self._database.path.parent

    @property
    def version(self) -> int:
        """Grows with each stored submission, and with each change of the structures."""
        return int(
            self._value(
                "SELECT (SELECT COALESCE(MAX(id), 0) FROM submissions) + (SELECT COALESCE(MAX(id), 0) FROM structures)"
            )
        )

    def withdraw(self, image_id: str, slice: int, shot_id: int, annotator: str = "") -> bool:
        """Take back what was said of a slice: it counts as not labelled, and its label stays in the history.

        Args:
            shot_id: the shot in force as the caller knows it.

        Returns:
            False where another shot is in force by now; nothing is stored then.
        """
        return self._database.write(lambda db: withdraw(db, image_id, slice, shot_id, annotator))

    def submit(
        self,
        volume: Volume,
        image_id: str,
        masks: Mapping[str, npt.NDArray[np.bool_]],
        *,
        annotator: str = "",
        source: str = "",
        absent_classes: str | None = None,
        complete_slices: set[int] | None = None,
        by_hand: Iterable[int] | None = None,
        beside: Iterable[int] | None = None,
        over: Mapping[int, int] | None = None,
        also_known_as: str = "",
    ) -> Submission:
        """Take in a label; when this returns, it is on the disk.

        Slices become shots where a person drew: not where the label repeats what was served, and not where it is
        equal to the current shot. Beyond that:

        - **A class that is no key of** ``masks`` **is not spoken of**: on a slice drawn anew its earlier mask is
          carried over. A key with an empty mask says that the class is nowhere.
        - **An empty slice says nothing** and its shot is *kept*, unless ``complete_slices`` or ``by_hand`` names it,
          or the label was edited from a served labelmap that showed this very shot or prediction: then it was erased,
          which gives a shot without masks on which the erased classes are background.
        - **An old copy does not win**: a slice equal to an earlier served labelmap, or to a drawing that another
          annotator has replaced since, leaves the current shot *kept*.
        - What was once said of a slice (``known``) is not taken back by a later drawing of it.
        - The very label that was submitted last for this image is a duplicate: nothing is stored.

        Args:
            volume: the image; its pixels are stored with each shot.
            image_id: its id in the datastore.
            masks: class name -> bool (Z, H, W); may overlap. Names match whatever their case.
            annotator: who drew.
            source: where the label came from, e.g. "rest:final".
            absent_classes: "auto" | "complete" | "partial" for this label, or "spoken": the keys of ``masks`` are
                absent where they are not drawn, and nothing is said of others. None: as set for the collection. What
                is said with the label counts for its unchanged slices too.
            complete_slices: slices on which every class that is not drawn is absent, even if nothing is.
            by_hand: slices that a person drew or confirmed: they are meant as they are, also where they equal what
                was served, or a drawing of before, or are empty of what the label speaks of. Where any are given, all
                others come along as they were shown, and nothing new is read from what is drawn on them.
            beside: slices whose label in force is to stay: what this label says otherwise of them is a second
                reading (`readings`), from which nothing is learnt.
            over: of some slices the submission that was in force when the label was compared with it, 0 for none.
            also_known_as: another name under which the image may have been segmented before it was labelled.

        Raises:
            OutdatedError: another submission is in force of a slice of ``over``; nothing is stored.
            UnknownClassError: a drawn class is not of the task and new ones are not accepted; nothing is stored.
            LabelError: nothing drawn, or a shape or slice number that does not fit the image.
            StorageError: it could not be written; nothing is stored.
        """
        ingest = Ingest(
            self._database,
            self._names,
            self._accept_new,
            volume,
            image_id,
            annotator=annotator,
            source=source,
            also_known_as=also_known_as,
        )
        complete, hand = frozenset(complete_slices or ()), frozenset(by_hand or ())
        return ingest.run(
            masks, absent_classes, self._absent_classes, complete, hand, frozenset(beside or ()), over or {}
        )

    def check(
        self,
        volume: Volume,
        image_id: str,
        masks: Mapping[str, npt.NDArray[np.bool_]],
        complete_slices: set[int] | None = None,
    ) -> None:
        """Raise what `submit` would raise of this label, and store nothing: for several labels, all or none."""
        Ingest(self._database, self._names, self._accept_new, volume, image_id, annotator="", source="").check(
            masks, frozenset(complete_slices or ())
        )

    def shots(
        self, image_id: str | None = None, split: str | None = None, content_hash: str | None = None
    ) -> list[Shot]:
        """The shots in force, oldest first.

        Args:
            image_id: of this image only. An image whose pixels were replaced has the shots of both; give
                ``content_hash`` as well for what fits the pixels at hand (pasting back).
            split: "train" or "val" only.
            content_hash: drawn on these pixels only, under whichever image id.
        """
        return list(self.iter_shots(image_id, split, content_hash))

    def iter_shots(
        self, image_id: str | None = None, split: str | None = None, content_hash: str | None = None
    ) -> Iterator[Shot]:
        """The same one by one, with one shot's pixels in memory at a time."""
        asked = {"images.image_id": image_id, "images.split": split, "images.content_hash": content_hash}
        given = {column: value for column, value in asked.items() if value is not None}
        where = " AND ".join([CURRENT, *(f"{column} = ?" for column in given)])
        numbers = self._rows(
            f"SELECT shots.id FROM shots JOIN images ON images.id = shots.image WHERE {where} ORDER BY shots.id",
            *given.values(),
        )
        for (number,) in numbers:
            try:
                yield self.shot(number)
            except StorageError as error:  # one damaged drawing must not stop the work on all others
                log.error("shot %d is left out: %s", number, error)

    def unread(self, shots: Iterable[Shot]) -> list[tuple[str, int]]:
        """(image id, slice) of the shots in force that ``shots``, read before, lacks: those that could not be read."""
        read = {shot.shot_id for shot in shots}
        newest = max(read, default=0)
        rows = self._rows(
            "SELECT shots.id, image_id, slice FROM shots JOIN images ON images.id = shots.image"
            f" WHERE {CURRENT} ORDER BY shots.id"
        )
        # what is newer than all that was read may have been drawn since
        lacking = [row for row in rows if row[0] not in read and (row[0] < newest or not self._readable(row[0]))]
        return [(image_id, z) for _, image_id, z in lacking]

    def _readable(self, shot_id: int) -> bool:
        try:
            self.shot(shot_id)
        except StorageError:
            return False
        return True

    def shot(self, shot_id: int) -> Shot:
        """Any shot, also a superseded one of the history.

        Raises:
            KeyError: there is none of this id.
            StorageError: its stored bytes are damaged.
        """

        return self._database.read(lambda db: read_shot(db, shot_id, self._class_names(db)))

    def places(self, shot_ids: Iterable[int]) -> set[Place]:
        """Where shots were drawn, those that were superseded since included; ids that are unknown have no place."""
        asked = set(shot_ids)
        rows = self._rows(
            "SELECT shots.id, content_hash, slice FROM shots JOIN images ON images.id = shots.image ORDER BY shots.id"
        )
        return {(content_hash, z) for number, content_hash, z in rows if number in asked}

    def labelled_slices(self, image_id: str, content_hash: str | None = None) -> list[int]:
        """Slices with a shot; without ``content_hash`` those of the pixels labelled last under this id."""
        if content_hash is None:
            content_hash = self._value(
                "SELECT content_hash FROM images JOIN shots ON shots.image = images.id"
                " WHERE image_id = ? ORDER BY shots.id DESC LIMIT 1",
                image_id,
            )
        rows = self._rows(
            "SELECT DISTINCT slice FROM shots JOIN images ON images.id = shots.image"
            f" WHERE {CURRENT} AND image_id = ? AND content_hash = ? ORDER BY slice",
            image_id,
            content_hash,
        )
        return [z for (z,) in rows]

    def close(self) -> None:
        """Do nothing: no file is open between calls. Callers close all stores alike."""


def unread_notes(collection: Collection, shots: Sequence[Shot]) -> list[str]:
    """What to tell a person where ``shots``, all that could be read, lack labelled slices that are in force."""
    unread = collection.unread(shots)
    if not unread:
        return []
    named = [f"slice {z} of {image_id}" for image_id, z in unread[:NAMED]]
    more = [f"{len(unread) - NAMED} more"] if len(unread) > NAMED else []
    return [f"labelled slices that cannot be read are left out: {', '.join(named + more)} (the log says why)"]
