"""Trainings that the server starts by itself: after labels, and on unlabelled images when nobody works."""

import time
from pathlib import Path

import pytest

from fewsam.server.background.autotrain import AutoTrain, Unlabelled

SOME, ALL = Unlabelled(7, 3, False), Unlabelled(7, 5, True)


class Clock:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        monkeypatch.setattr(time, "monotonic", lambda: self.now)


def rule(
    folder: Path, kind: str, started: list[str], state: list[object], running: list[bool] | None = None
) -> AutoTrain:
    learn, further = (lambda: started.append("labelled")), (lambda: started.append("unlabelled"))
    return AutoTrain(kind, folder, lambda: bool(running and running[0]), learn, further, lambda: state[0])


def test_it_begins_when_nobody_works_and_is_not_repeated(tmp_path, monkeypatch):
    clock, started, state = Clock(monkeypatch), [], [SOME]
    auto = rule(tmp_path, "idle:30", started, state)
    assert not auto.look()
    clock.now += 30
    assert auto.look() and started == ["unlabelled"]
    clock.now += 1000
    assert not auto.look()
    state[0] = ALL  # more images are encoded
    assert auto.look() and started == ["unlabelled"] * 2


def test_somebody_who_works_puts_it_off_and_it_is_taken_up_again(tmp_path, monkeypatch):
    clock, started, state, running = Clock(monkeypatch), [], [SOME], [False]
    auto = rule(tmp_path, "idle:30", started, state, running)
    clock.now += 30
    assert auto.look()
    running[0] = True
    auto.somebody_works()
    running[0] = False
    clock.now += 29
    assert not auto.look()
    clock.now += 1
    assert auto.look() and started == ["unlabelled"] * 2


def test_a_run_that_ended_is_not_made_again_after_each_break(tmp_path, monkeypatch):
    clock, started, state = Clock(monkeypatch), [], [SOME]
    auto = rule(tmp_path, "idle:30", started, state)
    clock.now += 30
    assert auto.look()
    auto.somebody_works()
    clock.now += 1000
    assert not auto.look() and started == ["unlabelled"]


def test_a_run_that_did_not_help_is_not_made_again_after_a_restart(tmp_path, monkeypatch):
    clock, started, state, running = Clock(monkeypatch), [], [ALL], [False]
    auto = rule(tmp_path, "idle:30", started, state, running)
    clock.now += 30
    assert auto.look()
    running[0] = True
    auto.look()
    killed = rule(tmp_path, "idle:30", started, state)  # before the run came to its verdict
    clock.now += 30
    assert killed.look() and started == ["unlabelled"] * 2
    running[0] = False
    auto.look()
    again = rule(tmp_path, "idle:30", started, state)
    for now in (Unlabelled(7, 0, False), Unlabelled(7, 4, False), ALL):  # images are looked at anew after a start
        state[0] = now
        clock.now += 30
        assert not again.look(), now
    for now in (Unlabelled(7, 6, True), Unlabelled(8, 6, True)):  # another image, another label
        state[0] = now
        clock.now += 30
        assert again.look(), now


def test_new_labels_are_learnt_first(tmp_path, monkeypatch):
    clock, started, state = Clock(monkeypatch), [], [SOME]
    auto = rule(tmp_path, "idle:30", started, state)
    auto.label_stored()
    clock.now += 30
    assert auto.look() and started == ["labelled"]
    assert auto.look() and started == ["labelled", "unlabelled"]


@pytest.mark.parametrize("kind", ["off", "every:2"])
def test_other_rules_never_do_it(tmp_path, monkeypatch, kind):
    clock, started = Clock(monkeypatch), []
    auto = rule(tmp_path, kind, started, [SOME])
    clock.now += 10_000
    assert not auto.look() and not started


def test_without_a_trained_decoder_nothing_begins(tmp_path, monkeypatch):
    clock, started = Clock(monkeypatch), []
    auto = rule(tmp_path, "idle:30", started, [None])
    clock.now += 30
    assert not auto.look() and not started


def test_labels_during_a_run_lead_to_one_further_run(tmp_path: Path) -> None:
    running, started = [False], []
    auto = AutoTrain("every:2", tmp_path, lambda: running[0], lambda: started.append(1))
    auto.label_stored()
    assert not auto.look()
    auto.label_stored()
    assert auto.look()
    running[0] = True
    for _ in range(7):
        auto.label_stored()
        assert not auto.look()
    running[0] = False
    assert auto.look()
    assert not auto.look()
    assert len(started) == 2
    auto.label_stored()
    assert AutoTrain("every:2", tmp_path, lambda: False, list).waiting == 1  # outlives a restart


def test_idle_training_waits_for_the_last_label(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    auto = AutoTrain("idle:30", tmp_path, lambda: False, list)
    assert not auto.due()
    auto.label_stored()
    now[0] += 29
    auto.label_stored()
    now[0] += 29
    assert not auto.due()
    now[0] += 1
    assert auto.due()
    assert not AutoTrain("off", tmp_path, lambda: False, list).due()
