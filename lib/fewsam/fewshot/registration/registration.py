"""Displacement fields between slices: between neighbours by demons, between patients by an affine transform and demons.

Demons: Thirion 1998; fast symmetric forces: Vercauteren et al. 2009. Mutual information: Mattes et al. 2003. All are
SimpleITK's.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
import torch
import torch.nn.functional as F
from torch import Tensor

SIDE = 128  # of the square that neighbouring slices are registered on
ACROSS_SIDE = 64  # of the square that slices of different patients are registered on


@dataclass(frozen=True)
class RegistrationConstants:
    """How slices are registered (docs/research/propagation.md and docs/research/atlas.md have what this was chosen by).

    Attributes:
        coarse: Factor by which slices are shrunk at first.
        iterations: Of the demons between neighbours, on each of the two levels.
        smoothing: Cells: standard deviation of the smoothing of the field and of each update.
        ok_correlation: Correlation of a slice with its neighbour, registered, below which neither says anything of the
            other.
        across_iterations, across_smoothing: The same between different patients.
        bins: Of the joint histogram.
        fields_bytes: Bytes of displacement fields kept in memory, over all volumes: those of some 900 slices.
    """

    coarse: int = 2
    iterations: int = 15
    smoothing: float = 1.0
    ok_correlation: float = 0.5
    across_iterations: int = 20
    across_smoothing: float = 1.5
    bins: int = 24
    fields_bytes: int = 192 << 20


REGISTRATION = RegistrationConstants()

# Several pairs at once are faster than several threads on one pair. A filter's own number of threads does not reach the
# filters inside it, whose threads wait for each other beside other work: a pair took 0.25 s instead of 0.11 s on two
# busy cores. There is only one such setting for the whole process.
sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)

Field = tuple[np.ndarray, bool]  # (2, s, s) float16 in cells, row and column; whether the registration is of use


class Fields:
    """Displacement fields of volumes in use, kept in memory. Any number of threads may ask."""

    def __init__(self, limit: int = REGISTRATION.fields_bytes) -> None:
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
    """Where cells of ``fixed`` lie on ``moving``, both (SIDE, SIDE) float32 in 0..255, by demons, coarse then fine."""
    images = [sitk.GetImageFromArray(slice_) for slice_ in (fixed, moving)]
    found = _coarse_to_fine(_demons(REGISTRATION.iterations, REGISTRATION.smoothing), *images)
    found = np.nan_to_num(found).clip(-SIDE, SIDE).astype(np.float16)
    there = warped(torch.from_numpy(moving)[None], torch.from_numpy(found.astype(np.float32)))[0].numpy()
    # Only where something is: the air round the body and the padding of the square correlate anywhere.
    rows, columns = fixed.any(1) | moving.any(1), fixed.any(0) | moving.any(0)
    return found, correlation(fixed[rows][:, columns], there[rows][:, columns]) >= REGISTRATION.ok_correlation


def register_across(fixed: np.ndarray, moving: np.ndarray) -> np.ndarray:
    """Where cells of ``fixed`` lie on ``moving``, slices of different patients: (2, s, s) float16 in cells, rows first.

    An affine transform by mutual information, then demons, each on half the size and on the whole.

    Args:
        fixed, moving: (s, s) float32 in 0..255, s = ACROSS_SIDE.
    """
    images = [sitk.GetImageFromArray(slice_) for slice_ in (fixed, moving)]
    transform = _affine(*images)
    placed = sitk.Resample(images[1], images[0], transform, sitk.sitkLinear, 0.0)
    demons = _demons(REGISTRATION.across_iterations, REGISTRATION.across_smoothing)
    local = _coarse_to_fine(demons, images[0], placed)
    affine = _rows_and_columns(sitk.TransformToDisplacementField(transform, sitk.sitkVectorFloat64, (len(fixed),) * 2))
    found = local + warped(torch.from_numpy(affine), torch.from_numpy(local)).numpy()
    return np.nan_to_num(found).clip(-len(fixed), len(fixed)).astype(np.float16)


def _affine(fixed: sitk.Image, moving: sitk.Image) -> sitk.Transform:
    """From ``fixed`` to ``moving``; the identity where no better one is found (on a constant slice, say)."""
    search = sitk.ImageRegistrationMethod()
    search.SetMetricAsMattesMutualInformation(REGISTRATION.bins)
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
    except RuntimeError:  # of slices that share nothing
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
    """Displacements (2, s, s) float32, first found on the shrunk slices."""
    coarse = REGISTRATION.coarse
    small = [sitk.Shrink(sitk.SmoothingRecursiveGaussian(one, 0.5 * coarse), [coarse] * 2) for one in (fixed, moving)]
    start = sitk.Resample(demons.Execute(*small), fixed, sitk.Transform(), sitk.sitkLinear, 0.0)
    return _rows_and_columns(demons.Execute(fixed, moving, start))


def _rows_and_columns(field: sitk.Image) -> np.ndarray:
    """SimpleITK's (x, y) as (row, column) first."""
    found: np.ndarray = np.ascontiguousarray(np.moveaxis(sitk.GetArrayFromImage(field), -1, 0)[::-1], np.float32)
    return found


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Pearson's; 1 for two constant or empty arrays, 0 where one alone is constant."""
    if not a.size:
        return 1.0
    spread = float(a.std() * b.std())
    if spread < 1e-6:
        return float(a.std() < 1e-3 and b.std() < 1e-3)
    return float(((a - a.mean()) * (b - b.mean())).mean() / spread)


def warped(maps: Tensor, field: Tensor) -> Tensor:
    """``maps`` (C, s, s) read at each cell's place plus ``field`` (2, s, s): bilinear, the edge going on outside."""
    side = maps.shape[-1]
    line = torch.arange(side, dtype=torch.float32, device=maps.device)
    row, column = line[:, None] + field[0], line[None] + field[1]
    grid = torch.stack([column, row], dim=-1) * (2 / (side - 1)) - 1
    return F.grid_sample(maps[None], grid[None], mode="bilinear", padding_mode="border", align_corners=True)[0]
