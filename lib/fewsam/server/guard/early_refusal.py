"""What brings a body without a valid token is refused before the body is read.

FastAPI reads a form to its end, files of gigabytes included, before it asks for the role that a route needs.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from fastapi import HTTPException
from fastapi.security.utils import get_authorization_scheme_param
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send


class EarlyRefusal:
    """ASGI middleware that looks at the token of a request with a body; what it may do is checked by each route.

    Args:
        check: Raises HTTPException for a token that is not valid. It may wait for the issuer.
        public: Paths to which a body may be sent without a token.
    """

    def __init__(self, app: ASGIApp, check: Callable[[str], Any], public: Collection[str]) -> None:
        self.app = app
        self.check = check
        self.public = frozenset(public)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] not in self.public:
            headers = Headers(scope=scope)
            if "transfer-encoding" in headers or headers.get("content-length", "0") != "0":
                try:
                    await self._let_in(headers)
                except HTTPException as error:
                    # The connection ends with it: otherwise the server would read the body to find the next request.
                    more = {**(error.headers or {}), "connection": "close"}
                    await JSONResponse({"detail": error.detail}, error.status_code, more)(scope, receive, send)
                    return
        await self.app(scope, receive, send)

    async def _let_in(self, headers: Headers) -> None:
        scheme, token = get_authorization_scheme_param(headers.get("authorization"))
        if scheme.lower() != "bearer" or not token:
            raise HTTPException(401, "Not authenticated", {"WWW-Authenticate": "Bearer"})
        await run_in_threadpool(self.check, token)
