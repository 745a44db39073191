"""Strokes of a person round a structure: its outline, drawn with the panel's lasso in a real browser."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import contourpy
import numpy as np
from scipy import ndimage

from helpers.person import Person

Places = list[tuple[float, float]]  # (i, j)
CLICK = 9  # pixels of the screen: a shorter drag is a click to the lasso


def outlines(mask: np.ndarray, step: float = 1.5) -> list[Places]:
    """Closed lines round the parts of a mask (H, W), the longest first, with a place every ``step`` pixels."""
    padded = np.pad(mask.astype(float), 1)
    lines = contourpy.contour_generator(z=padded).lines(0.5)
    longest_first = sorted((line - 1 for line in lines if len(line) > 3), key=len, reverse=True)
    return [spaced([(float(i), float(j)) for i, j in line], step) for line in longest_first]


def spaced(path: Sequence[tuple[float, float]], step: float) -> Places:
    """The same line with a place every ``step`` pixels along it."""
    line = np.asarray(path, float)
    along = np.concatenate([[0.0], np.hypot(*np.diff(line, axis=0).T).cumsum()])
    wanted = np.linspace(0, along[-1], max(4, round(along[-1] / step)))
    i, j = (np.interp(wanted, along, line[:, axis]) for axis in (0, 1))
    return list(zip(i.tolist(), j.tolist(), strict=True))


def on_screen(me: Person, places: Places, k: int) -> list[tuple[float, float]]:
    """Places of slice k, which is shown, as pixels of the screen."""
    corner, right, down = me.screen(0, 0, k), me.screen(1, 0, k), me.screen(0, 1, k)
    across, along = right["x"] - corner["x"], down["y"] - corner["y"]
    return [(corner["x"] + i * across, corner["y"] + j * along) for i, j in places]


def lasso(me: Person, mask: np.ndarray, k: int, erase: bool = False) -> list[list[tuple[float, float]]]:
    """Drag the lasso, which is in hand, round each part of a mask on slice k, which is shown, and then round its holes.

    Returns:
        The lines on the screen.
    """
    whole = ndimage.binary_fill_holes(mask)
    lines = [(places, erase) for places in outlines(whole)]
    lines += [(places, not erase) for places in outlines(ndimage.binary_opening(whole & ~mask))]
    drawn = [(on_screen(me, [*places, places[0]], k), alt) for places, alt in lines]
    for places, alt in drawn:
        drag(me.page, places, alt)
    return [places for places, _ in drawn]


def drag(page: Any, places: list[tuple[float, float]], alt: bool = False) -> None:
    """Drag the mouse along places of the screen, with Alt held down or without."""
    page.bring_to_front()
    if alt:
        page.keyboard.down("Alt")
    page.mouse.move(*places[0])
    page.mouse.down()
    for x, y in places[1:]:
        page.mouse.move(x, y)
    page.mouse.up()
    if max(math.hypot(x - places[0][0], y - places[0][1]) for x, y in places) <= CLICK:
        page.keyboard.press("Enter")  # it was taken for a click on a corner: close the line
    if alt:
        page.keyboard.up("Alt")
