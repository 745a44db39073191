"""Volumes of structures in millilitres, whatever the orientation and spacing of the slices."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from fewsam.images.volume import Geometry

MM3_PER_ML = 1000.0


def slice_voxel_mm3(geometry: Geometry) -> np.ndarray:
    """Volume that a voxel of each canonical slice stands for, (Z,), in mm^3.

    Where slices lie at uneven distances, a slice stands for half the way to its neighbour on either side; a slice at
    the end stands for as much outwards as inwards. Sheared stacks count by their perpendicular height.
    """
    z_step = geometry.spacing[0]
    even = abs(float(np.linalg.det(geometry.affine[:3, :3])))
    steps = np.diff(geometry.depths)
    if not len(steps):
        return np.array([even])
    before, after = np.concatenate([steps[:1], steps]), np.concatenate([steps, steps[-1:]])
    thickness: np.ndarray = (before + after) / 2
    return even * thickness / z_step


def volumes_ml(masks: Mapping[str, np.ndarray], geometry: Geometry) -> dict[str, float]:
    """Millilitres of each mask, name -> bool (Z, H, W)."""
    mm3 = slice_voxel_mm3(geometry)
    return {name: float(mask.sum(axis=(1, 2)) @ mm3) / MM3_PER_ML for name, mask in masks.items()}
