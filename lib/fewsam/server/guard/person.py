"""Who makes a request: the person in a token, or the name that a client says of itself.

Without authentication nobody proves anything. A client may still say who draws, in the header ``X-Annotator`` (UTF-8,
percent-encoded), and that name is stored as the author of what it sends.
"""

from __future__ import annotations

from urllib.parse import unquote

from fastapi import FastAPI, HTTPException, Request
from monailabel.config import settings
from monailabel.endpoints.user import auth
from monailabel.endpoints.user.auth import DEFAULT_USER, User

HEADER = "x-annotator"
LONGEST = 80
SCOPE_KEY = "fewsam.person"  # where a middleware leaves the name that it read from a token


class NamedUser(User):
    """A user whose name a client said, with all roles: nobody is asked for a proof."""


def install(app: FastAPI) -> None:
    """Have requests carry the name that their client says, where no token of an issuer is asked for."""
    if not settings.MONAI_LABEL_AUTH_ENABLE:
        app.dependency_overrides[auth.get_current_user] = _named_user


def author(user: User, said: str = "") -> str:
    """Whom a label is stored under: the person in the token, the name in the header, or else what the request says."""
    known = settings.MONAI_LABEL_AUTH_ENABLE or isinstance(user, NamedUser)
    return user.username if known else said


def plain_name(text: str) -> str:
    """A name without spaces around it; empty where there is none.

    Raises:
        ValueError: it is longer than names are, or cannot be shown.
    """
    name = text.strip()
    if len(name) > LONGEST or not name.isprintable():
        raise ValueError(f"the name must be printable and have at most {LONGEST} characters; it has {len(name)}")
    return name


async def _named_user(request: Request) -> User:
    try:
        said = unquote(request.headers.get(HEADER, ""), errors="strict")
        name = request.scope.get(SCOPE_KEY) or plain_name(said)
    except ValueError as error:
        raise HTTPException(400, f"header {HEADER}: {error}") from None
    return NamedUser(**{**DEFAULT_USER.model_dump(), "username": name, "name": name}) if name else DEFAULT_USER
