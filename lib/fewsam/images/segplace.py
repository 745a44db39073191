"""Frames of a segmentation onto the slices of an image: exactly where their pixels coincide, else the nearest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fewsam.images.native import LPS
from fewsam.images.volume import Geometry

_SAME_PIXEL = 0.1  # pixels by which two grids may differ at a corner and still be one grid
_PARALLEL = 1e-3  # sine of the angle between planes that count as parallel
_ON_SLICE = 0.1  # of the distance between slices by which a plane may be off and still be the slice's own
_TO_RAS = np.diag(LPS)[:3]


@dataclass(frozen=True, eq=False)
class SegFrame:
    """One frame of one segment.

    Attributes:
        mask: bool (rows, columns).
        position: centre of its first pixel in LPS; None where the file does not say.
        turned: ``(2, 3)`` directions along a row and along a column.
        spacing: between rows and between columns.
        between: distance to the next plane by the header.
        thickness: of the plane by the header; slices of an overlapping reconstruction are thicker than their distance.
        sources: (SOPInstanceUID, frame from 0) of the images that it was drawn on.
    """

    mask: np.ndarray
    position: np.ndarray | None
    turned: np.ndarray | None
    spacing: tuple[float, float] | None
    between: float | None
    thickness: float | None
    sources: tuple[tuple[str, int], ...]

    @property
    def affine(self) -> np.ndarray:
        """``(4, 4)``: column, row, and distance along the normal in mm, to RAS."""
        assert self.position is not None and self.turned is not None and self.spacing is not None
        along, down = self.turned * _TO_RAS
        affine = np.eye(4)
        normal = np.cross(along, down)
        affine[:3, :3] = np.stack([along * self.spacing[1], down * self.spacing[0], normal / np.linalg.norm(normal)], 1)
        affine[:3, 3] = self.position * _TO_RAS
        return affine


def place_frames(frames: Sequence[SegFrame], geometry: Geometry) -> tuple[np.ndarray, int]:
    """A segment's voxels on the image's native grid, bool ``(i, j, k)``, and how many of them lie beside it."""
    native, outside = np.zeros(geometry.shape, bool), 0
    placed = [_placement(frame, geometry) for frame in frames]
    stack = [frame for frame in frames if frame.position is not None]
    exact = all(place is not None for place, frame in zip(placed, frames, strict=True) if frame.position is not None)
    for frame, place in zip(frames, placed, strict=True):
        if place is not None and (exact or frame.position is None):
            outside += place.put(frame.mask, native)
        elif frame.position is None:
            outside += int(frame.mask.sum())
    if not exact:
        _resample(stack, geometry, native)
    return native, outside


# -- frames on the image's own pixels


@dataclass(frozen=True)
class _Placement:
    """Slice ``k``, and the image's ``i`` and ``j`` of each column and row, or of each row and column if ``swapped``."""

    k: int
    swapped: bool
    i: np.ndarray
    j: np.ndarray

    def put(self, mask: np.ndarray, native: np.ndarray) -> int:
        across = mask if self.swapped else mask.T  # (i, j)
        inside_i = (self.i >= 0) & (self.i < native.shape[0])
        inside_j = (self.j >= 0) & (self.j < native.shape[1])
        kept = across[np.ix_(inside_i, inside_j)]
        native[:, :, self.k][np.ix_(self.i[inside_i], self.j[inside_j])] |= kept
        return int(mask.sum()) - int(kept.sum())


def _placement(frame: SegFrame, geometry: Geometry) -> _Placement | None:
    """Where the frame's pixels are the image's; None where they are not."""
    rows, columns = frame.mask.shape
    named = {geometry.instances.index(source) for source in frame.sources if source in geometry.instances}
    if frame.position is None:
        whole = (columns, rows) == geometry.shape[:2]
        if len(named) != 1 or not whole:
            return None
        return _Placement(named.pop(), False, np.arange(columns), np.arange(rows))
    to_world = frame.affine
    k = _slice_of(frame, geometry, named)
    if k is None:
        return None
    start = geometry.world(np.array([0, 0, k]))
    plane = geometry.affine[:3, :2]
    # Image indices (i, j) of the frame's columns and rows: linear, from the first pixel on.
    step = np.linalg.lstsq(plane, to_world[:3, :2], rcond=None)[0]
    first = np.linalg.lstsq(plane, to_world[:3, 3] - start, rcond=None)[0]
    turn, origin = np.rint(step), np.rint(first)
    if sorted(np.abs(turn).ravel()) != [0, 0, 1, 1] or abs(turn[0, 0]) != abs(turn[1, 1]):
        return None
    corners = np.array([[c, r] for c in (0, columns - 1) for r in (0, rows - 1)])
    if np.abs(corners @ (step - turn).T + first - origin).max() > _SAME_PIXEL:
        return None
    swapped = turn[0, 0] == 0
    size_i, size_j = (rows, columns) if swapped else (columns, rows)
    i = origin[0] + turn[0, int(swapped)] * np.arange(size_i)
    j = origin[1] + turn[1, int(not swapped)] * np.arange(size_j)
    return _Placement(k, bool(swapped), i.astype(int), j.astype(int))


