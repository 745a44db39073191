"""``/proxy/dicom`` leads to the configured PACS and nowhere else."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from fastapi import FastAPI
from hypothesis import given
from hypothesis import strategies as st
from monailabel.config import settings
from starlette.testclient import TestClient

from fewsam.server.routes import proxy

PREFIX = "/hospital/dicom-web"


class Seen(ThreadingHTTPServer):
    """A server that notes the paths and headers that it is asked with, and sends on where it is told to."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, dict[str, str]]] = []
        self.elsewhere = ""
        super().__init__(("127.0.0.1", 0), _Noting)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Noting(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        seen: Seen = self.server  # type: ignore[assignment]
        self.rfile.read(int(self.headers.get("content-length") or 0))
        seen.asked.append((self.command, self.path, {k.casefold(): v for k, v in self.headers.items()}))
        self.send_response(302 if seen.elsewhere else 200)
        if seen.elsewhere:
            self.send_header("Location", seen.elsewhere)
        self.send_header("Set-Cookie", "pacs=1")
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    do_POST = do_GET

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def listening() -> Iterator[Seen]:
    server = Seen()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def pacs() -> Iterator[Seen]:
    with listening() as server:
        yield server


@pytest.fixture
def elsewhere() -> Iterator[Seen]:
    with listening() as server:
        yield server


@contextmanager
def through(studies: str) -> Iterator[TestClient]:
    """Our proxy before ``studies``."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(settings, "MONAI_LABEL_STUDIES", studies)
        proxy._http.cache_clear()
        app = FastAPI()
        proxy.install(app.router)
        with TestClient(app, follow_redirects=False) as web:
            yield web
        proxy._http.cache_clear()
        proxy._address.cache_clear()


def test_requests_reach_the_pacs_with_their_query(pacs: Seen) -> None:
    with through(pacs.url + PREFIX) as web:
        given_headers = {"Authorization": "Bearer secret", "Cookie": "a=b", "Accept": "application/dicom+json"}
        answer = web.get("/proxy/dicom/qido/studies?limit=2&PatientName=A*", headers=given_headers)
        assert (answer.status_code, answer.text) == (200, "ok")
        assert "set-cookie" not in answer.headers
        assert web.post("/proxy/dicom/wado/studies/1.2.3", content=b"x").status_code == 200
        assert web.get("/proxy/dicom/wado/studies/1.2/series/3/instances/4/frames/1,2").status_code == 200
    assert [one[:2] for one in pacs.asked] == [
        ("GET", f"{PREFIX}/studies?limit=2&PatientName=A*"),
        ("POST", f"{PREFIX}/studies/1.2.3"),
        ("GET", f"{PREFIX}/studies/1.2/series/3/instances/4/frames/1,2"),
    ]
    headers = pacs.asked[0][2]
    assert headers["accept"] == "application/dicom+json"
    assert not {"authorization", "cookie"} & set(headers)  # the client's token is not the PACS's business


@pytest.mark.parametrize(
    "path",
    [
        "../../admin", "wado/../../../admin", "qido/%2e%2e", "wado/studies/../../../admin", "%2e%2e/%2e%2e/admin",
        "wado/%2e%2e/%2e%2e/admin", "wado/%252e%252e/admin", "wado/..%2fadmin", "wado/..%5cadmin", "..\\admin",
        "http://evil.example/x", "wado/http://evil.example/x", "https:evil.example", "wado/a%0d%0aHost:%20evil",
        "wado/x%00", "wado/a%3fb=c", "wado/a%23b", "wado/stud ies", "wado/%e2%80%ae",
    ],
)  # fmt: skip
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_paths_that_lead_out_are_refused(path: str, method: str, pacs: Seen) -> None:
    with through(pacs.url + PREFIX) as web:
        answer = web.request(method, f"http://testserver/proxy/dicom/{path}")
    assert answer.status_code in (400, 404), answer.text
    assert pacs.asked == []


@pytest.mark.parametrize(
    "path", ["..", "qido/..", "wado/../x", "./x", "wado/studies/.", "a/../../b", "x:y", "a b", "%"]
)
def test_paths_as_they_come_from_a_socket_are_refused_too(path: str) -> None:
    assert proxy._target(path) is None  # clients above take dots away before they send them


@given(st.text(min_size=1, max_size=40) | st.from_regex(r"\A[a-z]{0,5}[./:@\\%2eEfF?#-]{1,20}[a-z./]{0,9}\Z"))
def test_whatever_the_path_the_address_stays_below_the_pacs(path: str) -> None:
    import httpx

    target = proxy._target(path)
    if target is None:
        return
    base = httpx.URL("http://127.0.0.1:8042/hospital/dicom-web")
    address = httpx.URL(f"{base}/{target}")
    assert (address.scheme, address.host, address.port, address.userinfo) == ("http", "127.0.0.1", 8042, b"")
    assert address.raw_path.startswith(PREFIX.encode())
    assert not {b".", b".."} & set(address.raw_path.split(b"/"))


@pytest.mark.parametrize("path", ["//evil.example/x", "wado//evil.example", "@evil.example", "wado/@evil.example/"])
def test_what_looks_like_a_host_is_a_path(path: str, pacs: Seen) -> None:
    with through(pacs.url + PREFIX) as web:
        assert web.get(f"http://testserver/proxy/dicom/{path}").status_code == 200
    assert len(pacs.asked) == 1
    assert pacs.asked[0][1].startswith(f"{PREFIX}/")
    assert pacs.asked[0][2]["host"] == pacs.url.removeprefix("http://")


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_redirects_are_neither_followed_nor_passed_on(method: str, pacs: Seen, elsewhere: Seen) -> None:
    pacs.elsewhere = f"{elsewhere.url}/secrets"
    with through(pacs.url + PREFIX) as web:
        answer = web.request(method, "/proxy/dicom/qido/studies")
    assert answer.status_code == 502
    assert "sends elsewhere" in answer.json()["detail"]
    assert "location" not in answer.headers
    assert len(pacs.asked) == 1
    assert elsewhere.asked == []


def test_a_folder_has_no_pacs_and_one_that_is_away_is_named() -> None:
    with through("/data/images") as web:
        answer = web.get("/proxy/dicom/qido/studies")
        assert answer.status_code == 404
        assert "no PACS" in answer.json()["detail"]
        assert web.get("/proxy/dicom//etc/passwd").status_code == 404
    with through("http://127.0.0.1:9/dicom-web") as web:
        assert web.get("/proxy/dicom/qido/studies").status_code == 502
