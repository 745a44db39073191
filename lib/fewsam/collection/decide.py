"""Decides what a submitted label says about each slice, by comparing it with what was served and what was drawn."""

from __future__ import annotations

from collections.abc import Collection as Items
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from fewsam.collection.codec import Marks

SPOKEN = "spoken"  # as `Label.absent_classes`: those that the label speaks of are absent where it does not draw them


@dataclass(frozen=True)
class ShotState:
    """A stored shot, as far as comparing needs it. ``drawn``: class key -> mask digest."""

    drawn: Mapping[str, bytes]
    known: frozenset[str]
    annotator: str

    @property
    def withdrawn(self) -> bool:
        """Whether it only takes back what was said of the slice before."""
        return not self.drawn and not self.known


@dataclass(frozen=True)
class NewShot:
    slice: int
    drawn: dict[str, bytes]
    known: frozenset[str]


@dataclass
class Plan:
    """What becomes of each slice, the shots to write, and the served labelmap that the label was edited from."""

    shots: list[NewShot] = field(default_factory=list)
    added: list[int] = field(default_factory=list)
    superseded: list[int] = field(default_factory=list)
    cleared: list[int] = field(default_factory=list)
    unchanged: list[int] = field(default_factory=list)
    kept: list[int] = field(default_factory=list)
    untouched: list[int] = field(default_factory=list)
    base: int | None = None  # index into ``served``


@dataclass(frozen=True)
class Label:
    """A submitted label. ``spoken``: the class keys it names, drawn or not; it is silent about all others.

    What is said with the label of absent classes counts for its unchanged slices too; the collection's default counts
    for new and changed slices alone.
    """

    marks: Marks
    spoken: frozenset[str]
    annotator: str
    complete: frozenset[int]  # slices declared complete
    absent_classes: str | None = None  # complete | partial | auto | spoken, where it was said with this label
    default_absent_classes: str = "auto"  # as set for the collection
    by_hand: frozenset[int] = frozenset()  # slices that a person drew or confirmed: no guess whether they are meant

    def draws(self, z: int) -> bool:
        """Whether the label may say something new of a slice: where it tells which are by hand, of those alone."""
        return not self.by_hand or z in self.by_hand

    @property
    def absence(self) -> str:
        """What it means that a class is not drawn on a slice of the label."""
        return self.absent_classes or self.default_absent_classes


def decide(
    label: Label,
    classes: Items[str],
    current: Mapping[int, ShotState],
    former: Mapping[int, Sequence[ShotState]],
    served: Sequence[Marks],
) -> Plan:
    """Sort the slices of ``label`` into a :class:`Plan`.

    Args:
        label: what was submitted.
        classes: keys of every class of the task.
        current: the shot in force, by slice.
        former: superseded shots, by slice.
        served: labelmaps served for this image, newest first.
    """
    return _Sorting(label, classes, current, former, served).run()


