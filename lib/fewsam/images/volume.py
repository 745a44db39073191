"""Images as canonical slices, with the exact inverse back to the grid they came on.

A *native* array is ordered ``(i, j, k[, c])`` as nibabel orders it. *Canonical slices* are ``(Z, H, W[, 3])``: cut
along one native axis and turned as a radiologist looks at that plane. Only flips and permutations lie between the
two, so that going there and back changes no voxel.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import nibabel as nib
import numpy as np

from fewsam.core.errors import ImageError, LabelError
from fewsam.images.dicomio import is_dicom, read_dicom
from fewsam.images.imageio import read_native
from fewsam.images.labelwrite import nifti_of, write_native_labelmap
from fewsam.images.native import NativeImage

logger = logging.getLogger(__name__)

# A slice plane by the world axis it is cut along: for z, row, col the RAS axis and the sign it is walked in.
# Axial: z to superior, rows to posterior, cols to the patient's left; coronal: z to anterior, rows to inferior, cols
# to the left; sagittal: z to the left, rows to inferior, cols to posterior.
_PLANES: dict[int, tuple[tuple[int, int], ...]] = {
    2: ((2, +1), (1, -1), (0, -1)),
    1: ((1, +1), (2, -1), (0, -1)),
    0: ((0, -1), (2, -1), (1, -1)),
}
_FAR = 1e9  # mm: beyond, no arithmetic holds
_SHEARED = 1e-4  # cosine between axes
_SAME_SPACING = 0.01  # axes whose spacing differs by less are equally coarse


@dataclass(frozen=True, eq=False)
class Geometry:
    """Where the voxels of an image are, and how its canonical slices are cut from them.

    Attributes:
        shape: native grid ``(i, j, k)``.
        affine: ``(4, 4)`` float64, native index to RAS millimetres.
        permutation: native axis of canonical ``z``, ``row``, ``col``.
        flips: whether canonical ``z``, ``row``, ``col`` run against their native axis.
        positions: ``(K, 3)``, where the first voxel of each native slice ``k`` is in RAS, for slices that are not in
            an even row: the affine's third column is then their mean step. None where the affine says it all.
        readings: other affines by which programs place the same voxels.
        instances: DICOM SOPInstanceUID and frame (from 0) of each native slice ``k``; empty for other formats.
    """

    shape: tuple[int, int, int]
    affine: np.ndarray
    permutation: tuple[int, int, int]
    flips: tuple[bool, bool, bool]
    positions: np.ndarray | None = None
    readings: tuple[np.ndarray, ...] = ()
    instances: tuple[tuple[str, int], ...] = ()

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Voxel size in mm along ``(z, row, col)``."""
        size = np.linalg.norm(self.affine[:3, :3], axis=0)
        z, row, col = (float(size[axis]) for axis in self.permutation)
        return z, row, col

    @property
    def slices_shape(self) -> tuple[int, int, int]:
        """``(Z, H, W)``."""
        z, row, col = (self.shape[axis] for axis in self.permutation)
        return z, row, col

    @property
    def upright(self) -> np.ndarray | None:
        """For a tilted stack, the affine without the shear, which many programs cannot read; else None."""
        axes = self.affine[:3, :3] / np.linalg.norm(self.affine[:3, :3], axis=0)
        if np.abs(axes.T @ axes - np.eye(3)).max() <= _SHEARED:
            return None
        return next((r for r in self.readings if np.array_equal(r[:3, :2], self.affine[:3, :2])), None)

    @property
    def depths(self) -> np.ndarray:
        """Place of each canonical slice along the stack in mm, ``(Z,)`` ascending from 0."""
        if self.positions is None or self.permutation[0] != 2:
            return np.arange(self.slices_shape[0]) * self.spacing[0]
        steps = np.linalg.norm(np.diff(self.positions, axis=0), axis=1)
        return np.concatenate([[0.0], np.cumsum(steps[::-1] if self.flips[0] else steps)])

    def world(self, index: np.ndarray) -> np.ndarray:
        """RAS millimetres ``(..., 3)`` of native indices ``(..., 3)``; ``k`` is a whole number where slices have
        places of their own.
        """
        index = np.asarray(index)
        if self.positions is None:
            return index @ self.affine[:3, :3].T + self.affine[:3, 3]
        return index[..., :2] @ self.affine[:3, :2].T + self.positions[index[..., 2].astype(int)]

    def to_slices(self, native: np.ndarray) -> np.ndarray:
        """View of a native array ``(i, j, k[, c])`` as canonical slices ``(Z, H, W[, c])``."""
        self._expect(native, self.shape, "native array")
        return self._flipped(native.transpose(*self.permutation, *range(3, native.ndim)))

    def to_native(self, slices: np.ndarray) -> np.ndarray:
        """View of canonical slices ``(Z, H, W[, c])`` as the native array ``(i, j, k[, c])``."""
        self._expect(slices, self.slices_shape, "slices")
        return self._flipped(slices).transpose(*np.argsort(self.permutation), *range(3, slices.ndim))

    def canonical_index(self, i: int, j: int, k: int) -> tuple[int, int, int]:
        """Canonical ``(z, row, col)`` of a native index."""
        native = (i, j, k)
        z, row, col = (
            self.shape[axis] - 1 - native[axis] if flip else native[axis]
            for axis, flip in zip(self.permutation, self.flips, strict=True)
        )
        return z, row, col

    def _flipped(self, slices: np.ndarray) -> np.ndarray:
        return slices[tuple(slice(None, None, -1) if flip else slice(None) for flip in self.flips)]

    @staticmethod
    def _expect(array: np.ndarray, shape: tuple[int, ...], what: str) -> None:
        if array.ndim not in (3, 4) or array.shape[:3] != shape:
            raise ImageError(
                f"{what} of shape {array.shape} does not fit the image's {shape}; load both from one image"
            )


