"""What the collection hands out: images, shots and the receipt of a submission."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

RawSlice = npt.NDArray[Any]  # (3, H, W), the image's own dtype
Mask = npt.NDArray[np.bool_]  # (H, W) of a slice, (Z, H, W) of a volume
Place = tuple[str, int]  # the content hash of an image, and a slice of it


@dataclass(frozen=True)
class ImageRecord:
    """An image as it was when slices of it were labelled.

    An image id whose pixels change later gets a second record: its earlier shots keep theirs, with the
    ``content_hash`` they were drawn on.
    """

    image_id: str
    content_hash: str
    shape: tuple[int, int, int]  # (Z, H, W)
    spacing: tuple[float, float, float]  # mm, (z, row, col)
    stats: dict[str, Any]  # preprocess.image_stats of the volume
    source: str
    split: str  # "train" | "val": drawn once, never moved


@dataclass(frozen=True)
class Shot:
    """One labelled slice. ``masks`` holds the classes drawn here; a class in ``known`` without a mask is
    background on this slice; about any other class this slice says nothing (ignored, never background)."""

    shot_id: int
    image_id: str
    slice: int
    pixels: RawSlice  # (3, H, W)
    masks: dict[str, Mask]  # non-empty bool (H, W); classes may overlap
    known: frozenset[str]
    annotator: str
    time: str  # UTC, ISO 8601; for people: order is that of ``shot_id``
    source: str
    submission: int
    split: str
    image: ImageRecord

    @property
    def place(self) -> Place:
        """Where it was drawn: the same for a slice and its correction."""
        return self.image.content_hash, self.slice

    def called_as(self, names: Mapping[str, str]) -> Shot:
        """The same with its classes by other names, without those that ``names`` lacks."""
        masks = {names[name]: mask for name, mask in self.masks.items() if name in names}
        return replace(self, masks=masks, known=frozenset(names[name] for name in self.known if name in names))


def one_of_each_place(shots: Iterable[Shot]) -> list[Shot]:
    """Shots of which no two are of the same pixels, as those of one image under two names are.

    The newer one says what is there, the older one adds the classes that the newer one does not know. Otherwise such a
    slice would count twice, and one of the two would be a support of the other when it is held out.
    """
    found: dict[Place, Shot] = {}
    for shot in shots:
        older = found.get(shot.place)
        if older is not None:
            shot, older = max(shot, older, key=_number), min(shot, older, key=_number)
            new = {name: mask for name, mask in older.masks.items() if name not in shot.known | shot.masks.keys()}
            shot = replace(shot, masks={**shot.masks, **new}, known=shot.known | older.known)
        found[shot.place] = shot
    return list(found.values())


def _number(shot: Shot) -> int:
    return shot.shot_id


@dataclass(frozen=True)
class Submission:
    """Receipt of a submitted label: what became of each slice. A slice stands in one list at most."""

    submission: int
    image_id: str
    added: tuple[int, ...] = ()  # now shots (drawn, corrected, or a prediction erased here)
    superseded: tuple[int, ...] = ()  # shots replaced by a newer drawing; the old one stays in the history
    cleared: tuple[int, ...] = ()  # shots replaced by "nothing of this is here"
    unchanged: tuple[int, ...] = ()  # equal to their current shot, or not among the slices drawn by hand
    kept: tuple[int, ...] = ()  # shots this label is silent about or has an outdated copy of: left as they are
    untouched: tuple[int, ...] = ()  # the model's own output, as served: not shots
    beside: tuple[int, ...] = ()  # kept beside the label in force, as somebody asked
    unknown_names: tuple[str, ...] = ()  # names that the task does not have and that were not taken
    new_classes: tuple[str, ...] = ()  # accepted with this label
    duplicate: bool = False  # the same label again: nothing stored, ``submission`` is the earlier one

    @property
    def changed(self) -> bool:
        """Whether there is anything new to learn from."""
        return bool(self.added or self.superseded or self.cleared)
