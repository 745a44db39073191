"""Labels carried from the drawn slices of a volume to the others, by registering each slice to its neighbour.

Adjacent slices of a scan differ little. Displacement fields between them, composed from slice to slice, bring a drawn
slice's contours, as signed distances (shape-based interpolation: Raya and Udupa 1990), to the slices that nobody drew.
Between two drawn slices both have a say. Nothing is trained. What other volumes' drawn slices say: `atlas`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

from fewsam.collection import Shot
from fewsam.fewshot.registration.registration import SIDE, Field, Fields, register, warped
from fewsam.fewshot.registration.signed_distances import drawn_distances
from fewsam.images.preprocess import Frame, Intensity, detail_bytes, make_frame
from fewsam.images.volume import Volume

CERTAIN = 2.0  # mm: how blurred a drawn contour is where it was drawn
DRIFT = 0.1  # mm more for each mm carried
LOST, LOST_MM = 0.01, 100.0  # chance that it says nothing where it was drawn, and mm after which little more is left
REACH_MM = 200.0  # beyond which nothing is carried


class Propagation:
    """What the drawn slices of one volume say of the others.

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

    def __call__(self, slices: Sequence[int]) -> Tensor | None:
        """Class log-probabilities (N, C, SIDE, SIDE), background first, of ``slices``; None where nothing is drawn.

        Equal for all classes on a slice that nothing could be carried to.
        """
        if not self.drawn:
            return None
        self.prepare([pair for z in slices for pair in self._missing(z)])
        return torch.stack([self._one(z) for z in slices])

    def _missing(self, z: int) -> list[tuple[int, int]]:
        """Pairs of neighbours to register before something can be carried to slice ``z``."""
        pairs = []
        for source in self._sources(z):
            step, known = (1 if z >= source else -1), self._reached.get(source, {})
            pairs += [(at, at - step) for at in range(source + step, z + step, step) if at not in known]
        return pairs

    def _sources(self, z: int) -> set[int]:
        """The drawn slices next to ``z``, one on either side at most; ``z`` itself where it is drawn."""
        nearest = {max((a for a in self.drawn if a <= z), default=z), min((b for b in self.drawn if b >= z), default=z)}
        return {a for a in nearest if a in self.drawn and self._mm(z, a) <= REACH_MM}

    def _mm(self, one: int, other: int) -> float:
        return abs(float(self.depths[one] - self.depths[other]))

    def prepare(self, pairs: Sequence[tuple[int, int]]) -> None:
        """Register pairs (fixed, moving) of neighbours, as many in parallel as torch has threads."""
        with ThreadPoolExecutor(torch.get_num_threads()) as pool:
            list(pool.map(lambda pair: self.between(*pair), dict.fromkeys(pairs)))

    def between(self, fixed: int, moving: int) -> Field:
        """Where each cell of slice ``fixed`` lies on its neighbour ``moving``."""
        return self.fields.get(
            (self.name, fixed, moving), lambda: register(self._picture(fixed), self._picture(moving))
        )

    def _one(self, z: int) -> Tensor:
        sources = self._sources(z)
        for kept in (self._distances, self._reached):  # only of the gap between drawn slices that is being filled
            for source in set(kept) - set(sources):
                kept.pop(source)
        answers = {source: self._carried(source, z) for source in sources}
        parts = [(self._mm(z, source), answer) for source, answer in answers.items() if answer is not None]
        if not parts:
            return torch.full((1 + len(self.classes), SIDE, SIDE), -math.log(1 + len(self.classes)))
        near, mixed = parts[0]
        if len(parts) > 1:
            far, other = parts[1]
            mixed = (far * mixed + near * other) / max(1e-6, near + far)
        distance = min(gap for gap, _ in parts)
        lost = 1 - (1 - LOST) * math.exp(-distance / LOST_MM)
        return ((1 - lost) * mixed + lost / len(mixed)).log()

    def _carried(self, source: int, z: int) -> Tensor | None:
        """Class probabilities (C, SIDE, SIDE) on slice ``z`` by drawn slice ``source`` alone."""
        field = self._field(source, z)
        if field is None:
            return None
        if source not in self._distances:
            self._distances[source] = drawn_distances(self.drawn[source], self.frame, self.classes, SIDE)
        blur = CERTAIN + DRIFT * self._mm(z, source)
        return (warped(self._distances[source], field) / blur).softmax(0)

    def _field(self, source: int, z: int) -> Tensor | None:
        """Where each cell of slice ``z`` lies on slice ``source``, (2, SIDE, SIDE); None where they are cut off."""
        reached = self._reached.setdefault(source, {source: torch.zeros(2, SIDE, SIDE)})
        step = 1 if z >= source else -1
        last = z
        while last not in reached:
            last -= step
        for at in range(last + step, z + step, step):
            before = reached[at - step]
            if before is None:
                return None
            field, alike = self.between(at, at - step)
            one = torch.from_numpy(field.astype(np.float32))
            reached[at] = one + warped(before, one) if alike else None
        return reached[z]

    def _picture(self, z: int) -> np.ndarray:
        raw = self.volume.raw_slice(z)[None]
        found: np.ndarray = detail_bytes(raw, self.intensity, self.frame)[0].astype(np.float32)
        return found
