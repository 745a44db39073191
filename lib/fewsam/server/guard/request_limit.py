"""A limit on the requests that the server works on at a time; the others are told to come back later."""

from __future__ import annotations

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from fewsam.server.errors import RETRY_SECONDS

HELD = 256


class RequestLimit:
    """ASGI middleware that answers 503 while ``held`` requests are not answered yet."""

    def __init__(self, app: ASGIApp, held: int = HELD) -> None:
        self.app = app
        self.limit = held
        self.held = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        if self.held >= self.limit:
            detail = f"the server is busy: {self.limit} requests are not answered yet; try again in a minute"
            refusal = JSONResponse({"detail": detail}, 503, {"Retry-After": str(RETRY_SECONDS)})
            await refusal(scope, receive, send)
            return
        self.held += 1
        try:
            await self.app(scope, receive, send)
        finally:
            self.held -= 1
