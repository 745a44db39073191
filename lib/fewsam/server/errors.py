"""Refusals as HTTP answers: ``{"detail": "..."}`` with a status that says whose fault it was."""

from __future__ import annotations

import errno
import logging
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exception_handlers import request_validation_exception_handler
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from monailabel.interfaces.exception import MONAILabelError, MONAILabelException

from fewsam.core.errors import (
    ChangedImageError,
    CheckpointError,
    ConfigError,
    FewSAMError,
    ImageError,
    LabelError,
    NotEncodedError,
    StorageError,
)

logger = logging.getLogger(__name__)


RETRY_SECONDS = 30


class NotFoundError(FewSAMError):
    """The request names an image, a model or a strategy that does not exist."""


class RequestError(FewSAMError):
    """A request's own parameters cannot be understood."""


class BusyError(FewSAMError):
    """The work that was asked for is going on already."""


class TrainingError(FewSAMError):
    """A training run that a client waits for was not possible."""


class QueueFullError(FewSAMError):
    """More requests wait than the server takes on."""


class PacsError(FewSAMError):
    """The PACS does not answer, or refuses."""


class RefusedError(PacsError):
    """The PACS answered, and does not take what it was sent."""


class UnreadableError(PacsError):
    """The PACS answered, and what it says cannot be read."""


# The first class that fits decides; the last entry catches every refusal of ours.
_STATUS: tuple[tuple[type[FewSAMError], int], ...] = (
    (NotFoundError, 404),
    (RequestError, 400),
    (BusyError, 429),
    (QueueFullError, 503),
    (PacsError, 502),
    (ConfigError, 400),
    (ChangedImageError, 409),
    (LabelError, 422),
    (ImageError, 422),
    (StorageError, 507),
    (CheckpointError, 503),
    (NotEncodedError, 503),
    (FewSAMError, 422),
)


def status_of(error: Exception) -> int:
    """HTTP status for ``error``; 500 for what is not a refusal of ours."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return 507
    if isinstance(error, UnicodeEncodeError):  # half of a surrogate pair: JSON can spell it, and nothing can store it
        return 400
    if isinstance(error, OverflowError):  # JSON can spell numbers that neither SQLite nor NumPy can hold
        return 400
    if isinstance(error, MONAILabelException):
        return 400 if error.error == MONAILabelError.INVALID_INPUT else 404 if "not found" in error.msg else 500
    return next((status for kind, status in _STATUS if isinstance(error, kind)), 500)


_folders: list[str] = []  # of the server, which mean nothing to who reads its answers


def hide_folders(*folders: str | Path) -> None:
    """Name files below these folders by their names alone in `message_of`; the log keeps the paths."""
    known = {os.path.join(os.path.realpath(folder), "") for folder in folders} | {
        os.path.join(os.path.abspath(folder), "") for folder in folders
    }
    _folders[:] = sorted({*_folders, *known}, key=len, reverse=True)


def without_folders(text: str) -> str:
    """A message in which files of the server are named by their names alone."""
    for folder in _folders:
        if folder in text:
            text = re.sub(re.escape(folder) + r"(?:[^\s:'\"]*/)?", "", text)
    return text


@contextmanager
def reworded(words: Mapping[str, str]) -> Iterator[None]:
    """Have refusals of this block say the values of ``words`` where they say the keys."""
    try:
        yield
    except FewSAMError as error:
        text = str(error)
        for key, word in words.items():
            text = text.replace(key, word)
        if text == str(error):
            raise
        raise type(error)(text) from error


def message_of(error: Exception) -> str:
    """One line for a person, without folders of the server."""
    return without_folders(_message_of(error))


def _message_of(error: Exception) -> str:
    if isinstance(error, MONAILabelException):
        return error.msg
    if status_of(error) == 507 and isinstance(error, OSError):
        return f"the server's disk is full ({error.filename or 'no file named'}); free some space and try again"
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror} ({Path(str(error.filename or 'no file named')).name}); the server's log says more"
    if isinstance(error, FewSAMError):
        return str(error).encode(errors="replace").decode()
    if isinstance(error, UnicodeEncodeError):
        return f"the request holds text that is no Unicode ({error.reason}); send whole characters"
    if isinstance(error, OverflowError):
        return f"the request holds a number that is too large ({error}); send a smaller one"
    return f"unexpected {type(error).__name__} in the server; its log says more"


def install(app: FastAPI) -> None:
    """Answer every refusal, from our routes and from MONAI Label's own, as JSON."""
    app.add_exception_handler(RequestValidationError, _invalid)
    for kind in (FewSAMError, MONAILabelException, OSError, Exception):
        app.add_exception_handler(kind, _answer)
    # Starlette has built its handlers into the stack before the app's start-up hook runs: have it built again.
    app.middleware_stack = None


async def _invalid(request: Request, error: Any) -> Response:
    """FastAPI's own answer; without what was sent where that has no form in an answer: JSON, as Python reads it, knows
    Infinity.
    """
    try:
        return await request_validation_exception_handler(request, error)
    except ValueError:
        detail = [{key: one[key] for key in ("type", "loc", "msg")} for one in error.errors()]
        return JSONResponse({"detail": detail}, status_code=422)


async def _answer(request: Request, error: Any) -> JSONResponse:
    status = status_of(error)
    # Only what may not be the input's fault deserves a traceback.
    traced = status == 500 or isinstance(error, OverflowError)
    log = logger.error if status == 500 else logger.warning
    log("%s %s -> %d: %s", request.method, request.url.path, status, _message_of(error), exc_info=traced)
    headers = {"Retry-After": str(RETRY_SECONDS)} if isinstance(error, QueueFullError) else None
    return JSONResponse({"detail": message_of(error)}, status_code=status, headers=headers)
