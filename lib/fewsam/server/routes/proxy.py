"""``/proxy/dicom``: the viewer's way to the PACS, with the query string, and to no other host.

MONAI Label's own proxy drops the query, blocks the event loop while it waits, answers 500 when the PACS is down,
follows redirects anywhere, lets ``..`` lead out of the PACS's address, and passes on the client's headers with its
token.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Generator
from functools import cache
from typing import Any
from urllib.parse import urlsplit

import httpx
from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from monailabel.config import settings
from monailabel.endpoints.user.auth import User

from fewsam.server.routes.roles import ANNOTATOR, USER

logger = logging.getLogger(__name__)

router = APIRouter()

_PASSED_ON = ("accept", "content-type", "if-none-match", "range")
_PASSED_BACK = ("content-type", "etag", "last-modified", "content-range", "warning")
_BULK = 1 << 25  # a larger answer is not searched for addresses
# The characters of DICOMweb's paths. A per cent sign is none of them: the PACS might decode what is still encoded here.
_PLAIN = re.compile(r"[A-Za-z0-9._~,:@=+/-]*")


def install(app_router: APIRouter) -> None:
    """Serve the PACS; on a folder of images there is none, and the answer says so."""
    _address.cache_clear()
    app_router.include_router(router)


@router.get("/proxy/dicom/{path:path}", include_in_schema=False)
async def read(request: Request, path: str, user: User = USER) -> Response:
    return await _pass(request, path)


@router.post("/proxy/dicom/{path:path}", include_in_schema=False)
async def write(request: Request, path: str, user: User = ANNOTATOR) -> Response:
    return await _pass(request, path)


@cache
def _address() -> str:
    studies = settings.MONAI_LABEL_STUDIES.strip().rstrip("/")
    return studies if studies.startswith(("http://", "https://")) else ""


@cache
def _http() -> httpx.AsyncClient:
    user, password = settings.MONAI_LABEL_DICOMWEB_USERNAME, settings.MONAI_LABEL_DICOMWEB_PASSWORD
    google = (urlsplit(_address()).hostname or "").endswith(".googleapis.com")
    return httpx.AsyncClient(
        auth=_Google() if google else (user, password) if user and password else None,
        timeout=httpx.Timeout(settings.MONAI_LABEL_DICOMWEB_PROXY_TIMEOUT, connect=5.0, read=60.0),
        follow_redirects=False,
        trust_env=False,
        limits=httpx.Limits(max_connections=16),
    )


class _Google(httpx.Auth):
    """Google's Healthcare API, with the credentials of the server's account."""

    def __init__(self) -> None:
        import google.auth

        self._account: Any = google.auth.default(scopes=["https://www.googleapis.com/auth/cloud-platform"])[0]

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        if not self._account.valid:
            from google.auth.transport.requests import Request as Refresh

            self._account.refresh(Refresh())
        request.headers["authorization"] = f"Bearer {self._account.token}"
        yield request


def _target(path: str) -> str | None:
    """Path below the PACS's address; None where it would lead out of it."""
    op, _, rest = path.partition("/")
    prefixes = {
        "wado": settings.MONAI_LABEL_WADO_PREFIX,
        "qido": settings.MONAI_LABEL_QIDO_PREFIX,
        "stow": settings.MONAI_LABEL_STOW_PREFIX,
    }
    prefix, rest = (prefixes[op], rest) if op in prefixes else (None, path)
    if op == "qido" and rest.endswith("metadata"):
        prefix = prefixes["wado"]
    parts = rest.split("/")
    if not _PLAIN.fullmatch(rest) or any(part in (".", "..") for part in parts) or ":" in parts[0]:
        return None
    return "/".join(part for part in (prefix, rest) if part)


async def _pass(request: Request, path: str) -> Response:
    if not _address():
        return JSONResponse(
            {"detail": "the studies are a folder: there is no PACS behind this server"}, status_code=404
        )
    target = _target(path)
    if target is None:
        return JSONResponse({"detail": f"{path[:200]!r} is no path of the PACS"}, status_code=400)
    headers = {name: request.headers[name] for name in _PASSED_ON if name in request.headers}
    try:
        answer = await _http().request(
            request.method,
            httpx.URL(f"{_address()}/{target}").copy_with(query=request.url.query.encode() or None),
            headers=headers,
            content=await request.body() if request.method == "POST" else None,
        )
    except httpx.InvalidURL:
        return JSONResponse({"detail": f"{path[:200]!r} is no path of the PACS"}, status_code=400)
    except httpx.HTTPError as error:
        logger.warning("proxy: %s: %s", type(error).__name__, target)
        detail = f"the PACS at {_address()} does not answer ({type(error).__name__}); start it and try again"
        return JSONResponse({"detail": detail}, status_code=502)
    if answer.is_redirect:  # it may lead anywhere, so that it is neither followed nor passed on
        detail = f"the PACS at {_address()} sends elsewhere; give --studies the address that it answers at itself"
        return JSONResponse({"detail": detail}, status_code=502)
    body = answer.content
    if "json" in answer.headers.get("content-type", "") and len(body) < _BULK:
        # Addresses of bulk data name the PACS, which the browser may not reach, or not without its consent.
        own = f"{request.url.scheme}://{request.url.netloc}{settings.MONAI_LABEL_API_STR}/proxy/dicom/wado"
        body = body.replace(_address().encode(), own.encode())
    kept = {name: answer.headers[name] for name in _PASSED_BACK if name in answer.headers}
    return Response(body, answer.status_code, kept)
