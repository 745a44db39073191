"""What the panel in OHIF sends with a label: the labelmap, what its values mean, and what is said of which slices.

The panel numbers structures and slices in its own way; here they become the collection's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from fewsam.collection import Shot
from fewsam.collection.structures import Names
from fewsam.core.errors import LabelError
from fewsam.images.volume import Volume
from fewsam.server.errors import RequestError
from fewsam.server.routes.panel_image import to_k


@dataclass(frozen=True)
class SentSlices:
    """What the panel says of slices, which are canonical.

    Attributes:
        drawn: Slice that was drawn by hand -> the submission it was drawn over, 0 for none.
        replaced: Slices whose newer label may be replaced.
        emptied: Slices of which a person said that nothing is on them.
        beside: Slices whose label in force stays, with this one beside it.
        silent: Slice -> ids of structures that came back after it was drawn on: it does not say where they are not.
        asked: Slice -> the submission that a person was asked about; without it they agree to any.
    """

    drawn: dict[int, int]
    replaced: set[int]
    emptied: set[int]
    beside: set[int]
    silent: dict[int, set[str]]
    asked: dict[int, int]


@dataclass(frozen=True)
class SentLabel:
    """What the panel sent.

    Attributes:
        values: The labelmap, (Z, H, W) uint8.
        names: Value -> name of its structure, as the collection numbers them.
        spoken: Names of the structures that the client has; of others it says nothing.
        slices: What it says of slices.
        present: Names of the task's structures by id.
    """

    values: np.ndarray
    names: dict[int, str]
    spoken: frozenset[str]
    slices: SentSlices
    present: Mapping[str, str]

    def newer(self, shots: dict[int, Shot], shown: np.ndarray) -> list[int]:
        """Drawn slices that somebody else submitted meanwhile, otherwise than they are here."""
        found = [z for z, seen in self.slices.drawn.items() if z in shots and shots[z].submission != seen]
        return [z for z in found if not np.array_equal(self.values[z], shown[z])]

    def agreed(self, z: int, shot: Shot) -> bool:
        """Whether the person has said what to do about this newer label of a slice."""
        slices = self.slices
        return z in slices.replaced | slices.beside and slices.asked.get(z, shot.submission) == shot.submission

    def erased(self, shots: dict[int, Shot], shown: np.ndarray) -> frozenset[int]:
        """Drawn slices on which nothing is left, or of which a person said that nothing is there."""
        empty = [z for z in self.slices.drawn if not self.values[z].any()]
        return frozenset(z for z in empty if shown[z].any() or z in shots or z in self.slices.emptied)

    def knows(self, classes: Sequence[str]) -> bool:
        """Whether the client has every structure of the task."""
        return {name.casefold() for name in classes} <= {name.casefold() for name in self.spoken}

    def meant(self, erased: frozenset[int]) -> frozenset[int]:
        """The drawn slices that say something: those with a structure on them, and the erased ones."""
        return frozenset(z for z in self.slices.drawn if z in erased or self.values[z].any())

    def unsaid(self, z: int) -> set[str]:
        """Structures that the client does not know, or did not when it drew on the slice."""
        silent = {self.present.get(key) for key in self.slices.silent.get(z, ())}
        return {name for name in self.names.values() if name not in self.spoken or name in silent}

    def over(self, shown: np.ndarray, shots: dict[int, Shot]) -> np.ndarray:
        """The drawn slices over what is shown: on other slices the panel may show what is older.

        What a person has drawn of an unsaid structure stays where nothing was drawn over it.
        """
        result = shown.copy()
        for z in self.slices.drawn:
            result[z] = self.values[z]
            unsaid, masks = self.unsaid(z), shots[z].masks if z in shots else {}
            for value, name in self.names.items():
                if name in unsaid and name in masks:
                    result[z][masks[name] & (shown[z] == value) & (self.values[z] == 0)] = value
        return result


def names_of(label_info: list[dict[str, Any]], names: Names) -> dict[int, str]:
    """The present name of the structure that each value means: by its identity, or by name where none is given.

    Raises:
        RequestError: the list is no such list.
        LabelError: a structure was deleted since.
    """
    found = {}
    try:
        for item in label_info:
            key = item.get("id")
            if key in names.deleted:
                taken = names.distinct(key) != (name := names.deleted[key])
                back = "Rename the structure that has its name now, and add one" if taken else "Add a structure"
                raise LabelError(
                    f"{name} was deleted since you drew it, and nothing was stored. {back} of this name to bring it "
                    "back, then submit."
                )
            if not 1 <= (value := int(item["idx"])) <= 255:
                raise ValueError(value)
            known = key if key in names.present else names.called(str(item["name"]))
            found[value] = names.present[known] if known else str(item["name"])
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError):
        raise RequestError('params["label_info"] must be a list of {"id": ..., "name": ..., "idx": 1 to 255}') from None
    return found


def as_numbered(
    values: np.ndarray, names: dict[int, str], classes: tuple[str, ...]
) -> tuple[np.ndarray, dict[int, str]]:
    """The labelmap with the collection's values, as what is shown has them, and all of their names.

    Raises:
        LabelError: a value has no name.
    """
    if nameless := sorted(set(np.unique(values).tolist()) - set(names) - {0}):
        listed = ", ".join(map(str, nameless))
        raise LabelError(f'values {listed} have no name in params["label_info"]: give each structure a name')
    numbers = {name.casefold(): number for number, name in enumerate(classes, 1)}
    known, table = dict(enumerate(classes, 1)), np.zeros(256, np.uint8)
    for value, name in names.items():
        number = numbers.setdefault(name.casefold(), len(numbers) + 1)
        known.setdefault(number, name)
        table[value] = number
    return table[values], known


def slices_of(raw: dict[str, Any], volume: Volume) -> SentSlices:
    """``drawn``, ``replace``, ``empty``, ``beside``, ``silent`` and ``asked`` by canonical slice."""
    try:
        drawn, asked = (
            {int(k): int(seen) for k, seen in dict(raw.get(name) or {}).items()} for name in ("drawn", "asked")
        )
        others = ("replace", "empty", "beside")
        replaced, emptied, beside = ([int(k) for k in raw.get(name) or ()] for name in others)
        silent = {int(k): set(map(str, ids)) for k, ids in dict(raw.get("silent") or {}).items()}
    except (TypeError, ValueError, OverflowError):  # JSON, as Python reads it, knows Infinity
        raise RequestError(
            'params["drawn"] and "asked" must be {slice: submission}, "silent" {slice: [id]}, and "replace", "empty" '
            'and "beside" lists of slices'
        ) from None
    outside = sorted(k for k in (*drawn, *replaced, *emptied, *beside, *silent, *asked) if not 0 <= k < volume.depth)
    if outside:
        raise RequestError(f"slices {outside} are not among the image's slices 0..{volume.depth - 1}")
    canonical = partial(to_k, volume.geometry)
    return SentSlices(
        {canonical(k): seen for k, seen in drawn.items()},
        set(map(canonical, replaced)),
        set(map(canonical, emptied)),
        set(map(canonical, beside)),
        {canonical(k): ids for k, ids in silent.items()},
        {canonical(k): submission for k, submission in asked.items()},
    )


def labelmap_of(data: bytes, volume: Volume) -> np.ndarray:
    """(Z, H, W) uint8."""
    shape = volume.geometry.shape
    if len(data) != int(np.prod(shape)):
        raise LabelError(
            f"{len(data)} bytes do not fit the image's grid {shape}: the series has changed; reload the page"
        )
    return volume.geometry.to_slices(np.frombuffer(data, np.uint8).reshape(shape, order="F"))
