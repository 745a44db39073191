"""The slices just before and after a drawn one, with its contours propagated there: more to learn from.

Their pixels are stored with every label. Adjacent slices differ little, so that registration brings the contours over
at an IoU of 0.7 to 0.9, and a network learns less by heart of up to three times as many slices.
docs/research/neighbours.md has what was tried. No slice that somebody drew is replaced.
"""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import replace

import numpy as np
import torch

from fewsam.collection import Place, Shot
from fewsam.core.config import Settings
from fewsam.fewshot.model.views import DetailSlice
from fewsam.fewshot.registration.registration import SIDE, register, warped
from fewsam.fewshot.registration.signed_distances import drawn_distances
from fewsam.images.frame import make_frame
from fewsam.images.preprocess import choose_intensity, detail_bytes


def steps_beside(shot: Shot, drawn: Set[Place]) -> list[int]:
    """Which slices next to ``shot``'s are in the volume and not ``drawn``: -1, 1, both or neither.

    Colour images have none: what is stored beside their pixels are colours.
    """
    image = shot.image
    if image.stats["rgb"]:
        return []
    return [
        step
        for step in (-1, 1)
        if 0 <= shot.slice + step < image.shape[0] and (image.content_hash, shot.slice + step) not in drawn
    ]


def propagated_neighbours(
    shot: Shot, drawn: Set[Place], classes: Sequence[str], settings: Settings, detail_size: int
) -> list[DetailSlice]:
    """The slices next to ``shot``'s with its labels: none to two.

    Left out are those `steps_beside` leaves out, and those that stay unlike ``shot``'s after registration.

    Args:
        drawn: Slices that somebody drew.
        classes: In the order of the masks, background left out.
        detail_size: Side D of pixels and masks.
    """
    steps = steps_beside(shot, drawn)
    if not steps:
        return []
    frame = make_frame(shot.image.shape, shot.image.spacing, SIDE)
    planes = np.repeat(shot.pixels[:, None], 3, axis=1)  # (3, 3, H, W): each as a slice of its own
    greys = detail_bytes(planes, choose_intensity(shot.image.stats, settings), frame).astype(np.float32)
    distances = drawn_distances(shot, frame, classes, SIDE)
    found = []
    for step in steps:
        field, registration_ok = register(greys[1 + step], greys[1])
        if not registration_ok:
            continue
        there = warped(distances, torch.from_numpy(field.astype(np.float32)))
        inside = frame.to_slice(there).numpy() > 0
        named = zip(classes, inside[1:], strict=True)
        masks = {name: mask for name, mask in named if name in shot.masks and mask.any()}
        neighbour = replace(shot, slice=shot.slice + step, pixels=planes[1 + step], masks=masks)
        found.append(DetailSlice(neighbour, classes, settings, detail_size))
    return found
