"""Which slices may be offered, and which are measured on and never offered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fewsam.core.errors import LabelError
from fewsam.evaluation.data.cases import Case
from fewsam.evaluation.data.sampling import Draw, check_no_leak
from fewsam.evaluation.data.tasks import Task


@dataclass(frozen=True)
class Plan:
    """``offered`` and ``tested`` slices by case index; no slice is in both."""

    cases: Sequence[Case]
    offered: dict[int, list[int]]
    tested: dict[int, list[int]]
    protocol: str

    def check(self) -> None:
        """Raise AssertionError where a slice is offered and tested, or with other patients, a patient is."""
        check_no_leak(Draw(self.offered, self.tested), self.cases if self.protocol == "patients" else ())

    @property
    def size(self) -> int:
        """Slices there are to label."""
        return sum(len(slices) for slices in self.offered.values())


def plan(cases: Sequence[Case], task: Task, seed: int) -> Plan:
    """Of one volume, two of three slices are offered and each third is tested; of several patients, half are offered.

    Raises:
        LabelError: one patient alone.
    """
    if task.protocol == "slices":
        depth = cases[0].volume.depth
        tested = list(range(1, depth, 3))
        found = Plan(cases, {0: [z for z in range(depth) if z not in tested]}, {0: tested}, task.protocol)
    else:
        patients = list(dict.fromkeys(case.patient or case.name for case in cases))
        if len(patients) < 2:
            raise LabelError(f"task {task.name} has one patient alone: none is left to test")
        order = np.random.default_rng(seed).permutation(len(patients))
        chosen = {patients[i] for i in order[: len(patients) // 2]}
        sides: tuple[dict[int, list[int]], dict[int, list[int]]] = ({}, {})
        for index, case in enumerate(cases):
            sides[(case.patient or case.name) not in chosen][index] = list(range(case.volume.depth))
        found = Plan(cases, *sides, task.protocol)
    found.check()
    return found
