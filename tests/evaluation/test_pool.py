"""Cells and curves on worker processes: the same digits as in one process, in the same order."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import nibabel as nib
import pytest
import yaml

from fewsam.core.pool import ProcessPool
from fewsam.encoders.embedder import Embedder
from fewsam.evaluation.data.tasks import load_tasks
from fewsam.evaluation.loop.annotator import Noise, Pace
from fewsam.evaluation.loop.run import simulate
from fewsam.evaluation.report.cells import read_cells
from fewsam.evaluation.run import evaluate
from helpers import tiny_volume as tiny

TIMED = {"fit_seconds", "predict_seconds", "stages"}


@pytest.fixture
def tasks(tmp_path: Path) -> list:
    path, truth = tiny.write_scan(tmp_path, "p0")
    nib.save(nib.Nifti1Image(truth, nib.load(path).affine), tmp_path / "truth.nii.gz")
    one = {"name": "one", "images": ["p0.nii.gz"], "labels": ["truth.nii.gz"], "names": {1: "left", 2: "right"}}
    (tmp_path / "bad.nii.gz").write_bytes(b"no image")
    listed = tmp_path / "tasks.yaml"
    listed.write_text(yaml.safe_dump({"tasks": [one, {**one, "name": "damaged", "images": ["bad.nii.gz"]}]}))
    return load_tasks(listed, tmp_path)


def keys_of(embedder: Embedder) -> set[bytes]:
    """What is in its cache."""
    env = embedder.cache._opened()
    return env.read(lambda txn: set(map(bytes, txn.cursor(env.tables["data"]).iternext(values=False))))


@pytest.mark.slow
def test_cells_and_curves_have_the_digits_of_one_process(tmp_path: Path, tasks: list) -> None:
    settings = tiny.settings(input_size=64, detail_size=64, labels=(), auto_train="every:1")
    cells, curves, cached = [], [], []
    with ProcessPool(2) as pool:
        for name, workers in (("alone", None), ("pooled", pool)):
            out = tmp_path / name
            embedder = tiny.embedder(out, settings)
            methods = ["fewsam", "prototypes"]
            cells.append(evaluate(tasks, methods, [2], [0], settings, embedder, out / "cells", pool=workers))
            curves.append(
                simulate(
                    tasks[:1], ["first"], [0], 1, settings, embedder, out / "curves",
                    noise=Noise(), pace=Pace(), full=False, pool=workers,
                )
            )  # fmt: skip
            cached.append(keys_of(embedder))
    assert cached[0] == cached[1], "the one that writes the cache has all that was encoded, and nothing else"
    assert not list((tmp_path / "pooled").rglob(".workers-*")), "the workers' own caches are gone"
    told = [[{k: v for k, v in asdict(cell).items() if k not in TIMED} for cell in found] for found in cells]
    assert [cell.error == "" for cell in cells[1]] == [True, True, False, False], "the damaged file fails its own cells"
    for alone, pooled in zip(*told, strict=True):
        assert {**alone, "error": bool(alone["error"])} == {**pooled, "error": bool(pooled["error"])}
    assert curves[0] == curves[1] and curves[1][0].points
    assert len(read_cells(tmp_path / "pooled/cells")) == 4
    assert list((tmp_path / "pooled/cells/examples").glob("*.npz")), "slices to look at come back too"
