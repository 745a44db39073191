"""Tissue maps to grey images: intensities, texture, point spread, noise, shading, and the display range."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from fewsam.synthetic.phantom.ct import _HU
from fewsam.synthetic.phantom.mr import _SIGNAL
from fewsam.synthetic.pretraining.shapes import World
from fewsam.synthetic.pretraining.warp import Sampling, chance, smooth_noise, uniform


def render(generator: torch.Generator, world: World, at: Sampling, side: int) -> Tensor:
    """Image (n, side, side) float in 0..255, zero in the padding, as preprocessing would hand it to the encoder."""
    device = generator.device
    n, size = world.tissue.shape[:2]
    window = bool(world.real) and chance(generator, 0.35)
    level = _levels(generator, world, at.patients, window)[at.patient]  # (n, T)
    if world.thickness is not None:
        grey = world.thickness.sum(1)
        grey = torch.exp(-0.8 * grey) if chance(generator, 0.5) else grey
        grey = grey + 0.2 * level.gather(1, world.tissue.flatten(1)).view_as(grey)
    else:
        grey = level.gather(1, world.tissue.flatten(1)).view_as(at.grid[..., 0])
        rough = _roughness(generator, world, window)[world.tissue]
        fine = F.interpolate(
            torch.randn(n, 1, size // 2, size // 2, generator=generator, device=device), (size, size), mode="bilinear"
        )[:, 0]
        coarse = smooth_noise(generator, n, int(uniform(generator, (), 8, 40)), size)
        grey = grey + rough * (0.7 * fine + 0.7 * coarse)
    # what the scanner resolves, and its noise, before the slice is enlarged to the encoder's input
    native = max(32, int(size * float(uniform(generator, (), 0.3, 1.05))))
    small = F.interpolate(grey[:, None], (native, native), mode="bilinear", antialias=True)
    if chance(generator, 0.4):
        small = F.avg_pool2d(F.pad(small, (1, 1, 1, 1), mode="replicate"), 3, 1)
    if not window and chance(generator, 0.7):
        bias = smooth_noise(generator, at.patients, 3, native)[at.patient] * float(uniform(generator, (), 0.0, 0.25))
        small = small * torch.exp(bias)[:, None]
    sigma = uniform(generator, (at.patients,), 0.0, 1.0)[at.patient].square() * 0.035
    sigma = sigma[:, None, None, None] * (small.amax() - small.amin())
    noise = torch.randn(2, *small.shape, generator=generator, device=device) * sigma
    if not window and chance(generator, 0.5):
        small = ((small - small.amin() + noise[0]).square() + noise[1].square()).sqrt()
    else:
        small = small + noise[0]
    if window and chance(generator, 0.25):
        small = small + _streaks(generator, n, native)
    shown = _display(generator, small, at, window)
    image = F.interpolate(shown, (side, side), mode="bilinear", align_corners=False)[:, 0]
    inside = F.interpolate(at.inside[None, None].float(), (side, side))[0]
    return (image * 255).clamp(0, 255) * inside


def _levels(generator: torch.Generator, world: World, patients: int, window: bool) -> Tensor:
    """Intensity (P, T) of every tissue: random with shared ones, or as in CT or MR; patients differ a little."""
    device = generator.device
    count = world.tissues
    levels = int(uniform(generator, (), 4, 14))
    palette = torch.rand(levels, generator=generator, device=device)
    _, group = torch.unique(world.alike, return_inverse=True)
    pick = torch.randint(0, levels, (int(group.max()) + 1,), generator=generator, device=device)
    random = palette[pick[group]] + 0.03 * torch.randn(count, generator=generator, device=device)
    random[0] = 0.0 if chance(generator, 0.8) else random[0]
    level = random
    if window:
        phase = uniform(generator, (), 0.0, 3.0)
        table = _table(_HU, count, device)
        level = table[:, int(phase)] + uniform(generator, (), 0.0, 1.0) * (table[:, 0] - table[:, int(phase)])
        level = level + 6 * torch.randn(count, generator=generator, device=device)
    elif world.real and chance(generator, 0.5):
        table = _table(_SIGNAL, count, device)
        mix = uniform(generator, (), -0.3, 1.3)
        level = mix * table[:, 0] + (1 - mix) * table[:, 1] + 0.1 * (random - 0.5)
        level[0] = 0.0
    spread = 4.0 if window else float(uniform(generator, (), 0.01, 0.06))
    return level + spread * torch.randn(patients, count, generator=generator, device=device)


def _roughness(generator: torch.Generator, world: World, window: bool) -> Tensor:
    """Texture amplitude (T,)."""
    rough = uniform(generator, (world.tissues,), 0.0, 1.0) ** 3 * 0.2
    if window:
        rough = _table(_HU, world.tissues, generator.device)[:, 3]
    rough[0] = 0
    return rough


def _table(rows: dict, count: int, device: torch.device) -> Tensor:
    width = len(next(iter(rows.values())))
    table = torch.zeros(count, width, device=device)
    for tissue, row in rows.items():
        table[int(tissue)] = torch.tensor(row, device=device, dtype=table.dtype)
    if width == 4:  # Hounsfield units: what is not listed is gas or foam
        table[19, :3] = -985.0
    return table


def _display(generator: torch.Generator, image: Tensor, at: Sampling, window: bool) -> Tensor:
    """To 0..1: a window for Hounsfield units, percentiles of each patient for the others; then a tone."""
    if window:
        low = float(uniform(generator, (), -220, -120))
        high = float(uniform(generator, (), 190, 320))
        return ((image - low) / (high - low)).clamp(0, 1)
    shown = torch.empty_like(image)
    for patient in range(at.patients):
        mine = at.patient == patient
        values = image[mine].flatten()[::7]
        low, high = torch.quantile(values, torch.tensor([0.01, 0.99], device=image.device)).tolist()
        shown[mine] = ((image[mine] - low) / max(1e-3, high - low)).clamp(0, 1)
    gamma = torch.exp(uniform(generator, (at.patients,), -0.35, 0.35))[at.patient, None, None, None]
    shown = shown**gamma
    return 1 - shown if chance(generator, 0.1) else shown


def _streaks(generator: torch.Generator, count: int, size: int) -> Tensor:
    """Fans of dark and bright rays from a point, as from metal, in Hounsfield units (n, 1, size, size)."""
    line = torch.linspace(-1, 1, size, device=generator.device)
    y, x = torch.meshgrid(line, line, indexing="ij")
    at = uniform(generator, (2,), -0.8, 0.8)
    angle, radius = torch.atan2(y - at[1], x - at[0]), torch.hypot(x - at[0], y - at[1])
    waves = sum(
        torch.sin(int(uniform(generator, (), 2, 16)) * angle + float(uniform(generator, (), 0, 6.3))) for _ in range(4)
    )
    height = 40 * uniform(generator, (count, 1, 1, 1), 0.0, 1.0)
    return height * waves * torch.exp(-2 * radius)
