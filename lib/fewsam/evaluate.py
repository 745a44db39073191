"""Few-shot evaluation: K labelled slices, everything else tested, all methods on the same slices.

A *task* names volumes, truths and classes; a *cell* is one task, method, K and seed. Cells that fail
are reported and the others go on. Nothing labelled is ever tested: `run_cell` checks it.
"""

from __future__ import annotations

import csv
import json
import logging
import tempfile
import time
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from fewsam import baselines
from fewsam.collection import Collection
from fewsam.config import Settings, load_settings
from fewsam.embedder import Embedder
from fewsam.episodes import Episodes, drawn_classes
from fewsam.errors import ConfigError, FewSAMError, LabelError
from fewsam.labelfile import read_label
from fewsam.metrics import iou
from fewsam.model import ModelStore
from fewsam.postprocess import class_indices
from fewsam.predictor import Predictor
from fewsam.preprocess import choose_intensity, image_stats, make_frame, to_uint8
from fewsam.training import train
from fewsam.views import detail_bytes, detail_size_for, detail_tensor
from fewsam.volume import Volume, load_volume

logger = logging.getLogger(__name__)

METHODS = ("fewsam", "fewsam-cold", "prototypes", "probe", "unet")
CHUNK = 8
UNNAMED = "value "  # what a truth holds beyond the task's classes


class Task(BaseModel):
    """One entry of a task list.

    Attributes:
        images: Volumes, paths relative to the root.
        labels: Truths, one for each image.
        names: Label value to class name; other values are background.
        protocol: ``volume``: K slices of the first image, its other slices tested; ``patients``: K slices
            spread over the first ``patients`` images, all slices of the other images tested.
        settings: Overrides for this task.
    """

    model_config = ConfigDict(extra="forbid")

    name: str
    images: list[str]
    labels: list[str]
    names: dict[int, str]
    protocol: Literal["volume", "patients"] = "volume"
    patients: int = 3
    settings: dict[str, Any] = {}


@dataclass(frozen=True)
class Case:
    """A volume and its truth: name -> bool (Z, H, W)."""

    name: str
    volume: Volume
    truth: dict[str, np.ndarray]


@dataclass(frozen=True)
class Draw:
    """Which slices of which cases are labelled, and which are tested."""

    labelled: dict[int, list[int]]
    tested: dict[int, list[int]]


@dataclass
class Cell:
    """The outcome of one method on one draw: IoU by class over all tested slices, and wall times."""

    task: str
    method: str
    k: int
    seed: int
    iou: dict[str, float] = field(default_factory=dict)
    fit_seconds: float = 0.0
    predict_seconds: float = 0.0
    error: str = ""

    @property
    def mean_iou(self) -> float:
        return float(np.mean(list(self.iou.values()))) if self.iou else float("nan")


def load_tasks(path: Path, root: Path) -> list[tuple[Task, Path]]:
    """Tasks of a YAML list whose files are present under ``root``.

    Raises:
        ConfigError: the list cannot be read, or an entry is malformed.
    """
    try:
        entries = yaml.safe_load(path.read_text(encoding="utf-8"))["tasks"]
        tasks = [Task(**entry) for entry in entries]
    except (OSError, yaml.YAMLError, KeyError, TypeError, ValidationError) as error:
        raise ConfigError(f"task list {path} cannot be read: {error}") from None
    present = []
    for task in tasks:
        if missing := [name for name in (*task.images, *task.labels) if not (root / name).exists()]:
            logger.warning("task %s left out: %s is not under %s", task.name, missing[0], root)
        else:
            present.append((task, root))
    return present


def load_cases(task: Task, root: Path, axis: str = "auto") -> list[Case]:
    """Volumes and truths of a task."""
    cases = []
    for image, label in zip(task.images, task.labels, strict=True):
        volume = load_volume(root / image, axis)
        names = {value: task.names.get(value, f"{UNNAMED}{value}") for value in range(1, 2**16)}
        truth = read_label(root / label, volume.geometry, names=names)
        empty = np.zeros(volume.slices.shape[:3], bool)
        cases.append(
            Case(Path(image).name.split(".")[0], volume, {n: truth.get(n, empty) for n in task.names.values()})
        )
    return cases


