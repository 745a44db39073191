"""Requests that are malformed, come at once, or are too many."""

from __future__ import annotations

import asyncio
import math
import sqlite3
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest
from monailabel.interfaces.utils import app as monai_apps

from fewsam.evaluation.reliability.studies import make_studies
from fewsam.images.volume import load_volume
from fewsam.server.app import FewSAMApp
from fewsam.server.errors import QueueFullError, RequestError, message_of, status_of
from fewsam.server.guard.request_limit import RequestLimit
from fewsam.server.routes import routes
from fewsam.server.routes.threads import BoundedPool
from fewsam.server.tasks.points import points_of


def test_numbers_that_are_none_are_the_clients_fault(tmp_path: Path) -> None:
    """Python's JSON takes Infinity for a number."""
    make_studies(tmp_path, ("a",))
    volume = load_volume(tmp_path / "a.nii.gz")
    with pytest.raises(RequestError, match="whole numbers"):
        points_of({"ball": [[1, 1, math.inf]]}, ("ball",), volume)


def test_numbers_that_nothing_can_hold_are_the_clients_fault() -> None:
    with closing(sqlite3.connect(":memory:")) as db, pytest.raises(OverflowError) as raised:
        db.execute("SELECT ?", (10**30,))
    assert status_of(raised.value) == 400 and "too large" in message_of(raised.value)


def test_two_reloads_at_once_come_one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[object] = []

    class App:
        app_dir, studies, conf = "app", "studies", {}

        def __init__(self, **_: object) -> None:
            time.sleep(0.05)

        def server_mode(self, mode: bool) -> None:
            pass

        def start_background(self) -> None:
            started.append(self)

        def stop_background(self) -> None:
            if self in started:
                started.remove(self)

        reload = FewSAMApp.reload

    monkeypatch.setattr(monai_apps, "apps", {"app": App()})
    monkeypatch.setattr(routes, "current", lambda: monai_apps.apps["app"])
    with ThreadPoolExecutor(3) as pool:
        answers = [pool.submit(routes.reload) for _ in range(3)]
    assert [answer.result() for answer in answers] == [{}, {}, {}]
    assert started == [monai_apps.apps["app"]]


# -- bounds


def test_the_queue_before_the_models_is_bounded() -> None:
    pool, go = BoundedPool(workers=1, waiting=2), threading.Event()

    async def many() -> list[object]:
        held = [asyncio.create_task(pool.run(go.wait)) for _ in range(3)]
        await asyncio.sleep(0)
        with pytest.raises(QueueFullError, match="try again") as refused:
            await pool.run(go.wait)
        assert status_of(refused.value) == 503
        go.set()
        return list(await asyncio.gather(*held))

    assert asyncio.run(many()) == [True, True, True]
    assert pool.held == 0
    assert asyncio.run(pool.run(lambda: "served")) == "served"


def test_people_take_turns_in_the_queue() -> None:
    """Whoever asks for three volumes lets the one of somebody else go before the second."""
    pool, go, served = BoundedPool(workers=1, waiting=5), threading.Event(), []

    async def many() -> None:
        asked = ["busy 1", "busy 2", "busy 3", "other 1"]
        held = [asyncio.create_task(pool.run(go.wait, "busy"))]
        held += [asyncio.create_task(pool.run(partial(served.append, name), name.split()[0])) for name in asked]
        while pool.status()["running"] != 1 or pool.status()["waiting"] != 4:
            await asyncio.sleep(0.01)
        assert pool.status() == {"running": 1, "waiting": 4, "people_waiting": 2, "workers": 1, "may_wait": 5}
        go.set()
        await asyncio.gather(*held)

    asyncio.run(many())
    assert served == ["busy 1", "other 1", "busy 2", "busy 3"]
    assert pool.status()["running"] == pool.status()["waiting"] == 0


def test_work_whose_client_hung_up_is_counted_until_it_ends() -> None:
    pool, go = BoundedPool(workers=1, waiting=1), threading.Event()

    async def hang_up() -> None:
        asked = asyncio.create_task(pool.run(go.wait))
        while not pool.status()["running"]:
            await asyncio.sleep(0.01)
        asked.cancel()
        await asyncio.gather(asked, return_exceptions=True)
        assert pool.held == 1
        go.set()
        assert await pool.run(lambda: "served") == "served"

    asyncio.run(hang_up())
    assert pool.held == 0


def test_more_requests_than_are_taken_on_get_503() -> None:
    go = asyncio.Event()
    sent: list[dict[str, object]] = []

    async def slow(scope: object, receive: object, send: object) -> None:
        await go.wait()

    async def receive() -> dict[str, object]:
        return {"type": "http.request"}

    async def send(message: dict[str, object]) -> None:
        sent.append(message)

    async def run() -> None:
        limit = RequestLimit(slow, held=2)
        held = [asyncio.create_task(limit({"type": "http"}, receive, send)) for _ in range(2)]
        await asyncio.sleep(0)
        await limit({"type": "http"}, receive, send)
        assert sent[0]["status"] == 503 and b"try again" in bytes(sent[1]["body"])  # type: ignore[call-overload]
        go.set()
        await asyncio.gather(*held)
        assert limit.held == 0

    asyncio.run(run())
