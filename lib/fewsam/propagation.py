"""Labels carried from the drawn slices of a volume to the others, by registering each slice to its neighbour.

Adjacent slices of a scan differ little. Displacement fields between them (demons: Thirion 1998; fast symmetric forces:
Vercauteren et al. 2009; SimpleITK's), composed from slice to slice, bring a drawn slice's contours, as signed distances
(shape-based interpolation: Raya and Udupa 1990), to the slices that nobody drew. Between two drawn slices both have a
say. Nothing is trained, and other volumes are not touched: there prompts and decoder stand alone.
"""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import SimpleITK as sitk
import torch
import torch.nn.functional as F
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from fewsam.collection import Shot
from fewsam.preprocess import Frame, Intensity, make_frame
from fewsam.views import detail_bytes
from fewsam.volume import Volume

SIDE = 128  # of the square that slices are registered on
FINE = 256  # of the one that distances are measured on
COARSE = 2  # by how much it is shrunk first
ITERATIONS = 15  # twice
SMOOTHING = 1.0  # cells: of the field and of each update
CERTAIN = 2.0  # mm: how blurred a drawn contour is where it was drawn
DRIFT = 0.1  # mm more for each mm carried
FARTHEST = 30.0  # mm: signed distances are cut off there, and a class not drawn is taken to be that far away
LOST, LOST_MM = 0.01, 100.0  # chance that it says nothing where it was drawn, and mm after which little more is left
REACH_MM = 200.0  # beyond which nothing is carried
WEIGHT = 4.0  # of what was carried against the answer of prompts and decoder, both in log-probabilities
EVEN = 0.7  # of their sum: the sharper, the further the uncertainty lies below the true error (docs/uncertainty.md)
ALIKE = 0.5  # correlation of a slice with its neighbour, registered, below which nothing is carried between them
FIELDS_BYTES = 96 << 20  # of displacement fields kept, over all volumes: some 700 slices

Field = tuple[np.ndarray, bool]  # (2, SIDE, SIDE) float16 in cells, row and column; whether the slices are alike


