"""One key for a lab: what opens the server and what does not, and whose name a label bears."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import jwt
import pytest
import requests
from fastapi import FastAPI
from monailabel.client import MONAILabelClient
from monailabel.config import settings
from starlette.middleware import Middleware
from starlette.testclient import TestClient

from fewsam.core.errors import ConfigError
from fewsam.core.processes import ProcessError
from fewsam.evaluation.reliability.studies import make_studies
from fewsam.server.guard import api_key, person
from helpers.server_harness import CLASSES, Server, write_label

KEY = "correct-horse-battery-staple"
INFO = [{"name": name, "idx": value} for value, name in enumerate(CLASSES, start=1)]
SHAPE = (24, 20, 6)


# -- keys and tokens


def test_a_token_carries_the_name_and_only_its_own_key_reads_it() -> None:
    key = api_key.ApiKey(KEY)
    assert key.name_in(key.token("Nora Þ")) == "Nora Þ"
    assert key.name_in(KEY) == ""
    assert api_key.ApiKey("another-key-of-this-length").name_in(key.token("Nora")) is None


@pytest.mark.parametrize(
    "token",
    [
        "",
        "nonsense",
        KEY[:-1],
        KEY + "x",
        jwt.encode({"sub": "eve", "exp": 4_000_000_000}, KEY, "HS256"),  # signed with the key as it is
        jwt.encode({"sub": "eve", "exp": 4_000_000_000}, None, "none"),
    ],
)
def test_what_the_key_did_not_sign_opens_nothing(token: str) -> None:
    assert api_key.ApiKey(KEY).name_in(token) is None


def test_a_token_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    key, now = api_key.ApiKey(KEY), time.time()
    monkeypatch.setattr(api_key.time, "time", lambda: now - api_key.TOKEN_SECONDS - 60)
    old = key.token("nora")
    assert key.name_in(old) is None


def test_a_key_that_can_be_guessed_and_two_kinds_of_authentication_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(api_key.VARIABLE, "short")
    with pytest.raises(ConfigError, match="5 characters.*openssl rand"):
        api_key.configured()
    monkeypatch.setenv(api_key.VARIABLE, KEY)
    monkeypatch.setattr(settings, "MONAI_LABEL_AUTH_ENABLE", True)
    with pytest.raises(ConfigError, match="keep one"):
        api_key.configured()


def test_the_log_in_leads_back_into_this_server_and_nowhere_else() -> None:
    app = FastAPI(middleware=[Middleware(api_key.KeyCheck, key=api_key.ApiKey(KEY))])
    app.include_router(api_key.routes(api_key.ApiKey(KEY)))
    web = TestClient(app, follow_redirects=False)
    for asked, led in (("/ohif/?a=b", "/ohif/?a=b"), ("//evil.example", "/"), ("https://evil.example", "/"),
                       ("/\\evil.example", "/"), ("", "/"), ("/a\r\nset-cookie: x=y", "/")):  # fmt: skip
        form = {"name": "nora", "key": KEY, "next": asked}
        assert web.post("/login", data=form).headers["location"] == led, asked
    page = web.get("/login", params={"next": '/"><script>alert(1)</script>'}).text
    assert "<script>" not in page


# -- names


@pytest.mark.parametrize(("text", "name"), [("  Nora  ", "Nora"), ("", ""), ("Þóra Æ.", "Þóra Æ.")])
def test_names(text: str, name: str) -> None:
    assert person.plain_name(text) == name


@pytest.mark.parametrize("text", ["x" * 81, "two\nlines", "nul\0"])
def test_no_names(text: str) -> None:
    with pytest.raises(ValueError, match="printable"):
        person.plain_name(text)


# -- the real server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("key")
    make_studies(folder / "studies", images=("a",), shape=SHAPE)
    conf = {"labels": ",".join(CLASSES), "precompute": "false", "new_labels": "true"}
    running = Server(folder, folder / "studies", conf, {api_key.VARIABLE: KEY})
    try:
        running.start()
        yield running
    finally:
        running.stop()


def put(server: Server, tmp_path: Path, slice: int, headers: dict[str, str], said: str = "") -> str:
    """Submit a slice; the author that is stored with it."""
    truth = make_studies(tmp_path / "truth", images=("a",), shape=SHAPE)["a"]
    file = write_label(tmp_path / f"{slice}.nii.gz", truth, [slice], like=Path(server.studies) / "a.nii.gz")
    params = f'{{"label_info": {str(INFO).replace(chr(39), chr(34))}, "annotator": "{said}"}}'
    answer = requests.put(
        f"{server.url}/datastore/label",
        params={"image": "a"},
        data={"params": params},
        files={"label": file.open("rb")},
        headers=headers,
        timeout=120,
    )
    assert answer.status_code == 200, answer.text
    with sqlite3.connect(server.data / "collection.sqlite") as db:
        return str(db.execute("SELECT annotator FROM submissions ORDER BY id DESC LIMIT 1").fetchone()[0])


@pytest.mark.timeout(600)
def test_nothing_is_answered_without_the_key(server: Server) -> None:
    described = requests.get(f"{server.url}/openapi.json", headers={"X-API-Key": KEY}, timeout=60).json()
    named = ("{model}", "{strategy}", "{method}", "{session_id}")
    routes = [(method, path) for path, methods in described["paths"].items() for method in methods]
    assert len(routes) > 40
    for method, path in [*routes, ("get", "/"), ("get", "/docs"), ("get", "/openapi.json"), ("get", "/ohif/"),
                         ("get", "/static/index.html"), ("get", "/proxy/dicom/studies")]:  # fmt: skip
        for name in named:
            path = path.replace(name, "nosuch")
        for headers in ({}, {"X-API-Key": "wrong"}, {"Authorization": "Bearer eyJ.eyJ.x"}):
            answer = requests.request(method, server.url + path, headers=headers, timeout=60)
            assert answer.status_code == 401, (method, path, answer.status_code)
    assert requests.get(f"{server.url}/info/", headers={"Authorization": f"Bearer {KEY}"}, timeout=60).ok


@pytest.mark.timeout(600)
def test_a_script_sends_the_key_and_the_name_of_who_drew(server: Server, tmp_path: Path) -> None:
    named = {"X-API-Key": KEY, person.HEADER: quote("Nora Þ")}
    assert put(server, tmp_path, 2, named, said="somebody-else") == "Nora Þ"
    assert put(server, tmp_path, 3, {"X-API-Key": KEY}, said="from params") == "from params"
    answer = requests.get(f"{server.url}/info/", headers={**named, person.HEADER: "x" * 99}, timeout=60)
    assert (answer.status_code, "80 characters" in answer.text) == (400, True)


@pytest.mark.timeout(600)
def test_the_module_of_slicer_logs_in_with_a_name_and_the_key(server: Server, tmp_path: Path) -> None:
    client = MONAILabelClient(server.url, tmpdir=str(tmp_path), client_id="machine-7")
    assert client.auth_enabled()
    answer = requests.post(f"{server.url}/auth/token", data={"username": "olaf", "password": "wrong"}, timeout=60)
    assert answer.status_code == 401
    token = client.auth_token("olaf", KEY)
    client.update_auth(token)
    assert client.auth_valid_token()
    assert "segmentation" in client.info()["models"]
    assert put(server, tmp_path, 4, {"Authorization": f"Bearer {token['access_token']}"}) == "olaf"


@pytest.mark.timeout(600)
def test_a_browser_logs_in_once_and_says_a_name(server: Server) -> None:
    browser = requests.Session()
    page = browser.get(f"{server.url}/ohif/?x=1", headers={"Accept": "text/html"}, timeout=60)
    assert page.url.endswith("/login?next=%2Fohif%2F%3Fx%3D1")
    form = {"name": "Nora", "key": "no", "next": "/fewsam/state"}
    refused = browser.post(f"{server.url}/login", data=form, timeout=60)
    assert (refused.status_code, "not the key" in refused.text) == (401, True)
    assert browser.post(f"{server.url}/login", data={**form, "key": KEY, "name": " "}, timeout=60).status_code == 400
    state = browser.post(f"{server.url}/login", data={**form, "key": KEY}, timeout=60).json()
    assert (state["person"], state["ask_name"]) == ("Nora", False)
    cookie = next(iter(browser.cookies))
    assert cookie.has_nonstandard_attr("HttpOnly")
    assert KEY not in (cookie.value or "")
    added = browser.post(f"{server.url}/fewsam/structures", json={"name": "lung"}, timeout=60).json()[-1]
    renamed = {"id": added["id"], "name": "lungs"}
    assert browser.post(f"{server.url}/fewsam/structures/rename", json=renamed, timeout=60).ok
    with sqlite3.connect(server.data / "collection.sqlite") as db:
        assert db.execute("SELECT annotator FROM structures").fetchall() == [("Nora",)]
    foreign = {"Origin": "https://evil.example"}
    assert browser.post(f"{server.url}/reload", headers=foreign, timeout=60).status_code == 403
    browser.post(f"{server.url}/logout", timeout=60)
    assert browser.get(f"{server.url}/fewsam/state", timeout=60).status_code == 401
    log = server.log.read_text()
    assert KEY not in log
    assert "eyJ" not in log  # no token either


@pytest.mark.timeout(600)
def test_a_server_with_a_weak_key_does_not_start_and_says_why(tmp_path: Path) -> None:
    make_studies(tmp_path / "studies", images=("a",), shape=SHAPE)
    weak = Server(tmp_path, tmp_path / "studies", {"labels": "ball"}, {api_key.VARIABLE: "weak"})
    with pytest.raises(ProcessError, match=f"fewsam cannot start: {api_key.VARIABLE} has 4 characters"):
        weak.start()
