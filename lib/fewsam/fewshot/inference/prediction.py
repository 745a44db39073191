"""What a segmentation request is answered with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from fewsam.collection import Shot
from fewsam.collection.structures import Names
from fewsam.fewshot.inference.uncertainty import by_slice


@dataclass(frozen=True)
class Prediction:
    """A labelmap and what stands behind it.

    Attributes:
        labelmap: (Z, H, W) uint8, value = position in ``classes`` + 1.
        keys: Of the structures ``classes``: what they are called may change while they are segmented.
        uncertainty: (Z, C) float32 in 0..1, one minus the Dice to be expected (`uncertainty`); 0 on slices
            that are as somebody drew them.
        foreground: (Z, C) float32, share of the slice's pixels given to the class.
        model_version: 0 while no decoder is trained.
        remaining: Slices not segmented: time ran out, or nothing is known of them before they are encoded.
        unencoded: Slices without an embedding yet: segmented from labelled slices by registration alone, or remaining.
        pasted: Slices that are as somebody drew them.
    """

    labelmap: np.ndarray
    classes: tuple[str, ...]
    uncertainty: np.ndarray
    foreground: np.ndarray
    model_version: int
    trained: bool
    shots: int
    encoder: dict[str, Any]
    pasted: list[int] = field(default_factory=list)
    remaining: list[int] = field(default_factory=list)
    unencoded: list[int] = field(default_factory=list)
    latencies: dict[str, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    keys: tuple[str, ...] = ()

    def called_as(self, names: Names) -> Prediction:
        """The same with its structures called as they are now."""
        return replace(self, classes=tuple(names.distinct(key) for key in self.keys))

    def as_json(self) -> dict[str, Any]:
        """Everything but the labelmap, as plain types."""
        voxels = np.bincount(self.labelmap.ravel(), minlength=len(self.classes) + 1)
        return {
            "model_version": self.model_version,
            "trained": self.trained,
            "shots": self.shots,
            "classes": list(self.classes),
            "keys": list(self.keys),
            "voxels": {name: int(voxels[value]) for value, name in enumerate(self.classes, 1)},
            "uncertainty": [round(float(u), 4) for u in by_slice(self.uncertainty, self.foreground)],
            "uncertainty_by_class": {
                name: [round(float(u), 4) for u in self.uncertainty[:, c]] for c, name in enumerate(self.classes)
            },
            "pasted": self.pasted,
            "remaining": self.remaining,
            "unencoded": self.unencoded,
            "latencies": {name: round(seconds, 4) for name, seconds in self.latencies.items()},
            "notes": self.notes,
            "encoder": self.encoder,
        }


def drawn_labelmap(shot: Shot, classes: Sequence[str], below: np.ndarray) -> np.ndarray:
    """A shot as labels (H, W); classes it does not know keep what is ``below`` where nothing is drawn."""
    known = [value for value, name in enumerate(classes, 1) if name in shot.known]
    result = np.where(np.isin(below, known), 0, below).astype(np.uint8)
    for value, name in enumerate(classes, 1):
        if name in shot.masks:
            result[shot.masks[name]] = value
    return result
