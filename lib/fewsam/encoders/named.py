"""Checkpoints by name: ``checkpoint=mobile_sam`` instead of a path."""

from __future__ import annotations

import logging
from pathlib import Path

from fewsam.core.config import Settings
from fewsam.core.errors import CheckpointError, ConfigError
from fewsam.encoders.download import file_sha256, home_folder, known_folders
from fewsam.encoders.sam import OFFICIAL

logger = logging.getLogger(__name__)

# Further weights of an encoder, which nothing downloads: name -> encoder, file, and the address of who published it.
# Their SHA-256 is not published, so that the file's own is said, and is part of every cache key as always.
FURTHER = {"medsam_vit_b": ("vit_b", "medsam_vit_b.pth", "https://github.com/bowang-lab/MedSAM")}


def known_names() -> list[str]:
    """What the setting ``checkpoint`` may name."""
    return [*OFFICIAL, *FURTHER]


def without_names(settings: Settings) -> Settings:
    """``settings`` in which a checkpoint that was named is the encoder's own, or a path; the name chooses the encoder.

    Raises:
        ConfigError: the settings name another encoder.
        CheckpointError: the file is not on this machine, and nothing downloads it.
    """
    name = str(settings.checkpoint)
    if name not in known_names() or Path(name).is_file():
        return settings
    encoder = name if name in OFFICIAL else FURTHER[name][0]
    if "encoder" in settings.model_fields_set and settings.encoder != encoder:
        raise ConfigError(
            f"checkpoint {name} is one of the encoder {encoder}, and the encoder is set to {settings.encoder}: set "
            f"encoder to {encoder}, or leave checkpoint out"
        )
    path = None if name in OFFICIAL else _found(name)
    return settings.model_copy(update={"encoder": encoder, "checkpoint": path})


def _found(name: str) -> Path:
    _, file, address = FURTHER[name]
    for folder in known_folders():
        if (folder / file).is_file():
            path = (folder / file).absolute()
            logger.info("%s: %s, SHA-256 %s (none is published to compare it with)", name, path, file_sha256(path))
            return path
    raise CheckpointError(
        f"no {file} on this machine: get it from {address}, and put it at {home_folder() / file} or into the folder "
        "checkpoints or that of FEWSAM_CHECKPOINTS, or give its path as 'checkpoint'"
    )
