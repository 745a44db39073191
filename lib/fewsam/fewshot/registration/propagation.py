"""Labels propagated from the drawn slices of a volume to the others, by registering each slice to its neighbour.

Adjacent slices of a scan differ little. Displacement fields between them, composed from slice to slice, bring a drawn
slice's contours, as signed distances (shape-based interpolation: Raya and Udupa 1990), to the slices that nobody drew.
Between two drawn slices both count. Nothing is trained; the CPU does all of it. The labelled slices of other volumes
are `atlas`'s part.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from fewsam.collection import Shot
from fewsam.fewshot.registration.registration import SIDE, Field, Fields, register, warped
from fewsam.fewshot.registration.signed_distances import drawn_distances
from fewsam.images.frame import Frame, make_frame, relaid
from fewsam.images.preprocess import Intensity, detail_bytes
from fewsam.images.volume import Volume


@dataclass(frozen=True)
class PropagationConstants:
    """How far a drawn slice is believed (docs/research/propagation.md has what this was chosen by).

    Attributes:
        blur_mm: How blurred a drawn contour is where it was drawn.
        blur_per_mm: Further mm of blur for each mm that it is propagated.
        lost: Chance that a drawn slice says nothing, on the slice itself.
        lost_mm: Distance after which it says little more than nothing.
        reach_mm: Distance beyond which nothing is propagated.
    """

    blur_mm: float = 2.0
    blur_per_mm: float = 0.1
    lost: float = 0.01
    lost_mm: float = 100.0
    reach_mm: float = 200.0


PROPAGATION = PropagationConstants()


class Propagation:
    """What the drawn slices of one volume say of its other slices.

    Args:
        drawn: Shots of this volume, by slice.
        classes: Classes in the order of the answer, background left out.
        intensity: As the encoder's input has it.
        fields: Kept by the caller from request to request.
    """

    def __init__(
        self, volume: Volume, drawn: Mapping[int, Shot], classes: Sequence[str], intensity: Intensity, fields: Fields
    ) -> None:
        geometry = volume.geometry
        self.volume, self.drawn, self.classes, self.intensity, self.fields = volume, drawn, classes, intensity, fields
        self.frame: Frame = make_frame(geometry.slices_shape, geometry.spacing, SIDE)
        self.depths = geometry.depths  # mm along the stack: slices may be missing, or lie at uneven distances
        self.name = f"{volume.content_hash} {intensity}"
        self._distances: dict[int, Tensor] = {}
        self._reached: dict[int, dict[int, Tensor | None]] = {}

    def __call__(self, slices: Sequence[int], frame: Frame) -> Tensor | None:
        """Class log-probabilities (N, C, SIDE, SIDE), background first, of ``slices``; None where nothing is drawn.

        They lie on the square of ``frame``, a frame of these slices of whatever size. Equal for all classes on a slice
        that nothing could be propagated to.
        """
        if not self.drawn:
            return None
        self.prepare([pair for z in slices for pair in self._missing(z)])
        return relaid(torch.stack([self._one(z) for z in slices]), self.frame, frame)

    def _missing(self, z: int) -> list[tuple[int, int]]:
        """Pairs of neighbours to register before something can be propagated to slice ``z``."""
        pairs = []
        for source in self._sources(z):
            step, reached = (1 if z >= source else -1), self._reached.get(source, {})
            pairs += [(at, at - step) for at in range(source + step, z + step, step) if at not in reached]
        return pairs

    def _sources(self, z: int) -> set[int]:
        """The drawn slices next to ``z``, one on either side at most; ``z`` itself where it is drawn."""
        nearest = {max((a for a in self.drawn if a <= z), default=z), min((b for b in self.drawn if b >= z), default=z)}
        return {a for a in nearest if a in self.drawn and self._mm(z, a) <= PROPAGATION.reach_mm}

    def _mm(self, one: int, other: int) -> float:
        return abs(float(self.depths[one] - self.depths[other]))

    def prepare(self, pairs: Sequence[tuple[int, int]]) -> None:
        """Register pairs (fixed, moving) of neighbours, as many in parallel as torch has threads."""
        with ThreadPoolExecutor(torch.get_num_threads()) as pool:
            list(pool.map(lambda pair: self.between(*pair), dict.fromkeys(pairs)))

    def between(self, fixed: int, moving: int) -> Field:
        """Where each cell of slice ``fixed`` lies on its neighbour ``moving``."""
        return self.fields.get((self.name, fixed, moving), lambda: register(self._grey(fixed), self._grey(moving)))

    def _one(self, z: int) -> Tensor:
        sources = self._sources(z)
        for kept in (self._distances, self._reached):  # only of the gap between drawn slices that is being filled
            for source in set(kept) - set(sources):
                kept.pop(source)
        answers = {source: self._from(source, z) for source in sources}
        parts = [(self._mm(z, source), answer) for source, answer in answers.items() if answer is not None]
        if not parts:
            return torch.full((1 + len(self.classes), SIDE, SIDE), -math.log(1 + len(self.classes)), device="cpu")
        near, mixed = parts[0]
        if len(parts) > 1:
            far, other = parts[1]
            mixed = (far * mixed + near * other) / max(1e-6, near + far)
        distance = min(gap for gap, _ in parts)
        lost = 1 - (1 - PROPAGATION.lost) * math.exp(-distance / PROPAGATION.lost_mm)
        return ((1 - lost) * mixed + lost / len(mixed)).log()

    def _from(self, source: int, z: int) -> Tensor | None:
        """Class probabilities (C, SIDE, SIDE) on slice ``z`` by drawn slice ``source`` alone."""
        field = self._field(source, z)
        if field is None:
            return None
        if source not in self._distances:
            self._distances[source] = drawn_distances(self.drawn[source], self.frame, self.classes, SIDE)
        blur = PROPAGATION.blur_mm + PROPAGATION.blur_per_mm * self._mm(z, source)
        return (warped(self._distances[source], field) / blur).softmax(0)

    def _field(self, source: int, z: int) -> Tensor | None:
        """Where each cell of slice ``z`` lies on slice ``source``, (2, SIDE, SIDE); None where they are cut off."""
        reached = self._reached.setdefault(source, {source: torch.zeros(2, SIDE, SIDE, device="cpu")})
        step = 1 if z >= source else -1
        last = z
        while last not in reached:
            last -= step
        for at in range(last + step, z + step, step):
            before = reached[at - step]
            if before is None:
                return None
            field, registration_ok = self.between(at, at - step)
            one = torch.from_numpy(field.astype(np.float32))
            reached[at] = one + warped(before, one) if registration_ok else None
        return reached[z]

    def _grey(self, z: int) -> np.ndarray:
        raw = self.volume.raw_slice(z)[None]
        found: np.ndarray = detail_bytes(raw, self.intensity, self.frame)[0].astype(np.float32)
        return found
