"""The encoder's linear way, fitted in closed form: which mixtures of the pyramid's channels the output holds.

The random pyramid has 576 channels and the output 256. Which of their mixtures to keep, and with what weight, is taken
from second moments over generated slices. Nothing is descended, so a minute of one core is enough.
"""

from __future__ import annotations

from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fewsam.encoders.compact import INPUT_SIZE, WIDTHS, CompactEncoder
from fewsam.synthetic.pretraining.episodes import draw_episode

OUTPUTS = 256
FLOOR = 0.05  # of the mean variance: weaker directions are not blown up to unit variance
EPISODES = 70
_SLICES = 8  # an episode
_CELLS = 400  # a slice
_ENOUGH = 16  # cells of a structure in an episode


class Moments(NamedTuple):
    """Of the pyramid's channels, over cells drawn so that small structures have their share; all float64.

    ``mean`` (D,); ``total``, ``within`` and ``between`` (D, D): covariance of all cells, of cells within a structure
    of an episode, and of the structures' means within an episode.
    """

    mean: Tensor
    total: Tensor
    within: Tensor
    between: Tensor


@torch.no_grad()
def measure(network: CompactEncoder, pool: tuple[Tensor, Tensor], seed: int, episodes: int = EPISODES) -> Moments:
    """Moments of the pyramid's channels over generated episodes."""
    generator = torch.Generator().manual_seed(seed)
    channels = sum(WIDTHS[1:])
    mean = torch.zeros(channels, dtype=torch.float64)
    total = within = between = torch.zeros(channels, channels, dtype=torch.float64)
    cells = structures = groups = 0
    for _ in range(episodes):
        drawn = draw_episode(generator, _SLICES, INPUT_SIZE, INPUT_SIZE // 4, pool)
        levels = [_stacked(network, part) for part in drawn.images.split(4)]
        rows, labels = _sample(generator, torch.cat(levels), drawn.masks.flatten(2))
        cells += len(rows)
        mean, total = mean + rows.sum(0), total + rows.T @ rows
        centres = []
        for value in labels.unique().tolist():
            mine = rows[labels == value]
            if value and len(mine) >= _ENOUGH:  # background is many things
                centres.append(mine.mean(0))
                within = within + (mine - centres[-1]).T @ (mine - centres[-1]) / len(mine)
                structures += 1
        if len(centres) > 1:
            between = between + torch.cov(torch.stack(centres).T)
            groups += 1
    mean = mean / cells
    return Moments(mean, total / cells - mean[:, None] * mean, within / max(1, structures), between / max(1, groups))


def principal(moments: Moments, floor: float = FLOOR) -> Tensor:
    """Whitened principal components (256, D), turned so that every output is a mixture of all of them.

    Without the turn the probe, which standardises each output, would undo what the floor says of weak directions.
    """
    spread = moments.total.diagonal().sqrt()
    variances, axes = torch.linalg.eigh(moments.total / (spread[:, None] * spread))
    scale = (variances[-OUTPUTS:] + floor * variances.mean()).rsqrt()
    generator = torch.Generator().manual_seed(3)
    turn, _ = torch.linalg.qr(torch.randn(OUTPUTS, OUTPUTS, generator=generator, dtype=torch.float64))
    return turn @ (scale[:, None] * axes[:, -OUTPUTS:].T) / spread


@torch.no_grad()
def set_mixture(network: CompactEncoder, mixture: Tensor, mean: Tensor) -> None:
    """Make the linear way ``mixture @ (channels - mean)``, in place."""
    laterals = cast("list[nn.Conv2d]", list(network.laterals))
    parts = mixture.split([lateral.in_channels for lateral in laterals], dim=1)
    for lateral, part in zip(laterals, parts, strict=True):
        assert lateral.bias is not None
        lateral.weight.copy_(part[:, :, None, None])
        lateral.bias.zero_()
    offset = laterals[0].bias
    assert offset is not None
    offset.copy_(-(mixture @ mean))


def _stacked(network: CompactEncoder, images: Tensor) -> Tensor:
    """(n, S, S) -> all levels at stride 4, (n, D, S / 4, S / 4)."""
    levels = network.pyramid(images[:, None].expand(-1, 3, -1, -1))
    size = levels[0].shape[-2:]
    return torch.cat([F.interpolate(level, size, mode="bilinear", align_corners=False) for level in levels], 1)


def _sample(generator: torch.Generator, features: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
    """Rows (r, D) float64 and classes (r,) of some cells of each slice, half of them at random."""
    chance = (masks / masks.sum(2, keepdim=True).clamp_min(1)).sum(1)
    chance = chance / chance.sum(1, keepdim=True) + 0.5 / masks.shape[2]
    picked = torch.multinomial(chance, _CELLS, generator=generator)[:, None]
    rows = features.flatten(2).gather(2, picked.expand(-1, features.shape[1], -1))
    labels = masks.gather(2, picked.expand(-1, masks.shape[1], -1)).argmax(1)
    return rows.transpose(1, 2).flatten(0, 1).double(), labels.flatten()
