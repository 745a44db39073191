"""The compact encoder: a few million parameters, for a CPU, with the output of SAM's encoders.

A convolutional pyramid (strides 2 to 32) whose levels meet at stride 4, which at the default input of 256 px is SAM's
64 x 64 grid: by a linear mixture, and in trained weights perhaps by a top-down path of residual blocks too. Position
across the slice is an input, since place tells apart what looks alike.
"""

from __future__ import annotations

import itertools

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fewsam.images.resize import resize

ARCHITECTURE = 1  # raise with every change of what it computes, `untrained.py` included: it is part of cache keys
INPUT_SIZE = 256
WIDTHS = (32, 64, 128, 192, 192)  # strides 2, 4, 8, 16, 32
DEPTHS = (1, 1, 2, 2, 2)
FUSION_DEPTHS = (1, 2, 2, 2)  # strides 32, 16, 8, 4
GRID = 64
_COORDINATE_GAIN = 3.0


class LayerNorm2d(nn.Module):
    """Normalises the channels of each position, so that no slice of a batch can change another's result."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> the same shape."""
        return F.layer_norm(x.permute(0, 2, 3, 1), self.weight.shape, self.weight, self.bias).permute(0, 3, 1, 2)


class ResidualBlock(nn.Module):
    """Two 3 x 3 convolutions beside an identity."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = LayerNorm2d(channels)
        self.spread = nn.Conv2d(channels, channels, 3, padding=1)
        self.merge = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> the same shape."""
        return x + self.merge(F.gelu(self.spread(self.norm(x))))


class Fusion(nn.Module):
    """What the levels say together: a second, non-linear way from coarse to fine.

    For files of weights that earlier versions trained (docs/research/pretraining.md).
    """

    def __init__(self) -> None:
        super().__init__()
        widths = WIDTHS[:0:-1]
        self.downs = nn.ModuleList(nn.Conv2d(coarse, fine, 1) for coarse, fine in itertools.pairwise(widths))
        self.stages = nn.ModuleList(
            nn.Sequential(*(ResidualBlock(width) for _ in range(depth)))
            for width, depth in zip(widths, FUSION_DEPTHS, strict=True)
        )
        self.norm = LayerNorm2d(widths[-1])
        self.out = nn.Conv2d(widths[-1], 256, 1)

    def forward(self, levels: list[Tensor]) -> Tensor:
        """Features of strides 4, 8, 16, 32 -> (N, 256, h, w) at stride 4."""
        x = self.stages[0](levels[-1])
        for down, stage, level in zip(self.downs, self.stages[1:], levels[-2::-1], strict=True):
            x = stage(level + resize(down(x), level.shape[-2:]))
        return self.out(self.norm(x))


class CompactEncoder(nn.Module):
    """The network. Any input side that is a multiple of 16 will do; the output grid is always 64 x 64.

    Args:
        fusion: with the non-linear way beside the linear one.
    """

    def __init__(self, fusion: bool = False) -> None:
        super().__init__()
        sides = itertools.pairwise((5, *WIDTHS))
        self.downs = nn.ModuleList(nn.Conv2d(a, b, 3, stride=2, padding=1) for a, b in sides)
        self.stages = nn.ModuleList(
            nn.Sequential(*(ResidualBlock(width) for _ in range(depth)))
            for width, depth in zip(WIDTHS, DEPTHS, strict=True)
        )
        self.laterals = nn.ModuleList(nn.Conv2d(width, 256, 1) for width in WIDTHS[1:])
        self.norm = LayerNorm2d(256)
        self.fusion = Fusion() if fusion else None

    def forward(self, slices: Tensor) -> Tensor:
        """(N, 3, S, S) float in 0..255 -> (N, 256, 64, 64)."""
        fused = self.fused(slices)
        if fused.shape[-1] != GRID:
            # antialias where the grid is finer than ours: an area mean, not every other value
            fused = resize(fused, GRID, antialias=fused.shape[-1] > GRID)
        return self.norm(fused)

    def fused(self, slices: Tensor) -> Tensor:
        """(N, 3, S, S) float in 0..255 -> (N, 256, S / 4, S / 4): both ways' sum, before it is normalised."""
        levels = self.pyramid(slices)
        mixed = self.linear(levels)
        return mixed if self.fusion is None else mixed + self.fusion(levels)

    def linear(self, levels: list[Tensor]) -> Tensor:
        """Features of strides 4, 8, 16, 32 -> (N, 256, h, w) at stride 4: the levels' linear mixture."""
        fused = self.laterals[-1](levels[-1])
        for lateral, level in zip(reversed(self.laterals[:-1]), reversed(levels[:-1]), strict=True):
            fused = lateral(level) + resize(fused, level.shape[-2:])
        return fused

    def pyramid(self, slices: Tensor) -> list[Tensor]:
        """(N, 3, S, S) float in 0..255 -> features of strides 4, 8, 16, 32, with `WIDTHS` channels."""
        n, _, h, w = slices.shape
        rows = torch.linspace(-1, 1, h, device=slices.device).view(1, 1, h, 1).expand(n, 1, h, w)
        cols = torch.linspace(-1, 1, w, device=slices.device).view(1, 1, 1, w).expand(n, 1, h, w)
        x = torch.cat([slices / 64 - 2, _COORDINATE_GAIN * rows, _COORDINATE_GAIN * cols], 1)
        levels = []
        for down, stage in zip(self.downs, self.stages, strict=True):
            x = stage(down(x))
            levels.append(x)
        return levels[1:]
