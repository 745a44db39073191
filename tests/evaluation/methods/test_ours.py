"""fewsam as a compared method: which of the tested images it learns from without their labels."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fewsam.core.errors import LabelError
from fewsam.evaluation.cell import run_cell
from fewsam.evaluation.data.cases import Case
from fewsam.evaluation.data.tasks import Task
from fewsam.evaluation.methods import ours
from fewsam.evaluation.report.cells import Cell
from fewsam.fewshot.selftraining.constants import SELF_TRAINING
from helpers import tiny_volume as tiny

READS_EMBEDDING = {"input_size": 128, "detail_size": 64, "steps": 2, "decoder_reads": "embedding"}


@pytest.fixture
def cases(tmp_path: Path) -> list[Case]:
    scans = [tiny.scan(tmp_path, f"p{seed}", seed) for seed in range(3)]
    return [Case(f"p{n}", volume, truth) for n, (volume, truth) in enumerate(scans)]


def run(tmp_path: Path, cases: list[Case], method: str, **overrides: Any) -> Cell:
    """The method with two labelled slices of the first patient; the others are tested."""
    given = tiny.settings(**overrides)
    task = Task(name="t", names={1: "left", 2: "right"}, protocol="patients", patients=1, folder=".")
    return run_cell(Cell("t", method, 2, 0), cases, task, given, tiny.embedder(tmp_path, given))


@pytest.mark.slow
@pytest.mark.parametrize(("method", "learnt_from"), [("fewsam+unlabelled", 2), ("fewsam+half", 1)])
def test_it_learns_from_tested_images_alone(
    tmp_path: Path, cases: list[Case], monkeypatch: pytest.MonkeyPatch, method: str, learnt_from: int
) -> None:
    few = replace(SELF_TRAINING, steps=1, batch=1, folds=2, slices=3, candidates=2, images=4)
    for module in ("run", "learner", "pool", "pseudo", "folds", "sampling"):
        monkeypatch.setattr(f"fewsam.fewshot.selftraining.{module}.SELF_TRAINING", few)
    improve, seen = ours.improve, []

    def watched(*args: Any, **options: Any) -> Any:
        result = improve(*args, **options)
        seen.append((args[4], args[3].load().card.unlabelled_slices))
        return result

    monkeypatch.setattr(ours, "improve", watched)
    cell = run(tmp_path, cases, method, **READS_EMBEDDING)
    ((images, slices),) = seen
    tested = {score.volume for score in cell.scores}
    assert len(tested) == 2 and len(images) == learnt_from and slices > 0
    assert {cases[int(name.removeprefix("case"))].name for name in images} <= tested


@pytest.mark.slow
def test_a_decoder_that_reads_the_image_alone_stays_as_training_left_it(
    tmp_path: Path, cases: list[Case], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(ours, "improve")
    cell = run(tmp_path, cases, "fewsam+unlabelled")
    assert not cell.error and cell.mean_iou > 0.3


@pytest.mark.slow
def test_no_other_refusal_is_passed_over(tmp_path: Path, cases: list[Case], monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(*args: Any, **options: Any) -> None:
        raise LabelError("no unlabelled image is of use")

    monkeypatch.setattr(ours, "improve", refuses)
    with pytest.raises(LabelError, match="of use"):
        run(tmp_path, cases, "fewsam+unlabelled", **READS_EMBEDDING)
