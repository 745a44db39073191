"""The evaluation harness: draws, leaks, cells that fail, and what it writes."""

import csv
import json

import nibabel as nib
import numpy as np
import pytest
import yaml

import tiny
from fewsam.errors import ConfigError, LabelError
from fewsam.evaluate import (
    Case,
    Cell,
    Draw,
    Task,
    check_no_leak,
    draw,
    evaluate,
    load_cases,
    load_tasks,
    run_cell,
    summary,
)


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


def test_tasks_whose_files_are_absent_are_left_out(tmp_path, listed):
    assert [task.name for task, _ in load_tasks(listed, tmp_path)] == ["one", "many"]
    assert load_tasks(listed, tmp_path / "elsewhere") == []


@pytest.mark.parametrize("text", ["tasks: 3", "tasks: [{name: x}]", "{", "tasks: [{name: x, typo: 1}]"])
def test_a_malformed_list_is_refused(tmp_path, text):
    (tmp_path / "bad.yaml").write_text(text)
    with pytest.raises(ConfigError, match="bad.yaml"):
        load_tasks(tmp_path / "bad.yaml", tmp_path)


def test_values_beyond_the_task_are_background(tmp_path, listed):
    task, root = load_tasks(listed, tmp_path)[0]
    case = load_cases(task, root)[0]
    assert set(case.truth) == {"left", "right"}
    assert case.truth["left"].any()


def test_draws_are_repeatable_cover_the_classes_and_do_not_leak(tmp_path, listed):
    (one, root), (many, _) = load_tasks(listed, tmp_path)
    cases = load_cases(one, root)
    for task in (one, many):
        for seed in range(5):
            picked = draw(cases, task, 3, seed)
            assert picked == draw(cases, task, 3, seed)
            check_no_leak(picked)
            assert sum(len(slices) for slices in picked.labelled.values()) == 3
            shown = {
                n for i, zs in picked.labelled.items() for z in zs for n, m in cases[i].truth.items() if m[z].any()
            }
            assert shown == {"left", "right"}
    across = draw(cases, many, 3, 0)
    assert len(across.labelled) == 2 and not set(across.labelled) & set(across.tested)
    with pytest.raises(LabelError, match="fewer"):
        draw(cases, one, 99, 0)


def test_a_planted_leak_is_caught():
    with pytest.raises(AssertionError, match="leak"):
        check_no_leak(Draw({0: [3, 4]}, {0: [4, 5]}))


def test_the_labelled_slices_are_not_tested(tmp_path, listed, monkeypatch):
    """A method that is right on labelled slices alone must score nothing."""
    task, root = load_tasks(listed, tmp_path)[0]
    cases = load_cases(task, root)
    picked = draw(cases, task, 3, 0)

    def parrot(base, settings, collection, embedder, folder, seed):
        labelmap = np.zeros(cases[0].volume.slices.shape, np.uint8)
        for shot in collection.shots():
            for name, mask in shot.masks.items():
                labelmap[shot.slice][mask] = collection.classes.index(name) + 1
        assert sorted(shot.slice for shot in collection.shots()) == sorted(picked.labelled[0])
        return lambda volume: labelmap

    monkeypatch.setattr("fewsam.evaluate._fit", parrot)
    given = tiny.settings()
    cell = run_cell(cases, task, "prototypes", 3, 0, given, tiny.embedder(tmp_path, given))
    assert cell.iou == {"left": 0.0, "right": 0.0}


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


def test_ablations_change_the_settings(tmp_path, listed):
    given = tiny.settings(detail_size=64)
    task, root = load_tasks(listed, tmp_path)[0]
    cell = run_cell(
        load_cases(task, root), task, "fewsam[detail=false,steps=2]", 3, 0, given, tiny.embedder(tmp_path, given)
    )
    assert cell.method == "fewsam[detail=false,steps=2]" and set(cell.iou) == {"left", "right"}


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


def test_the_unet_baseline_learns(tmp_path, listed, monkeypatch):
    monkeypatch.setattr("fewsam.baselines.UNET_STEPS", 60)
    given = tiny.settings(detail_size=64)
    task, root = load_tasks(listed, tmp_path)[0]
    cases: list[Case] = load_cases(task, root)
    cell = run_cell(cases, task, "unet", 3, 0, given, tiny.embedder(tmp_path, given))
    assert isinstance(task, Task) and cell.mean_iou > 0.3
