"""The evaluation harness: draws, leaks, cells that fail, and what it writes."""

import csv
import json
from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest
import yaml

from fewsam.core.errors import ConfigError
from fewsam.evaluation.cell import measure, run_cell
from fewsam.evaluation.data.cases import load_cases
from fewsam.evaluation.data.sampling import Draw, draw
from fewsam.evaluation.data.tasks import load_tasks
from fewsam.evaluation.methods.interface import MethodInput, MethodOutput
from fewsam.evaluation.methods.registry import METHODS
from fewsam.evaluation.report.cells import Cell
from fewsam.evaluation.report.summary import summary
from fewsam.evaluation.run import evaluate
from helpers import tiny_volume as tiny


@pytest.fixture
def listed(tmp_path):
    for number in range(3):
        path, truth = tiny.write_scan(tmp_path, f"p{number}", seed=number)
        nib.save(nib.Nifti1Image(truth, nib.load(path).affine), tmp_path / f"p{number}-truth.nii.gz")
    common = {
        "images": [f"p{n}.nii.gz" for n in range(3)],
        "labels": [f"p{n}-truth.nii.gz" for n in range(3)],
        "names": {1: "left", 2: "right"},
    }
    tasks = [{"name": "one", **common}, {"name": "many", **common, "protocol": "patients", "patients": 2}]
    path = tmp_path / "tasks.yaml"
    path.write_text(yaml.safe_dump({"tasks": tasks}))
    return path


def test_values_beyond_the_task_are_background(tmp_path, listed):
    task, root = load_tasks(listed, tmp_path)[0]
    case = load_cases(task, root)[0]
    assert set(case.truth) == {"left", "right"}
    assert case.truth["left"].any()


def test_the_labelled_slices_are_not_tested(tmp_path, listed, monkeypatch):
    """A method that is right on labelled slices alone must score nothing."""
    task, root = load_tasks(listed, tmp_path)[0]
    cases = load_cases(task, root)
    picked = draw(cases, task, 3, 0)

    def parrot(given: MethodInput):
        labelmap = np.zeros(cases[0].volume.slices.shape, np.uint8)
        for shot in given.collection.shots():
            for name, mask in shot.masks.items():
                labelmap[shot.slice][mask] = given.collection.classes.index(name) + 1
        assert sorted(shot.slice for shot in given.collection.shots()) == sorted(picked.labelled[0])
        return lambda index: MethodOutput(labelmap)

    monkeypatch.setitem(METHODS, "prototypes", parrot)
    given = tiny.settings()
    cell = run_cell(Cell("one", "prototypes", 3, 0), cases, task, given, tiny.embedder(tmp_path, given))
    assert cell.iou == {"left": 0.0, "right": 0.0}
    assert [score.dice for score in cell.scores] == [0.0, 0.0]
    assert all(score.predicted_voxels == 0 and score.hd95 != score.hd95 for score in cell.scores)
    assert cell.labelled_slices == 3 and cell.tested_slices == cases[0].volume.depth - 3
    assert cell.labelled_pixels == sum(int(m[picked.labelled[0]].sum()) for m in cases[0].truth.values())


def test_a_leak_that_is_planted_in_a_draw_stops_the_cell(tmp_path, listed, monkeypatch):
    """The check stands between the draw and the method, whatever the draw did."""
    task, root = load_tasks(listed, tmp_path)[0]
    cases = load_cases(task, root)
    picked = draw(cases, task, 3, 0)
    picked.tested[0].append(picked.labelled[0][1])
    monkeypatch.setattr("fewsam.evaluation.cell.draw", lambda *_: picked)
    given = tiny.settings()
    embedder, out = tiny.embedder(tmp_path, given), tmp_path / "out"
    (cell,) = evaluate([(task, root)], ["prototypes"], [3], [0], given, embedder, out)
    assert "leak" in cell.error and not cell.iou


