"""A task keeps the encoder that it was made with, whatever the default becomes."""

from __future__ import annotations

from pathlib import Path

from fewsam.core.config import Settings, load_settings
from fewsam.encoders.choice import with_encoder
from fewsam.encoders.named import without_names
from fewsam.workspace.task_folder import TASK_FILE, is_task

BEFORE = "compact"  # the default when a task did not have to name its encoder


def task_encoder(settings: Settings, folder: Path) -> Settings:
    """``settings`` that name the encoder of the task in ``folder``.

    The first of these counts: what the settings name, what the folder's ``task.yaml`` names, for a task of before that
    names none the encoder that was the default then, and for a new task the default.
    """
    settings = without_names(settings)
    if "encoder" in settings.model_fields_set or not is_task(folder):
        return with_encoder(settings)
    name = BEFORE
    if (folder / TASK_FILE).is_file():
        kept = load_settings(folder / TASK_FILE)
        name = kept.encoder if "encoder" in kept.model_fields_set else BEFORE
    return settings.model_copy(update={"encoder": name})
