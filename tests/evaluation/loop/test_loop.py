"""The annotator loop without a person: its curves, its commands, and the library as the other side."""

import math
from dataclasses import replace

import numpy as np
import pytest
import yaml

from fewsam.core.config import load_settings
from fewsam.core.errors import ConfigError
from fewsam.encoders.slices import embed_volume
from fewsam.evaluation.data.cases import Case, load_cases
from fewsam.evaluation.loop.annotator import Noise, Pace
from fewsam.evaluation.loop.lab import STRATEGIES, DirectLab
from fewsam.evaluation.loop.loop import Curve, Point, area, measure, run_loop, slices_to_reach
from fewsam.evaluation.loop.plan import Plan, plan
from fewsam.evaluation.loop.report import mean_curve, write_report
from fewsam.evaluation.loop.run import FULL, _trained_once, read_curves, simulate
from fewsam.evaluation.report.cells import failures
from fewsam.fewshot.selftraining.constants import SELF_TRAINING
from fewsam.images.volume import Volume, load_volume
from helpers import tiny_volume as tiny

# -- curves


def test_the_area_by_hand():
    points = [Point(0, 0, 0.0, 0, 0), Point(2, 0, 0.4, 0, 0), Point(4, 0, 0.8, 0, 0)]
    assert area(points, 4) == pytest.approx((0.4 + 1.2) / 4)  # triangles and trapezoids: 0.4, 1.2
    assert area(points, 8) == pytest.approx((0.4 + 1.2 + 4 * 0.8) / 8)  # level after the last slice
    assert slices_to_reach(points, 0.4) == 2 and slices_to_reach(points, 0.5) == 4
    assert slices_to_reach(points, 0.9) is None


def test_the_mean_of_curves_ends_with_the_shortest():
    runs = [[Point(0, 0, 0, 0, 0), Point(4, 4, 0.8, 0, 0)], [Point(0, 0, 0, 0, 0), Point(2, 1, 0.2, 0, 0)]]
    x, y = mean_curve(runs, "slices")
    assert x.tolist() == [0, 2] and y.tolist() == pytest.approx([0, 0.3])


class Rigged:
    """A lab that knows nothing, and offers what it is told to."""

    def __init__(self, places):
        self.places = list(places)

    def next_slice(self, strategy):
        return self.places.pop(0) if self.places else None

    def served(self, index, z):
        return None

    def submit(self, index, z, masks):
        pass

    def train_if_due(self, last):
        return True

    def improve(self):
        raise AssertionError("nobody asked for it")

    def segment(self, index):
        return {}

    def close(self):
        pass


def test_a_tested_slice_that_is_offered_stops_the_loop(tmp_path, task):
    planned = plan(load_cases(task, tmp_path), task, 0)
    for places in ([(0, 4)], [(0, 2), (0, 2)], [(1, 0)]):
        with pytest.raises(AssertionError, match="was offered"):
            run_loop(Rigged(places), planned, Curve("t", "first", 0, 5, "direct"), Noise(), Pace())
    curve = run_loop(Rigged([(0, 2), (0, 3)]), planned, Curve("t", "first", 0, 5, "direct"), Noise(), Pace(60, 20))
    assert [(p.slices, p.minutes, p.iou) for p in curve.points] == [(0, 0, 0), (1, 1, 0), (2, 2, 0)]


def test_a_loop_that_is_offered_nothing_more_ends_with_a_point(tmp_path, task):
    planned = plan(load_cases(task, tmp_path), task, 0)

    class Lazy(Rigged):
        def train_if_due(self, last):
            return False

    curve = run_loop(Lazy([(0, 2), (0, 3)]), planned, Curve("t", "first", 0, 5, "direct"), Noise(), Pace())
    assert [p.slices for p in curve.points] == [0, 2]


def test_what_unlabelled_images_change_is_a_point_of_its_own(tmp_path, task):
    planned = plan(load_cases(task, tmp_path), task, 0)

    class Improving(Rigged):
        asked: tuple[str, ...] = ()

        def next_slice(self, strategy):
            self.asked += (strategy,)
            return super().next_slice(strategy)

        def improve(self):
            self.improved = True
            return len(self.places) == 0  # the first time it does not help

    lab = Improving([(0, 2), (0, 3)])
    curve = run_loop(lab, planned, Curve("t", "first+unlabelled", 0, 2, "direct"), Noise(), Pace(60, 20))
    assert [p.slices for p in curve.points] == [0, 1, 2, 2] and lab.asked == ("first", "first")
    without = Improving([(0, 2), (0, 3)])
    run_loop(without, planned, Curve("t", "first", 0, 2, "direct"), Noise(), Pace(60, 20))
    assert not hasattr(without, "improved")


