"""A server's ``--conf`` and studies, and the one workspace of this process that they lead to.

Nothing is opened before it is first used: MONAI Label constructs the app anew for every training run, and that must
cost nothing.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fewsam.core.config import Settings, load_settings
from fewsam.server.paths import PRESET_BESIDE_IMAGES, data_folder
from fewsam.workspace.encoder_choice import task_encoder
from fewsam.workspace.task_settings import open_to_names
from fewsam.workspace.workspace import Workspace

logger = logging.getLogger(__name__)

MONAI_LABEL_KEYS = ("server_mode",)  # what MONAI Label itself may put among the --conf keys


def settings_for(conf: Mapping[str, Any], studies: str) -> tuple[Settings, str | None]:
    """Settings of ``--conf`` strings, and the preset they rest on.

    ``preset`` names the preset; without it a ``fewsam.yaml`` that lies beside the images is taken. With neither a
    preset nor ``labels`` there is nothing to check a class name against, so the first submitted labels name them.

    Raises:
        ConfigError: an unknown key or a value that does not fit.
    """
    overrides = {key: value for key, value in conf.items() if key not in (*MONAI_LABEL_KEYS, "preset")}
    preset = conf.get("preset") or None
    beside = Path(studies) / PRESET_BESIDE_IMAGES
    if preset is None and not studies.startswith(("http://", "https://")) and beside.is_file():
        settings = load_settings(beside, overrides)
    else:
        settings = load_settings(preset, overrides)
    if studies.startswith(("http://", "https://")) and settings.axis == "auto":
        # Slices are those that were stored: a viewer of a PACS draws on no others.
        settings = settings.model_copy(update={"axis": "2"})
    opened = open_to_names(settings)
    if opened is not settings:
        logger.warning(
            "no labels are set (--conf labels liver,spleen or --conf preset NAME): taking new names as they come"
        )
    return opened, preset


_workspaces: dict[Path, Workspace] = {}
_workspaces_lock = threading.Lock()


def shared_workspace(app_dir: str, studies: str, conf: Mapping[str, Any]) -> Workspace:
    """The one workspace of this process for these arguments: ``POST /reload`` must not open the files twice."""
    settings, preset = settings_for(conf, studies)
    folder = data_folder(app_dir, preset, studies)
    with _workspaces_lock:
        settings = task_encoder(settings, folder)
        workspace = _workspaces.get(folder)
        if workspace is None or workspace.settings != settings:
            workspace = _workspaces[folder] = Workspace(settings, folder)
        return workspace
