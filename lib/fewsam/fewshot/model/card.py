"""The card of a trained decoder: what it is, and which structures its classes are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pydantic import TypeAdapter

from fewsam.collection.structures import GONE, Names

OLD_KEYS = {
    "newness": "undertrained",
    "slots": "class_ids",
}  # of cards written by earlier versions, and what they are called now
FORMAT = 1


@dataclass(frozen=True)
class ModelCard:
    """What a trained decoder is, beside its weights.

    Attributes:
        classes: Class names in the order of its logits, without background.
        class_ids: All classes the task has had, in the order of their ids (1, 2, ...) in the decoder.
        keys: Keys of ``class_ids`` in the task's collection: a class may be renamed, and another one get its name.
            Empty in cards of earlier versions and in files for other tasks, which go by the names.
        encoder: Fingerprint of the encoder whose embeddings it was trained on.
        detail_size: Side D of its detail input.
        switches: Constructor arguments of the decoder.
        shots: Ids of the shots it was trained on, those of the decoders that it went on from included.
        metric: Mean Dice on slices it was not trained on; None where there were none.
        measured_on: Ids of those slices.
        largest_component: Classes for which the largest component alone did better, slice by slice.
        steps: Training steps behind it, earlier runs included.
        undertrained: How much the decoder has still to learn of the slices it learnt from, 0 to 1
            (`validation.measure_undertrained`): the more, the larger is the share of the training-free prior.
        unlabelled_slices: Slices that nobody labelled and it learnt from.
    """

    classes: tuple[str, ...]
    class_ids: tuple[str, ...]
    encoder: str
    detail_size: int
    switches: dict[str, Any]
    shots: tuple[int, ...] = ()
    metric: float | None = None
    measured_on: tuple[int, ...] = ()
    largest_component: tuple[str, ...] = ()
    steps: int = 0
    undertrained: float = 0.0
    unlabelled_slices: int = 0
    seconds: float = 0.0
    trained_at: str = ""
    format: int = FORMAT
    keys: tuple[str, ...] = ()

    def called_as(self, names: Names, meant: Mapping[str, str] | None = None) -> ModelCard:
        """The card with its classes called as they are now, and with their keys.

        One that is there no longer is called as none can be.

        Args:
            meant: The keys of some of its names, for a card without keys.
        """
        keys = self.keys or self._keys_by_name(names, meant or {})
        called = {
            name: names.present.get(key, GONE + key.lstrip(GONE))
            for name, key in zip(self.class_ids, keys, strict=True)
        }
        classes, ids, largest = (
            tuple(called.get(name, name) for name in some)
            for some in (self.classes, self.class_ids, self.largest_component)
        )
        return replace(self, classes=classes, class_ids=ids, largest_component=largest, keys=keys)

    def _keys_by_name(self, names: Names, meant: Mapping[str, str]) -> tuple[str, ...]:
        """A key of its own for each class: of two that have become one by a change of name, it is that trained last."""
        keys = {**names.keys_of(self.class_ids), **{name: key for name, key in meant.items() if name in self.class_ids}}
        taken: set[str] = set()
        for name in sorted(self.class_ids, key=lambda name: name not in self.classes):
            keys[name] = keys[name] if keys[name] not in taken else GONE + name
            taken.add(keys[name])
        return tuple(keys[name] for name in self.class_ids)


def read_card(values: Any) -> ModelCard:
    """A card from its plain values, as this version or an earlier one wrote them.

    Raises:
        ValueError: a value of the wrong kind (pydantic's ValidationError is one).
    """
    if isinstance(values, dict):
        values = {OLD_KEYS.get(name, name): value for name, value in values.items()}
    card = TypeAdapter(ModelCard).validate_python(values)
    return replace(card, undertrained=min(1.0, max(0.0, card.undertrained)))


def id_order(card: ModelCard | None, classes: Sequence[str]) -> tuple[str, ...]:
    """Classes in the order of their ids (1, 2, ...): those of ``card`` keep theirs, further ``classes`` follow."""
    before = card.class_ids if card else ()
    return (*before, *(name for name in classes if name not in before))


def class_ids(order: Sequence[str], classes: Sequence[str]) -> list[int]:
    """Ids of background (0) and of ``classes``, by `id_order`'s ``order``."""
    return [0, *(order.index(name) + 1 for name in classes)]
