"""Slices through the pool of phantom patients."""

from __future__ import annotations

import torch
from torch import Tensor

from fewsam.synthetic.phantom import Tissue
from fewsam.synthetic.pretraining.shapes import World
from fewsam.synthetic.pretraining.warp import Sampling, chance


def cut_torso(generator: torch.Generator, at: Sampling, pool: tuple[Tensor, Tensor]) -> World:
    """Cut patients of the pool, each of the episode's being another one: mostly axial, else coronal or sagittal."""
    tissue, structure = pool  # (patients, Z, H, W)
    order = torch.randperm(len(tissue), generator=generator, device=generator.device)[: at.patients]
    axis = 1 if chance(generator, 0.75) else 2 if chance(generator, 0.5) else 3
    mirrored = chance(generator, 0.15)
    length = tissue.shape[axis]
    reach = 0.9 if axis == 1 else 0.6  # past that there is little but air
    index = ((at.depth * reach + 1) / 2 * (length - 1)).round().long()
    who = order[at.patient % len(order)]
    planes = [_planes(one, axis, who, index) for one in (tissue, structure)]
    if axis > 1:
        planes = [one.flip(-2) for one in planes]  # head up
    x, y = at.grid.unbind(-1)
    rows, cols = planes[0].shape[-2:]
    longest = max(rows, cols)
    column = ((-x if mirrored else x) * longest + cols).div(2).floor().long()
    row = (y * longest + rows).div(2).floor().long()
    there = (row >= 0) & (row < rows) & (column >= 0) & (column < cols)
    flat = row.clamp(0, rows - 1) * cols + column.clamp(0, cols - 1)
    found = []
    for plane in planes:
        value = plane.flatten(1).long().gather(1, flat.flatten(1)).view_as(flat)
        found.append(torch.where(there, value, 0))
    tissues = max(int(one) for one in Tissue) + 1
    return World(found[0], found[1], tissues, torch.arange(tissues, device=generator.device), real="torso")


def _planes(volumes: Tensor, axis: int, who: Tensor, index: Tensor) -> Tensor:
    if axis == 1:
        return volumes[who, index]
    if axis == 2:
        return volumes[who, :, index]
    return volumes[who, :, :, index]
