"""The shell of every background thread."""

from __future__ import annotations

import threading

import pytest

from fewsam.server.background.worker import Worker

LONG = 3600.0  # a pause that no test waits for
PATIENCE = 60.0


def test_a_turn_that_fails_is_logged_and_the_next_one_follows(caplog: pytest.LogCaptureFixture) -> None:
    turns: list[int] = []
    good = threading.Event()

    def turn() -> bool:
        turns.append(1)
        if len(turns) == 1:
            raise ValueError("the first turn goes wrong")
        good.set()
        return False

    worker = Worker("trial", turn, LONG)
    worker.start()
    while not turns:
        threading.Event().wait(0.01)
    worker.wake()  # ends the pause after the failure
    assert good.wait(PATIENCE)
    worker.stop()
    assert "trial" in caplog.text and "the first turn goes wrong" in caplog.text


def test_turns_follow_at_once_while_there_is_more_to_do_and_a_stop_ends_a_long_pause() -> None:
    turns: list[int] = []
    idle = threading.Event()

    def turn() -> bool:
        turns.append(1)
        if len(turns) == 5:
            idle.set()
        return len(turns) < 5

    worker = Worker("trial", turn, LONG)
    worker.start()
    assert idle.wait(PATIENCE)
    worker.stop()  # returns when the thread has ended
    assert len(turns) == 5
    assert all(thread.name != "trial" for thread in threading.enumerate())


def test_it_can_wait_before_the_first_turn_and_is_prepared_in_its_own_thread() -> None:
    threads: list[str] = []
    ready, turned = threading.Event(), threading.Event()

    def prepare() -> None:
        threads.append(threading.current_thread().name)
        ready.set()

    def turn() -> None:
        turned.set()

    worker = Worker("trial", turn, LONG, wait_first=True, prepare=prepare)
    worker.start()
    assert ready.wait(PATIENCE)
    assert threads == ["trial"] and not turned.is_set()
    worker.wake()
    assert turned.wait(PATIENCE)
    worker.stop()


def test_stopping_one_that_never_started_does_nothing() -> None:
    worker = Worker("trial", lambda: False, LONG)
    worker.stop()
    assert worker.stopping
