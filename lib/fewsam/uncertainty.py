"""How sure an answer is: doubt within it, and doubt between answers of different supports."""

from __future__ import annotations

import torch
from torch import Tensor


def expected_disagreement(members: Tensor) -> Tensor:
    """Uncertainty (N, C - 1) of E members' probabilities (E, N, C, h, w), background first, the answer first.

    One minus the Dice expected between the answer's hard mask and (a) its own probabilities, (b) the
    other members' hard masks, averaged: doubt within an answer and doubt between answers.
    """
    answer = members[0]
    hard = torch.nn.functional.one_hot(answer.argmax(1), answer.shape[1]).permute(0, 3, 1, 2).to(answer.dtype)
    soft = _soft_dice(answer, hard)
    if len(members) == 1:
        return (1 - soft)[:, 1:]
    others = members[1:].argmax(2)
    votes = torch.nn.functional.one_hot(others, answer.shape[1]).permute(0, 1, 4, 2, 3).to(answer.dtype)
    between = torch.stack([_soft_dice(vote, hard) for vote in votes]).mean(0)
    return (1 - (soft + between) / 2)[:, 1:]


def _soft_dice(p: Tensor, q: Tensor) -> Tensor:
    smooth = 4.0  # pixels: a class that is nowhere is certain to be absent
    return (2 * (p * q).sum((2, 3)) + smooth) / (p.sum((2, 3)) + q.sum((2, 3)) + smooth)
