"""A limit on what a client may send. A larger body is refused before it is kept."""

from __future__ import annotations

import os
from typing import Any

from monailabel.config import settings
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

# Bytes of what is sent to log in: whoever sends it has no token yet.
LOG_IN = 64 << 10
PLAIN = 16 << 20  # bytes of JSON and of forms without files, which are read into memory
IN_MEMORY = 1 << 30  # bytes of what is passed on to a PACS as it is
UPLOAD = "FEWSAM_MAX_UPLOAD_GB"
DEFAULT_GB = 4.0


def limit_of(kind: str) -> int:
    """Bytes that a body of this content type may have."""
    if kind.startswith("multipart/form-data"):
        try:
            chosen = float(os.environ.get(UPLOAD, DEFAULT_GB))
        except ValueError:
            chosen = DEFAULT_GB
        return int(chosen * 1e9) if 0 < chosen < 1e6 else int(DEFAULT_GB * 1e9)
    return IN_MEMORY if kind.startswith(("multipart/related", "application/dicom")) else PLAIN


class BodyLimit:
    """Answers 413 where a body is larger than its kind may be, whether it says so or not."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        prefix = settings.MONAI_LABEL_API_STR
        self.log_in = {f"{prefix}/login", f"{prefix}/auth/token"}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = {name.lower(): value for name, value in scope["headers"]}
        limit = limit_of(headers.get(b"content-type", b"").decode("latin-1").strip().lower())
        if scope["path"] in self.log_in:
            limit = min(limit, LOG_IN)
        claimed = headers.get(b"content-length", b"0")
        got, answered = 0, False

        async def counted() -> Message:
            nonlocal got
            message = await receive()
            got += len(message.get("body", b""))
            if got > limit:
                await refuse()
                return {"type": "http.disconnect"}
            return message

        async def once(message: Message) -> None:
            if not answered:
                await send(message)

        async def refuse() -> None:
            nonlocal answered
            if not answered:
                await _too_large(limit)(scope, receive, send)
                answered = True

        if not claimed.isdigit() or int(claimed) > limit:
            await refuse()
        else:
            await self.app(scope, counted, once)


def _too_large(limit: int) -> Any:
    much = f"{limit / 1e6:.0f} MB" if limit >= 1e6 else f"{limit / 1e3:.0f} kB"
    detail = f"more than {much} were sent; send less at once, or raise {UPLOAD} for files"
    return JSONResponse({"detail": detail}, status_code=413, headers={"connection": "close"})
