"""Which encoder a new task gets where nobody names one."""

from __future__ import annotations

import logging

from fewsam.core.config import Settings
from fewsam.encoders.named import without_names
from fewsam.encoders.sam import OFFICIAL

logger = logging.getLogger(__name__)

DEFAULT: str = Settings.model_fields["encoder"].default
FALLBACK = "compact"  # it needs no file


def with_encoder(settings: Settings) -> Settings:
    """``settings`` that name their encoder: their own choice, that of the checkpoint they name, else the default.

    Where the default's weights are missing, one warning says so and `FALLBACK` is taken.

    Raises:
        ConfigError: they name a checkpoint of another encoder.
        CheckpointError: they name a checkpoint that is not on this machine, and that nothing downloads.
    """
    settings = without_names(settings)
    if "encoder" in settings.model_fields_set:
        return settings
    name = DEFAULT
    if settings.untrained:  # only the compact encoder has untrained weights
        name = FALLBACK
    elif settings.checkpoint is None and not OFFICIAL[DEFAULT].path().is_file():
        name = FALLBACK
        logger.warning(
            "the weights of the encoder %s are missing (%s): the encoder %s goes on, which is UNTRAINED "
            "(random weights)", DEFAULT, OFFICIAL[DEFAULT].way, FALLBACK,
        )  # fmt: skip
    return settings.model_copy(update={"encoder": name})
