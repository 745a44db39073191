"""Points, scribbles and boxes on slices: what each of them says of which pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np

from fewsam.fewshot.inference.clicks import ClickError

Pixel = tuple[int, int]  # row, col
KINDS = ("point", "scribble", "box")
SAMPLES = 16  # pixels of a scribble that are taken for clicks; more would say the same again


@dataclass(frozen=True)
class Prompt:
    """One prompt on a slice.

    Attributes:
        z: The slice.
        include: Whether it says that the structure is here, or that it is not.
        points: (row, col): of a point the one, of a scribble the line's corners, of a box two opposite corners.
    """

    kind: Literal["point", "scribble", "box"]
    z: int
    include: bool
    points: tuple[Pixel, ...]


def line_pixels(points: Sequence[Pixel]) -> list[Pixel]:
    """The pixels that a line through ``points`` passes, in its order and each once."""
    found = [tuple(points[0])] if points else []
    for (row, col), (to_row, to_col) in pairwise(points):
        steps = max(abs(to_row - row), abs(to_col - col))
        for step in range(1, steps + 1):
            found.append((round(row + (to_row - row) * step / steps), round(col + (to_col - col) * step / steps)))
    return [(int(row), int(col)) for row, col in dict.fromkeys(found)]


def sampled(pixels: Sequence[Pixel], most: int = SAMPLES) -> list[Pixel]:
    """At most ``most`` of the pixels, evenly along their order, with the first and the last."""
    if len(pixels) <= most:
        return list(pixels)
    return [pixels[round(n)] for n in np.linspace(0, len(pixels) - 1, most)]


def box_of(prompt: Prompt) -> tuple[slice, slice]:
    """Rows and columns of a box, its corners included."""
    rows, cols = zip(*prompt.points, strict=True)
    return slice(min(rows), max(rows) + 1), slice(min(cols), max(cols) + 1)


def check(prompts: Sequence[Prompt], shape: tuple[int, int, int]) -> None:
    """Refuse what cannot be meant.

    Raises:
        ClickError: there is no prompt, or one lies outside of the image (Z, H, W), or has too few points.
    """
    depth, height, width = shape
    if not prompts:
        raise ClickError("there is no prompt; set a point, draw a scribble or a box")
    for prompt in prompts:
        needed = {"point": 1, "scribble": 1, "box": 2}[prompt.kind]
        if len(prompt.points) < needed or (prompt.kind != "scribble" and len(prompt.points) > needed):
            raise ClickError(f"a {prompt.kind} has {len(prompt.points)} points; it needs {needed}")
        outside = [p for p in prompt.points if not (0 <= p[0] < height and 0 <= p[1] < width)]
        if not 0 <= prompt.z < depth or outside:
            raise ClickError(
                f"a {prompt.kind} on slice {prompt.z} lies outside of the image of {depth} slices of {height} x {width}"
                " pixels"
            )
