"""Which labelled slices a training holds back to be measured on, and which it learns from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence, Set
from dataclasses import dataclass

from fewsam.collection import Place, Shot
from fewsam.fewshot.training.constants import VALIDATION


@dataclass(frozen=True)
class Split:
    """Indices of slices to learn from first, of slices held out, and of slices to learn from in the last part.

    ``final`` is empty where the slices held out are enough to choose weights by: there is no last part then.
    """

    train: list[int]
    val: list[int]
    final: list[int]


def split_shots(shots: Sequence[Shot], learnt: Set[Place] | None) -> Split:
    """Slices of validation images are measured on; without any, one slice.

    Labelled slices are few, so that those measured on are learnt from too, in the last part of a training. Only from
    `min_val_images` validation images on are they kept apart for good. What was learnt from before then says nothing
    any more of how a decoder does on other slices, and is learnt from further.

    Args:
        shots: The labelled slices in force.
        learnt: Where the decoder that the training goes on from has learnt; None where it begins anew.
    """
    everyone = list(range(len(shots)))
    validation = [i for i in everyone if shots[i].split == "val"]
    fresh = without_the_last_of_a_class(shots, [i for i in validation if shots[i].place not in (learnt or ())])
    # A slice on which nothing is drawn tells right from wrong of no class.
    if not 0 < len(fresh) < len(everyone) or not any(shots[i].masks for i in fresh):
        held = _one(shots, learnt)
        return Split([i for i in everyone if i not in held], held, everyone if held else [])
    rest = [i for i in everyone if i not in fresh]
    if _images(shots, validation) < VALIDATION.min_val_images:
        return Split(rest, fresh, everyone)
    return Split(rest, fresh, [] if _images(shots, fresh) >= VALIDATION.min_val_images else rest)


def without_the_last_of_a_class(shots: Sequence[Shot], held: Sequence[int]) -> list[int]:
    """Those slices of ``held`` whose classes are all drawn on slices that are not held back.

    Else nothing would be learnt of a class, and its own drawing would be the only prompt that it is found by.
    """
    inside, kept = set(held), []
    drawn = Counter(name for i, shot in enumerate(shots) if i not in inside for name in shot.masks)
    for index in held:
        if all(drawn[name] for name in shots[index].masks):
            kept.append(index)
        else:
            drawn.update(shots[index].masks.keys())
    return kept


def _one(shots: Sequence[Shot], learnt: Set[Place] | None) -> list[int]:
    """The one slice to hold out where no validation image can be measured on; none where too few are left."""
    if len(shots) < VALIDATION.min_shots_to_hold_out:
        return []
    drawn = Counter(name for shot in shots for name in shot.masks)
    spare = [i for i, shot in enumerate(shots) if shot.masks and all(drawn[name] > 1 for name in shot.masks)]
    new = [i for i in spare if shots[i].place not in (learnt or ())] or spare
    if not new:
        return []
    # The newest slice, or on a first training the middle one: the ends of a volume are its odd ones.
    return [_middle(shots, new) if learnt is None else max(new, key=lambda i: shots[i].shot_id)]


def _middle(shots: Sequence[Shot], among: Sequence[int]) -> int:
    by_place = sorted(among, key=lambda i: (shots[i].image_id, shots[i].slice))
    return by_place[len(by_place) // 2]


def _images(shots: Sequence[Shot], among: Sequence[int]) -> int:
    return len({shots[i].image_id for i in among})
