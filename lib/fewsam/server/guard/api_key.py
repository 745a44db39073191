"""One key for a whole lab that has no identity provider: ``FEWSAM_API_KEY``.

Whoever has the key may do everything; nobody else gets anything but the page to log in. Scripts send the key itself
(``X-API-Key``, or ``Authorization: Bearer``). The module of 3D Slicer and a browser send a name and the key once, and
get a token that carries the name and is signed with the key: another key makes all tokens void.
"""

from __future__ import annotations

import hashlib
import hmac
import html
import os
import time
from typing import Annotated, Any
from urllib.parse import urlencode

import jwt
from fastapi import APIRouter, Depends, Form, HTTPException, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from fastapi.security import OAuth2PasswordRequestForm
from monailabel.config import settings
from monailabel.endpoints.user.auth import RBAC, Token, User
from starlette.datastructures import Headers
from starlette.requests import cookie_parser
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from fewsam.core.errors import ConfigError
from fewsam.server.guard.person import SCOPE_KEY, plain_name

VARIABLE = "FEWSAM_API_KEY"
SHORTEST = 16
TOKEN_SECONDS = 30 * 86_400
_ALGORITHM = "HS256"

_LOGIN = """<!doctype html><html lang="en"><meta name="viewport" content="width=device-width"><title>fewsam</title>
<style>body{font:16px sans-serif;margin:15vh auto;max-width:22em;padding:0 1em;background:#0b1120;color:#e5e7eb}
label{display:block;margin:1em 0}input{display:block;width:100%%;box-sizing:border-box;padding:.5em;margin-top:.3em;
font:inherit;color:inherit;background:#1f2937;border:1px solid #6b7280;border-radius:4px}button{font:inherit;
padding:.5em 1.5em;background:#2563eb;color:#fff;border:0;border-radius:4px}.refused{color:#fca5a5}</style>
<main><h1>fewsam</h1>%(refused)s<form method="post" action="%(action)s">
<input type="hidden" name="next" value="%(next)s">
<label>Your name <input name="name" autocomplete="username" required maxlength="80" value="%(name)s" autofocus></label>
<label>Key of this server <input name="key" type="password" autocomplete="current-password" required></label>
<button>Log in</button></form><p>Your name is stored with each label that you submit.</p></main></html>"""


class ApiKey:
    """The key of a server, and the tokens that it signs.

    Raises:
        ConfigError: the key can be guessed.
    """

    def __init__(self, key: str) -> None:
        if len(key) < SHORTEST:
            raise ConfigError(
                f"{VARIABLE} has {len(key)} characters, and a key of fewer than {SHORTEST} can be guessed; "
                "`openssl rand -hex 16` makes one"
            )
        self._key = key.encode()
        self._signing = hashlib.sha256(b"fewsam token " + self._key).digest()

    def fits(self, key: str) -> bool:
        return hmac.compare_digest(key.encode(errors="replace"), self._key)

    def token(self, name: str) -> str:
        """A token that says who somebody is, for those who have sent the key."""
        now = int(time.time())
        return jwt.encode({"sub": name, "iat": now, "exp": now + TOKEN_SECONDS}, self._signing, _ALGORITHM)

    def name_in(self, given: str) -> str | None:
        """The name in a token; empty for the key itself, None for anything else."""
        if self.fits(given):
            return ""
        try:
            claims = jwt.decode(given, self._signing, [_ALGORITHM], options={"require": ["exp", "sub"]})
        except jwt.PyJWTError:
            return None
        return str(claims["sub"])


def configured() -> ApiKey | None:
    """The key in the environment, if there is one.

    Raises:
        ConfigError: it is too short, or MONAI Label's own authentication is on as well.
    """
    key = os.environ.get(VARIABLE, "").strip()
    if not key:
        return None
    if settings.MONAI_LABEL_AUTH_ENABLE:
        raise ConfigError(f"MONAI_LABEL_AUTH_ENABLE and {VARIABLE} are both set; keep one of them")
    return ApiKey(key)


def cookie_name() -> str:
    """Cookies do not tell ports apart, and two servers of one machine have two keys."""
    return f"fewsam_{settings.MONAI_LABEL_SERVER_PORT}"


