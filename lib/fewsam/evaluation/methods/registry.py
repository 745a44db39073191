"""The compared methods by name: each learns from the labelled slices of a draw, then segments the tested volumes."""

from __future__ import annotations

import re
from functools import partial
from typing import Any

from fewsam.core.config import load_settings
from fewsam.core.errors import ConfigError
from fewsam.evaluation.methods import nnunet, ours, sam_prompts
from fewsam.evaluation.methods.interface import Method

METHODS: dict[str, Method] = {
    "fewsam": ours.fewsam,
    "fewsam-cold": ours.fewsam_cold,
    "fewsam+unlabelled": ours.fewsam_unlabelled,  # the tested images are the unlabelled ones, as in the product
    "fewsam+half": partial(ours.fewsam_unlabelled, share=2),  # every second of them: the others were never seen
    "paper": ours.fewsam,
    "propagation": ours.propagation,
    "prototypes": ours.prototypes,
    "probe": ours.probe,
    "unet": ours.unet,
    "unet+propagation": ours.unet_propagation,
    **sam_prompts.METHODS,
    "nnunet": nnunet.nnunet,
}
PRESETS = {"paper": "paper"}  # methods that are ours with the settings of a preset
NO_EMBEDDING = ("unet", "unet+propagation", "nnunet", "propagation")  # these run without the encoder


def split_methods(text: str) -> list[str]:
    """Names at the commas outside of brackets: ``"unet,fewsam[detail=false,ensemble=1]"`` are two.

    Raises:
        ConfigError: a name that is no method.
    """
    names = [name.strip() for name in re.split(r",(?![^\[]*\])", text) if name.strip()]
    for name in names:
        find_method(name)
    return names


def find_method(name: str) -> tuple[Method, str, dict[str, str]]:
    """The function behind ``fewsam[detail=false]``, its plain name, and what stands in the brackets.

    Raises:
        ConfigError: there is no such method, or the brackets do not read ``key=value``.
    """
    base, bracket, inside = name.partition("[")
    found = METHODS.get(base)
    if found is None or bool(bracket) != name.endswith("]"):
        raise ConfigError(f"unknown method {name!r}; known: {', '.join(METHODS)}")
    switches: dict[str, str] = {}
    for part in filter(None, inside.removesuffix("]").split(",")):
        key, equals, value = part.partition("=")
        if not equals:
            raise ConfigError(f"method {name!r}: {part!r} must look like key=value")
        switches[key.strip()] = value.strip()
    return found, base, switches


def overrides_of(base: str, switches: dict[str, str]) -> dict[str, Any]:
    """The settings that a method changes: those of its preset, and then its ``switches``; none of nnU-Net."""
    if base == "nnunet":
        return {}
    preset = load_settings(PRESETS[base]).model_dump(exclude_unset=True) if base in PRESETS else {}
    return {**preset, **switches}