class Fields:
    """Displacement fields between neighbouring slices, remembered for volumes in use. For any number of threads."""

    def __init__(self, limit: int = FIELDS_BYTES) -> None:
        self._limit, self._size = limit, 0
        self._kept: OrderedDict[tuple[str, int, int], Field] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, name: str, fixed: int, moving: int, picture: Callable[[int], np.ndarray]) -> Field:
        """Where each cell of slice ``fixed`` lies on its neighbour ``moving``, of the pictures called ``name``."""
        key = (name, fixed, moving)
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        field = register(picture(fixed), picture(moving))
        with self._lock:
            if key not in self._kept:
                self._size += field[0].nbytes
            self._kept[key] = field
            while self._size > self._limit:
                self._size -= self._kept.popitem(last=False)[1][0].nbytes
        return field


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
        self.slice_mm = geometry.spacing[0]
        high, wide = (n * mm for n, mm in zip(geometry.slices_shape[1:], geometry.spacing[1:], strict=True))
        self.cell_mm = max(high, wide) / SIDE
        self.name = f"{volume.content_hash} {intensity}"
        self._distances: dict[int, Tensor] = {}
        self._reached: dict[int, dict[int, Tensor | None]] = {}

    def __call__(self, slices: Sequence[int]) -> Tensor | None:
        """Class log-probabilities (N, C, SIDE, SIDE), background first, of ``slices``; None where nothing is drawn.

        Equal for all classes on a slice that nothing could be carried to.
        """
        if not self.drawn:
            return None
        # Those of all slices asked for at once, as many in parallel as torch has threads.
        with ThreadPoolExecutor(torch.get_num_threads()) as pool:
            list(
                pool.map(lambda pair: self._between(*pair), dict.fromkeys(p for z in slices for p in self._missing(z)))
            )
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
        return {a for a in nearest if a in self.drawn and abs(z - a) * self.slice_mm <= REACH_MM}

    def _between(self, fixed: int, moving: int) -> Field:
        return self.fields.get(self.name, fixed, moving, self._picture)

    def _one(self, z: int) -> Tensor:
        sources = self._sources(z)
        for kept in (self._distances, self._reached):  # only of the gap between drawn slices that is being filled
            for source in set(kept) - set(sources):
                kept.pop(source)
        answers = {source: self._carried(source, z) for source in sources}
        parts = [(abs(z - source), answer) for source, answer in answers.items() if answer is not None]
        if not parts:
            return torch.full((1 + len(self.classes), SIDE, SIDE), -math.log(1 + len(self.classes)))
        near, mixed = parts[0]
        if len(parts) > 1:
            far, other = parts[1]
            mixed = (far * mixed + near * other) / max(1, near + far)
        distance = min(gap for gap, _ in parts) * self.slice_mm
        lost = 1 - (1 - LOST) * math.exp(-distance / LOST_MM)
        return ((1 - lost) * mixed + lost / len(mixed)).log()

    def _carried(self, source: int, z: int) -> Tensor | None:
        """Class probabilities (C, SIDE, SIDE) on slice ``z`` by drawn slice ``source`` alone."""
        field = self._field(source, z)
        if field is None:
            return None
        if source not in self._distances:
            self._distances[source] = self._drawn_distances(self.drawn[source])
        blur = CERTAIN + DRIFT * abs(z - source) * self.slice_mm
        return (_warped(self._distances[source], field) / blur).softmax(0)

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
            field, alike = self._between(at, at - step)
            one = torch.from_numpy(field.astype(np.float32))
            reached[at] = one + _warped(before, one) if alike else None
        return reached[z]

    def _picture(self, z: int) -> np.ndarray:
        raw = self.volume.raw_slice(z)[None]
        found: np.ndarray = detail_bytes(raw, self.intensity, self.frame)[0].astype(np.float32)
        return found

    def _drawn_distances(self, shot: Shot) -> Tensor:
        """Signed distances in mm (C, SIDE, SIDE) of a drawn slice, inside positive, background first.

        A class that nobody looked for there is as near as background: of the two the slice says nothing.
        """
        masks = {name: self.frame.to_square(shot.masks[name].astype(np.float32), FINE) > 0.5 for name in shot.masks}
        background = self._signed(~np.any([np.zeros((FINE, FINE), bool), *masks.values()], axis=0))
        nowhere = np.full_like(background, -FARTHEST)
        rows = [
            self._signed(masks[name]) if name in masks else nowhere if name in shot.known else background
            for name in self.classes
        ]
        return F.avg_pool2d(torch.from_numpy(np.stack([background, *rows])), FINE // SIDE)

    def _signed(self, mask: np.ndarray) -> np.ndarray:
        if mask.all() or not mask.any():
            return np.full(mask.shape, FARTHEST if mask.all() else -FARTHEST, np.float32)
        cells = np.where(mask, distance_transform_edt(mask) - 0.5, 0.5 - distance_transform_edt(~mask))
        return np.clip(cells * self.cell_mm * SIDE / FINE, -FARTHEST, FARTHEST).astype(np.float32)


def with_propagation(answers: Tensor, carried: Tensor | None, trust: Tensor | None = None) -> Tensor:
    """The answer of prompts and decoder, and what was carried: class log-probabilities, not normalised.

    Args:
        answers: (..., N, C, s, s) log-probabilities.
        carried: (N, C, SIDE, SIDE), or None for none.
        trust: (t, t) in 0..1, what of ``carried`` counts where; all of it by default.
    """
    if carried is None:
        return answers
    if trust is not None:
        carried = carried * _enlarged(trust[None, None], SIDE)
    return EVEN * (answers + WEIGHT * _enlarged(carried, answers.shape[-1]))


def _enlarged(maps: Tensor, side: int) -> Tensor:
    return F.interpolate(maps, size=(side, side), mode="bilinear", align_corners=False)


def register(fixed: np.ndarray, moving: np.ndarray) -> Field:
    """Where cells of ``fixed`` lie on ``moving``, both (SIDE, SIDE) float32 in 0..255; demons, coarse then fine."""
    pictures = [sitk.GetImageFromArray(picture) for picture in (fixed, moving)]
    small = [sitk.Shrink(sitk.SmoothingRecursiveGaussian(one, 0.5 * COARSE), [COARSE] * 2) for one in pictures]
    demons = sitk.FastSymmetricForcesDemonsRegistrationFilter()
    demons.SetNumberOfThreads(1)  # several pairs at once are faster than several threads on one
    demons.SetNumberOfIterations(ITERATIONS)
    demons.SetStandardDeviations(SMOOTHING)
    demons.SetSmoothUpdateField(True)
    demons.SetUpdateFieldStandardDeviations(SMOOTHING)
    start = sitk.Resample(demons.Execute(*small), pictures[0], sitk.Transform(), sitk.sitkLinear, 0.0)
    found = np.moveaxis(sitk.GetArrayFromImage(demons.Execute(*pictures, start)), -1, 0)[::-1]  # (x, y) to (row, col)
    found = np.nan_to_num(found).clip(-SIDE, SIDE).astype(np.float16)
    warped = _warped(torch.from_numpy(moving)[None], torch.from_numpy(found.astype(np.float32)))[0].numpy()
    # Where something is: the air round the body and the square's padding are alike anywhere.
    rows, columns = fixed.any(1) | moving.any(1), fixed.any(0) | moving.any(0)
    return found, _correlation(fixed[rows][:, columns], warped[rows][:, columns]) >= ALIKE


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Pearson's; 1 for two constant or empty pictures, 0 where one alone is constant."""
    if not a.size:
        return 1.0
    spread = float(a.std() * b.std())
    if spread < 1e-6:
        return float(a.std() < 1e-3 and b.std() < 1e-3)
    return float(((a - a.mean()) * (b - b.mean())).mean() / spread)


def _warped(maps: Tensor, field: Tensor) -> Tensor:
    """``maps`` (C, s, s) read at each cell's place plus ``field`` (2, s, s): bilinear, the edge going on outside."""
    side = maps.shape[-1]
    line = torch.arange(side, dtype=torch.float32)
    row, column = line[:, None] + field[0], line[None] + field[1]
    grid = torch.stack([column, row], dim=-1) * (2 / (side - 1)) - 1
    return F.grid_sample(maps[None], grid[None], mode="bilinear", padding_mode="border", align_corners=True)[0]