@pytest.mark.slow
def test_the_direct_loop_learns_from_images_without_labels(tmp_path, task, monkeypatch):
    few = replace(SELF_TRAINING, steps=1, batch=1, folds=2, slices=3, candidates=2, images=1, gain=-1.0)
    for module in ("run", "learner", "pool", "pseudo", "folds", "sampling"):
        monkeypatch.setattr(f"fewsam.fewshot.selftraining.{module}.SELF_TRAINING", few)
    given = tiny.settings(auto_train="every:3", input_size=128, detail_size=64, steps=2, decoder_reads="embedding")
    planned = plan(load_cases(task, tmp_path), task.model_copy(update={"protocol": "patients"}), 0)
    lab = DirectLab(planned, given, tiny.embedder(tmp_path, given), tmp_path / "lab", 0)
    for index in planned.tested:
        embed_volume(planned.cases[index].volume, given, lab.embedder)
    curve = run_loop(lab, planned, Curve("t", "foreground_truth+unlabelled", 0, 3, "direct"), Noise(), Pace())
    assert [p.slices for p in curve.points] == [0, 3, 3] and lab.store.load().card.unlabelled_slices > 0


def test_what_is_measured_is_the_tested_slices(tmp_path, task):
    planned = plan(load_cases(task, tmp_path), task, 0)
    truth = planned.cases[0].truth

    class Half(Rigged):
        def segment(self, index):  # right on tested slices in "left", elsewhere wrong
            answer = np.zeros_like(truth["left"])
            answer[planned.tested[0]] = truth["left"][planned.tested[0]]
            return {"left": answer}

    assert measure(Half([]), planned) == pytest.approx(1 / 3)


# -- the loop


@pytest.mark.slow
def test_the_direct_loop_learns_from_what_is_drawn(tmp_path, task):
    given = tiny.settings(auto_train="off", input_size=128)
    embedder = tiny.embedder(tmp_path, given)
    curves = simulate(
        [(task, tmp_path)], ["informative", "foreground_truth", "first"], [0], 4, given, embedder, tmp_path / "out",
        noise=Noise(), pace=Pace(60, 20),
    )  # fmt: skip
    assert [curve.error for curve in curves] == [""] * 4
    by_name = {curve.strategy: curve for curve in curves}
    full = by_name[FULL].full_iou
    assert full is not None and full > 0.6
    best = by_name["foreground_truth"]
    assert best.points[-1].slices == 4 and best.points[-1].iou > 0.5 * full
    assert best.points[-1].corrected == 3 and best.points[-1].minutes == pytest.approx(
        2.0
    )  # one fresh, three corrected
    assert by_name["first"].order == [(0, 0), (0, 2), (0, 3), (0, 5)]  # each third is tested
    again = simulate(
        [(task, tmp_path)], ["informative"], [0], 4, given, embedder, tmp_path / "out", noise=Noise(), pace=Pace()
    )
    assert len(again) == 4  # nothing ran twice
    write_report(again, tmp_path / "out", embedder.info.as_dict(), given, Noise(), Pace())
    report = (tmp_path / "out" / "report.md").read_text()
    assert "| informative |" in report and "UNTRAINED" in report and f"IoU {full:.3f}" in report
    (png,) = (tmp_path / "out" / "plots").glob("*.png")
    assert png.read_bytes()[:4] == b"\x89PNG"
    with (tmp_path / "out" / "curves.jsonl").open("a") as file:
        file.write('{"task": "ti')  # a run was killed while writing
    assert len(read_curves(tmp_path / "out")) == 4


@pytest.mark.slow
def test_the_rule_trains(tmp_path, task):
    given = tiny.settings(auto_train="every:2", input_size=128)
    planned = plan(load_cases(task, tmp_path), task.model_copy(update={"protocol": "patients"}), 0)
    lab = DirectLab(planned, given, tiny.embedder(tmp_path, given), tmp_path / "lab", 0)
    curve = run_loop(lab, planned, Curve("t", "foreground_truth", 0, 3, "direct"), Noise(), Pace())
    assert [p.slices for p in curve.points] == [0, 2, 3] and lab.store.version() >= 1
    assert len({index for index, _ in curve.order}) >= 1


