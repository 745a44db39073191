"""Corrects one structure by points, scribbles and boxes on any slices, and propagates that to the neighbouring slices.

A prompt's own pixels always obey. What it changes beyond them is connected to it and has a smooth outline.
"""

from __future__ import annotations

from collections.abc import Collection as Items
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy import ndimage

from fewsam.fewshot.inference.clicks import Clicks
from fewsam.fewshot.inference.prompts import Prompt, box_of, check, line_pixels, sampled
from fewsam.fewshot.inference.smooth import connected_to, smoothed
from fewsam.fewshot.inference.spreading import Change, spread
from fewsam.images.volume import Volume

FILLED = 0.9  # share of a box's height and width that the structure in it should span


@dataclass
class _Said:
    """What the prompts on one slice say of its pixels, bool (H, W)."""

    shape: tuple[int, int]
    inside: np.ndarray = field(init=False)
    outside: np.ndarray = field(init=False)
    clicks: tuple[list[tuple[int, int]], list[tuple[int, int]]] = field(default_factory=lambda: ([], []))
    boxes: list[Prompt] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.inside, self.outside = np.zeros(self.shape, bool), np.zeros(self.shape, bool)

    def add(self, prompt: Prompt) -> None:
        """Take in a prompt; the later one wins where two speak of one pixel."""
        if prompt.kind == "box":
            self.boxes.append(prompt)
            return
        pixels = line_pixels(prompt.points)
        rows, cols = np.array(pixels).T
        mine, other = (self.inside, self.outside) if prompt.include else (self.outside, self.inside)
        mine[rows, cols], other[rows, cols] = True, False
        self.clicks[int(not prompt.include)].extend(sampled(pixels))

    def points(self) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
        """The clicks that stand: (row, col) inside and outside."""
        include, exclude = self.clicks
        return (
            [p for p in dict.fromkeys(include) if self.inside[p]],
            [p for p in dict.fromkeys(exclude) if self.outside[p]],
        )


class Corrections:
    """Answers prompts with what clicks, and the fields of the propagation, know."""

    def __init__(self, clicks: Clicks) -> None:
        self.clicks = clicks

    def correct(
        self,
        volume: Volume,
        name: str,
        prompts: Sequence[Prompt],
        shown: np.ndarray,
        *,
        drawn: Items[int] = (),
        propagate: bool = True,
    ) -> dict[int, Change]:
        """What changes of structure ``name``, by slice.

        Args:
            prompts: In the order in which they were set.
            shown: The structure as it is shown, bool (Z, H, W).
            drawn: Slices that a person drew: no change is propagated to them.
            propagate: Whether changes are propagated to neighbouring slices.

        Raises:
            ClickError: prompts that cannot be used, or a class without a labelled slice.
        """
        depth, height, width = shown.shape
        check(prompts, (depth, height, width))
        said: dict[int, _Said] = {}
        for prompt in prompts:
            said.setdefault(prompt.z, _Said((height, width))).add(prompt)
        changes = {z: self._on_slice(volume, z, name, one, shown[z]) for z, one in said.items()}
        if not propagate:
            return changes
        propagation = self.clicks.propagation(volume)
        after = shown.copy()
        for z, change in changes.items():
            fixed = {*drawn, *said}
            for at, one in spread(propagation, z, change, after, fixed).items():
                after[at] = (after[at] | one.added) & ~one.removed
        for at in range(depth):
            if at not in changes and (after[at] != shown[at]).any():
                changes[at] = Change(after[at] & ~shown[at], shown[at] & ~after[at])
        return changes

    def _on_slice(self, volume: Volume, z: int, name: str, said: _Said, shown: np.ndarray) -> Change:
        include, exclude = said.points()
        after = shown.copy()
        if include or exclude:
            answer = self.clicks.correct(volume, z, name, include, exclude).mask
            after |= connected_to((answer & ~shown) | said.inside, said.inside)
            after &= ~connected_to((~answer & shown) | said.outside, said.outside)
        for box in said.boxes:
            after = self._boxed(volume, z, name, box, after)
        after = smoothed(after, near=after ^ shown)
        after[said.inside], after[said.outside] = True, False
        added, removed = after & ~shown, shown & ~after
        seeds = _touched(said)
        return Change(connected_to(added, seeds), connected_to(removed, seeds))

    def _boxed(self, volume: Volume, z: int, name: str, box: Prompt, mask: np.ndarray) -> np.ndarray:
        """``mask`` with a box: nothing in an excluding one; the structure in an including one, and none across it."""
        window, result = box_of(box), mask.copy()
        if not box.include:
            result[window] = False
            return result
        margin = self.clicks.margin(volume, z, name)[window]
        result &= ~connected_to(mask, _frame_of(mask.shape, window))  # what reaches into the box ends at it
        result[window] = mask[window] | _spanning(margin)
        return result


def _frame_of(shape: tuple[int, ...], window: tuple[slice, slice]) -> np.ndarray:
    inside = np.zeros(shape, bool)
    inside[window] = True
    return inside


def _spanning(margin: np.ndarray) -> np.ndarray:
    """The surest part (h, w) of a window that spans it; all of the structure's side of the margin is in it."""
    need = [FILLED * n for n in margin.shape]
    for threshold in (0.0, *np.quantile(margin, np.linspace(0.9, 0.0, 19))):
        mask = margin > min(0.0, float(threshold))
        largest = _largest(mask)
        rows, cols = np.flatnonzero(largest.any(axis=1)), np.flatnonzero(largest.any(axis=0))
        if len(rows) and rows[-1] - rows[0] + 1 >= need[0] and cols[-1] - cols[0] + 1 >= need[1]:
            return largest
    return np.ones(margin.shape, bool)


def _largest(mask: np.ndarray) -> np.ndarray:
    parts, count = ndimage.label(mask)
    if not count:
        return mask
    found: np.ndarray = parts == int(np.bincount(parts.ravel())[1:].argmax()) + 1
    return found


def _touched(said: _Said) -> np.ndarray:
    """Pixels that some prompt speaks of, with those next to a box: what it cuts off lies outside of it."""
    touched = said.inside | said.outside
    for box in said.boxes:
        rows, cols = box_of(box)
        touched[max(0, rows.start - 1) : rows.stop + 1, max(0, cols.start - 1) : cols.stop + 1] = True
    return touched
