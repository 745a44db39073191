"""The fine grid a patient is painted on, with its coordinates in the body's own frame."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import map_coordinates
from scipy.spatial.transform import Rotation

from fewsam.synthetic.phantom.shapes import Array, curve, smooth_field
from fewsam.synthetic.phantom.tissues import Tissue
from fewsam.synthetic.phantom.traits import Traits

Box = tuple[slice, slice, slice]

SUPERSAMPLING = 2  # fine voxels along each side of a voxel: partial volume comes from averaging them


class Frame:
    """Body coordinates x (right), y (anterior), z (superior) in mm at every fine voxel, as float32 arrays (I, J, K)."""

    def __init__(self, x: Array, y: Array, z: Array) -> None:
        self.x, self.y, self.z = x, y, z

    def cut(self, box: Box) -> Frame:
        """The same frame within a box of voxels (views, not copies)."""
        return Frame(self.x[box], self.y[box], self.z[box])


class Canvas:
    """Tissue and truth on the fine grid.

    ``body`` is the frame of skeleton and wall, ``inner`` that of the organs, which breathing and individual
    variation move against it. World coordinates (mm, RAS+) are ``axes``, straight along the grid.
    """

    def __init__(self, traits: Traits, shape: Sequence[int], spacing: Sequence[float], rng: np.random.Generator):
        self.traits = traits
        self.shape = tuple(n * SUPERSAMPLING for n in shape)
        self.spacing = tuple(float(h) / SUPERSAMPLING for h in spacing)
        self.axes = tuple(
            ((np.arange(n) - (n - 1) / 2.0) * h).astype(np.float32)
            for n, h in zip(self.shape, self.spacing, strict=True)
        )
        self.tissue = np.zeros(self.shape, np.uint8)
        self.label = np.zeros(self.shape, np.uint8)
        self._matrix, self._offset = self._pose()
        self.body = self._body_frame(rng)
        self.inner = self._inner_frame(rng)

    # -- frames
    def _pose(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """World -> body: rotation and scale, and where the body's origin (vertebra L1) lies."""
        traits = self.traits
        turn = Rotation.from_euler("xyz", [traits.tilt[0], traits.tilt[1], traits.roll], degrees=True).as_matrix()
        matrix = np.diag(1.0 / np.asarray(traits.size)) @ turn.T
        return matrix, np.array([0.0, -2.0, 5.0 + traits.z_offset])

    def _body_frame(self, rng: np.random.Generator) -> Frame:
        wx, wy, wz = self.axes
        parts = []
        for row, shift in zip(self._matrix.astype(np.float32), self._offset, strict=True):
            part = (row[0] * wx + np.float32(shift))[:, None, None] + (row[1] * wy)[None, :, None]
            parts.append(part + (row[2] * wz)[None, None, :])
        x, y, z = parts
        x += 2.5 * smooth_field(rng, self.shape, self.spacing, 95.0)
        y += 2.5 * smooth_field(rng, self.shape, self.spacing, 95.0)
        z += 2.5 * smooth_field(rng, self.shape, self.spacing, 95.0)
        return Frame(x, y, z)

    def _inner_frame(self, rng: np.random.Generator) -> Frame:
        wide = [2.5 * smooth_field(rng, self.shape, self.spacing, 75.0) for _ in range(3)]
        narrow = [1.2 * smooth_field(rng, self.shape, self.spacing, 32.0) for _ in range(3)]
        z = self.body.z + np.float32(self.traits.breath)
        return Frame(self.body.x + wide[0] + narrow[0], self.body.y + wide[1] + narrow[1], z + wide[2] + narrow[2])

    def world(self, points: NDArray[np.float64], frame: Frame) -> NDArray[np.float64]:
        """World position (n, 3) of points given in a frame, by fixed-point iteration on its deformation."""
        inverse = np.linalg.inv(self._matrix)
        guess = (points - self._offset) @ inverse.T
        origin = np.array([axis[0] for axis in self.axes])
        for _ in range(4):
            index = ((guess - origin) / self.spacing).T
            seen = np.stack([map_coordinates(c, index, order=1, mode="nearest") for c in (frame.x, frame.y, frame.z)])
            inside = origin + np.clip(index.T, 0, np.array(self.shape) - 1) * self.spacing
            # Outside the grid the deformation of the nearest border voxel is used.
            warp = seen.T - (inside @ self._matrix.T + self._offset)
            guess = (points - self._offset - warp) @ inverse.T
        return guess

    def box(self, center: Sequence[float], reach: Sequence[float], frame: Frame) -> Box:
        """Voxels that surely hold what lies within ``reach`` (mm) of a point of a frame."""
        middle = self.world(np.asarray([center], float), frame)[0]
        half = np.asarray(reach) * np.asarray(self.traits.size) * 1.12 + 8.0
        return self.world_box(middle - half, middle + half)

    def world_box(self, low: NDArray[np.float64], high: NDArray[np.float64]) -> Box:
        """Voxels between two world corners, clipped to the grid; may be empty."""
        sides = []
        for axis, h, a, b in zip(self.axes, self.spacing, low, high, strict=True):
            start = int(np.clip(np.floor((a - axis[0]) / h), 0, len(axis)))
            stop = int(np.clip(np.ceil((b - axis[0]) / h) + 1, start, len(axis)))
            sides.append(slice(start, stop))
        return sides[0], sides[1], sides[2]

    # -- swept tubes
    def tube(
        self,
        points: ArrayLike,
        frame: Frame,
        *,
        flatten: Sequence[float] = (1.0, 1.0, 1.0),
        margin: float = 3.0,
        step: float | None = None,
    ) -> tuple[Box, Array]:
        """Sweep a ball along a curve of rows (x, y, z, radius) of a frame -> (box, shape within the box).

        ``flatten`` divides the radius along the world axes; distances past ``margin`` mm outside are cut off.
        """
        rows = np.asarray(points, float)
        samples, radii = curve(rows, step or float(np.clip(rows[:, 3].min() / 2.5, 0.8, 4.0)))
        return self.sweep(self.world(samples, frame), radii * float(np.mean(self.traits.size)), flatten, margin)

    def sweep(
        self,
        centers: NDArray[np.float64],
        radii: NDArray[np.float64],
        flatten: Sequence[float] = (1.0, 1.0, 1.0),
        margin: float = 3.0,
    ) -> tuple[Box, Array]:
        """Union of balls at world positions (n, 3) -> (box, shape within the box)."""
        squeeze = np.asarray(flatten, float)
        reach = (radii[:, None] + margin) / squeeze
        outer = self.world_box((centers - reach).min(axis=0), (centers + reach).max(axis=0))
        shape = np.full([s.stop - s.start for s in outer], margin, np.float32)
        first = np.array([axis[0] for axis in self.axes])
        base = np.array([s.start for s in outer])
        size = np.array(shape.shape)
        low = np.clip(np.floor((centers - reach - first) / self.spacing).astype(int) - base, 0, size)
        high = np.clip(np.ceil((centers + reach - first) / self.spacing).astype(int) + 1 - base, 0, size)
        x, y, z = (axis[s] * np.float32(f) for axis, s, f in zip(self.axes, outer, squeeze, strict=True))
        middles = (centers * squeeze).astype(np.float32)
        for n in np.flatnonzero((high > low).all(axis=1)):
            (i0, j0, k0), (i1, j1, k1) = low[n], high[n]
            dx, dy, dz = x[i0:i1] - middles[n, 0], y[j0:j1] - middles[n, 1], z[k0:k1] - middles[n, 2]
            distance = np.sqrt((dx * dx)[:, None, None] + (dy * dy)[:, None] + dz * dz) - np.float32(radii[n])
            view = shape[i0:i1, j0:j1, k0:k1]
            np.minimum(view, distance, out=view)
        return outer, shape

    # -- painting
    def made_of(self, tissues: Sequence[Tissue], box: Box | None = None) -> NDArray[np.bool_]:
        """Where the canvas shows one of some tissues."""
        wanted = np.zeros(256, np.bool_)
        wanted[[int(t) for t in tissues]] = True
        return wanted[self.tissue if box is None else self.tissue[box]]

    def paint(
        self,
        mask: NDArray[np.bool_],
        tissue: Tissue,
        *,
        box: Box | None = None,
        label: int = 0,
        over: Sequence[Tissue] | None = None,
    ) -> None:
        """Set tissue and truth where ``mask`` holds, only over the given tissues if any are given."""
        view = self.tissue if box is None else self.tissue[box]
        truth = self.label if box is None else self.label[box]
        if over is not None:
            mask = mask & self.made_of(over, box)
        view[mask] = int(tissue)
        truth[mask] = label
