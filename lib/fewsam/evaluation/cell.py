"""One cell of an evaluation: a method on a draw of labelled slices, and what is measured of its answers."""

from __future__ import annotations

import logging
import tempfile
import traceback
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from fewsam.collection import Collection
from fewsam.core.config import Settings, load_settings
from fewsam.core.errors import ConfigError, FewSAMError
from fewsam.core.metrics import iou
from fewsam.encoders.embedder import Embedder
from fewsam.encoders.slices import embed_volume
from fewsam.evaluation.data.cases import Case
from fewsam.evaluation.data.sampling import Draw, check_no_leak, draw
from fewsam.evaluation.data.tasks import Task
from fewsam.evaluation.methods.interface import MethodInput, MethodOutput
from fewsam.evaluation.methods.registry import NO_EMBEDDING, find_method, overrides_of
from fewsam.evaluation.report.calibration import slice_errors
from fewsam.evaluation.report.cells import Cell
from fewsam.evaluation.report.measures import score
from fewsam.evaluation.report.overlays import keep_examples
from fewsam.evaluation.report.provenance import code_hash
from fewsam.evaluation.report.stages import stage

logger = logging.getLogger(__name__)


def attempt(
    cell: Cell, cases: Sequence[Case], task: Task, settings: Settings, embedder: Embedder, folder: Path
) -> None:
    """Run a cell, and note in it where it fails: one bad cell must not take the night's others along."""
    cell.code = code_hash()
    try:
        run_cell(cell, cases, task, settings, embedder, folder)
    except Exception as error:
        why = str(error) if isinstance(error, FewSAMError) else traceback.format_exc()
        logger.error("%s failed: %s", cell.title, why)
        cell.error = f"{type(error).__name__}: {error}"


def run_cell(
    cell: Cell,
    cases: Sequence[Case],
    task: Task,
    settings: Settings,
    embedder: Embedder,
    folder: Path | None = None,
) -> Cell:
    """Fill in ``cell``: its method on its draw. The method may carry switches: ``fewsam[detail=false]``.

    Args:
        folder: Keeps slices to look at, where given.

    Raises:
        ConfigError: a switch that no method has, or that changes the images.
        FewSAMError: an input does not do; AssertionError: a labelled slice is among the tested.
    """
    method, base, switches = find_method(cell.method)
    common = load_settings(None, {**settings.model_dump(), **task.settings, "seed": cell.seed})
    settings = load_settings(None, {**common.model_dump(), **overrides_of(base, switches)})
    if settings.axis != common.axis:
        raise ConfigError(f"{cell.method}: axis is no switch of a method; it stands in a task's settings, or in --conf")
    common_embedder, embedder = embedder.like(common), embedder.like(settings)

    def describe(case: Case) -> np.ndarray:  # for all methods alike, whatever their switches
        return embed_volume(case.volume, common, common_embedder)

    picked = draw(cases, task, cell.k, cell.seed, cell.choice, describe)
    check_no_leak(picked, cases if task.protocol == "patients" else ())
    cases_of_draw = sorted(involved(picked))
    if base not in NO_EMBEDDING:
        with stage("encode", cell.stages):  # not part of learning or predicting: all methods find the cache warm
            for index in cases_of_draw:
                embed_volume(cases[index].volume, settings, embedder)
    with tempfile.TemporaryDirectory(prefix="fewsam-cell-") as name:
        collection = collect(cases, picked, Path(name))
        given = MethodInput(cases, picked, settings, collection, embedder, Path(name), cell.seed, switches)
        with stage("fit", cell.stages):
            predict = method(given)
        with stage("predict", cell.stages):
            found = {index: predict(index) for index in picked.tested}
        classes = collection.classes
        collection.close()
    cell.fit_seconds, cell.predict_seconds = (cell.stages[name]["seconds"] for name in ("fit", "predict"))
    cell.labelled_slices = sum(len(slices) for slices in picked.labelled.values())
    cell.labelled_pixels = sum(int(m[zs].sum()) for i, zs in picked.labelled.items() for m in cases[i].truth.values())
    cell.tested_slices = sum(len(slices) for slices in picked.tested.values())
    with stage("measure", cell.stages):
        measure(cell, cases, task, picked, classes, found)
    if folder is not None:
        keep_examples(folder, cell, cases, picked, classes, {i: answer.labelmap for i, answer in found.items()})
    return cell


def measure(
    cell: Cell,
    cases: Sequence[Case],
    task: Task,
    picked: Draw,
    classes: Sequence[str],
    found: dict[int, MethodOutput],
) -> None:
    """Compute all measures of the outputs on the tested slices only."""
    for value, name in enumerate(classes, 1):
        predicted = {i: found[i].labelmap[zs] == value for i, zs in picked.tested.items()}
        truth = {i: cases[i].truth[name][zs] for i, zs in picked.tested.items()}
        if any(mask.any() for mask in truth.values()):
            whole = [np.concatenate([masks[i].ravel() for i in picked.tested]) for masks in (predicted, truth)]
            cell.iou[name] = iou(whole[0], whole[1])
        for i in picked.tested:
            spacing = cases[i].volume.geometry.spacing
            cell.scores.append(
                score(
                    cases[i].name, name, predicted[i], truth[i], spacing, task.tolerance,
                    by_slice=task.protocol == "slices",
                )
            )  # fmt: skip
    for i, zs in picked.tested.items():
        if (uncertainty := found[i].uncertainty) is not None:
            rows = slice_errors(found[i].labelmap, uncertainty, cases[i].truth, classes, zs)
            cell.calibration += [(cases[i].name, *row) for row in rows]


def collect(cases: Sequence[Case], picked: Draw, folder: Path) -> Collection:
    """Make a collection with the labelled slices, each drawn completely."""
    collection = Collection(folder, tuple(cases[0].truth))
    for source, slices in picked.labelled.items():
        if not slices:
            continue
        masks = {}
        for name, mask in cases[source].truth.items():
            masks[name] = np.zeros_like(mask)
            masks[name][slices] = mask[slices]
        collection.submit(
            cases[source].volume,
            f"case{source}",
            masks,
            source="evaluate",
            absent_classes="complete",
            complete_slices=set(slices),
        )
    return collection


def involved(picked: Draw) -> set[int]:
    """The cases of which a draw labels or tests slices."""
    return {*picked.tested, *(index for index, slices in picked.labelled.items() if slices)}
