"""What a compared method is given and what it gives back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from fewsam.collection import Collection
from fewsam.core.config import Settings
from fewsam.encoders.embedder import Embedder
from fewsam.evaluation.data.cases import Case
from fewsam.evaluation.data.sampling import Draw


@dataclass(frozen=True)
class MethodInput:
    """What a method learns from, and the images that it segments afterwards.

    Attributes:
        cases: The images with their truth; a method learns from the truth only through ``collection``.
        draw: Which slices of which case are labelled, and which are tested.
        settings: The settings of the run, with the method's switches in them.
        collection: Holds the labelled slices, as if a person had drawn them.
        embedder: Gives embeddings of slices, from the cache where it holds them.
        folder: A folder of the method's own, which is removed afterwards.
        seed: Seed of every random choice.
        options: What the method's name says in brackets beyond settings.
    """

    cases: Sequence[Case]
    draw: Draw
    settings: Settings
    collection: Collection
    embedder: Embedder
    folder: Path
    seed: int
    options: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class MethodOutput:
    """A segmented case.

    Attributes:
        labelmap: (Z, H, W) uint8, values in the order of the collection's classes, 0 is background.
        uncertainty: (Z, C) in 0..1, where the method shows one.
    """

    labelmap: np.ndarray
    uncertainty: np.ndarray | None = None


Predict = Callable[[int], MethodOutput]  # segments a case, which its index names
Method = Callable[[MethodInput], Predict]