def geometry_for(
    shape: Sequence[int],
    affine: np.ndarray,
    axis: str = "auto",
    *,
    positions: np.ndarray | None = None,
    readings: Sequence[np.ndarray] = (),
    instances: Sequence[tuple[str, int]] = (),
) -> Geometry:
    """Geometry of a native grid; its last arguments are those of `Geometry`.

    Args:
        shape: ``(i, j, k)``, or ``(i, j)`` for a 2D image.
        affine: ``(4, 4)``, native index to RAS millimetres.
        axis: native axis to cut along, "0", "1" or "2". "auto" takes the axis of length one where there is one (a
            2D image), else the coarsest spacing, and among equally coarse axes the one closest to
            superior-inferior, so that an isotropic volume is cut into axial slices. Slices with places of their own
            are cut as they are stored.

    Raises:
        ImageError: for an empty grid, an affine that is not invertible, or an unknown axis.
    """
    sizes = tuple(int(n) for n in shape)
    if len(sizes) == 2:
        sizes = (*sizes, 1)
    if len(sizes) != 3 or min(sizes) < 1:
        raise ImageError(f"grid {tuple(shape)} holds no 2D or 3D image; give one with at least one voxel an axis")
    affine = np.array(affine, dtype=np.float64)
    if affine.shape != (4, 4) or not (np.abs(affine) < _FAR).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-12:
        raise ImageError(
            f"affine {affine.tolist()} places no volume in space; mend the spacing and direction in the header"
        )

    # nibabel assigns each native axis the world axis nearest to it, one to one even for oblique volumes
    orientation = nib.orientations.io_orientation(affine)
    world = [int(row[0]) for row in orientation]
    sign = [int(row[1]) for row in orientation]
    if axis == "auto" and positions is not None:
        cut = 2
    elif axis == "auto":
        cut = _coarsest_axis(sizes, affine, world)
    elif axis in ("0", "1", "2"):
        cut = int(axis)
    else:
        raise ImageError(f"axis {axis!r} is unknown; use auto, 0, 1 or 2")

    native_axes = [world.index(w) for w, _ in _PLANES[world[cut]]]
    flips = [sign[n] != s for n, (_, s) in zip(native_axes, _PLANES[world[cut]], strict=True)]
    affine.setflags(write=False)
    return Geometry(
        shape=(sizes[0], sizes[1], sizes[2]),
        affine=affine,
        permutation=(native_axes[0], native_axes[1], native_axes[2]),
        flips=(flips[0], flips[1], flips[2]),
        positions=positions,
        readings=tuple(readings),
        instances=tuple(instances),
    )


def _coarsest_axis(shape: tuple[int, ...], affine: np.ndarray, world: list[int]) -> int:
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    candidates = [a for a in range(3) if shape[a] == 1] or [0, 1, 2]
    coarsest = max(spacing[a] for a in candidates)
    return max((a for a in candidates if spacing[a] >= coarsest * (1 - _SAME_SPACING)), key=lambda a: world[a])


