"""Whole numbers in requests, within what can be kept: SQLite has 64 bits, and JSON any number of digits."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

MOST = 2**53  # above this a browser does not tell two numbers apart

Whole = Annotated[int, Field(ge=-MOST, le=MOST)]
