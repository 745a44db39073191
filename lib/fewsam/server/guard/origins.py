"""Who can reach the server at all: checks of origins and of host names, and a warning where everybody can.

A browser sends requests for any page that is open in it. Without authentication a request is as good as a permission,
so that pages of other origins must not make any that change something (the ``Origin`` header tells), and a foreign name
that resolves to this machine (DNS rebinding; the ``Host`` header tells) must not read anything either.

``MONAI_LABEL_CORS_ORIGINS`` lists the origins that may, e.g. ``["https://viewer.example.org"]``. Without it the
server's own pages alone may; MONAI Label's default is every page, credentials included. 3D Slicer and scripts send no
origin.
"""

from __future__ import annotations

import argparse
import ipaddress
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware
from monailabel.config import settings
from starlette.datastructures import Headers
from starlette.middleware import Middleware
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from fewsam.core.loopback import is_loopback, open_to_all
from fewsam.server.guard import api_key

logger = logging.getLogger(__name__)

_READS = ("GET", "HEAD", "OPTIONS")


def install(app: FastAPI) -> None:
    """Put the checks before everything else, and our rules for other origins in the place of MONAI Label's."""
    origins = [str(origin).rstrip("/") for origin in settings.MONAI_LABEL_CORS_ORIGINS]
    own = [f"{scheme}://{name}:{settings.MONAI_LABEL_SERVER_PORT}"
           for scheme in ("http", "https") for name in ("127.0.0.1", "localhost", "[::1]")]  # fmt: skip
    guarded = settings.MONAI_LABEL_AUTH_ENABLE or api_key.configured() is not None
    app.user_middleware[:] = [
        Middleware(OriginCheck, origins=[*own, *origins], named=not guarded),
        Middleware(
            CORSMiddleware,
            allow_origins=[*own, *origins],
            allow_credentials=True,
            allow_methods=["*"],
            allow_headers=["*"],
        ),
        *(other for other in app.user_middleware if other.cls is not CORSMiddleware),
    ]
    logger.info("pages of other origins may use the server: %s", ", ".join(origins) or "none")
    host = listening_host(sys.argv)
    if not is_loopback(host) and not guarded:
        remedy = f"set {api_key.VARIABLE} or MONAI_LABEL_AUTH_ENABLE=true, or --host 127.0.0.1"
        logger.warning("%s", open_to_all("the server", host, remedy))


def listening_host(argv: Sequence[str]) -> str:
    """The address that the server listens on by its command line. ``monailabel start_server`` takes all by default."""
    parser = argparse.ArgumentParser(add_help=False, exit_on_error=False, allow_abbrev=False)
    parser.add_argument("-i", "--host")
    try:
        known, _ = parser.parse_known_args(list(argv[1:]))
    except argparse.ArgumentError:
        return "0.0.0.0"
    stock = "monailabel" in Path(argv[0]).parts[-1:] or "start_server" in argv
    return str(known.host or ("0.0.0.0" if stock else "127.0.0.1"))


class OriginCheck:
    """Refuse what a page of a foreign origin sends, and names that are not this server's.

    Args:
        app: What to guard.
        origins: Those that are not foreign.
        named: Check the name too. What comes from this machine must call it by an address, ``localhost``, or the name
            of one of the origins. A token, which no foreign page has, makes it needless.
    """

    def __init__(self, app: ASGIApp, origins: Sequence[str], named: bool) -> None:
        self.app = app
        self.named = named
        self.origins = frozenset(origins)
        self.names = frozenset(urlsplit(origin).hostname or "" for origin in origins) | {"localhost"}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and (refusal := self._refusal(scope)):
            logger.warning("%s %s -> 403: %s", scope["method"], scope["path"], refusal)
            await JSONResponse({"detail": refusal}, status_code=403)(scope, receive, send)
            return
        await self.app(scope, receive, send)

    def _refusal(self, scope: Scope) -> str:
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        local = is_loopback((scope.get("server") or ("",))[0])
        if self.named and local and not self._is_ours(host):
            return f"the name {host[:80]!r} is not known here; add its origin to MONAI_LABEL_CORS_ORIGINS"
        origin = headers.get("origin")
        if origin is None or scope["method"] in _READS or origin in self.origins:
            return ""
        if origin.partition("://")[2] == host:  # the scheme may differ behind a proxy that does TLS
            return ""
        return f"pages of {origin[:80]!r} may not do this; add the origin to MONAI_LABEL_CORS_ORIGINS"

    def _is_ours(self, host: str) -> bool:
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return name in self.names
        return True  # an address is no name, so that no foreign page can have it as its own
