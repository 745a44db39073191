"""A label's voxels on the image's native grid: exactly where the grids allow it, else the nearest voxel."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import ndimage

from fewsam.core.errors import LabelError
from fewsam.images.volume import Geometry

logger = logging.getLogger(__name__)

_FAR = 1e12  # voxels: what no header can mean, and no index can hold
_SAME_PLACE = 0.1  # voxels by which two grids may differ at a corner and still be one grid


def align(
    path: Path,
    values: np.ndarray,
    affines: Sequence[np.ndarray] | None,
    geometry: Geometry,
    names: Mapping[int, str],
) -> np.ndarray:
    """Label values on the image's native grid.

    Programs place the voxels of some files in several ways. A label that has the image's grid in one of its own
    places and one of the image's is taken voxel by voxel.

    Args:
        path: for messages.
        values: labelmap on its own native grid, 0 is background.
        affines: ``(4, 4)`` of that grid to RAS, the one that counts first; None for formats without a place in space.
        geometry: the image's.
        names: name of each value that counts.

    Returns:
        Array of shape ``geometry.shape``, dtype of ``values``, 0 where the label's grid does not reach.

    Raises:
        LabelError: another size where only the size can tell, the image's size in another place, or a class that lies
            outside the image altogether.
    """
    if affines is None:
        if [n for n in values.shape if n > 1] != [n for n in geometry.shape if n > 1]:
            raise LabelError(
                f"{path}: label of size {values.shape} does not fit the image's {geometry.shape}; save it on the "
                "image's own grid"
            )
        return values.reshape(geometry.shape)
    to_label = _to_label(path, affines[0], values.shape, geometry, geometry.affine)
    steps = _voxel_steps(to_label, geometry.shape)
    if steps is not None and steps.covers(values.shape, geometry.shape):
        return steps.take(values, geometry.shape)
    if sorted(values.shape) == sorted(geometry.shape):
        return _in_another_place(path, values, affines, geometry)
    cropped = _cropped(path, values, affines, geometry)
    if cropped is not None:
        return cropped
    if geometry.positions is not None:
        return _onto_slices(path, values, affines[0], geometry, names)
    _refuse_outside(path, values, np.linalg.inv(to_label), geometry.shape, names)
    if steps is not None:
        return steps.take(values, geometry.shape)
    return ndimage.affine_transform(
        values, to_label[:3, :3], to_label[:3, 3], geometry.shape, order=0, mode="grid-constant", cval=0
    )


def _to_label(
    path: Path, affine: np.ndarray, shape: tuple[int, ...], geometry: Geometry, onto: np.ndarray
) -> np.ndarray:
    """``(4, 4)`` from the image's voxels, placed by ``onto``, to the label's."""
    try:
        if 1 in shape and 1 in geometry.shape:
            affine, onto = _one_mm_thick(affine, shape), _one_mm_thick(onto, geometry.shape)
        with np.errstate(all="ignore"):
            to_label = np.linalg.inv(affine) @ onto
            to_image = np.linalg.inv(to_label)
        if not (np.abs(to_label) < _FAR).all() or not (np.abs(to_image) < _FAR).all():  # NaN fails too
            raise np.linalg.LinAlgError
    except np.linalg.LinAlgError:
        raise LabelError(f"{path}: its affine {affine.tolist()} is not invertible; mend the header") from None
    return to_label


def _in_another_place(path: Path, values: np.ndarray, affines: Sequence[np.ndarray], geometry: Geometry) -> np.ndarray:
    """A label of the image's size, by another way in which programs place it or the image."""
    for affine in affines:
        for onto in (geometry.affine, *geometry.readings):
            steps = _voxel_steps(_to_label(path, affine, values.shape, geometry, onto), geometry.shape)
            if steps is not None and steps.covers(values.shape, geometry.shape):
                return steps.take(values, geometry.shape)
    raise LabelError(
        f"{path}: as many voxels as the image, but in another place; the header lost spacing, direction or origin: "
        "copy the image's"
    )


def _cropped(path: Path, values: np.ndarray, affines: Sequence[np.ndarray], geometry: Geometry) -> np.ndarray | None:
    """A part of a grid in which an image was handed out that other programs place in another way; None elsewhere.

    Such grids are the even one of an image whose slices have places of their own, and both of a NIfTI file that names
    two.
    """
    if len(affines) > 1 or (geometry.positions is None and not geometry.readings):
        return None  # a label that has two places itself lies in the first of both
    found: list[np.ndarray] = []
    for onto in (geometry.affine, *geometry.readings):
        steps = _voxel_steps(_to_label(path, affines[0], values.shape, geometry, onto), geometry.shape)
        if steps is not None and steps.holds(values.shape):
            found.append(steps.take(values, geometry.shape))
    if any((one != found[0]).any() for one in found[1:]):
        raise LabelError(
            f"{path}: the image names two places, and this part of it lies in both; save the label at the image's full "
            "size"
        )
    return found[0] if found else None


