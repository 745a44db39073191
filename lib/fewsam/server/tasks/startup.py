"""A wrong setting stops the start with one line that names it, instead of a page of traceback."""

from __future__ import annotations

import logging
import sys

from fewsam.core.errors import FewSAMError

logger = logging.getLogger(__name__)


def stop_with_one_line(error: FewSAMError) -> None:
    """Log ``error`` where people look, and keep the web server from adding the traceback of its start-up.

    In a training or batch process, whose output MONAI Label copies into the server's log, end the process.
    """
    logger.error("fewsam cannot start: %s", error)
    if "monailabel.app" in sys.modules:
        logging.getLogger("uvicorn.error").addFilter(_without_traceback)
    elif sys.argv and sys.argv[0].endswith("monailabel/interfaces/utils/app.py"):
        raise SystemExit(2) from None


def _without_traceback(record: logging.LogRecord) -> bool:
    return not record.getMessage().startswith("Traceback")