@pytest.mark.slow
def test_every_strategy_offers_each_slice_once(tmp_path, task):
    given = tiny.settings(auto_train="every:99", input_size=128)
    planned = plan(load_cases(task, tmp_path), task, 0)
    for name in STRATEGIES:
        lab = DirectLab(planned, given, tiny.embedder(tmp_path / name, given), tmp_path / name, 0)
        taken = []
        while place := lab.next_slice(name):
            taken.append(place)
            lab.labelled[str(place[0])].add(place[1])
        assert sorted(taken) == [(0, z) for z in planned.offered[0]]
    with pytest.raises(ConfigError, match="nosuch"):
        lab.next_slice("nosuch")
    with pytest.raises(ConfigError, match="idle"):
        DirectLab(planned, tiny.settings(auto_train="idle:3"), lab.embedder, tmp_path / "x", 0)


@pytest.mark.slow
def test_a_curve_that_fails_leaves_the_others(tmp_path, task):
    given = tiny.settings(auto_train="off", input_size=128)
    curves = simulate(
        [(task, tmp_path)], ["nosuch", "interval"], [0], 2, given, tiny.embedder(tmp_path, given), tmp_path / "out",
        noise=Noise(), pace=Pace(), full=False,
    )  # fmt: skip
    assert "nosuch" in curves[0].error and not curves[1].error
    assert failures(curves) == curves[:1]
    assert failures([*curves, Curve("tiny", "nosuch", 0, 2, "direct")]) == []  # it succeeded later
    absent = task.model_copy(update={"name": "absent", "images": ["no.nii.gz"], "labels": ["no.nii.gz"]})
    curves = simulate(
        [(absent, tmp_path), (task, tmp_path)], ["interval"], [0], 1, given, tiny.embedder(tmp_path, given),
        tmp_path / "two", noise=Noise(), pace=Pace(), full=False,
    )  # fmt: skip
    assert "no.nii.gz" in curves[0].error and not curves[1].error
    with pytest.raises(ConfigError, match="pigeon"):
        simulate([], [], [], 1, given, None, tmp_path, noise=Noise(), pace=Pace(), through="pigeon")  # type: ignore[arg-type]


def test_a_structure_on_no_tested_slice_is_not_measured(tmp_path):
    path, _ = tiny.write_scan(tmp_path)
    volume: Volume = load_volume(path)
    empty = np.zeros(volume.slices.shape[:3], bool)
    planned = Plan([Case("x", volume, {"a": empty}, "x")], {0: [0]}, {0: [1]}, "slices")
    assert math.isnan(measure(Rigged([]), planned))


def test_the_command(tmp_path, task, capsys):
    from fewsam.cli import main

    listed = tmp_path / "tasks.yaml"
    listed.write_text(yaml.safe_dump({"tasks": [task.model_dump(exclude_defaults=True)]}))
    line = ["simulate", "--tasks", listed, "--root", tmp_path, "--budget", "2", "--seeds", "1", "--no-full"]
    line += [
        "--strategies",
        "interval",
        "--conf",
        "auto_train=off",
        "--conf",
        "input_size=128",
        "--conf",
        "encoder=compact",
        "--out",
        tmp_path / "o",
    ]
    assert main([str(part) for part in line]) == 0
    assert "interval" in capsys.readouterr().out
    assert (tmp_path / "o" / "curves.csv").read_text().startswith("task,protocol,strategy,seed")
    assert main([str(part) for part in [*line, "--shift", "2"]]) == 1  # other noise must not stand in one table
    assert "another --out" in capsys.readouterr().err
    assert main([str(part) for part in [*line, "--strategies", "random", "--through", "rest"]]) == 1
    assert "random" in capsys.readouterr().err


def test_full_supervision_has_the_steps_of_all_the_loops_trainings():
    loop = load_settings(None, {"auto_train": "every:2", "steps": 90, "train_seconds": 15})
    once = _trained_once(loop, budget=10)
    assert (once.auto_train, once.steps, once.train_seconds) == ("every:1", 450, 75)
    assert _trained_once(loop, budget=9).steps == 450  # the last one learns from a single slice
    untrained = loop.model_copy(update={"auto_train": "off"})
    assert _trained_once(untrained, 10).steps == 90
