"""Who has no valid token has no body read: files of gigabytes would be stored before the role is asked for."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi import FastAPI
from monailabel.config import settings
from starlette.middleware import Middleware
from starlette.types import Receive, Scope, Send

from fewsam.server.guard import access
from fewsam.server.guard.api_key import ApiKey, KeyCheck
from fewsam.server.guard.body_limit import BodyLimit
from helpers.oidc_issuer import Issuer

FORM = "multipart/form-data; boundary=b"


@pytest.fixture(scope="module")
def issuer() -> Iterator[Issuer]:
    with Issuer({}) as running:
        yield running


@pytest.fixture
def app(issuer: Issuer, monkeypatch: pytest.MonkeyPatch) -> FastAPI:
    monkeypatch.setattr(settings, "MONAI_LABEL_AUTH_ENABLE", True)
    monkeypatch.setattr(settings, "MONAI_LABEL_AUTH_REALM_URI", issuer.url)
    app = FastAPI()
    app.include_router(access.install(app))
    app.user_middleware.append(Middleware(BodyLimit))

    @app.post("/secret")
    def secret() -> str:
        return "let in"

    return app


def sent(app: Any, path: str, kind: str, **headers: str) -> tuple[int, int, dict[str, str]]:
    """The status of an endless upload, the megabytes that were read of it, and the headers of the answer."""
    answers: list[dict[str, Any]] = []
    read = 0

    async def receive() -> dict[str, Any]:
        nonlocal read
        read += 1
        return {"type": "http.request", "body": bytes(1 << 20), "more_body": read < 60}

    async def send(message: dict[str, Any]) -> None:
        answers.append(message)

    given = {"host": "127.0.0.1", "content-type": kind, "transfer-encoding": "chunked", **headers}
    scope = {
        "type": "http", "method": "POST", "path": path, "raw_path": path.encode(), "query_string": b"", "root_path": "",
        "scheme": "http", "http_version": "1.1", "server": ("127.0.0.1", 8000), "client": ("127.0.0.1", 1),
        "headers": [(name.encode(), value.encode()) for name, value in given.items()],
    }  # fmt: skip
    asyncio.run(app(scope, receive, send))
    said = {name.decode(): value.decode() for name, value in answers[0]["headers"]}
    return answers[0]["status"], read, said


@pytest.mark.parametrize("kind", [FORM, "application/json", "application/dicom"])
@pytest.mark.parametrize("given", [{}, {"authorization": "Bearer nonsense"}, {"authorization": "Basic bm9yYTpub3Jh"}])
def test_nothing_is_read_of_who_has_no_valid_token(app: FastAPI, kind: str, given: dict[str, str]) -> None:
    status, read, said = sent(app, "/model/x", kind, **given)
    assert (status, read, said["connection"]) == (401, 0, "close")
    assert said["www-authenticate"].startswith("Bearer")


def test_who_has_one_is_read_and_let_in(app: FastAPI, issuer: Issuer) -> None:
    token = issuer.sign(issuer.claims("nora"))
    status, _, _ = sent(app, "/secret", "application/json", authorization=f"bearer {token}")
    assert status == 200


@pytest.mark.parametrize("kind", [FORM, "application/x-www-form-urlencoded"])
def test_little_is_read_of_who_logs_in(app: FastAPI, kind: str) -> None:
    status, read, _ = sent(app, "/auth/token", kind)
    assert (status, read) == (413, 1)

    async def reading(scope: Scope, receive: Receive, send: Send) -> None:
        while (await receive()).get("more_body"):
            pass

    for path in ("/login", "/auth/token"):  # of a server with one key
        status, read, _ = sent(KeyCheck(BodyLimit(reading), ApiKey("k" * 16)), path, kind)
        assert (status, read) == (413, 1)