def draw(cases: Sequence[Case], task: Task, k: int, seed: int) -> Draw:
    """Foreground-aware random slices: each next one at random among those that show most classes not yet covered."""
    rng = np.random.default_rng([seed, k])
    sources = (
        [0]
        if task.protocol == "volume"
        else sorted(rng.permutation(len(cases))[: min(task.patients, len(cases) - 1)].tolist())
    )
    labelled: dict[int, list[int]] = {source: [] for source in sources}
    covered: set[str] = set()
    for turn in range(k):
        source = sources[turn % len(sources)]
        case = cases[source]
        shown = {
            z: {name for name, mask in case.truth.items() if mask[z].any()}
            for z in range(case.volume.depth)
            if z not in labelled[source]
        }
        gain = {z: len(names - covered) for z, names in shown.items() if names}
        if not gain:
            raise LabelError(f"{case.name} has fewer than {k} slices with a class of the task; ask for fewer")
        best = max(gain.values())
        z = int(rng.choice([z for z, value in gain.items() if value == best]))
        covered |= shown[z]
        labelled[source].append(z)
    if task.protocol == "volume":
        rest = [z for z in range(cases[0].volume.depth) if z not in labelled[0]]
        return Draw(labelled, {0: rest})
    tested = {i: list(range(case.volume.depth)) for i, case in enumerate(cases) if i not in labelled}
    return Draw(labelled, tested)


def run_cell(
    cases: Sequence[Case], task: Task, method: str, k: int, seed: int, settings: Settings, embedder: Embedder
) -> Cell:
    """One method on one draw. ``method`` may carry switches to ablate: ``fewsam[detail=false]``."""
    base, _, switches = method.removesuffix("]").partition("[")
    overrides = dict(part.split("=", 1) for part in switches.split(",") if part)
    settings = load_settings(None, {**settings.model_dump(), **task.settings, **overrides, "seed": seed})
    picked = draw(cases, task, k, seed)
    check_no_leak(picked)
    cell = Cell(task.name, method, k, seed)
    with tempfile.TemporaryDirectory() as folder:
        collection = _collect(cases, task, picked, Path(folder))
        started = time.monotonic()
        predict = _fit(base, settings, collection, embedder, Path(folder), seed)
        cell.fit_seconds = time.monotonic() - started
        started = time.monotonic()
        found = {i: predict(cases[i].volume) for i in picked.tested}
        cell.predict_seconds = time.monotonic() - started
        classes = collection.classes
        collection.close()
    for value, name in enumerate(classes, 1):
        predicted = np.concatenate([(found[i][zs] == value).ravel() for i, zs in picked.tested.items()])
        truth = np.concatenate([cases[i].truth[name][zs].ravel() for i, zs in picked.tested.items()])
        if truth.any():
            cell.iou[name] = iou(predicted, truth)
    return cell


def check_no_leak(picked: Draw) -> None:
    """Raise AssertionError where a labelled slice is among the tested."""
    for source, slices in picked.labelled.items():
        leaked = set(slices) & set(picked.tested.get(source, []))
        if leaked:
            raise AssertionError(f"slices {sorted(leaked)} of case {source} are labelled and tested: a leak")


def _collect(cases: Sequence[Case], task: Task, picked: Draw, folder: Path) -> Collection:
    collection = Collection(folder, tuple(task.names.values()))
    for source, slices in picked.labelled.items():
        masks = {}
        for name, mask in cases[source].truth.items():
            masks[name] = np.zeros_like(mask)
            masks[name][slices] = mask[slices]
        collection.submit(
            cases[source].volume,
            f"case{source}",
            masks,
            source="evaluate",
            policy="complete",
            complete_slices=set(slices),
        )
    return collection


def _fit(
    base: str, settings: Settings, collection: Collection, embedder: Embedder, folder: Path, seed: int
) -> Callable[[Volume], np.ndarray]:
    """Train ``base`` and return volume -> labelmap (Z, H, W), values in the order of ``collection.classes``."""
    if base in ("fewsam", "fewsam-cold"):
        store = ModelStore(folder)
        if base == "fewsam":
            train(settings, collection, embedder, store, folder=folder / "run")
        predictor = Predictor(settings, embedder, collection, store)
        return lambda volume: predictor.predict(volume).labelmap
    shots = collection.shots()
    classes = drawn_classes(shots, collection.classes)
    episodes = Episodes(settings, shots, classes, embedder, detail_size_for(shots, settings))
    makers: dict[str, Callable[[], baselines.SliceModel]] = {
        "prototypes": lambda: baselines.prototypes(episodes),
        "probe": lambda: baselines.linear_probe(episodes, seed),
        "unet": lambda: baselines.unet(episodes, seed),
    }
    if base not in makers:
        raise ConfigError(f"unknown method {base!r}; known: {', '.join(METHODS)}")
    model = makers[base]()
    values = np.array([0, *(collection.classes.index(name) + 1 for name in classes)], np.uint8)
    needs_embedding = base != "unet"
    return lambda volume: values[_segment(model, volume, settings, embedder, episodes.detail_size, needs_embedding)]