def _slice_of(frame: SegFrame, geometry: Geometry, named: set[int]) -> int | None:
    """Slice that a frame lies on; None where it lies on none, or is one of a coarser stack."""
    to_world = frame.affine
    across = np.cross(geometry.affine[:3, 0], geometry.affine[:3, 1])
    normal = across / np.linalg.norm(across)
    if np.linalg.norm(np.cross(normal, to_world[:3, 2])) > _PARALLEL:
        return None
    depths = _depths(geometry, normal)
    away = np.abs(depths - to_world[:3, 3] @ normal)
    k = int(np.argmin(away))
    reach = _reach(depths, k) if len(depths) > 1 else float(np.linalg.norm(geometry.affine[:3, 2])) / 2
    if len(named) == 1 and away[(one := next(iter(named)))] <= reach * (1 + 1e-6):
        return one
    if not named and len(depths) > 1:
        distance = float(np.median(np.diff(np.sort(depths))))
        other = bool(frame.sources) or away[k] > _ON_SLICE * distance  # drawn on another reconstruction
        between = frame.between or (frame.thickness if other else None)
        if between and between > 1.5 * distance:
            return None  # its planes stand for several slices each
    return k if away[k] <= reach * (1 + 1e-6) else None


def _depths(geometry: Geometry, normal: np.ndarray) -> np.ndarray:
    index = np.zeros((geometry.shape[2], 3), int)
    index[:, 2] = np.arange(geometry.shape[2])
    found: np.ndarray = geometry.world(index) @ normal
    return found


def _reach(depths: np.ndarray, k: int) -> float:
    """Half of the distance to the nearer neighbour."""
    return float(np.abs(np.delete(depths, k) - depths[k]).min()) / 2


# -- frames on a grid of their own


def _resample(frames: Sequence[SegFrame], geometry: Geometry, native: np.ndarray) -> None:
    """Each voxel of the image takes the nearest pixel of the nearest plane that is not farther than half a step."""
    stacks: dict[tuple, list[SegFrame]] = {}
    for frame in frames:  # frames of one stack have one grid
        key = (frame.mask.shape, *np.round(frame.affine[:3, :3], 4).ravel())
        stacks.setdefault(key, []).append(frame)
    for stack in stacks.values():
        _resample_stack(stack, geometry, native)


def _resample_stack(frames: Sequence[SegFrame], geometry: Geometry, native: np.ndarray) -> None:
    affine = frames[0].affine
    normal = affine[:3, 2]
    depths = np.array([frame.affine[:3, 3] @ normal for frame in frames])
    steps = np.diff(np.unique(depths.round(3)))
    least = float(steps.min()) if len(steps) else np.inf
    by_header = frames[0].between or frames[0].thickness
    own = float(np.median(np.linalg.norm(geometry.affine[:3, :3], axis=0)))
    step = min(least, by_header) if by_header else least if np.isfinite(least) else own
    order = np.argsort(depths)
    planes, middle = depths[order], (depths[order][1:] + depths[order][:-1]) / 2
    to_frame = np.linalg.inv(affine[:3, :3])
    ij = np.stack(np.meshgrid(*map(np.arange, geometry.shape[:2]), indexing="ij"), axis=-1)
    for k in range(geometry.shape[2]):
        index = np.concatenate([ij, np.full((*ij.shape[:2], 1), k)], axis=-1)
        world = geometry.world(index)
        depth = world @ normal
        nearest = np.searchsorted(middle, depth)
        close = np.abs(planes[nearest] - depth) <= step / 2 + 1e-6
        for place in np.unique(nearest[close]):
            frame = frames[order[place]]
            here = close & (nearest == place)
            pixel = np.rint((world[here] - frame.affine[:3, 3]) @ to_frame.T[:, :2]).astype(int)
            inside = ((pixel >= 0) & (pixel < frame.mask.shape[::-1])).all(axis=1)
            hit = np.zeros(len(pixel), bool)
            hit[inside] = frame.mask[pixel[inside, 1], pixel[inside, 0]]
            native[:, :, k][here] |= hit
