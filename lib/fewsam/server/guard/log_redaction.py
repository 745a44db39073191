"""Takes DICOM UIDs and requests to the PACS out of the server's log: with a PACS at hand, a UID leads to a patient.

MONAI Label, the training processes and this package all write to the log, so that the filter sits on its handlers. A
UID becomes ``uid-`` and the first digits of its SHA-256: lines on one series can still be found together, also by
somebody who knows the UID. ``FEWSAM_LOG_UIDS=true`` leaves UIDs as they are.
"""

from __future__ import annotations

import hashlib
import logging
import re

from fewsam.server.environment import switched_on

UID = re.compile(r"(?<![\w.])[0-2](?:\.(?:0|[1-9]\d*)){4,}(?!\.?\d)")  # PS3.5, section 9.1
ASKED = "FEWSAM_LOG_UIDS"


def pseudonym(uid: str) -> str:
    return f"uid-{hashlib.sha256(uid.encode()).hexdigest()[:10]}"


def without_uids(text: str) -> str:
    return UID.sub(lambda found: pseudonym(found.group()), text)


class NoUids(logging.Filter):
    """Takes UIDs out of messages and tracebacks."""

    def filter(self, record: logging.LogRecord) -> bool:
        try:
            message = record.getMessage()
        except (TypeError, ValueError):  # logging itself reports what is wrong with the arguments
            return True
        record.msg, record.args = without_uids(message), None
        if record.exc_info and not record.exc_text:
            record.exc_text = logging.Formatter().formatException(record.exc_info)
        if record.exc_text:  # formatters take this text instead of making their own
            record.exc_text = without_uids(record.exc_text)
        return True


def install() -> None:
    """Put the filter on every handler there is; calling it again changes nothing."""
    for name in ("httpx", "dicomweb_client"):  # they write a line for each request, with what was searched for
        logging.getLogger(name).setLevel(logging.WARNING)
    if switched_on(ASKED):
        return
    named = (logging.getLogger(name) for name in list(logging.root.manager.loggerDict))
    for handler in {handler for logger in (logging.root, *named) for handler in logger.handlers}:
        if not any(isinstance(old, NoUids) for old in handler.filters):
            handler.addFilter(NoUids())
