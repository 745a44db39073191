"""How wrong an answer may be expected to be, by slice and class."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class UncertaintyConstants:
    """What the uncertainty is made of (docs/research/uncertainty.md has what this was chosen by; no units).

    Attributes:
        between: Share of the disagreement between answers from different supports; the rest is doubt within the answer.
        absent_power: Power of the highest probability of a class that is not in the answer.
        near: Factor beside a labelled slice.
        far: What a whole volume's length away from labelled slices would add to the factor.
    """

    between: float = 0.3
    absent_power: int = 3
    near: float = 0.75
    far: float = 2.0


UNCERTAINTY = UncertaintyConstants()


def expected_error(members: Tensor, supported: Tensor) -> Tensor:
    """One minus the Dice to be expected of the answer, (N, C - 1) in 0..1, from E members' probabilities.

    Of a class in the answer: one minus the Dice between its mask and its own probabilities (doubt within the answer),
    and between its mask and those of the other members (doubt between answers). Of a class that is not: the
    chance that it should be, for which the cube of its highest probability stands. A sum over the slice will not
    do there: a probability of one in a hundred everywhere is as much as a small organ.

    Args:
        members: (E, N, C, h, w), background first; the first member is the answer.
        supported: (E, C) bool, whether a member's supports show the class: a member that knows nothing of it does not
            count.
    """
    answer = members[0]
    hard = one_hot(answer)
    within = 1 - _dice(answer, hard)
    errors, total = torch.zeros_like(within), torch.zeros_like(within)
    for member, counts in zip(members[1:], supported[1:], strict=True):
        errors += counts * (1 - _dice(one_hot(member), hard))
        total += counts
    between = torch.where(total > 0, errors / total.clamp_min(1), within)
    there, share = hard.amax(dim=(2, 3)) > 0, UNCERTAINTY.between
    absent = answer.amax(dim=(2, 3)) ** UNCERTAINTY.absent_power
    return torch.where(there, (1 - share) * within + share * between, absent)[:, 1:]


def with_distance(uncertainty: np.ndarray, labelled: Collection[int]) -> np.ndarray:
    """The same (Z, C), less beside ``labelled`` slices of the volume and more far from them; as it is without any."""
    if not labelled:
        return uncertainty
    depth = len(uncertainty)
    distance = np.abs(np.arange(depth)[:, None] - np.array(sorted(labelled))).min(axis=1) / depth
    factor = UNCERTAINTY.near + UNCERTAINTY.far * distance[:, None]
    found: np.ndarray = np.minimum(1.0, uncertainty * factor).astype(uncertainty.dtype)
    return found


def by_slice(uncertainty: np.ndarray, foreground: np.ndarray) -> np.ndarray:
    """What is shown of each slice (Z,), from its classes: the error expected of a class that is there.

    Of a class in the answer the uncertainty is its expected error; of one that is not, the chance that it should be,
    so that it counts among the classes as far as that. The highest of any class would make the many slices alike on
    which one small class is in doubt.

    Args:
        uncertainty: (Z, C) in 0..1.
        foreground: (Z, C), above 0 where the class is in the answer.
    """
    there = np.where(foreground > 0, 1.0, uncertainty).sum(axis=1)
    found: np.ndarray = uncertainty.sum(axis=1) / np.maximum(there, 1.0)
    return found


def one_hot(probabilities: Tensor) -> Tensor:
    """The most probable class of each pixel as masks, (N, C, h, w) of 0 and 1."""
    winner = probabilities.argmax(1)
    return torch.nn.functional.one_hot(winner, probabilities.shape[1]).permute(0, 3, 1, 2).to(probabilities.dtype)


def _dice(p: Tensor, q: Tensor) -> Tensor:
    """(N, C); 1 where both are nowhere."""
    total = p.sum((2, 3)) + q.sum((2, 3))
    return torch.where(total > 0, 2 * (p * q).sum((2, 3)) / total.clamp_min(1e-6), 1.0)
