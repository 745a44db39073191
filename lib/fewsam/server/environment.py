"""Environment variables that switch something on or off."""

from __future__ import annotations

import os

_ON, _OFF = ("1", "true", "yes", "on"), ("0", "false", "no", "off")


def switched_on(name: str, default: bool = False) -> bool:
    """Whether the variable says yes; ``default`` where it is not set, or says neither yes nor no."""
    text = os.environ.get(name, "").strip().casefold()
    return text in _ON or (default and text not in _OFF)