def test_cells_resume_fail_alone_and_end_in_tables(tmp_path, listed):
    given = tiny.settings()
    tasks = load_tasks(listed, tmp_path)[:1]
    embedder, out = tiny.embedder(tmp_path, given), tmp_path / "out"
    cells = evaluate(tasks, ["fewsam-cold", "probe", "prototypes[nosuch=1]"], [2], [0], given, embedder, out)
    assert [bool(cell.error) for cell in cells] == [False, False, True]
    assert "nosuch" in cells[2].error
    assert cells[0].mean_iou > 0.4 and cells[1].mean_iou > 0.4
    ran: list[Cell] = []
    again = evaluate(tasks, ["fewsam-cold", "probe"], [2], [0], given, embedder, out, progress=ran.append)
    assert not ran and len(again) == 3
    with (out / "cells.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["structure"] for row in rows if row["method"] == "probe"} == {"left", "right"}
    assert json.loads((out / "cells.jsonl").read_text().splitlines()[0])["iou"] == cells[0].iou


@pytest.mark.slow
def test_what_is_carried_as_a_baseline(tmp_path, listed, monkeypatch):
    """Alone it answers within a volume and for other patients; a U-Net hardly trained has its answer from it."""
    monkeypatch.setattr("fewsam.evaluation.methods.baselines.UNET_STEPS", 2)
    given = tiny.settings()
    tasks = load_tasks(listed, tmp_path)
    embedder, out = tiny.embedder(tmp_path, given), tmp_path / "out"
    within = evaluate(tasks[:1], ["propagation", "unet", "unet+propagation"], [2], [0], given, embedder, out)
    assert not any(cell.error for cell in within)
    alone, unet, both = (cell.mean_iou for cell in within)
    assert alone > 0.4 and both > unet + 0.1
    (across,) = evaluate(tasks[1:], ["propagation"], [2], [0], given, embedder, tmp_path / "across")
    assert not across.error and across.mean_iou > 0.2


@pytest.mark.slow
def test_ablations_change_the_settings(tmp_path, listed):
    given = tiny.settings(detail_size=64)
    task, root = load_tasks(listed, tmp_path)[0]
    given_cell = Cell("one", "fewsam[detail=false,steps=2]", 3, 0)
    cell = run_cell(given_cell, load_cases(task, root), task, given, tiny.embedder(tmp_path, given), tmp_path)
    assert set(cell.iou) == {"left", "right"}
    assert {row[2] for row in cell.calibration} == {"left", "right"}
    assert len(cell.calibration) == 2 * cell.tested_slices
    assert cell.stages["fit"]["seconds"] > 0 and cell.stages["predict"]["peak_mb"] > 10
    with pytest.raises(ConfigError, match="detial"):
        run_cell(
            Cell("one", "fewsam[detial=false]", 3, 0),
            load_cases(task, root),
            task,
            given,
            tiny.embedder(tmp_path, given),
        )


def test_switches_of_the_encoder_change_it_and_draws_stay_common(tmp_path, listed, monkeypatch):
    given = tiny.settings()
    task, root = load_tasks(listed, tmp_path)[0]
    cases, embedder = load_cases(task, root), tiny.embedder(tmp_path, given)
    sizes, drawn = [], []

    def spy(given: MethodInput):
        sizes.append(given.embedder.info.input_size)
        drawn.append(given.draw.labelled)
        return lambda index: MethodOutput(np.zeros(cases[index].volume.slices.shape[:3], np.uint8))

    monkeypatch.setitem(METHODS, "prototypes", spy)
    for method in ("prototypes", "prototypes[input_size=96]"):
        run_cell(Cell("one", method, 2, 0, choice="acquisition"), cases, task, given, embedder)
    assert sizes == [embedder.info.input_size, 96] and embedder.info.input_size != 96
    assert drawn[0] == drawn[1]  # chosen by the common encoder's embeddings
    with pytest.raises(ConfigError, match="axis is no switch"):
        run_cell(Cell("one", "prototypes[axis=0]", 2, 0), cases, task, given, embedder)


def test_a_class_on_no_tested_slice_is_not_in_the_mean(tmp_path, listed):
    """Hand-computed: "left" half found, "right" on labelled slices alone but answered everywhere."""
    task, root = load_tasks(listed, tmp_path)[0]
    cases = load_cases(task, root)
    depth, cell = cases[0].volume.depth, Cell("one", "m", 1, 0)
    truth = {name: np.zeros_like(mask) for name, mask in cases[0].truth.items()}
    truth["left"][:, 2:4, 2:4] = True
    truth["right"][0, 8, 8] = True
    case = replace(cases[0], truth=truth)
    answer = np.zeros(case.volume.slices.shape[:3], np.uint8)
    answer[:, 2:4, 2], answer[:, 9, 9] = 1, 2
    picked = Draw({0: [0]}, {0: list(range(1, depth))})
    measure(cell, [case], task, picked, ["left", "right"], {0: MethodOutput(answer)})
    assert cell.iou == {"left": pytest.approx(0.5)} and cell.mean_iou == pytest.approx(0.5)
    extra = next(score for score in cell.scores if score.structure == "right")
    assert extra.truth_voxels == 0 and extra.predicted_voxels == depth - 1


def test_a_task_that_cannot_be_read_leaves_the_others(tmp_path, listed, monkeypatch):
    given = tiny.settings()
    tasks = load_tasks(listed, tmp_path)
    real = load_cases
    monkeypatch.setattr(
        "fewsam.evaluation.run.load_cases", lambda task, *rest: 1 / 0 if task.name == "one" else real(task, *rest)
    )
    cells = evaluate(tasks, ["prototypes"], [2], [0], given, tiny.embedder(tmp_path, given), tmp_path / "out")
    assert "ZeroDivisionError" in cells[0].error and not cells[1].error
    assert {len(cell.code) for cell in cells} == {64}


def test_summary_by_hand():
    cells = [
        Cell("t", "m", 3, 0, {"a": 0.2, "b": 0.6}, 1.0, 2.0),
        Cell("t", "m", 3, 1, {"a": 0.4, "b": 0.8}, 3.0, 2.0),
        Cell("t", "m", 3, 2, error="broken"),
    ]
    (row,) = summary(cells)
    assert row["iou"] == pytest.approx(0.5) and row["spread"] == pytest.approx(0.1) and row["seeds"] == 2
    assert row["by_structure"] == {"a": pytest.approx(0.3), "b": pytest.approx(0.7)}
    assert row["fit_seconds"] == 2.0
    others = [replace(cell, protocol="patients") for cell in cells]
    assert [row["task"] for row in summary([*cells, *others])] == ["t", "t, other patients"]  # never one mean of both


@pytest.mark.slow
def test_the_unet_baseline_learns(tmp_path, listed, monkeypatch):
    monkeypatch.setattr("fewsam.evaluation.methods.baselines.UNET_STEPS", 60)
    given = tiny.settings(detail_size=64)
    task, root = load_tasks(listed, tmp_path)[0]
    cases = load_cases(task, root)
    cell = run_cell(Cell("one", "unet", 3, 0), cases, task, given, tiny.embedder(tmp_path, given))
    assert cell.mean_iou > 0.3