class KeyCheck:
    """ASGI middleware that lets nothing pass without the key, or a token that it signed."""

    def __init__(self, app: ASGIApp, key: ApiKey) -> None:
        self.app = app
        self.key = key
        prefix = settings.MONAI_LABEL_API_STR
        self.login = f"{prefix}/login"
        self.public = {self.login, f"{prefix}/auth/", f"{prefix}/auth/token", "/favicon.ico"}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] not in self.public:
            headers = Headers(scope=scope)
            names = (self.key.name_in(given) for given in _credentials(headers))
            name = next((name for name in names if name is not None), None)
            if name is None:
                await self._refusal(scope, headers)(scope, receive, send)
                return
            scope[SCOPE_KEY] = name
        await self.app(scope, receive, send)

    def _refusal(self, scope: Scope, headers: Headers) -> Response:
        if scope["method"] == "GET" and "text/html" in headers.get("accept", ""):  # a person opens a page
            query = scope.get("query_string", b"").decode("latin-1")
            back = scope["path"] + (f"?{query}" if query else "")
            return RedirectResponse(f"{self.login}?{urlencode({'next': back})}", status_code=303)
        detail = "this server asks for its key: send it as the header X-API-Key, or log in again at /login"
        return JSONResponse({"detail": detail}, 401, {"WWW-Authenticate": "Bearer"})


def _credentials(headers: Headers) -> list[str]:
    """What a request brings to be let in."""
    kind, _, token = headers.get("authorization", "").partition(" ")
    cookies = [cookie_parser(header).get(cookie_name(), "") for header in headers.getlist("cookie")]
    given = [headers.get("x-api-key", ""), token.strip() if kind.casefold() == "bearer" else "", *cookies]
    return [one for one in given if one]


def routes(key: ApiKey) -> APIRouter:
    """The ways to a token: MONAI Label's own, which Slicer's module takes, and a page for a browser."""
    router = APIRouter(include_in_schema=False)

    @router.get("/auth/")
    def enabled() -> dict[str, Any]:
        return {"enabled": True, "client_id": "fewsam", "realm": f"your name, and the key of this server ({VARIABLE})"}

    @router.post("/auth/token", response_model=Token)
    def log_in(form: Annotated[OAuth2PasswordRequestForm, Depends()]) -> Any:
        return {"access_token": _token(key, form.username, form.password), "token_type": "bearer"}

    @router.get("/auth/token/valid")
    def valid(user: Annotated[User, Depends(RBAC("*"))]) -> dict[str, Any]:
        return user.model_dump()

    @router.get("/login")
    def page(next: str = "") -> Response:
        return _page(next)

    @router.post("/login")
    def enter(
        request: Request,
        name: Annotated[str, Form()] = "",
        key_given: Annotated[str, Form(alias="key")] = "",
        next: Annotated[str, Form()] = "",
    ) -> Response:
        try:
            token = _token(key, name, key_given)
        except HTTPException as refused:
            return _page(next, name, str(refused.detail), refused.status_code)
        answer = RedirectResponse(_inside(next), status_code=303)
        secure = request.url.scheme == "https"
        answer.set_cookie(cookie_name(), token, TOKEN_SECONDS, httponly=True, samesite="lax", secure=secure)
        return answer

    @router.post("/logout")
    def leave() -> Response:
        answer = RedirectResponse(f"{settings.MONAI_LABEL_API_STR}/login", status_code=303)
        answer.delete_cookie(cookie_name())
        return answer

    return router


def _token(key: ApiKey, name: str, given: str) -> str:
    try:
        name = plain_name(name)
    except ValueError as error:
        raise HTTPException(400, f"{str(error)[0].upper()}{str(error)[1:]}.") from None
    if not name:
        raise HTTPException(400, "Say your name: it is stored with each label that you submit.")
    if not key.fits(given):
        raise HTTPException(401, "This is not the key of this server.")
    return key.token(name)


def _inside(path: str) -> str:
    """Where to go after the log-in: a path of this server, never another one."""
    own = path.startswith("/") and not path.startswith(("//", "/\\")) and path.isprintable()
    return path if own else "/"


def _page(next: str, name: str = "", refused: str = "", status: int = 200) -> Response:
    shown = {
        "action": f"{settings.MONAI_LABEL_API_STR}/login",
        "next": html.escape(_inside(next)),
        "name": html.escape(name[:80]),
        "refused": f'<p class="refused" role="alert">{html.escape(refused)}</p>' if refused else "",
    }
    return HTMLResponse(_LOGIN % shown, status, {"cache-control": "no-store"})
