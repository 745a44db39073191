"""No DICOM UIDs in the server's log: with a PACS at hand each leads to a patient. Nor what is asked of the PACS.

MONAI Label, the training processes and we all write to its log, so that the handlers are the place. A UID becomes
``uid-`` and the first digits of its SHA-256, so that lines on one series can still be found together, and by who knows
the UID. ``FEWSAM_LOG_UIDS=true`` leaves UIDs as they are.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re

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
        except (TypeError, ValueError):  # logging itself says what is wrong with the arguments
            return True
        record.msg, record.args = without_uids(message), None
        if record.exc_info and not record.exc_text:
            record.exc_text = logging.Formatter().formatException(record.exc_info)
        if record.exc_text:  # which formatters take instead of making their own
            record.exc_text = without_uids(record.exc_text)
        return True


def install() -> None:
    """Put the filter on every handler there is; calling it again changes nothing."""
    for name in ("httpx", "dicomweb_client"):  # a line for each request, with what was searched for
        logging.getLogger(name).setLevel(logging.WARNING)
    if os.environ.get(ASKED, "").casefold() in ("1", "true", "yes", "on"):
        return
    named = (logging.getLogger(name) for name in list(logging.root.manager.loggerDict))
    for handler in {handler for logger in (logging.root, *named) for handler in logger.handlers}:
        if not any(isinstance(old, NoUids) for old in handler.filters):
            handler.addFilter(NoUids())
