"""The outcome of one method on one draw, and the log of all of them that a later run resumes from."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np

from fewsam.core.errors import ConfigError
from fewsam.evaluation.report.measures import Score
from fewsam.evaluation.report.stages import Stages

LOG = "cells.jsonl"
CALIBRATION = 7  # columns of `Cell.calibration`
MEASURES = ("iou", "dice", "surface_dice", "hd95")


@dataclass
class Cell:
    """One method on one draw.

    Attributes:
        iou: By class over all tested slices together; classes without truth there are left out.
        scores: By volume and structure.
        calibration: By tested slice and structure, ``[volume, slice, structure, uncertainty, error, truth pixels,
            predicted pixels]``, where the method tells an uncertainty.
        stages: Seconds and peak memory (MB) by stage.
        labelled_slices, labelled_pixels: What the method learnt from; pixels are those of structures.
        code: `provenance.code_hash` of the fewsam that made it.
    """

    task: str
    method: str
    k: int
    seed: int
    iou: dict[str, float] = field(default_factory=dict)
    fit_seconds: float = 0.0
    predict_seconds: float = 0.0
    error: str = ""
    protocol: str = "slices"
    choice: str = "random"
    scores: list[Score] = field(default_factory=list)
    calibration: list[tuple[str, int, str, float, float, int, int]] = field(default_factory=list)
    stages: Stages = field(default_factory=dict)
    labelled_slices: int = 0
    labelled_pixels: int = 0
    tested_slices: int = 0
    code: str = ""

    @property
    def key(self) -> tuple[str, str, str, str, int, int]:
        return (self.task, self.protocol, self.choice, self.method, self.k, self.seed)

    @property
    def title(self) -> str:
        """For people."""
        return f"{self.task}, {self.method}, K={self.k}, seed {self.seed}"

    @property
    def mean_iou(self) -> float:
        return float(np.mean(list(self.iou.values()))) if self.iou else math.nan

    def units(self, measure: str) -> dict[tuple, float]:
        """Mean over structures of a measure, by (seed, volume)."""
        by_volume: dict[tuple, list[float]] = {}
        for score in self.scores:
            value = float(getattr(score, measure))
            if not math.isnan(value):
                by_volume.setdefault((self.seed, score.volume), []).append(value)
        return {unit: float(np.mean(values)) for unit, values in by_volume.items()}

    def as_json(self) -> str:
        values: dict[str, Any] = {**asdict(self), "scores": [score.as_dict() for score in self.scores]}
        return json.dumps(values)

    @classmethod
    def of(cls, line: str) -> Cell:
        values = json.loads(line)
        known = {one.name for one in fields(cls)}
        values = {key: value for key, value in values.items() if key in known}
        values["scores"] = [Score.of(entry) for entry in values.get("scores", [])]
        # rows without pixels are of an earlier form, from which no slice's error can be told
        values["calibration"] = [tuple(row) for row in values.get("calibration", []) if len(row) == CALIBRATION]
        return cls(**values)


def read_cells(folder: Path) -> list[Cell]:
    """Cells of earlier runs.

    Raises:
        ConfigError: the log is damaged beyond its last line, which a killed run may have left half written.
    """
    path = folder / LOG
    if not path.is_file():
        return []
    lines = path.read_text(encoding="utf-8").splitlines()
    cells = []
    for number, line in enumerate(lines, 1):
        try:
            cells.append(Cell.of(line))
        except (ValueError, TypeError) as error:
            if number == len(lines):
                path.write_text("".join(f"{whole}\n" for whole in lines[:-1]), encoding="utf-8")
                break
            raise ConfigError(
                f"{path}, line {number} is damaged ({error}); remove the line, its cell is run again"
            ) from None
    return cells


def append_cell(folder: Path, cell: Cell) -> None:
    """Add a cell to the log."""
    with (folder / LOG).open("a", encoding="utf-8") as file:
        file.write(cell.as_json() + "\n")


class Attempt(Protocol):
    """What is tried until it succeeds: a cell here, a curve of the loop."""

    error: str

    @property
    def key(self) -> tuple: ...


Tried = TypeVar("Tried", bound=Attempt)


def failures(attempts: Sequence[Tried]) -> list[Tried]:
    """Those that failed and did not succeed later."""
    done = {one.key for one in attempts if not one.error}
    last = {one.key: one for one in attempts if one.error}
    return [one for key, one in last.items() if key not in done]


def write_tables(cells: Sequence[Cell], folder: Path) -> None:
    """Tidy tables: ``cells.csv``, a row for each cell and structure over all tested slices; ``volumes.csv``, a row for
    each cell, volume and structure with all measures; ``calibration.csv``, a row for each slice and structure."""
    head = ["task", "protocol", "choice", "method", "k", "seed"]
    rows = [
        [*cell.key, structure, value, cell.fit_seconds, cell.predict_seconds, cell.labelled_slices,
         cell.labelled_pixels, cell.tested_slices, *_peaks(cell), cell.code[:12], cell.error]
        for cell in cells
        for structure, value in (cell.iou or {"": math.nan}).items()
    ]  # fmt: skip
    counted = ["labelled_slices", "labelled_pixels", "tested_slices", "fit_peak_mb", "predict_peak_mb"]
    _write(
        folder / "cells.csv",
        [*head, "structure", "iou", "fit_seconds", "predict_seconds", *counted, "code", "error"],
        rows,
    )
    names = [one.name for one in fields(Score)]
    rows = [[*cell.key, *(getattr(score, name) for name in names)] for cell in cells for score in cell.scores]
    _write(folder / "volumes.csv", [*head, *names], rows)
    rows = [[*cell.key, *row] for cell in cells for row in cell.calibration]
    told = ["volume", "slice", "structure", "uncertainty", "error", "truth_pixels", "predicted_pixels"]
    _write(folder / "calibration.csv", [*head, *told], rows)


def _peaks(cell: Cell) -> list[float]:
    return [round(cell.stages.get(name, {}).get("peak_mb", math.nan), 1) for name in ("fit", "predict")]


def _write(path: Path, header: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(rows)
