"""How sure an answer is: doubt within it, and doubt between answers of different supports."""

from __future__ import annotations

import torch
from torch import Tensor


def expected_disagreement(members: Tensor) -> Tensor:
    """Uncertainty (N, C - 1) of E members' probabilities (E, N, C, h, w), background first.

    One minus the Dice expected between the mean's own hard mask and (a) its probabilities, (b) the
    members' hard masks, averaged: doubt within an answer and doubt between answers.
    """
    mean = members.mean(0)
    hard = torch.nn.functional.one_hot(mean.argmax(1), mean.shape[1]).permute(0, 3, 1, 2).to(mean.dtype)
    soft = _soft_dice(mean, hard)
    votes = torch.nn.functional.one_hot(members.argmax(2), mean.shape[1]).permute(0, 1, 4, 2, 3).to(mean.dtype)
    between = torch.stack([_soft_dice(vote, hard) for vote in votes]).mean(0)
    return (1 - (soft + between) / 2)[:, 1:]


def _soft_dice(p: Tensor, q: Tensor) -> Tensor:
    smooth = 4.0  # pixels: a class that is nowhere is certain to be absent
    return (2 * (p * q).sum((2, 3)) + smooth) / (p.sum((2, 3)) + q.sum((2, 3)) + smooth)
