"""The settings of a task folder, in its ``task.yaml``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from fewsam.core.config import Settings, load_settings
from fewsam.core.errors import ConfigError, StorageError
from fewsam.fewshot.model.store import write_atomically
from fewsam.workspace.encoder_choice import task_encoder
from fewsam.workspace.task_folder import TASK_FILE


def task_settings(folder: Path, preset: str | None = None, conf: Mapping[str, Any] | None = None) -> Settings:
    """Settings of the task in ``folder``: those kept there, or for a new task those of the preset; ``conf`` on top.

    Without any labels there is nothing to check a class name against, so new names are taken as they come.

    Raises:
        ConfigError: an unknown key, a value that does not fit, or a preset that is not the task's.
    """
    kept = folder / TASK_FILE
    if kept.is_file():
        if preset is not None:
            _check_preset(kept, preset)
        settings = load_settings(kept, conf)
    else:
        settings = load_settings(preset, conf)
    return task_encoder(open_to_names(settings), folder)


def open_to_names(settings: Settings) -> Settings:
    """``settings``, which take new class names where they have none and do not say otherwise."""
    if settings.labels or "new_labels" in settings.model_fields_set:
        return settings
    return settings.model_copy(update={"new_labels": True})


def keep_settings(folder: Path, settings: Settings) -> None:
    """Write the chosen settings to ``task.yaml``; all others follow the defaults."""
    chosen = settings.model_dump(mode="json", exclude_unset=True)
    if settings.checkpoint is not None:
        chosen["checkpoint"] = str(settings.checkpoint.expanduser().absolute())
    make_folder(folder)
    head = "# Settings of this task, as the first command gave them. Edit them here, or pass --conf for one command.\n"
    body = yaml.safe_dump(chosen, sort_keys=False, allow_unicode=True) if chosen else "{}\n"
    write_atomically(folder / TASK_FILE, (head + body).encode())


def make_folder(folder: Path) -> None:
    """Make ``folder``.

    Raises:
        StorageError: it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"cannot make the folder {folder}: {error.strerror}; choose another one") from None


def _check_preset(kept: Path, preset: str) -> None:
    have, wanted = load_settings(kept), load_settings(preset)
    for key in wanted.model_fields_set:
        mine, its = getattr(have, key), getattr(wanted, key)
        if key == "labels" and mine[: len(its)] == its:  # an import may have added some
            continue
        if mine != its:
            raise ConfigError(
                f"preset {preset} sets {key} to {its}, but the task in {kept.parent} was made with {mine}: leave "
                f"--preset out, or choose another --task folder (or edit {kept})"
            )
