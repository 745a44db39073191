"""Volumes in millilitres: by hand, on even, uneven and sheared stacks."""

from __future__ import annotations

import numpy as np
import pytest

from fewsam.images.measure import slice_voxel_mm3, volumes_ml
from fewsam.images.volume import geometry_for


def test_a_box_has_the_volume_of_its_sides() -> None:
    geometry = geometry_for((20, 30, 8), np.diag([0.5, 2.0, 5.0, 1.0]), axis="2")
    box = np.zeros(geometry.slices_shape, bool)
    box[2:5, 3:13, 4:9] = True  # 3 x 10 x 5 voxels of 5 mm^3
    assert volumes_ml({"box": box, "nothing": ~box & box}, geometry) == {"box": pytest.approx(0.75), "nothing": 0.0}


@pytest.mark.parametrize("axis", ["0", "1", "2"])
def test_the_plane_of_the_slices_does_not_matter(axis: str) -> None:
    geometry = geometry_for((6, 7, 8), np.diag([0.5, -2.0, 5.0, 1.0]), axis=axis)
    native = np.random.default_rng(0).random((6, 7, 8)) < 0.3
    ml = volumes_ml({"a": geometry.to_slices(native)}, geometry)["a"]
    assert ml == pytest.approx(native.sum() * 5 / 1000)


@pytest.mark.parametrize("flip", [1.0, -1.0])
def test_slices_at_uneven_distances_count_half_the_way_to_either_neighbour(flip: float) -> None:
    places = np.array([0.0, 2.0, 8.0, 10.0]) * flip
    affine = np.diag([1.0, 1.0, 10 / 3 * flip, 1.0])
    geometry = geometry_for((4, 4, 4), affine, positions=np.stack([0 * places, 0 * places, places], axis=1))
    assert slice_voxel_mm3(geometry) == pytest.approx([2.0, 4.0, 4.0, 2.0])


def test_a_sheared_stack_counts_by_its_height() -> None:
    tilted = np.array(
        [[1.0, 0, 0, 0], [0, 1, 3, 0], [0, 0, 4, 0], [0, 0, 0, 1.0]]
    )  # 5 mm apart along the slope, 4 high
    geometry = geometry_for((4, 4, 6), tilted, axis="2")
    assert slice_voxel_mm3(geometry) == pytest.approx([4.0] * 6)


def test_a_single_slice() -> None:
    assert slice_voxel_mm3(geometry_for((4, 4, 1), np.diag([2.0, 3.0, 1.0, 1.0]))) == pytest.approx([6.0])
