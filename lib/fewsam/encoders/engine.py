"""What computes a frozen encoder on a CPU: OpenVINO where that is possible, else torch."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path

from torch import nn

from fewsam.core.config import Settings
from fewsam.core.errors import ConfigError
from fewsam.encoders import openvino_engine as ov

logger = logging.getLogger(__name__)

NICE = 10  # of a conversion that nobody waits for


def why_torch(settings: Settings, fingerprint: str) -> str | None:
    """Why torch computes the encoder of ``settings`` on a CPU; None where OpenVINO does.

    Args:
        fingerprint: Of its float32 embeddings.
    """
    if settings.encoder == "compact":
        return "fast enough for a network of this size"
    if settings.engine == "torch":
        return "as the setting engine says"
    if not ov.is_installed():
        return "OpenVINO is not installed"
    failed = ov.failure(ov.converted_folder(fingerprint))
    return f"OpenVINO could not convert the encoder: {failed}" if failed else None


def engine_name(settings: Settings, fingerprint: str, device: str) -> str:
    """The engine in words, for people.

    Args:
        fingerprint: Of the float32 embeddings.
        device: As in `resolve_device`: what is no ``cpu`` computes with torch.
    """
    if device != "cpu":
        return f"torch on {device}, {settings.precision}"
    why = why_torch(settings, fingerprint)
    return f"OpenVINO, {settings.precision}" if why is None else f"torch, float32 ({why})"


def begin_conversion(settings: Settings, fingerprint: str) -> None:
    """Convert the encoder for OpenVINO in the background, where it has to be; until then torch computes."""
    if why_torch(settings, fingerprint) is None:
        folder = ov.converted_folder(fingerprint)
        if not ov.is_whole(folder):
            logger.info("the encoder is prepared for this machine, once; until then it is slower")
            ov.begin_conversion(settings, folder, NICE)


def cpu_network(settings: Settings, fingerprint: str, build: Callable[[], nn.Module]) -> ov.Network:
    """The encoder's network for a CPU. Where OpenVINO has to convert it first, this waits: seconds, for ViT minutes.

    It does not wait for a conversion that `begin_conversion` began: torch computes meanwhile.

    Args:
        fingerprint: Of the float32 embeddings.
        build: Gives the torch module.

    Raises:
        ConfigError: This machine cannot compute with the precision that is asked for.
    """
    if not ov.is_safe_here():
        return build()
    why = why_torch(settings, fingerprint)
    if settings.precision == "bfloat16" and (why is not None or not ov.has_bfloat16()):
        reason = "the processor has no bfloat16" if why is None else f"torch computes it ({why})"
        raise ConfigError(
            f"precision bfloat16 is not possible for {settings.encoder} here: {reason}; set it to float32"
        )
    if why is not None:
        return build()
    folder = ov.converted_folder(fingerprint)
    open_converted = partial(_opened, folder, settings.precision, build)
    if ov.is_converting(folder) and settings.precision == "float32":
        return ov.TorchMeanwhile(folder, build(), open_converted)
    if not ov.is_whole(folder):
        logger.info("the encoder is prepared for this machine, once: 15 seconds, for vit_b and larger ones minutes")
        ov.begin_conversion(settings, folder)
        if not ov.finish_conversion(folder):
            return build()
    return open_converted()


def _opened(folder: Path, precision: str, build: Callable[[], nn.Module]) -> ov.Network:
    """The converted network, or the torch module where OpenVINO cannot open it."""
    try:
        return ov.OpenVINONetwork(folder, precision, build)
    except Exception as error:  # whatever a library in C++ raises: torch does the same, slower
        logger.warning("the encoder runs on torch, slower: OpenVINO cannot open %s (%s)", folder, error)
        return build()
