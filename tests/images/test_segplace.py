"""Frames of a segmentation on the slices of an image, one by one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from fewsam.images.segplace import SegFrame, place_frames
from fewsam.images.volume import Geometry, geometry_for

SIDE = 4


def image(heights: list[float]) -> Geometry:
    """An axial stack of 1 mm pixels with slices at these heights."""
    places = np.stack([np.zeros(len(heights)), np.zeros(len(heights)), heights], axis=1)
    affine = np.diag([-1.0, -1.0, (heights[-1] - heights[0]) / (len(heights) - 1), 1.0])
    return geometry_for((SIDE, SIDE, len(heights)), affine, "2", positions=places)


def frame(
    height: float,
    between: float | None = None,
    turn: float = 1.0,
    thickness: float | None = None,
    sources: tuple[tuple[str, int], ...] = (),
) -> SegFrame:
    """A frame that is drawn on its first row; its pixels are ``turn`` mm wide."""
    mask = np.zeros((SIDE, SIDE), bool)
    mask[0] = True
    along = np.array([[1.0, 0, 0], [0, 1.0, 0]])
    return SegFrame(mask, np.array([0.0, 0.0, height]), along, (turn, turn), between, thickness, sources)


def drawn_slices(frames: list[SegFrame], geometry: Geometry) -> list[int]:
    native, _ = place_frames(frames, geometry)
    return np.flatnonzero(native.any(axis=(0, 1))).tolist()


def test_a_frame_in_a_gap_of_the_image_lies_on_none_of_its_slices() -> None:
    with_gap = image([0.0, 3.0, 6.0, 15.0, 18.0])
    assert drawn_slices([frame(6.0), frame(15.0)], with_gap) == [2, 3]
    assert drawn_slices([frame(9.0)], with_gap) == drawn_slices([frame(12.0)], with_gap) == []
    assert drawn_slices([frame(16.4)], with_gap) == [3], "half of the way to the nearer neighbour belongs to a slice"
    assert drawn_slices([frame(6.0), frame(9.0), frame(12.0), frame(15.0)], with_gap) == [2, 3]


def test_planes_without_a_thickness_reach_half_of_the_way_to_the_next() -> None:
    thin = image([float(z) for z in range(13)])
    planes = [frame(0.0, turn=0.5), frame(6.0, turn=0.5), frame(12.0, turn=0.5)]  # on pixels of their own
    assert drawn_slices(planes, thin) == list(range(13))
    assert drawn_slices([frame(6.0, between=2.0, turn=0.5)], thin) == [5, 6, 7]


def test_slices_that_overlap_are_not_taken_for_a_coarser_stack() -> None:
    overlapping = image([2.5 * k for k in range(9)])  # each of them 5 mm thick
    assert drawn_slices([frame(10.0, thickness=5.0)], overlapping) == [4]
    assert drawn_slices([frame(5.0, thickness=5.0), frame(15.0, thickness=5.0)], overlapping) == [2, 6]


def test_thick_planes_that_were_drawn_on_another_series_cover_the_slices_in_them() -> None:
    thin = image([2.0 * k for k in range(9)])
    elsewhere = (("1.2.3", 0),)
    assert drawn_slices([frame(8.0, thickness=6.0, sources=elsewhere)], thin) == [3, 4, 5]
    assert drawn_slices([frame(7.0, thickness=6.0)], thin) == [2, 3, 4, 5], "no slice of the image is there"
    assert drawn_slices([frame(8.0, between=6.0)], thin) == [3, 4, 5]


def test_frames_without_a_place_are_counted_as_left_out() -> None:
    grid = image([0.0, 2.0, 4.0])
    without = replace(frame(0.0), position=None)
    native, outside = place_frames([frame(2.0), without], grid)
    assert np.flatnonzero(native.any(axis=(0, 1))).tolist() == [1] and outside == SIDE
    of_another_grid = frame(2.0, between=2.0, turn=0.5)
    native, outside = place_frames([of_another_grid, without], grid)
    assert np.flatnonzero(native.any(axis=(0, 1))).tolist() == [1] and outside == SIDE
