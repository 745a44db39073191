"""Random worlds of smooth shapes, after SynthMorph and AnyStar: layers, blobs, rings, stacks, pairs and tubes.

A world is three-dimensional: neighbouring slices cut neighbouring parts of it, and patients differ in where its
parts lie and how large they are. Place and shape must often tell structures apart, since they share intensities.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from fewsam.synthetic.pretraining.warp import Sampling, chance, uniform

_SHARED_FIELDS = 4  # that perturb outlines


@dataclass(frozen=True)
class World:
    """What an episode's slices show.

    Attributes:
        tissue: (n, S, S) int64, 0 is air; below ``tissues``.
        structure: (n, S, S) int64, what may be asked for; 0 is nothing in particular.
        tissues: how many tissue values there are.
        alike: (tissues,) int64; tissues of equal value have the same intensity.
        thickness: (n, J, S, S) float, for projections through the world; None for cuts.
        real: "torso" where intensities of real tissues apply, else "".
    """

    tissue: Tensor
    structure: Tensor
    tissues: int
    alike: Tensor
    thickness: Tensor | None = None
    real: str = ""


def draw_shapes(generator: torch.Generator, at: Sampling, projection: bool = False) -> World:
    """Draw a world and cut it; with ``projection``, look through its objects as X-rays do."""
    device = generator.device
    layers = int(uniform(generator, (), 3, 9))
    tubes = int(uniform(generator, (), 0, 4))
    fields = _fields(generator, at, layers + 2 * tubes + _SHARED_FIELDS)
    tissue = 1 + fields[:layers].argmax(0)
    structure = torch.where(tissue <= layers // 2, tissue, 0)
    table = _Table(generator, layers + 1)
    rough = fields[-_SHARED_FIELDS:]
    x, y = at.grid.unbind(-1)
    thickness = []
    for part in _objects(generator, at.patients):
        if projection:
            part.centre[:, 2], part.radius[:, 2] = 0, 1e3
        d = part.distance(x, y, at, rough)
        inside = d < 1
        value = table.tissue(part.like)
        number = table.structure()
        if projection:
            thickness.append((1 - d * d).clamp_min(0).sqrt() * part.density)
        tissue = torch.where(inside, value, tissue)
        structure = torch.where(inside, number, structure)
        if part.core > 0:  # a wall around something
            hollow = d < part.core
            tissue = torch.where(hollow, table.tissue(-1), tissue)
            structure = torch.where(hollow, table.structure(), structure)
        elif part.cut:  # two parts of one thing, told apart by place alone
            far = inside & (part.along(x, y, at) > 0)
            structure = torch.where(far, table.structure(), structure)
    for index in range(tubes):
        first, second = fields[layers + 2 * index], fields[layers + 2 * index + 1]
        wide = float(uniform(generator, (), 0.08, 0.22))
        lumen = first.square() + second.square() < wide**2
        tissue = torch.where(lumen, table.tissue(-1), tissue)
        structure = torch.where(lumen, table.structure(), structure)
    if chance(generator, 0.65):  # a body with air around
        half = uniform(generator, (2,), 0.75, 1.1)
        body = ((x / half[0]).square() + (y / half[1]).square()).sqrt() + 0.06 * rough[0]
        wall = float(uniform(generator, (), 0.03, 0.15))
        tissue = torch.where(body > 1 - wall, table.tissue(-1), tissue)
        structure = torch.where(body > 1 - wall, table.structure(), structure)
        tissue, structure = (torch.where(body < 1, one, 0) for one in (tissue, structure))
        thickness = [(1 - body.square()).clamp_min(0).sqrt() * 1.5, *thickness]
    alike = torch.tensor(table.alike, device=device)
    through = torch.stack(thickness, 1) if projection and thickness else None
    return World(tissue, structure, len(table.alike), alike, through)


class _Table:
    """Numbers for tissues and structures as they come."""

    def __init__(self, generator: torch.Generator, tissues: int) -> None:
        self.generator = generator
        self.alike = list(range(tissues))
        self.count = tissues

    def tissue(self, like: int) -> int:
        """A new tissue; objects of equal ``like`` >= 0 look the same, others may look like any earlier one."""
        key = 1000 + like
        if like < 0:
            shared = chance(self.generator, 0.3) and len(self.alike) > 1
            pick = int(uniform(self.generator, (), 1, len(self.alike))) if shared else 0
            key = self.alike[pick] if shared else 2000 + len(self.alike)
        self.alike.append(key)
        return len(self.alike) - 1

    def structure(self) -> int:
        self.count += 1
        return self.count


@dataclass
class _Part:
    """An ellipsoid with a rough surface, of every patient: centre and radius (P, 3), angle (P,)."""

    centre: Tensor
    radius: Tensor
    angle: Tensor
    rough: float
    field: int
    like: int
    core: float
    cut: bool
    density: float

    def _local(self, x: Tensor, y: Tensor, at: Sampling) -> tuple[Tensor, Tensor, Tensor]:
        cx, cy, cz = (one[at.patient, None, None] for one in self.centre.unbind(1))
        cos, sin = (f(self.angle)[at.patient, None, None] for f in (torch.cos, torch.sin))
        dx, dy = x - cx, y - cy
        return dx * cos + dy * sin, dy * cos - dx * sin, at.depth[:, None, None] - cz

    def distance(self, x: Tensor, y: Tensor, at: Sampling, rough: Tensor) -> Tensor:
        u, v, w = self._local(x, y, at)
        ru, rv, rw = (one[at.patient, None, None] for one in self.radius.unbind(1))
        return ((u / ru).square() + (v / rv).square() + (w / rw).square()).sqrt() + self.rough * rough[self.field]

    def along(self, x: Tensor, y: Tensor, at: Sampling) -> Tensor:
        return self._local(x, y, at)[0]


def _objects(generator: torch.Generator, patients: int) -> list[_Part]:
    def number(low: float, high: float) -> float:
        return float(uniform(generator, (), low, high))

    parts: list[_Part] = []
    for group in range(int(number(3, 9))):
        base = torch.tensor([number(-0.75, 0.75), number(-0.75, 0.75), number(-1.0, 1.0)])
        size = math.exp(number(math.log(0.05), math.log(0.45)))
        radius = torch.tensor([size * number(0.6, 1.6), size * number(0.6, 1.6), max(0.15, size) * number(0.8, 4.0)])
        kind = number(0, 1)
        like = group if kind < 0.4 else -1
        offsets = [torch.zeros(3)]
        if kind < 0.2:  # a stack along z, as vertebrae
            gap = float(radius[2]) * 2.1
            offsets = [torch.tensor([0.0, 0.0, gap * step]) for step in (-1, 0, 1)]
        elif kind < 0.4:  # a pair, as kidneys
            base[0] = abs(base[0]).clamp_min(float(radius[0]))
            offsets = [torch.zeros(3), torch.tensor([-2 * float(base[0]), 0.0, number(-0.2, 0.2)])]
        core = number(0.5, 0.85) if number(0, 1) < 0.3 else 0.0
        cut = core == 0 and number(0, 1) < 0.2
        angle, rough, field, density = number(0, math.pi), number(0.02, 0.18), int(number(0, 4)), number(-0.6, 1.0)
        for offset in offsets:
            centre = (base + offset).to(generator.device) + uniform(generator, (patients, 3), -0.07, 0.07)
            wide = radius.to(generator.device) * torch.exp(uniform(generator, (patients, 3), -0.18, 0.18))
            turn = angle + uniform(generator, (patients,), -0.2, 0.2)
            parts.append(_Part(centre, wide, turn, rough, field, like, core, cut, density))
    return parts


def _fields(generator: torch.Generator, at: Sampling, count: int) -> Tensor:
    """Smooth random functions of world and patient: (count, n, S, S), of about unit variance."""
    cells, deep = int(uniform(generator, (), 4, 12)), int(uniform(generator, (), 3, 8))
    own = float(uniform(generator, (), 0.1, 0.5))  # what a patient does not share with the others
    shape = (count, deep, cells, cells)
    common = torch.randn(1, *shape, generator=generator, device=generator.device)
    single = torch.randn(at.patients, *shape, generator=generator, device=generator.device)
    noise = (common + own * single) / math.sqrt(1 + own**2)
    n, size = at.grid.shape[:2]
    depth = at.depth.view(n, 1, 1, 1).expand(n, size, size, 1)
    place = torch.cat([at.grid / 1.3, depth], -1).unsqueeze(1)
    return F.grid_sample(noise[at.patient], place, padding_mode="reflection", align_corners=True)[:, :, 0].transpose(
        0, 1
    )
