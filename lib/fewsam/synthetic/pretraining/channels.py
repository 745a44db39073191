"""Which of the encoder's channels are trained, and the whitening of all of them after the training."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from fewsam.encoders.compact import INPUT_SIZE, WIDTHS, CompactEncoder, Fusion
from fewsam.encoders.untrained import draw_weights
from fewsam.synthetic.pretraining.episodes import draw_episode

CHANNELS = 256
FLOOR = 0.1  # of the mean variance, as in the untrained weights: weaker directions are not blown up
_SLICES = 4  # an episode


@torch.no_grad()
def add_fusion(network: CompactEncoder, trained: int, seed: int) -> tuple[Fusion, Tensor]:
    """Give the network a fusion of random weights and ``trained`` of its 256 channels, in place.

    They are taken from the linear way, an equal number from each level's share.

    Returns:
        The fusion, and which channels are its own: bool (256,).
    """
    levels = len(WIDTHS) - 1
    share = CHANNELS // levels
    taken = torch.arange(CHANNELS) % share >= share - trained // levels
    for module in network.laterals:
        lateral = cast("nn.Conv2d", module)
        lateral.weight[taken] = 0
        assert lateral.bias is not None
        lateral.bias[taken] = 0
    fusion = Fusion()
    draw_weights(fusion, torch.Generator().manual_seed(seed))
    silence(fusion, taken)
    network.fusion = fusion
    return fusion, taken


@torch.no_grad()
def silence(fusion: Fusion, taken: Tensor) -> None:
    """Clear the outputs that are not the fusion's own."""
    assert fusion.out.bias is not None
    fusion.out.weight[~taken] = 0
    fusion.out.bias[~taken] = 0


@torch.no_grad()
def whiten(
    network: CompactEncoder, pool: tuple[Tensor, Tensor], seed: int, floor: float = FLOOR, episodes: int = 24
) -> None:
    """Turn the output, in place, so that its channels are uncorrelated over generated slices.

    The probe and the prototypes treat every channel alike: what many channels repeat would count many times. The
    symmetric inverse root of the covariance is folded into the last linear layers.
    """
    generator = torch.Generator().manual_seed(seed)
    values = []
    for _ in range(episodes):
        episode = draw_episode(generator, _SLICES, INPUT_SIZE, INPUT_SIZE // 4, pool)
        fused = network.fused(episode.images[:, None].expand(-1, 3, -1, -1))
        values.append(fused.permute(1, 0, 2, 3).flatten(1)[:, ::7])
    sample = torch.cat(values, 1).double()
    scales = sample.std(1).clamp_min(1e-6)
    sample = sample / scales[:, None]
    variances, axes = torch.linalg.eigh(torch.cov(sample))
    turn = axes @ torch.diag((variances.clamp_min(0) + floor * variances.mean()).rsqrt()) @ axes.T / scales
    last = [*network.laterals, *([] if network.fusion is None else [network.fusion.out])]
    for layer in cast("list[nn.Conv2d]", last):
        assert layer.bias is not None
        layer.weight.copy_(torch.einsum("ab,bcij->acij", turn, layer.weight.double()))
        layer.bias.copy_(turn @ layer.bias.double())
    offset = cast("nn.Conv2d", network.laterals[0]).bias
    assert offset is not None
    offset -= (turn @ (sample.mean(1) * scales)).float()