class _Sorting:
    """One call of `decide`: the slices of a label, each of which is put into one group of the plan."""

    def __init__(
        self,
        label: Label,
        classes: Items[str],
        current: Mapping[int, ShotState],
        former: Mapping[int, Sequence[ShotState]],
        served: Sequence[Marks],
    ) -> None:
        self.label, self.classes = label, classes
        self.current, self.former, self.served = current, former, served
        self.plan = Plan(base=_started_from(label, current, served))
        self.base: Marks = served[self.plan.base] if self.plan.base is not None else [{} for _ in label.marks]
        self.drawn_anywhere = {key for drawn in label.marks for key in drawn}
        self.drawn_anywhere.update(key for state in current.values() for key in state.drawn)

    def run(self) -> Plan:
        for z, drawn in enumerate(self.label.marks):
            state = self.current.get(z)
            if z in self.label.complete:
                self._complete(z, drawn, state)
            elif state is None:
                self._without_shot(z, drawn)
            else:
                self._with_shot(z, drawn, state)
        return self.plan

    def _complete(self, z: int, drawn: dict[str, bytes], state: ShotState | None) -> None:
        """A slice that was declared complete becomes a shot of exactly what is drawn on it.

        A structure that is deleted stays on it: nobody who draws sees it, and it comes back with its labels.
        """
        deleted = {key: mark for key, mark in state.drawn.items() if key not in self.classes} if state else {}
        whole = {**deleted, **drawn}
        if state and dict(state.drawn) == whole and state.known.issuperset(self.classes):
            self.plan.unchanged.append(z)
        elif state is None:
            self._write(z, whole, {}, self.plan.added)
        else:
            self._write(z, whole, state.drawn, self.plan.superseded if drawn or not state.drawn else self.plan.cleared)

    def _without_shot(self, z: int, drawn: dict[str, bytes]) -> None:
        """A slice without a shot becomes one if a person drew or erased something there."""
        predicted = _spoken(self.base[z], self.label)
        if not drawn:
            if z in self.label.by_hand:  # a person says that nothing of what the label speaks of is here
                self._write(z, {}, dict.fromkeys(self.label.spoken, b""), self.plan.added)
            elif predicted and self.label.draws(z):  # it started from this prediction: its absence is a correction
                self._write(z, {}, predicted, self.plan.added)
        elif not self.label.draws(z) or (z not in self.label.by_hand and self._was_served(z, drawn)):
            self.plan.untouched.append(z)
        elif z not in self.label.by_hand and any(_spoken(old.drawn, self.label) == drawn for old in self._former(z)):
            self.plan.kept.append(z)  # an old copy of a label that was taken back since
        else:
            self._write(z, drawn, predicted, self.plan.added)

    def _with_shot(self, z: int, drawn: dict[str, bytes], state: ShotState) -> None:
        """A slice with a shot gets a new one if the label is a newer drawing; an old copy or silence leaves it."""
        label, plan, old = self.label, self.plan, _spoken(state.drawn, self.label)
        unspoken = {key: mark for key, mark in state.drawn.items() if key not in label.spoken}
        if drawn == old:
            if label.absent_classes == "complete" and not state.known.issuperset(self.classes):
                self._write(z, {**unspoken, **drawn}, {}, plan.superseded)
            else:
                plan.unchanged.append(z)
        elif not label.draws(z):  # as it was shown: the shot, and what was served of the classes that it does not know
            plan.unchanged.append(z)
        elif not drawn:
            # Erased by a person, or shown with the prediction that this label started from.
            if z in label.by_hand or _spoken(self.base[z], label) == old:
                self._write(z, unspoken, old, plan.cleared)
            else:
                plan.kept.append(z)
        elif z not in label.by_hand and _outdated(z, drawn, label, state, self._former(z), self.served):
            plan.kept.append(z)
        else:
            self._write(z, {**unspoken, **drawn}, old, plan.superseded)

    def _write(self, z: int, drawn: Mapping[str, bytes], before: Mapping[str, bytes], group: list[int]) -> None:
        """Plan a shot of ``drawn``; the classes of ``before`` that are gone from the slice are known to be absent."""
        state = self.current.get(z)
        # Whoever erased a class here said that it is not here; and what was said of this slice earlier still holds.
        # Of a structure that is deleted nobody can say anything: it comes back with its labels.
        said = {key for key in self._spoken_of(z).union(before) if key in self.classes}
        known = said.union(drawn, state.known if state else ())
        self.plan.shots.append(NewShot(z, dict(drawn), frozenset(known)))
        group.append(z)

    def _was_served(self, z: int, drawn: dict[str, bytes]) -> bool:
        return any(_spoken(marks[z], self.label) == drawn for marks in self.served)

    def _former(self, z: int) -> Sequence[ShotState]:
        return self.former.get(z, ())

    def _spoken_of(self, z: int) -> set[str]:
        """The classes whose absence from the slice is knowledge, as the label or the collection has it."""
        if z in self.label.complete or self.label.absence == "complete":
            return set(self.classes)
        if self.label.absence == SPOKEN:
            return set(self.label.spoken)
        return set() if self.label.absence == "partial" else self.drawn_anywhere


def _spoken(drawn: Mapping[str, bytes], label: Label) -> dict[str, bytes]:
    return {key: mark for key, mark in drawn.items() if key in label.spoken}


def _started_from(label: Label, current: Mapping[int, ShotState], served: Sequence[Marks]) -> int | None:
    """Which served labelmap the label was edited from: the one it shares most masks with, bit for bit.

    Slices that are shots prove nothing: a label of the earlier shots alone has them as well. Nor does a single
    mask that the model got right to the pixel: two, and half of all that are drawn, must be the served ones.
    """
    drawn_elsewhere = sum(len(drawn) for z, drawn in enumerate(label.marks) if z not in current)
    needed = min(2, len(label.marks))  # a 2D image has one slice to tell by
    best, most = None, max(needed, (drawn_elsewhere + 1) // 2) - 1
    for index, marks in enumerate(served):
        shared = sum(
            marks[z].get(key) == mark
            for z, drawn in enumerate(label.marks)
            if z not in current
            for key, mark in drawn.items()
        )
        if shared > most:
            best, most = index, shared
    return best


def _outdated(
    z: int,
    drawn: Mapping[str, bytes],
    label: Label,
    state: ShotState,
    former: Sequence[ShotState],
    served: Sequence[Marks],
) -> bool:
    """Whether a slice that differs from its shot is an old copy rather than a new drawing.

    True for what was once served, and for a drawing that another annotator has replaced since: it was loaded
    before that and comes along with edits of other slices. The same annotator going back to it is a drawing.
    """
    if any(_spoken(marks[z], label) == drawn for marks in served):
        return True
    return state.annotator != label.annotator and any(_spoken(old.drawn, label) == drawn for old in former)
