"""A task keeps the encoder that it was made with, whatever the default becomes."""

from __future__ import annotations

import json
import logging
from pathlib import Path

from fewsam.core.atomic import write_atomically
from fewsam.core.config import Settings, load_settings
from fewsam.core.errors import StorageError
from fewsam.encoders.choice import DEFAULT, with_encoder
from fewsam.workspace.task_folder import TASK_FILE, is_task

logger = logging.getLogger(__name__)

RECORD = "encoder.json"
BEFORE = "compact"  # what a task has that was made when nobody had to name an encoder


def task_encoder(settings: Settings, folder: Path) -> Settings:
    """``settings`` that name the encoder of the task in ``folder``.

    The first of these counts: what the settings name, what the folder names, for a task of before that names none the
    encoder that was the default then, and for a new task the default.

    Raises:
        ConfigError: The folder names an encoder that there is not.
    """
    if "encoder" in settings.model_fields_set:
        return settings
    name = _recorded(folder) or (BEFORE if is_task(folder) else None)
    if name is None:
        return with_encoder(settings)
    return settings.model_copy(update={"encoder": load_settings(None, {"encoder": name}).encoder})


def record_encoder(settings: Settings, folder: Path) -> None:
    """Keep in a new task's folder which encoder it is made with."""
    if is_task(folder) or (folder / RECORD).is_file():
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(folder / RECORD, json.dumps({"encoder": settings.encoder}).encode())
    except (OSError, StorageError) as error:  # the first label will say that the folder takes nothing
        logger.warning("%s does not keep the name of its encoder: %s", folder, error)


def _recorded(folder: Path) -> str | None:
    """The encoder that the folder names, or None."""
    if (folder / TASK_FILE).is_file():
        kept = load_settings(folder / TASK_FILE)
        if "encoder" in kept.model_fields_set:
            return kept.encoder
    try:
        return str(json.loads((folder / RECORD).read_text(encoding="utf-8"))["encoder"])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        logger.warning("%s cannot be read (%s): the task gets the default encoder", folder / RECORD, error)
        return DEFAULT
