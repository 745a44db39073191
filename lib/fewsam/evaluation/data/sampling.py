"""Which slices are labelled and which are tested; the one place that keeps them apart."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fewsam.core.errors import ConfigError, LabelError
from fewsam.evaluation.data.cases import Case
from fewsam.evaluation.data.tasks import Task
from fewsam.fewshot.inference.acquisition import Candidate, rank

CHOICES = ("random", "even", "acquisition")
PROTOCOLS = ("slices", "patients")


@dataclass(frozen=True)
class Draw:
    """Which slices of which cases are labelled, and which are tested, both by the case's index."""

    labelled: dict[int, list[int]]
    tested: dict[int, list[int]]


def draw(
    cases: Sequence[Case],
    task: Task,
    k: int,
    seed: int,
    choice: str = "random",
    describe: Callable[[Case], np.ndarray] | None = None,
) -> Draw:
    """K slices to label, and the slices to test.

    Args:
        choice: ``random``: foreground-aware, each next slice at random among those that show most classes not yet
            covered; ``even``: at even distances over the slices that show a class; ``acquisition``: as the server would
            ask for them before there is a model. Only the first two know the truth.
        describe: case -> (Z, D) embeddings' means, for ``acquisition``.

    Raises:
        LabelError: there are not enough slices with a class of the task, or no patient is left to test.
        ConfigError: there is no such choice.
    """
    rng = np.random.default_rng([seed, k])
    groups = _sources(cases, task, k, rng)
    sources = [index for group in groups for index in group]
    if choice == "random":
        picked = _covering(cases, groups, k, rng)
    elif choice == "even":
        picked = _even(cases, groups, k, seed, rng)
    elif choice == "acquisition":
        if describe is None:
            raise ConfigError("choosing by acquisition needs embeddings")
        picked = _acquired(cases, sources, k, rng, describe)
    else:
        raise ConfigError(f"no choice {choice!r} of slices; known: {', '.join(CHOICES)}")
    if task.protocol == "slices":
        tested = {0: [z for z in range(cases[0].volume.depth) if z not in picked.get(0, [])]}
    else:
        tested = {i: list(range(case.volume.depth)) for i, case in enumerate(cases) if i not in sources}
    result = Draw(picked, tested)
    check_no_leak(result, cases if task.protocol == "patients" else ())
    return result


def check_no_leak(picked: Draw, cases: Sequence[Case] = ()) -> None:
    """Raise AssertionError where a labelled slice is among the tested, or, of ``cases``, a labelled patient."""
    for source, slices in picked.labelled.items():
        leaked = set(slices) & set(picked.tested.get(source, []))
        if leaked:
            raise AssertionError(f"slices {sorted(leaked)} of case {source} are labelled and tested: a leak")
    if cases:
        seen = {_pixels(cases[i], z): (i, z) for i, slices in picked.labelled.items() for z in slices}
        for i, slices in picked.tested.items():
            for z in slices:
                # empty slices are alike everywhere, and tell nothing
                if (twin := seen.get(_pixels(cases[i], z))) and np.ptp(cases[i].volume.slices[z]) > 0:
                    raise AssertionError(
                        f"slice {z} of {cases[i].name} has the pixels of labelled slice {twin[1]} of "
                        f"{cases[twin[0]].name}: a leak"
                    )
        both = {_patient(cases[i]) for i in picked.labelled} & {_patient(cases[i]) for i in picked.tested}
        if both:
            raise AssertionError(f"patients {sorted(both)} are labelled and tested: a leak")


def _pixels(case: Case, z: int) -> bytes:
    return case.volume.slices[z].tobytes()


def _patient(case: Case) -> str:
    return case.patient or case.name


def _sources(cases: Sequence[Case], task: Task, k: int, rng: np.random.Generator) -> list[list[int]]:
    """Cases that may be labelled, a group for each patient."""
    if task.protocol == "slices":
        return [[0]]
    by_patient: dict[str, list[int]] = {}
    for index, case in enumerate(cases):
        by_patient.setdefault(_patient(case), []).append(index)
    groups = list(by_patient.values())
    if len(groups) < 2:
        raise LabelError(
            f"task {task.name} has one patient alone: none is left to test (where several only seem to be one, a "
            "task list can tell them by their files' names: patient)"
        )
    wanted = min(k if task.patients is None else task.patients, len(groups) - 1)
    return [groups[i] for i in sorted(rng.permutation(len(groups))[:wanted].tolist())]


def _shown(case: Case) -> dict[int, set[str]]:
    """Classes by slice, slices without any left out."""
    slices: dict[int, set[str]] = {}
    for name, mask in case.truth.items():
        for z in np.flatnonzero(mask.any(axis=(1, 2))).tolist():
            slices.setdefault(z, set()).add(name)
    return slices


def _too_few(cases: Sequence[Case], groups: Sequence[Sequence[int]], k: int) -> LabelError:
    names = ", ".join(cases[i].name for group in groups for i in group)
    return LabelError(f"{names} has fewer than {k} slices with a class of the task; ask for fewer")


def _covering(
    cases: Sequence[Case], groups: Sequence[Sequence[int]], k: int, rng: np.random.Generator
) -> dict[int, list[int]]:
    labelled: dict[int, list[int]] = {index: [] for group in groups for index in group}
    shown = {index: _shown(cases[index]) for index in labelled}
    covered: set[str] = set()
    turn = 0
    for _ in range(k):
        gain: dict[tuple[int, int], int] = {}
        for _ in groups:  # a patient whose slices are used up is passed over
            group = groups[turn % len(groups)]
            turn += 1
            gain = {
                (i, z): len(names - covered) for i in group for z, names in sorted(shown[i].items())
                if z not in labelled[i]
            }  # fmt: skip
            if gain:
                break
        if not gain:
            raise _too_few(cases, groups, k)
        best = max(gain.values())
        among = [place for place, value in gain.items() if value == best]
        index, z = among[int(rng.choice(len(among)))]
        covered |= shown[index][z]
        labelled[index].append(z)
    return labelled


def _even(
    cases: Sequence[Case], groups: Sequence[Sequence[int]], k: int, seed: int, rng: np.random.Generator
) -> dict[int, list[int]]:
    labelled: dict[int, list[int]] = {index: [] for group in groups for index in group}
    shares = [k // len(groups) + (n < k % len(groups)) for n in range(len(groups))]
    for group, share in zip(groups, shares, strict=True):
        places = [(i, z) for i in group for z in sorted(_shown(cases[i]))]
        if len(places) < share:
            raise _too_few(cases, [group], share)
        phase = 0.5 if seed == 0 else rng.uniform()
        for n in range(share):
            index, z = places[int((n + phase) * len(places) / share)]
            labelled[index].append(z)
    return labelled


def _acquired(
    cases: Sequence[Case],
    sources: Sequence[int],
    k: int,
    rng: np.random.Generator,
    describe: Callable[[Case], np.ndarray],
) -> dict[int, list[int]]:
    labelled: dict[int, list[int]] = {index: [] for index in sources}
    candidates = []
    for index in sources:
        descriptors = describe(cases[index])
        depth = cases[index].volume.depth
        candidates += [Candidate(str(index), z, depth, descriptors[z]) for z in range(depth)]
    for _ in range(k):
        so_far: Mapping[str, list[int]] = {str(index): slices for index, slices in labelled.items()}
        ranked = rank(candidates, so_far, "informative", rng)
        if not ranked:
            raise LabelError(f"there are fewer than {k} slices to label; ask for fewer")
        labelled[int(ranked[0].image_id)].append(ranked[0].slice)
    return labelled
