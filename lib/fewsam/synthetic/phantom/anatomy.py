"""Generate one patient: the parts painted in the order in which they give way to each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from fewsam.core.errors import ConfigError
from fewsam.synthetic.phantom.canvas import SUPERSAMPLING, Canvas
from fewsam.synthetic.phantom.gut import paint_bowel, paint_pancreas, paint_stomach
from fewsam.synthetic.phantom.organs import kidney, paint_adrenals, paint_heart, paint_kidney, paint_liver, paint_spleen
from fewsam.synthetic.phantom.ribs import paint_pelvis, paint_ribs, paint_sternum
from fewsam.synthetic.phantom.shapes import Array
from fewsam.synthetic.phantom.spine import paint_spine
from fewsam.synthetic.phantom.tissues import LABELS
from fewsam.synthetic.phantom.torso import build_torso
from fewsam.synthetic.phantom.traits import Traits, draw_traits
from fewsam.synthetic.phantom.vessels import (
    paint_great_vessels,
    paint_liver_vessels,
    paint_lung_vessels,
    paint_visceral_vessels,
)

_Number = TypeVar("_Number", np.uint8, np.float32)
SHAPE = (160, 128, 44)
SLICE_SPACING = 5.0


@dataclass(frozen=True)
class PatientAnatomy:
    """One generated patient.

    Attributes:
        labels: truth, uint8 (i, j, k) in RAS+ order: i to the patient's right, j forwards, k upwards.
        names: value in ``labels`` -> class name; 0 is background.
        tissue: what the fine grid is made of, uint8 (i * n, j * n, k * n) for n = ``supersampling``.
        spacing: (i, j, k) in mm of ``labels``.
        affine: (4, 4) float64, voxel of ``labels`` -> RAS mm.
        traits: who the patient is.
    """

    labels: NDArray[np.uint8]
    names: dict[int, str]
    tissue: NDArray[np.uint8]
    spacing: tuple[float, float, float]
    affine: NDArray[np.float64]
    traits: Traits
    supersampling: int = SUPERSAMPLING

    def world_axes(self) -> tuple[Array, Array, Array]:
        """World coordinate (mm) of the voxels along each axis of ``labels``."""
        i, j, k = (
            (self.affine[n, 3] + self.affine[n, n] * np.arange(self.labels.shape[n])).astype(np.float32)
            for n in range(3)
        )
        return i, j, k


def generate_patient(
    seed: int, patient: int, shape: Sequence[int] = SHAPE, spacing: Sequence[float] | None = None
) -> PatientAnatomy:
    """Generate the anatomy of one patient.

    Args:
        seed: of the whole data set.
        patient: 1, 2, ...; the first six differ on purpose, later ones repeat these kinds with other details.
        shape: voxels (i, j, k).
        spacing: mm (i, j, k); by default the patient's field of view fills ``shape`` in plane, and the slices
            cover 220 mm from the lower chest to the upper pelvis.

    Returns:
        The anatomy; the same arguments give the same arrays.

    Raises:
        ConfigError: ``patient`` is below 1, or ``shape`` is too small to hold a torso.
    """
    if patient < 1:
        raise ConfigError(f"there is no phantom patient {patient}: patients are numbered 1, 2, ...")
    if len(shape) != 3 or min(shape) < 16:
        raise ConfigError(f"a phantom of shape {tuple(shape)} cannot hold a torso: give (i, j, k) of 16 voxels or more")
    rng = np.random.default_rng([seed, patient, 0])
    traits = draw_traits(rng, patient)
    if spacing is None:
        pixel = round(traits.field_of_view / shape[0], 3)
        spacing = (pixel, pixel, round(SLICE_SPACING * SHAPE[2] / shape[2], 3))
    canvas = Canvas(traits, shape, spacing, rng)
    _paint(canvas, rng)
    affine = np.diag([*map(float, spacing), 1.0])
    affine[:3, 3] = [round(-(n - 1) / 2.0 * float(h), 3) for n, h in zip(shape, spacing, strict=True)]
    i, j, k = (float(h) for h in spacing)
    return PatientAnatomy(_vote(canvas.label), dict(LABELS), canvas.tissue, (i, j, k), affine, traits)


def _paint(canvas: Canvas, rng: np.random.Generator) -> None:
    torso = build_torso(canvas, rng)
    marks = torso.landmarks
    paint_spine(canvas, marks, rng)
    paint_sternum(canvas, marks)
    paint_pelvis(canvas, torso)
    paint_ribs(canvas, marks, rng)
    paint_heart(canvas)
    right, left = kidney(canvas, torso, 1.0, rng), kidney(canvas, torso, -1.0, rng)
    paint_kidney(canvas, right, rng)
    paint_kidney(canvas, left, rng)
    paint_adrenals(canvas, torso)
    liver = paint_liver(canvas, torso, right, rng)
    spleen = paint_spleen(canvas, torso, left, rng)
    paint_liver_vessels(canvas, rng)
    paint_great_vessels(canvas, torso, (right, left), rng)
    paint_stomach(canvas, torso, liver, spleen, rng)
    paint_visceral_vessels(canvas, torso)
    paint_pancreas(canvas, rng)
    paint_bowel(canvas, torso, rng)
    paint_lung_vessels(canvas, rng)


def block_mean(fine: Array, n: int) -> Array:
    """Mean over blocks of n x n x n voxels: float32 (i * n, j * n, k * n) -> (i, j, k)."""
    return block_sum(fine, n) * np.float32(1.0 / n**3)


def block_sum(fine: NDArray[_Number], n: int) -> NDArray[_Number]:
    """Sum over blocks of n x n x n voxels, in the array's own type."""
    for axis in range(3):
        parts = [fine[(slice(None),) * axis + (slice(start, None, n),)] for start in range(n)]
        fine = sum(parts[1:], parts[0])
    return fine


def _vote(fine: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Label of most fine voxels of each voxel; a class wins a tie against the background."""
    best = block_sum((fine == 0).view(np.uint8), SUPERSAMPLING)
    labels = np.zeros(best.shape, np.uint8)
    for value in LABELS:
        count = block_sum((fine == value).view(np.uint8), SUPERSAMPLING)
        win = (count >= best) & (count > 0)
        labels[win], best[win] = value, count[win]
    return labels
