"""Where each generated slice looks into its world: field of view, patient, and the slice's own deformation."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Sampling:
    """How n slices of an episode cut its world.

    Attributes:
        grid: (n, S, S, 2) float, world coordinates (x, y) of each pixel; the world's middle part is [-1, 1].
        inside: (S, S) bool, False in the padding that a slice which is no square leaves right or below.
        place: (n,) float in [0, 1], the slice's place along its volume.
        depth: (n,) float in [-1, 1], where it cuts the world along z.
        patient: (n,) int64, from 0; slices of one patient share shape and contrast.
    """

    grid: Tensor
    inside: Tensor
    place: Tensor
    depth: Tensor
    patient: Tensor

    @property
    def patients(self) -> int:
        return int(self.patient.max()) + 1


def uniform(generator: torch.Generator, shape: tuple[int, ...], low: float, high: float) -> Tensor:
    """Uniform numbers on the generator's device."""
    return low + (high - low) * torch.rand(shape, generator=generator, device=generator.device)


def chance(generator: torch.Generator, probability: float) -> bool:
    """True with that probability. Asks the device for its answer: not for inner loops."""
    return bool(torch.rand((), generator=generator, device=generator.device) < probability)


def smooth_noise(generator: torch.Generator, count: int, cells: int, size: int) -> Tensor:
    """Smooth fields (count, size, size) of unit variance at ``cells`` points a side."""
    noise = torch.randn(count, 1, cells, cells, generator=generator, device=generator.device)
    return F.interpolate(noise, (size, size), mode="bicubic", align_corners=True)[:, 0]


def draw_sampling(
    generator: torch.Generator, slices: int, patients: int, size: int, zoom: tuple[float, float]
) -> Sampling:
    """Draw a field of view for all slices, a shape for each patient, and a little of both for each slice.

    Args:
        patients: of equal share; as many as slices where every slice is somebody else.
        zoom: how far the field of view may go in, as factors (low, high).
    """
    device = generator.device
    patient = torch.arange(slices, device=device) * patients // slices
    each = slices // patients
    # along z: a range of the world that all patients' scans cover roughly
    reach = float(uniform(generator, (), 0.25, 1.0))
    middle = float(uniform(generator, (), -1.0, 1.0)) * (1 - reach)
    if each > 1:
        steps = torch.arange(slices, device=device) % each
        place = (steps + uniform(generator, (slices,), 0.1, 0.9)) / each
    else:
        place = torch.full((slices,), 0.5, device=device)
    shift = uniform(generator, (patients,), -0.12, 0.12)[patient]
    spread = reach if each > 1 else 0.15 * reach
    depth = (middle + spread * (2 * place - 1) + shift * spread).clamp(-1, 1)
    if each == 1:  # as in single images: somewhere near the same level, and no place told
        depth = (middle + spread * uniform(generator, (slices,), -1.0, 1.0)).clamp(-1, 1)
        place = torch.zeros(slices, device=device)

    low, high = math.log(zoom[0]), math.log(zoom[1])
    near = math.exp(float(uniform(generator, (), low, high)))
    angle = uniform(generator, (patients,), -0.16, 0.16)[patient] + uniform(generator, (slices,), -0.03, 0.03)
    scale = torch.exp(uniform(generator, (patients, 2), -0.12, 0.12))[patient] / near
    roam = max(0.0, 1 - 1 / near) * 0.7
    centre = uniform(generator, (2,), -roam, roam) + uniform(generator, (patients, 2), -0.08, 0.08)[patient] / near
    centre = centre + uniform(generator, (slices, 2), -0.012, 0.012) / near
    cos, sin = torch.cos(angle), torch.sin(angle)
    theta = torch.stack(
        [
            torch.stack([cos * scale[:, 0], -sin * scale[:, 0], centre[:, 0]], -1),
            torch.stack([sin * scale[:, 1], cos * scale[:, 1], centre[:, 1]], -1),
        ],
        dim=1,
    )
    rows, cols = _content(generator)
    line = (torch.arange(size, device=device) + 0.5) / size
    y, x = torch.meshgrid(line, line, indexing="ij")
    longest = max(rows, cols)
    base = torch.stack([(2 * x - cols) / longest, (2 * y - rows) / longest, torch.ones_like(x)], -1)
    grid = torch.einsum("hwi,nji->nhwj", base, theta)
    strength = float(uniform(generator, (), 0.01, 0.09)) / near
    cells = int(uniform(generator, (), 3, 7))
    bend = smooth_noise(generator, 2 * patients, cells, size).view(patients, 2, size, size)[patient] * strength
    wobble = smooth_noise(generator, 2 * slices, 5, size).view(slices, 2, size, size) * (0.006 / near)
    return Sampling(grid + (bend + wobble).permute(0, 2, 3, 1), (x < cols) & (y < rows), place, depth, patient)


def _content(generator: torch.Generator) -> tuple[float, float]:
    """Rows and columns of the slice as shares of its square: one of them is 1."""
    short = min(1.0, float(uniform(generator, (), 0.6, 1.25)))
    return (short, 1.0) if chance(generator, 0.6) else (1.0, short)
