"""The training loss: Dice and cross-entropy over classes that compete, silent where a label is silent."""

from __future__ import annotations

import torch
from torch import Tensor


def segmentation_loss(logits: Tensor, mask: Tensor, annotated_classes: Tensor) -> Tensor:
    """Mean of cross-entropy and soft Dice, with partial labels (a class not looked for is not background).

    Where a slice is partly labelled, an undrawn pixel is only known to be none of the classes looked
    for: its likelihood is that of background and the unknown classes together (marginal
    cross-entropy, Shi et al., *Marginal loss and exclusion loss*, 2021). Dice skips unknown classes.

    Args:
        logits: (N, C, D, D), background first.
        mask: (N, C, D, D) in [0, 1], summing to 1 over C.
        annotated_classes: (N, C) bool.
    """
    log_p = logits.log_softmax(dim=1)
    silent = ~annotated_classes
    silent[:, 0] = False
    undrawn = torch.where((silent | _first(annotated_classes))[:, :, None, None], log_p, -torch.inf).logsumexp(dim=1)
    cross_entropy = -(mask[:, 1:] * log_p[:, 1:]).sum(1) - mask[:, 0] * undrawn

    p = log_p.exp() * annotated_classes[:, :, None, None]
    truth = mask * annotated_classes[:, :, None, None]
    overlap = 2 * (p * truth).sum(dim=(0, 2, 3))
    total = (p + truth).sum(dim=(0, 2, 3))
    drawn = truth.sum(dim=(0, 2, 3)) > 0
    drawn[0] = False
    dice = 1 - (overlap[drawn] + 1) / (total[drawn] + 1)
    return cross_entropy.mean() + (dice.mean() if drawn.any() else 0.0)


def _first(annotated_classes: Tensor) -> Tensor:
    first = torch.zeros_like(annotated_classes)
    first[:, 0] = True
    return first