@dataclass(frozen=True, eq=False)
class Volume:
    """An image as canonical slices.

    Attributes:
        slices: ``(Z, H, W)``, or ``(Z, H, W, 3)`` for colour or several sequences, C-contiguous, finite; integers keep
            their dtype.
        geometry: the native grid.
        modality: DICOM Modality ("CT", "MR", ...), None for other formats.
        source: the path it came from, for messages.
        notes: what a person should know of the file, in sentences that follow its name and a colon.
        sequences: names of the two or three images that are its channels; empty for others.
        modalities: of each channel, where they are sequences.
    """

    slices: np.ndarray
    geometry: Geometry
    modality: str | None
    source: str
    notes: tuple[str, ...] = ()
    sequences: tuple[str, ...] = ()
    modalities: tuple[str | None, ...] = ()

    @property
    def depth(self) -> int:
        """Number of slices."""
        return int(self.slices.shape[0])

    @property
    def is_rgb(self) -> bool:
        """Whether the slices are in colour."""
        return self.slices.ndim == 4 and not self.sequences

    def raw_slice(self, z: int) -> np.ndarray:
        """Slice ``z`` as ``(3, H, W)``, dtype as loaded: its channels, or the slices before, at and after it."""
        if not 0 <= z < self.depth:
            raise ImageError(f"{self.source}: slice {z} is not among its {self.depth} slices (0 to {self.depth - 1})")
        if self.slices.ndim == 4:
            return np.ascontiguousarray(np.moveaxis(self.slices[z], -1, 0))
        return self.slices[[max(z - 1, 0), z, min(z + 1, self.depth - 1)]]

    @cached_property
    def content_hash(self) -> str:
        """Hex digest of the pixels, their shape and dtype; the same under any path and placement in space."""
        digest = hashlib.blake2b(f"{self.slices.dtype.str} {self.slices.shape}".encode(), digest_size=16)
        for image in self.slices:
            digest.update(np.ascontiguousarray(image).data)
        return digest.hexdigest()


def load_volume(path: str | os.PathLike[str], axis: str = "auto") -> Volume:
    """Load NIfTI, NRRD, MHA/MHD, PNG, JPEG, BMP, TIFF, a DICOM file or a folder with a DICOM series.

    With ``axis`` "auto" a DICOM series is cut into the slices that it consists of, as viewers show it; others as
    `geometry_for` says.

    Raises:
        ImageError: missing, unreadable or empty input, NaN or infinite voxels, more than three dimensions.
    """
    path = Path(path)
    if path.is_dir() or is_dicom(path):
        return volume_of(read_dicom(path), path, "2" if axis == "auto" else axis)
    return volume_of(read_native(path), path, axis)


def volume_of(image: NativeImage, path: Path, axis: str = "auto") -> Volume:
    """A volume of what was read from ``path``; raises ImageError as `load_volume` does."""
    if image.array.dtype.kind == "f" and (bad := image.array.size - int(np.isfinite(image.array).sum())):
        raise ImageError(
            f"{path}: {bad} of {image.array.size} voxels are NaN or infinite; replace them by the background value"
        )
    try:
        geometry = geometry_for(
            image.array.shape[:3],
            image.affine,
            axis,
            positions=image.positions,
            readings=image.readings,
            instances=image.instances,
        )
    except ImageError as error:
        raise ImageError(f"{path}: {error}") from error
    for note in image.notes:
        logger.warning("%s: %s", path, note)
    slices = np.ascontiguousarray(geometry.to_slices(image.array))
    return Volume(slices=slices, geometry=geometry, modality=image.modality, source=str(path), notes=image.notes)


def save_labelmap(
    path: str | os.PathLike[str], labelmap: np.ndarray, geometry: Geometry, names: Mapping[int, str]
) -> None:
    """Write a labelmap on the native grid of its image, whole or not at all.

    Args:
        path: ``.nii``, ``.nii.gz``, ``.nrrd`` (raw encoding), ``.seg.nrrd`` (a Slicer segmentation) or, for 2D images,
            ``.png``.
        labelmap: ``(Z, H, W)`` uint8 or uint16, 0 is background.
        geometry: the image's.
        names: value to class name, written where the format has room for it (NRRD).

    Raises:
        LabelError: the labelmap does not fit the geometry, or the format cannot hold it.
        StorageError: the file cannot be written.
    """
    labelmap = np.asarray(labelmap)
    if labelmap.shape != geometry.slices_shape or labelmap.dtype not in (np.uint8, np.uint16):
        raise LabelError(
            f"{path}: labelmap {labelmap.dtype} {labelmap.shape} does not fit; it must be uint8 or uint16 "
            f"{geometry.slices_shape}"
        )
    write_native_labelmap(Path(path), geometry.to_native(labelmap), geometry.affine, names, geometry.upright)


def save_image(path: str | os.PathLike[str], volume: Volume) -> None:
    """Write an image as NIfTI (``.nii``, ``.nii.gz``) on its native grid, colours as viewers show them."""
    native = volume.geometry.to_native(volume.slices)
    nib.save(nifti_of(native, volume.geometry.affine, volume.geometry.upright), path)
