"""How far a run is by steps and by time, and what follows for the next step."""

import pytest

from fewsam.fewshot.training import schedule
from fewsam.fewshot.training.schedule import Schedule
from helpers import tiny_volume as tiny


class Clock:
    """Time that passes when a test says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(schedule, "time", made)
    return made


def begun(clock: Clock, *, preparation: float = 0.0, coarse_until: float = 0.0, **settings: float) -> Schedule:
    made = Schedule(tiny.settings(**settings), clock.now, select_until=0.7, coarse_until=coarse_until)
    clock.now += preparation
    made.begin()
    return made


def test_the_end_comes_by_steps_or_by_time(clock: Clock) -> None:
    made = begun(clock, steps=10, train_seconds=60)
    assert [made.at(step).done for step in (0, 5, 10, 11)] == [0, 0.5, 1, 1]
    clock.now += 45
    assert made.at(5).done == 0.75 and made.at(9).done == 0.9
    clock.now += 16
    assert made.at(5).done == 1


def test_a_slow_step_changes_nothing_while_the_steps_keep_up(clock: Clock) -> None:
    made = begun(clock, steps=100, train_seconds=60)
    clock.now += 1  # a sixtieth of the time, and no step is made
    assert made.at(0).done == 0 and made.at(0).rate == 1
    assert made.at(1).done == 0.01
    clock.now += 1
    assert made.at(1).done == pytest.approx(2 / 60)  # clearly behind
    assert made.at(2).done == 0.02
    clock.now += 58
    assert made.at(99).done == 1


def test_what_comes_before_the_first_step_takes_of_the_time_and_not_of_the_schedule(clock: Clock) -> None:
    made = begun(clock, preparation=20, steps=1000, train_seconds=60)
    assert made.at(0).done == 0 and made.at(0).elapsed == 20
    clock.now += 10
    assert made.at(0).done == 0.25  # of the 40 seconds that are left


def test_half_of_the_time_is_for_steps_however_long_the_preparation_takes(clock: Clock) -> None:
    made = begun(clock, preparation=200, steps=1000, train_seconds=60)
    assert made.at(0).done == 0
    clock.now += 15
    assert made.at(0).done == 0.5


def test_a_resumed_run_counts_the_time_of_the_processes_before(clock: Clock) -> None:
    made = Schedule(tiny.settings(steps=1000, train_seconds=60), clock.now, select_until=0.7, coarse_until=0.0)
    made.spent, made.prepared = 30.0, 10.0
    clock.now += 10
    made.begin()
    assert made.at(0).elapsed == 40 and made.at(0).done == 0.5  # 20 of the 40 seconds that are left for steps


def test_parts_of_the_run_and_its_learning_rate(clock: Clock) -> None:
    made = begun(clock, coarse_until=0.5, steps=10, train_seconds=1e6)
    assert [made.at(step).selecting for step in (0, 6, 7, 10)] == [True, True, False, False]
    assert [made.at(step).coarse for step in (0, 4, 5, 10)] == [True, True, False, False]
    assert [made.at(step).rate for step in (0, 5, 10)] == pytest.approx([1.0, 0.51, 0.02])
    assert not begun(clock, steps=10).at(0).coarse
