"""What a submitted label says about each slice: pure comparison with what was served and what was drawn."""

from __future__ import annotations

from collections.abc import Collection as Items
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from fewsam.collection.codec import Marks


@dataclass(frozen=True)
class ShotState:
    """A stored shot, as far as comparing needs it. ``drawn``: class key -> mask digest."""

    drawn: Mapping[str, bytes]
    known: frozenset[str]
    annotator: str


@dataclass(frozen=True)
class NewShot:
    slice: int
    drawn: dict[str, bytes]
    known: frozenset[str]


@dataclass
class Plan:
    """Slices by what becomes of them, the shots to write, and which served labelmap the label started from."""

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
    """A submitted label. ``spoken``: the class keys it names, drawn or not; it is silent about all others."""

    marks: Marks
    spoken: frozenset[str]
    annotator: str
    policy: str  # auto | complete | partial
    complete: frozenset[int]  # slices declared complete
    restate: bool = False  # the policy was given with this label, so it also speaks for unchanged slices


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
    plan = Plan(base=_started_from(label, current, served))
    base: Marks = served[plan.base] if plan.base is not None else [{} for _ in label.marks]
    drawn_anywhere = {key for drawn in label.marks for key in drawn}
    drawn_anywhere.update(key for state in current.values() for key in state.drawn)

    def write(z: int, drawn: dict[str, bytes], before: Mapping[str, bytes], group: list[int]) -> None:
        state = current.get(z)
        if z in label.complete or label.policy == "complete":
            known = set(classes)
        elif label.policy == "partial":
            known = set()
        else:
            known = set(drawn_anywhere)
        # Whoever erased a class here said that it is not here; and what was said of this slice earlier still holds.
        known.update(drawn, before, state.known if state else ())
        plan.shots.append(NewShot(z, drawn, frozenset(known)))
        group.append(z)

    for z, drawn in enumerate(label.marks):
        state = current.get(z)
        old = _spoken(state.drawn, label) if state else {}
        if z in label.complete:
            if state and dict(state.drawn) == drawn and state.known.issuperset(classes):
                plan.unchanged.append(z)
            elif state is None:
                write(z, dict(drawn), {}, plan.added)
            else:
                write(z, dict(drawn), state.drawn, plan.superseded if drawn or not state.drawn else plan.cleared)
        elif state is None:
            if not drawn:
                erased = _spoken(base[z], label)
                if erased:  # the label started from this prediction, so its absence here is a correction
                    write(z, {}, erased, plan.added)
            elif any(_spoken(marks[z], label) == drawn for marks in served):
                plan.untouched.append(z)
            else:
                write(z, dict(drawn), _spoken(base[z], label), plan.added)
        else:
            carried = {key: mark for key, mark in state.drawn.items() if key not in label.spoken}
            if drawn == old:
                if label.restate and label.policy == "complete" and not state.known.issuperset(classes):
                    write(z, {**carried, **drawn}, {}, plan.superseded)
                else:
                    plan.unchanged.append(z)
            elif not drawn:
                if _spoken(base[z], label) == old:  # it was shown with the prediction this label started from
                    write(z, carried, old, plan.cleared)
                else:
                    plan.kept.append(z)
            elif _outdated(z, drawn, label, state, former.get(z, ()), served):
                plan.kept.append(z)
            else:
                write(z, {**carried, **drawn}, old, plan.superseded)
    return plan


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
