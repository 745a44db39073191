"""Displacement fields between slices: between neighbours by demons, between patients by an affine transform and demons.

Demons: Thirion 1998; fast symmetric forces: Vercauteren et al. 2009. Mutual information: Mattes et al. 2003. All are
SimpleITK's.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable

import numpy as np
import SimpleITK as sitk
import torch
import torch.nn.functional as F
from torch import Tensor

SIDE = 128  # of the square that neighbouring slices are registered on
COARSE = 2  # by how much it is shrunk first
ITERATIONS = 15  # twice
SMOOTHING = 1.0  # cells: of the field and of each update
ALIKE = 0.5  # correlation of a slice with its neighbour, registered, below which they have nothing to say of each other

ACROSS_SIDE = 64  # of the square that slices of different patients are registered on
ACROSS_SMOOTHING = 1.5  # cells
ACROSS_ITERATIONS = 20  # on each level
BINS = 24  # of the joint histogram

# Several pairs at once are faster than several threads on one. A filter's own number does not reach the filters inside
# it, whose threads wait for each other beside other work: a pair took 0.25 s instead of 0.11 s on two busy cores.
# There is but one such setting for the whole process.
sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)

FIELDS_BYTES = 192 << 20  # of displacement fields kept, over all volumes: those of some 900 slices

Field = tuple[np.ndarray, bool]  # (2, s, s) float16 in cells, row and column; whether the slices are alike


class Fields:
    """Displacement fields, remembered for volumes in use. For any number of threads."""

    def __init__(self, limit: int = FIELDS_BYTES) -> None:
        self._limit, self._size = limit, 0
        self._kept: OrderedDict[Hashable, Field] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Hashable, find: Callable[[], Field]) -> Field:
        """What ``find`` gave under this key, or gives now."""
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        field = find()
        with self._lock:
            if key not in self._kept:
                self._size += field[0].nbytes
            self._kept[key] = field
            while self._size > self._limit:
                self._size -= self._kept.popitem(last=False)[1][0].nbytes
        return field


def register(fixed: np.ndarray, moving: np.ndarray) -> Field:
    """Where cells of ``fixed`` lie on ``moving``, both (SIDE, SIDE) float32 in 0..255; demons, coarse then fine."""
    pictures = [sitk.GetImageFromArray(picture) for picture in (fixed, moving)]
    found = _coarse_to_fine(_demons(ITERATIONS, SMOOTHING), *pictures)
    found = np.nan_to_num(found).clip(-SIDE, SIDE).astype(np.float16)
    there = warped(torch.from_numpy(moving)[None], torch.from_numpy(found.astype(np.float32)))[0].numpy()
    # Where something is: the air round the body and the square's padding are alike anywhere.
    rows, columns = fixed.any(1) | moving.any(1), fixed.any(0) | moving.any(0)
    return found, correlation(fixed[rows][:, columns], there[rows][:, columns]) >= ALIKE


def register_across(fixed: np.ndarray, moving: np.ndarray) -> np.ndarray:
    """Where cells of ``fixed`` lie on ``moving``, slices of different patients: (2, s, s) float16 in cells, rows first.

    An affine transform by mutual information, then demons, each on half the size and on the whole.

    Args:
        fixed, moving: (s, s) float32 in 0..255, s = ACROSS_SIDE.
    """
    pictures = [sitk.GetImageFromArray(picture) for picture in (fixed, moving)]
    transform = _affine(*pictures)
    placed = sitk.Resample(pictures[1], pictures[0], transform, sitk.sitkLinear, 0.0)
    demons = _demons(ACROSS_ITERATIONS, ACROSS_SMOOTHING)
    local = _coarse_to_fine(demons, pictures[0], placed)
    affine = _rows_and_columns(sitk.TransformToDisplacementField(transform, sitk.sitkVectorFloat64, (len(fixed),) * 2))
    found = local + warped(torch.from_numpy(affine), torch.from_numpy(local)).numpy()
    return np.nan_to_num(found).clip(-len(fixed), len(fixed)).astype(np.float16)


def _affine(fixed: sitk.Image, moving: sitk.Image) -> sitk.Transform:
    """From ``fixed`` to ``moving``; the identity where no better one is found (a constant picture, say)."""
    search = sitk.ImageRegistrationMethod()
    search.SetMetricAsMattesMutualInformation(BINS)
    search.SetInterpolator(sitk.sitkLinear)
    search.SetOptimizerAsRegularStepGradientDescent(1.0, 0.025, 40, relaxationFactor=0.6)
    search.SetOptimizerScalesFromPhysicalShift()
    search.SetShrinkFactorsPerLevel([2, 1])
    search.SetSmoothingSigmasPerLevel([1.0, 0.5])
    start = sitk.AffineTransform(2)
    start.SetCenter([n / 2 for n in fixed.GetSize()])
    search.SetInitialTransform(start, inPlace=False)
    try:
        return search.Execute(fixed, moving)
    except RuntimeError:  # of pictures that share nothing
        return sitk.Transform(2, sitk.sitkIdentity)


def _demons(iterations: int, smoothing: float) -> sitk.FastSymmetricForcesDemonsRegistrationFilter:
    demons = sitk.FastSymmetricForcesDemonsRegistrationFilter()
    demons.SetNumberOfIterations(iterations)
    demons.SetStandardDeviations(smoothing)
    demons.SetSmoothUpdateField(True)
    demons.SetUpdateFieldStandardDeviations(smoothing)
    return demons


def _coarse_to_fine(
    demons: sitk.FastSymmetricForcesDemonsRegistrationFilter, fixed: sitk.Image, moving: sitk.Image
) -> np.ndarray:
    """Displacements (2, s, s) float32, first found on the shrunk pictures."""
    small = [sitk.Shrink(sitk.SmoothingRecursiveGaussian(one, 0.5 * COARSE), [COARSE] * 2) for one in (fixed, moving)]
    start = sitk.Resample(demons.Execute(*small), fixed, sitk.Transform(), sitk.sitkLinear, 0.0)
    return _rows_and_columns(demons.Execute(fixed, moving, start))


def _rows_and_columns(field: sitk.Image) -> np.ndarray:
    """SimpleITK's (x, y) as (row, column) first."""
    found: np.ndarray = np.ascontiguousarray(np.moveaxis(sitk.GetArrayFromImage(field), -1, 0)[::-1], np.float32)
    return found


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Pearson's; 1 for two constant or empty pictures, 0 where one alone is constant."""
    if not a.size:
        return 1.0
    spread = float(a.std() * b.std())
    if spread < 1e-6:
        return float(a.std() < 1e-3 and b.std() < 1e-3)
    return float(((a - a.mean()) * (b - b.mean())).mean() / spread)


def warped(maps: Tensor, field: Tensor) -> Tensor:
    """``maps`` (C, s, s) read at each cell's place plus ``field`` (2, s, s): bilinear, the edge going on outside."""
    side = maps.shape[-1]
    line = torch.arange(side, dtype=torch.float32)
    row, column = line[:, None] + field[0], line[None] + field[1]
    grid = torch.stack([column, row], dim=-1) * (2 / (side - 1)) - 1
    return F.grid_sample(maps[None], grid[None], mode="bilinear", padding_mode="border", align_corners=True)[0]
