"""Images and labels that several test files write and look at."""

import itertools
import os
from pathlib import Path

import nibabel as nib
import nrrd
import numpy as np
import pytest

from fewsam.images.volume import geometry_for

SHARED = Path(os.environ.get("FEWSAM_SHARED_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))
needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="the shared images are not on this machine")

# all ways in which the axes of an array may point
ORIENTATIONS = [
    tuple(codes) for axes in itertools.permutations(("RL", "AP", "SI")) for codes in itertools.product(*axes)
]

AFFINE = np.array([[-0.8, 0, 0, 40], [0, 0.9, 0.1, -30], [0, -0.1, 2.5, 12], [0, 0, 0, 1.0]])
SHAPE = (8, 7, 6)
NAMES = {1: "liver", 2: "spleen", 3: "left kidney"}


def affine_of(codes, spacing=(1.0, 2.0, 3.0), origin=(-7.0, 11.0, 5.5), tilt=0.0):
    """RAS affine whose native axes point towards ``codes``, turned by ``tilt`` radians about the first RAS axis."""
    world = {"R": (0, 1), "L": (0, -1), "A": (1, 1), "P": (1, -1), "S": (2, 1), "I": (2, -1)}
    affine = np.eye(4)
    affine[:3, :3] = 0
    for axis, code in enumerate(codes):
        row, sign = world[code]
        affine[row, axis] = sign * spacing[axis]
    turn = np.eye(4)
    turn[1:3, 1:3] = [[np.cos(tilt), -np.sin(tilt)], [np.sin(tilt), np.cos(tilt)]]
    affine = turn @ affine
    affine[:3, 3] = origin
    return affine


def native_index(geometry, z, row, col):
    """Native (i, j, k) of a canonical voxel, as an array (3,): found in the volume of all native indices."""
    return np.array([geometry.to_slices(axis)[z, row, col] for axis in np.indices(geometry.shape)])


def ramp(shape=(4, 5, 6), dtype=np.int16):
    return np.arange(np.prod(shape)).reshape(shape).astype(dtype)


def image_geometry():
    """Geometry of the image that `label_array` belongs to."""
    return geometry_for(SHAPE, AFFINE)


def label_array():
    """Labelmap with three classes in opposite places."""
    labelmap = np.zeros(SHAPE, np.uint8)
    labelmap[1:4, 1:3, 1:3] = 1
    labelmap[5:7, 4:6, 2:5] = 2
    labelmap[2, 5, 4] = 3
    return labelmap


def nifti(path, array, affine=AFFINE):
    nib.save(nib.Nifti1Image(array, affine), path)
    return path


def seg_nrrd(path, array, segments, affine=AFFINE, space="left-posterior-superior"):
    """A segmentation as Slicer writes it; a 4D array has its layers first."""
    world = np.diag([-1, -1, 1, 1]) @ affine if space == "left-posterior-superior" else affine
    header = {
        "space": space,
        "space origin": world[:3, 3],
        "kinds": ["domain"] * 3,
        "space directions": world[:3, :3].T,
    }
    if array.ndim == 4:
        header["kinds"] = ["list", *header["kinds"]]
        header["space directions"] = np.vstack([np.full(3, np.nan), header["space directions"]])
    for n, segment in enumerate(segments):
        header |= {f"Segment{n}_{key}": str(value) for key, value in segment.items()}
    nrrd.write(str(path), array, header, index_order="F")
    return path


def check(masks, geometry, native, names=NAMES):
    assert list(masks) == [names[value] for value in sorted(names)]
    for value, name in names.items():
        assert masks[name].dtype == bool
        np.testing.assert_array_equal(geometry.to_native(masks[name]), native == value)