@torch.inference_mode()
def _segment(
    model: baselines.SliceModel, volume: Volume, settings: Settings, embedder: Embedder, side: int, embed: bool
) -> np.ndarray:
    geometry = volume.geometry
    frame = make_frame(geometry.slices_shape, geometry.spacing, embedder.info.input_size)
    detail_frame = make_frame(geometry.slices_shape, geometry.spacing, side)
    intensity = choose_intensity(image_stats(volume), settings)
    parts = []
    for start in range(0, volume.depth, CHUNK):
        chunk = range(start, min(start + CHUNK, volume.depth))
        raw = np.stack([volume.raw_slice(z) for z in chunk])
        detail = detail_bytes(raw, intensity, detail_frame)
        embeddings = torch.zeros(len(chunk), 256, 64, 64)
        if embed:
            embeddings = torch.from_numpy(embedder.embed(to_uint8(raw, intensity, frame, settings.channels))).float()
        place = torch.tensor([z / max(1, volume.depth - 1) for z in chunk])
        parts.append(model(embeddings, place, detail_tensor(detail)).numpy())
    # The gate asks for calibrated probabilities, which prototypes do not give: it is for fewsam alone.
    return class_indices(np.concatenate(parts), frame, smooth=settings.smooth_z, gate=False)


def evaluate(
    tasks: Iterable[tuple[Task, Path]],
    methods: Sequence[str],
    ks: Sequence[int],
    seeds: Sequence[int],
    settings: Settings,
    embedder: Embedder,
    folder: Path,
    progress: Callable[[Cell], None] | None = None,
) -> list[Cell]:
    """Run all cells not yet in ``folder/cells.jsonl`` and append them there as they end."""
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "cells.jsonl"
    cells = [Cell(**json.loads(line)) for line in log.read_text().splitlines()] if log.exists() else []
    done = {(c.task, c.method, c.k, c.seed) for c in cells if not c.error}
    for task, root in tasks:
        todo = [(k, s, m) for k in ks for s in seeds for m in methods if (task.name, m, k, s) not in done]
        if not todo:
            continue
        cases = load_cases(task, root, settings.axis)
        for k, seed, method in todo:
            try:
                cell = run_cell(cases, task, method, k, seed, settings, embedder)
            except Exception as error:  # one bad cell must not take the night's others along
                why = str(error) if isinstance(error, FewSAMError) else traceback.format_exc()
                logger.error("%s %s K=%d seed %d failed: %s", task.name, method, k, seed, why)
                cell = Cell(task.name, method, k, seed, error=f"{type(error).__name__}: {error}")
            cells.append(cell)
            with log.open("a") as file:
                file.write(json.dumps(cell.__dict__) + "\n")
            if progress:
                progress(cell)
    write_csv(cells, folder / "cells.csv")
    return cells


def write_csv(cells: Sequence[Cell], path: Path) -> None:
    """Tidy table: one row a task, method, K, seed and structure."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["task", "method", "k", "seed", "structure", "iou", "fit_seconds", "predict_seconds", "error"])
        for c in cells:
            for structure, value in (c.iou or {"": float("nan")}).items():
                writer.writerow(
                    [c.task, c.method, c.k, c.seed, structure, value, c.fit_seconds, c.predict_seconds, c.error]
                )


def summary(cells: Sequence[Cell]) -> list[dict[str, Any]]:
    """Mean and spread over seeds of the mean IoU, by task, K and method; means by structure beside."""
    groups: dict[tuple[str, int, str], list[Cell]] = {}
    for cell in cells:
        if not cell.error:
            groups.setdefault((cell.task, cell.k, cell.method), []).append(cell)
    rows = []
    for (task, k, method), members in groups.items():
        means = [cell.mean_iou for cell in members]
        structures: Mapping[str, list[float]] = {
            name: [cell.iou[name] for cell in members if name in cell.iou] for name in members[0].iou
        }
        rows.append(
            {
                "task": task,
                "k": k,
                "method": method,
                "seeds": len(members),
                "iou": float(np.mean(means)),
                "spread": float(np.std(means)),
                "fit_seconds": float(np.mean([cell.fit_seconds for cell in members])),
                "predict_seconds": float(np.mean([cell.predict_seconds for cell in members])),
                "by_structure": {name: float(np.mean(values)) for name, values in structures.items()},
            }
        )
    return rows
