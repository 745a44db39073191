"""A datastore that waits for a slow PACS holds up nobody who asks for something else."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from monailabel.endpoints import datastore as monai_datastore
from monailabel.endpoints import info as monai_info

from fewsam.server.routes import routes

ASKED = (
    "GET /info/",
    "GET /datastore/",
    "GET /datastore/?output=all",
    "GET /datastore/image?image=a",
    "GET /datastore/image/info?image=a",
    "DELETE /datastore/image?id=a",
    "DELETE /datastore/?id=a",
    "HEAD /datastore/label?image=a&tag=final",
    "GET /datastore/label?label=a&tag=final",
    "GET /datastore/label/info?label=a&tag=final",
    "DELETE /datastore/label?id=a&tag=final",
)


class Waiting:
    """An app and its datastore, whose every answer waits until it is let go."""

    def __init__(self) -> None:
        self.asked, self.go = threading.Event(), threading.Event()

    def __getattr__(self, name: str) -> Any:
        def answer(*_: Any, **__: Any) -> Any:
            self.asked.set()
            assert self.go.wait(2), "the event loop waits with it"  # nobody is left to let it go
            return __file__ if name.endswith("uri") else {}

        return answer

    def datastore(self) -> Waiting:
        return self


@pytest.mark.parametrize("asked", ASKED)
def test_who_waits_for_the_datastore_waits_alone(asked: str, monkeypatch: pytest.MonkeyPatch) -> None:
    waiting = Waiting()
    for module in (monai_info, monai_datastore):
        monkeypatch.setattr(module, "app_instance", lambda: waiting)
    app = FastAPI()
    app.include_router(monai_info.router)
    app.include_router(monai_datastore.router)
    routes.install(app)
    method, path = asked.split()

    async def both() -> int:
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000") as client:
            answer = asyncio.create_task(client.request(method, path))
            while not waiting.asked.is_set() and not answer.done():
                await asyncio.sleep(0.01)
            waiting.go.set()
            return (await answer).status_code

    assert asyncio.run(both()) == 200
