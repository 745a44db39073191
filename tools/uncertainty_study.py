"""Ways to tell how wrong an answer is, against how wrong it was: the table of docs/research/uncertainty.md.

    python tools/uncertainty_study.py --tasks configs/evaluate/shared-all.yaml --root DATA --only ts-ct-abdomen

For each draw of K slices the answer is made as `fewsam evaluate --methods fewsam` (or `fewsam-cold`, with --untrained)
makes it; each way then scores the same answers.
"""

from __future__ import annotations

import argparse
import math
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from fewsam.cli.tasklist import choose_tasks
from fewsam.core.config import load_settings
from fewsam.encoders.cache import EmbeddingCache
from fewsam.encoders.embedder import Embedder
from fewsam.evaluation.cell import collect
from fewsam.evaluation.data.cases import load_cases
from fewsam.evaluation.data.sampling import draw
from fewsam.evaluation.report.calibration import calibrate, slice_errors
from fewsam.evaluation.report.cells import Cell
from fewsam.fewshot.inference import volume_runner
from fewsam.fewshot.inference.predictor import Predictor
from fewsam.fewshot.inference.uncertainty import expected_error, one_hot, with_distance
from fewsam.fewshot.model.store import ModelStore
from fewsam.fewshot.training.train import train

Way = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]  # members (E, N, C, h, w), shown (E, C) -> (N, C - 1)


def overlap(p: torch.Tensor, q: torch.Tensor, smooth: float) -> torch.Tensor:
    return (2 * (p * q).sum((2, 3)) + smooth) / (p.sum((2, 3)) + q.sum((2, 3)) + smooth)


def before(members: torch.Tensor, shown: torch.Tensor) -> torch.Tensor:
    """Half doubt within and half between, of every class alike: an absent one by its sum of small probabilities."""
    mask = one_hot(members[0])
    within = 1 - overlap(members[0], mask, 4.0)
    if len(members) == 1:
        return within[:, 1:]
    between = 1 - torch.stack([overlap(one_hot(m), mask, 4.0) for m in members[1:]]).mean(0)
    return ((within + between) / 2)[:, 1:]


def parts(between: float, power: float | None = 3.0) -> Way:
    """The shares of `expected_error`; ``power`` of the highest probability for absent classes (None: sure)."""

    def way(members: torch.Tensor, shown: torch.Tensor) -> torch.Tensor:
        mask = one_hot(members[0])
        within = 1 - overlap(members[0], mask, 1e-6)
        errors = [(1 - overlap(one_hot(m), mask, 1e-6)) for m in members[1:]]
        weights = shown[1:].float()[:, None]
        total = weights.sum(0)
        votes = (torch.stack(errors) * weights).sum(0) / total.clamp_min(1) if errors else within
        votes = torch.where(total > 0, votes, within)
        peak = members[0].amax((2, 3))
        absent = torch.zeros_like(peak) if power is None else peak**power
        return torch.where(mask.amax((2, 3)) > 0, (1 - between) * within + between * votes, absent)[:, 1:]

    return way


WAYS: dict[str, tuple[Way, bool]] = {  # and whether the distance to labelled slices counts
    "before: sums, half within, half between": (before, False),
    "within alone": (parts(0.0), False),
    "between alone": (parts(1.0), False),
    "within, distance": (parts(0.0), True),
    "between, distance": (parts(1.0), True),
    "half and half, distance": (parts(0.5), True),
    "0.3 between, no distance": (parts(0.3), False),
    "0.3 between, absent by its peak, distance": (parts(0.3, 1.0), True),
    "0.3 between, absent by its peak squared, distance": (parts(0.3, 2.0), True),
    "0.3 between, absent never in doubt, distance": (parts(0.3, None), True),
    "as served: 0.3 between, peak cubed, distance": (expected_error, True),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=Path)
    parser.add_argument("--root", type=Path)
    parser.add_argument("--only")
    parser.add_argument("--k", default="3,5")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--untrained", action="store_true")
    parser.add_argument("--cache", type=Path, default=Path("uncertainty-study"))
    given = parser.parse_args()
    cells: dict[str, list[Cell]] = {name: [] for name in WAYS}
    made: dict[str, list[torch.Tensor]] = {}

    def record(members: torch.Tensor, shown: torch.Tensor) -> torch.Tensor:
        for name, (way, _) in WAYS.items():
            made.setdefault(name, []).append(way(members, shown))
        return made["as served: 0.3 between, peak cubed, distance"][-1]

    volume_runner.expected_error = record
    with EmbeddingCache(given.cache, int(8e9)) as cache:
        for task, root in choose_tasks(given.tasks, given.root, None, given.only, None):
            # Of answers without what is carried: the table was made before there was any.
            settings = load_settings(None, {"encoder": "compact", **task.settings, "propagate": False})
            embedder = Embedder(settings, cache)
            cases = load_cases(task, root, settings.axis)
            for k in map(int, given.k.split(",")):
                for seed in range(given.seeds):
                    mine = settings.model_copy(update={"seed": seed})
                    picked = draw(cases, task, k, seed)
                    with tempfile.TemporaryDirectory() as name:
                        collection = collect(cases, picked, Path(name))
                        store = ModelStore(Path(name))
                        if not given.untrained:
                            train(mine, collection, embedder, store, folder=Path(name) / "run")
                        predictor = Predictor(mine, embedder, collection, store)
                        for i, slices in picked.tested.items():
                            made.clear()
                            answer = predictor.predict(cases[i].volume, f"case{i}")
                            columns = [collection.classes.index(c) for c in predictor.ready().classes]  # type: ignore[union-attr]
                            for way, (_, far) in WAYS.items():
                                doubt = np.zeros_like(answer.uncertainty)
                                doubt[:, columns] = torch.cat(made[way]).numpy()
                                if far:
                                    doubt = with_distance(doubt, picked.labelled.get(i, ()))
                                rows = slice_errors(answer.labelmap, doubt, cases[i].truth, collection.classes, slices)
                                cell = Cell(task.name, "fewsam", k, seed)
                                cell.calibration = [(cases[i].name, *row) for row in rows]
                                cells[way].append(cell)
                        collection.close()
    print("| way | by slice | within a volume | by slice and structure | worst tenth found | uncertainty | error |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for name, mine_ in cells.items():
        found = calibrate(mine_)
        numbers = (found.by_slice, found.within, found.by_structure, found.worst_found, found.uncertainty, found.error)
        print(f"| {name} | " + " | ".join("-" if math.isnan(n) else f"{n:.2f}" for n in numbers) + " |")


if __name__ == "__main__":
    main()
