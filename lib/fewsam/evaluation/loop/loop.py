"""One annotator, one strategy, one seed: from nothing to a budget of slices."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from scipy.integrate import trapezoid

from fewsam.core.metrics import iou
from fewsam.evaluation.loop.annotator import Noise, Pace, draw_slice
from fewsam.evaluation.loop.lab import UNLABELLED, Lab
from fewsam.evaluation.loop.plan import Plan


@dataclass(frozen=True)
class Point:
    """Where the loop is: slices labelled, minutes spent, and what the answer was then worth on the tested slices.

    Attributes:
        changed: Pixels that were changed in answers so far.
        corrected: Slices that had an answer to start from.
    """

    slices: int
    minutes: float
    iou: float
    changed: int
    corrected: int


@dataclass
class Curve:
    """A run: its points, the first at nothing labelled, and the slices in the order they were taken."""

    task: str
    strategy: str
    seed: int
    budget: int
    through: str
    points: list[Point] = field(default_factory=list)
    order: list[tuple[int, int]] = field(default_factory=list)
    full_iou: float | None = None
    error: str = ""
    protocol: str = "slices"

    @property
    def key(self) -> tuple[str, str, str, int, int, str]:
        return (self.task, self.protocol, self.strategy, self.seed, self.budget, self.through)

    def as_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def of(cls, line: str) -> Curve:
        values: dict[str, Any] = json.loads(line)
        values["points"] = [Point(**point) for point in values["points"]]
        values["order"] = [(int(i), int(z)) for i, z in values["order"]]
        return cls(**values)


def area(points: list[Point], budget: int) -> float:
    """Area under IoU against slices labelled, by trapezoids, over the budget: the mean IoU while labelling.

    After the last point the curve goes on level, where there were no more slices to label.
    """
    x = [float(point.slices) for point in points] + [float(budget)]
    y = [point.iou for point in points] + [points[-1].iou]
    return float(trapezoid(y, x)) / budget


def slices_to_reach(points: list[Point], wanted: float) -> int | None:
    """Slices labelled at the first point that reaches an IoU; None where none does."""
    return next((point.slices for point in points if point.iou >= wanted), None)


def measure(lab: Lab, plan: Plan) -> float:
    """Mean over structures of the IoU over all tested slices; NaN where no structure is on any."""
    found = {i: lab.segment(i) for i in plan.tested}
    values = []
    for name in plan.cases[0].truth:
        truth = np.concatenate([plan.cases[i].truth[name][zs].ravel() for i, zs in plan.tested.items()])
        if truth.any():
            empty = {i: np.zeros(plan.cases[i].truth[name].shape, bool) for i in plan.tested if name not in found[i]}
            masks = {**{i: found[i][name] for i in plan.tested if name in found[i]}, **empty}
            values.append(iou(np.concatenate([masks[i][zs].ravel() for i, zs in plan.tested.items()]), truth))
    return float(np.mean(values)) if values else math.nan


def run_loop(
    lab: Lab,
    plan: Plan,
    curve: Curve,
    noise: Noise,
    pace: Pace,
    progress: Callable[[Curve], None] | None = None,
) -> Curve:
    """Label until the budget is used up or nothing is left; fills in ``curve``.

    Where its strategy says so, the decoder learns from unlabelled images after each training. What that changed is a
    point of its own, with as many slices as the one before.

    Raises:
        AssertionError: a slice is offered that is tested.
    """
    plan.check()
    rng = np.random.default_rng([curve.seed, 1])
    minutes, changed, corrected = 0.0, 0, 0
    strategy = curve.strategy.removesuffix(UNLABELLED)

    def add_point() -> None:
        curve.points.append(Point(len(curve.order), minutes, measure(lab, plan), changed, corrected))
        if progress:
            progress(curve)

    def add_points() -> None:
        add_point()
        if strategy != curve.strategy and lab.improve():
            add_point()

    curve.points.append(Point(0, 0.0, 0.0, 0, 0))
    while len(curve.order) < curve.budget and (place := lab.next_slice(strategy)):
        index, z = place
        if z not in plan.offered.get(index, ()) or place in curve.order:
            raise AssertionError(f"slice {z} of case {index} was offered: it is tested, or labelled already")
        truth = {name: mask[z] for name, mask in plan.cases[index].truth.items()}
        drawing = draw_slice(truth, lab.served(index, z), noise, pace, rng)
        lab.submit(index, z, drawing.masks)
        curve.order.append(place)
        minutes += drawing.seconds / 60
        changed += drawing.changed
        corrected += drawing.corrected
        last = len(curve.order) in (curve.budget, plan.size)
        # the last label may be one that nothing is learnt from, such as an empty slice: the curve still ends there
        if lab.train_if_due(last) or last:
            add_points()
    if curve.points[-1].slices < len(curve.order):  # nothing more was offered, before the budget was used up
        lab.train_if_due(True)
        add_points()
    return curve


def full_supervision(lab: Lab, plan: Plan) -> float:
    """IoU where every slice that may be offered is labelled rightly."""
    for index, slices in plan.offered.items():
        for z in slices:
            masks = {name: mask[z] for name, mask in plan.cases[index].truth.items() if mask[z].any()}
            lab.submit(index, z, masks)
    lab.train_if_due(True)
    return measure(lab, plan)
