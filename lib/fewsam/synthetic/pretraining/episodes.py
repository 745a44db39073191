"""Episodes: slices of one anatomy from one, two or many generated patients, with the structures asked for."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from fewsam.synthetic.pretraining.render import render
from fewsam.synthetic.pretraining.shapes import draw_shapes
from fewsam.synthetic.pretraining.torso import cut_torso
from fewsam.synthetic.pretraining.warp import chance, draw_sampling, uniform

DATA_VERSION = 1  # raise with every change of what is generated
CLASSES = 12  # asked for at once, at most


@dataclass(frozen=True)
class Episode:
    """Slices that belong together.

    Attributes:
        images: (n, S, S) float in 0..255.
        masks: (n, C, g, g) float in [0, 1], background first, area-weighted.
        place: (n,) float in [0, 1], along the volume.
        patient: (n,) int64, from 0 in consecutive runs.
    """

    images: Tensor
    masks: Tensor
    place: Tensor
    patient: Tensor


def draw_episode(generator: torch.Generator, slices: int, size: int, grid: int, pool: tuple[Tensor, Tensor]) -> Episode:
    """Draw one episode on the generator's device; the same generator state gives the same episode."""
    kind = float(uniform(generator, (), 0, 1))
    patients = slices if chance(generator, 0.2) else 2
    torso, projection = kind < 0.45, kind > 0.92
    if projection:
        patients = slices
    near = (0.85, 1.6) if chance(generator, 0.7) else (1.2, 2.5 if torso else 3.5)
    at = draw_sampling(generator, slices, patients, size * 2 // 3, near)  # scanners resolve less than the input holds
    world = cut_torso(generator, at, pool) if torso else draw_shapes(generator, at, projection)
    structure = world.structure * at.inside
    chosen = _choose(generator, structure, CLASSES)
    wanted = (structure[:, None] == chosen[None, :, None, None]).float()
    masks = F.adaptive_avg_pool2d(wanted, grid)
    masks = torch.cat([1 - masks.sum(1, keepdim=True), masks], 1).clamp(0, 1)
    return Episode(render(generator, world, at, size), masks, at.place, at.patient)


def _choose(generator: torch.Generator, structure: Tensor, most: int) -> Tensor:
    """Some of the structures that are large enough to see, at random."""
    counts = torch.bincount(structure.flatten())
    counts[0] = 0
    seen = (counts > 20).nonzero()[:, 0]
    if len(seen) == 0:
        return torch.ones(1, dtype=torch.long, device=structure.device)
    order = torch.randperm(len(seen), generator=generator, device=generator.device)
    few = chance(generator, 0.35)
    return seen[order[: int(uniform(generator, (), 1, 4)) if few else most]]
