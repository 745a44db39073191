"""Implicit shapes: smooth random fields, smooth set operations and profiles along the body.

A shape is an array that is negative inside and grows with the distance from its surface (mm).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.interpolate import CubicSpline, PchipInterpolator

Array = NDArray[np.float32]


def _bspline_matrix(count: int, spacing: float, scale: float, shift: float) -> Array:
    """Weights (count, knots) of cubic B-splines with knots ``scale`` apart, at ``count`` points ``spacing`` apart."""
    position = np.arange(count) * spacing / scale + shift
    knots = int(np.floor(position[-1])) + 4
    distance = np.abs(position[:, None] + 1.0 - np.arange(knots)[None, :])
    near = 2.0 / 3.0 - distance**2 + distance**3 / 2.0
    far = np.clip(2.0 - distance, 0.0, None) ** 3 / 6.0
    return np.where(distance < 1.0, near, far).astype(np.float32)


def smooth_field(
    rng: np.random.Generator, shape: Sequence[int], spacing: Sequence[float], scale: float | Sequence[float]
) -> Array:
    """Random field (shape) of mean 0 and standard deviation 1 whose features are about ``scale`` mm wide."""
    scales = (scale,) * 3 if isinstance(scale, (int, float)) else tuple(scale)
    matrices = [_bspline_matrix(n, h, s, float(rng.random())) for n, h, s in zip(shape, spacing, scales, strict=True)]
    knots = rng.standard_normal([m.shape[1] for m in matrices]).astype(np.float32)
    field = np.tensordot(matrices[2], knots, axes=(1, 2))  # (k, a, b)
    field = np.tensordot(matrices[1], field, axes=(1, 2))  # (j, k, a)
    field = np.tensordot(matrices[0], field, axes=(1, 2))  # (i, j, k)
    sample = field[::2, ::2, ::2]
    field -= sample.mean()
    field *= 1.0 / (sample.std() + np.float32(1e-6))
    return field


def smooth_min(a: Array, b: Array, k: float) -> Array:
    """Union of two shapes with the crease filled over about ``k`` mm."""
    h = np.maximum(k - np.abs(a - b), 0.0)
    return np.minimum(a, b) - h * h * np.float32(0.25 / k)


def smooth_max(a: Array, b: Array, k: float) -> Array:
    """Intersection of two shapes with the edge rounded over about ``k`` mm."""
    h = np.maximum(k - np.abs(a - b), 0.0)
    return np.maximum(a, b) + h * h * np.float32(0.25 / k)


def rounded_box_norm(u: Array, v: Array, roundness: float) -> Array:
    """A norm between the ellipse's (roundness 1) and a superellipse's of power 4 (roundness 0)."""
    u2, v2 = u * u, v * v
    return np.float32(roundness) * np.sqrt(u2 + v2) + np.float32(1.0 - roundness) * np.sqrt(np.sqrt(u2 * u2 + v2 * v2))


def ellipsoid(x: Array, y: Array, z: Array, center: Sequence[float], radii: Sequence[float]) -> Array:
    """Ellipsoid along the axes; the distance is measured along rays from the centre."""
    dx, dy, dz = x - np.float32(center[0]), y - np.float32(center[1]), z - np.float32(center[2])
    a, b, c = (np.float32(1.0 / r) for r in radii)
    norm = np.sqrt((dx * a) ** 2 + (dy * b) ** 2 + (dz * c) ** 2)
    length = np.sqrt(dx * dx + dy * dy + dz * dz)
    return length - length / np.maximum(norm, 1e-3)


class Profile:
    """A smooth function of the height z, as a table with half-millimetre steps."""

    LOW, HIGH, STEP = -260.0, 300.0, 0.5

    def __init__(self, heights: ArrayLike, values: ArrayLike) -> None:
        grid = np.arange(self.LOW, self.HIGH, self.STEP)
        order = np.argsort(np.asarray(heights))
        knots, levels = np.asarray(heights, float)[order], np.asarray(values, float)[order]
        self.table = PchipInterpolator(knots, levels)(np.clip(grid, knots[0], knots[-1])).astype(np.float32)

    @classmethod
    def index(cls, z: Array) -> NDArray[np.int32]:
        """Place of each height in every profile's table: look it up once, then use ``at``."""
        last = int((cls.HIGH - cls.LOW) / cls.STEP) - 1
        return np.clip((z - np.float32(cls.LOW)) * np.float32(1.0 / cls.STEP), 0, last).astype(np.int32)

    def at(self, index: NDArray[np.int32]) -> Array:
        """Values at places found by ``index``."""
        return self.table.take(index)

    def __call__(self, z: Array) -> Array:
        return self.at(self.index(z))

    def value(self, z: float) -> float:
        """Value at one height."""
        return float(self.table[int(np.clip((z - self.LOW) / self.STEP, 0, len(self.table) - 1))])


def curve(points: ArrayLike, step: float = 2.0) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Smooth curve through rows (x, y, z, radius) -> (samples (n, 3) about ``step`` mm apart, radii (n,))."""
    rows = np.asarray(points, float)
    chord = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(rows[:, :3], axis=0), axis=1))])
    at = np.linspace(0.0, chord[-1], max(2, int(np.ceil(chord[-1] / step)) + 1))
    return CubicSpline(chord, rows[:, :3])(at), PchipInterpolator(chord, rows[:, 3])(at)