def _onto_slices(
    path: Path, values: np.ndarray, affine: np.ndarray, geometry: Geometry, names: Mapping[int, str]
) -> np.ndarray:
    """The nearest label voxel of each voxel of an image whose slices have places of their own."""
    to_label = np.linalg.inv(affine)
    out = np.zeros(geometry.shape, values.dtype)
    ij = np.stack(np.meshgrid(*map(np.arange, geometry.shape[:2]), indexing="ij"), axis=-1)
    for k in range(geometry.shape[2]):
        world = geometry.world(np.concatenate([ij, np.full((*ij.shape[:2], 1), k)], axis=-1))
        place = np.rint(world @ to_label[:3, :3].T + to_label[:3, 3]).astype(np.int64)
        inside = ((place >= 0) & (place < values.shape)).all(axis=-1)
        i, j, depth = place[inside].T
        out[:, :, k][inside] = values[i, j, depth]
    if gone := [name for value, name in names.items() if not (out == value).any()]:
        raise LabelError(
            f"{path}: {gone[0]!r} lies outside the image; the label belongs to another image or its header lost the "
            "position"
        )
    return out


def _one_mm_thick(affine: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The affine of a single slice without its thickness, on which formats disagree."""
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    return affine / np.array([*(length if n == 1 else 1.0 for length, n in zip(lengths, shape, strict=True)), 1.0])


def _refuse_outside(
    path: Path, values: np.ndarray, to_image: np.ndarray, shape: tuple[int, int, int], names: Mapping[int, str]
) -> None:
    for value, name in names.items():
        places = np.argwhere(values == value) @ to_image[:3, :3].T + to_image[:3, 3]
        outside = int(((places < -0.5) | (places > np.array(shape) - 0.5)).any(axis=1).sum())
        if outside == len(places):
            raise LabelError(
                f"{path}: {name!r} lies outside the image; the label belongs to another image or its header lost the "
                "position"
            )
        if outside:
            logger.warning("%s: %d of %d voxels of %s lie outside the image", path, outside, len(places), name)


@dataclass(frozen=True)
class _VoxelSteps:
    """For each image axis the label axis it follows, and the index there for each image index."""

    axes: tuple[int, ...]
    indices: tuple[np.ndarray, ...]

    def covers(self, label: tuple[int, ...], image: tuple[int, int, int]) -> bool:
        """Whether both grids hold the same voxels."""
        return tuple(label[axis] for axis in self.axes) == image and all(
            index.min() == 0 and index.max() == size - 1 for index, size in zip(self.indices, image, strict=True)
        )

    def holds(self, label: tuple[int, ...]) -> bool:
        """Whether the label's whole grid lies within the image's."""
        return all(
            index.min() <= 0 and index.max() >= label[axis] - 1
            for index, axis in zip(self.indices, self.axes, strict=True)
        )

    def take(self, values: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
        """The label's voxels on the image's grid, 0 where the label does not reach."""
        turned = values.transpose(self.axes)
        inside = [(index >= 0) & (index < n) for index, n in zip(self.indices, turned.shape, strict=True)]
        taken = [index[keep] for index, keep in zip(self.indices, inside, strict=True)]
        out = np.zeros(shape, dtype=values.dtype)
        out[np.ix_(*inside)] = turned[np.ix_(*taken)]
        return out


def _voxel_steps(to_label: np.ndarray, shape: tuple[int, int, int]) -> _VoxelSteps | None:
    """The steps where every image voxel meets a single label voxel; None where one grid is turned or scaled."""
    rounded = np.rint(to_label)
    turn = rounded[:3, :3]
    if (np.abs(turn).sum(axis=0) != 1).any() or (np.abs(turn).sum(axis=1) != 1).any():
        return None
    corners = np.array([[i, j, k, 1] for i in (0, shape[0] - 1) for j in (0, shape[1] - 1) for k in (0, shape[2] - 1)])
    if np.abs(corners @ (to_label - rounded).T).max() > _SAME_PLACE:
        return None
    axes = tuple(int(np.flatnonzero(turn[:, axis])[0]) for axis in range(3))
    indices = tuple(
        (turn[label, axis] * np.arange(shape[axis]) + rounded[label, 3]).astype(np.int64)
        for axis, label in enumerate(axes)
    )
    return _VoxelSteps(axes, indices)
