"""Other origins, foreign names and other machines: who is let near the server, and what is said of it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware
from monailabel.config import settings
from starlette.middleware import Middleware
from starlette.testclient import TestClient

from fewsam.cli import main
from fewsam.core.loopback import is_loopback, open_to_all
from fewsam.evaluation.reliability.studies import make_studies
from fewsam.server.guard import origins
from helpers.server_harness import REPOSITORY, Server

VIEWER = "https://viewer.example.org"


def served(base: str = "http://127.0.0.1:8000") -> TestClient:
    """An app as MONAI Label makes it, with our rules; requests arrive on the loopback address."""
    app = FastAPI(middleware=[Middleware(CORSMiddleware, allow_origins=["*"], allow_credentials=True)])
    origins.install(app)

    @app.get("/info/")
    @app.post("/train/")
    def anything() -> dict[str, str]:
        return {"said": "something"}

    async def arrived(scope: Any, receive: Any, send: Any) -> None:  # the client would give the name it asked for
        await app({**scope, "server": ("127.0.0.1", 8000)}, receive, send)

    return TestClient(arrived, base_url=base)


@pytest.fixture(autouse=True)
def stock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["monailabel", "start_server", "--host", "127.0.0.1"])
    monkeypatch.setattr(settings, "MONAI_LABEL_SERVER_PORT", 8000)


def test_a_page_of_another_origin_changes_and_reads_nothing() -> None:
    web = served()
    foreign = {"Origin": "https://evil.example"}
    assert web.post("/train/", headers=foreign).status_code == 403
    assert web.post("/train/", headers={"Origin": "null"}).status_code == 403
    read = web.get("/info/", headers=foreign)
    assert "access-control-allow-origin" not in read.headers  # the browser keeps it from the page
    asked = {**foreign, "Access-Control-Request-Method": "PUT"}
    assert web.options("/info/", headers=asked).status_code == 400


def test_our_own_pages_and_clients_without_an_origin_do() -> None:
    web = served()
    assert web.post("/train/").status_code == 200
    for origin in ("http://127.0.0.1:8000", "http://localhost:8000"):
        answer = web.post("/train/", headers={"Origin": origin})
        assert answer.status_code == 200
        assert answer.headers["access-control-allow-origin"] == origin
    behind_tls = {"Host": "127.0.0.1:443", "Origin": "https://127.0.0.1:443"}
    assert web.post("/train/", headers=behind_tls).status_code == 200


def test_origins_are_a_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    assert served().post("/train/", headers={"Origin": VIEWER}).status_code == 403
    monkeypatch.setattr(settings, "MONAI_LABEL_CORS_ORIGINS", [f"{VIEWER}/"])  # as pydantic has addresses
    web = served()
    answer = web.post("/train/", headers={"Origin": VIEWER})
    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, VIEWER)
    assert web.get("/info/", headers={"Origin": "https://x.example"}).headers.get("access-control-allow-origin") is None
    assert web.get("/info/", headers={"Host": "viewer.example.org"}).status_code == 200


@pytest.mark.parametrize("host", ["evil.example:8000", "127.0.0.1.evil.example", "", "[::1", "localhost.evil.example"])
def test_a_name_that_was_made_to_point_here_reads_nothing(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert served().get("/info/", headers={"Host": host}).status_code == 403
    monkeypatch.setattr(settings, "MONAI_LABEL_AUTH_ENABLE", True)  # the page has no token
    assert served().get("/info/", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("host", ["localhost:9000", "127.0.0.1", "[::1]:8000", "192.168.1.7:8000"])
def test_addresses_and_localhost_are_ours(host: str) -> None:
    assert served().get("/info/", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    ("command", "host"),
    [
        (["/env/bin/monailabel", "start_server", "--app", "x"], "0.0.0.0"),
        (["/m/main.py", "start_server", "-i", "10.0.0.1", "--port", "1"], "10.0.0.1"),
        (["monailabel", "start_server", "--host=127.0.0.1"], "127.0.0.1"),
        (["/env/bin/uvicorn", "monailabel.app:app"], "127.0.0.1"),
        (["monailabel", "start_server", "--host"], "0.0.0.0"),
    ],
)
def test_where_the_server_listens(command: list[str], host: str) -> None:
    assert origins.listening_host(command) == host


def test_only_other_addresses_without_authentication_are_warned_of(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    served()
    assert "WARNING" not in caplog.text.replace("WARNING  ", "")
    monkeypatch.setattr(sys, "argv", ["monailabel", "start_server"])
    served()
    assert open_to_all("the server", "0.0.0.0", "x")[:60] in caplog.text
    caplog.clear()
    monkeypatch.setattr(settings, "MONAI_LABEL_AUTH_ENABLE", True)
    served()
    monkeypatch.setattr(settings, "MONAI_LABEL_AUTH_ENABLE", False)
    monkeypatch.setenv("FEWSAM_API_KEY", "a key that nobody guesses")
    served()
    assert "without authentication" not in caplog.text


@pytest.mark.parametrize(("host", "answer"), [("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("[::1]", True),
                                              ("localhost", True), ("0.0.0.0", False), ("::", False), ("", False),
                                              ("10.0.0.1", False), ("127.0.0.1.evil.example", False)])  # fmt: skip
def test_loopback_addresses(host: str, answer: bool) -> None:
    assert is_loopback(host) == answer


@pytest.mark.parametrize("command", ["pacs", "ohif"])
@pytest.mark.parametrize("enabled", [False, True])
def test_the_commands_warn_before_they_listen(
    command: str, enabled: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MONAI_LABEL_AUTH_ENABLE", str(enabled).lower())
    elsewhere = "192.0.2.1"  # of documents alone (RFC 5737): no machine has it, so that nothing is opened to anybody
    arguments = [command, str(tmp_path), "--port", "0", "--host", elsewhere]
    arguments += ["--app", str(REPOSITORY / "apps" / "fewsam")] if command == "ohif" else []
    assert main(arguments) == 1
    said = " ".join(capsys.readouterr().err.split())
    assert f"cannot listen on {elsewhere}:0" in said
    # the small PACS has no authentication at all
    assert (f"listens on {elsewhere} without authentication" in said) == (command == "pacs" or not enabled)


@pytest.mark.timeout(900)
def test_the_real_server_keeps_foreign_pages_out(tmp_path: Path) -> None:
    import requests

    make_studies(tmp_path / "studies", images=("a",), shape=(24, 20, 6))
    server = Server(tmp_path, tmp_path / "studies", {"labels": "ball", "precompute": "false"})
    try:
        server.start()
        foreign = {"Origin": "https://evil.example"}
        assert requests.post(f"{server.url}/activelearning/random", headers=foreign, timeout=60).status_code == 403
        read = requests.get(f"{server.url}/info/", headers=foreign, timeout=60)
        assert read.status_code == 200
        assert not [name for name in read.headers if name.casefold().startswith("access-control-allow-origin")]
        assert requests.get(f"{server.url}/info/", headers={"Host": "evil.example"}, timeout=60).status_code == 403
        own = requests.post(f"{server.url}/activelearning/random", headers={"Origin": server.url}, timeout=60)
        assert own.status_code == 200
        assert "without authentication" not in server.log.read_text()
    finally:
        server.stop()
