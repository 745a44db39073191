"""Pseudo-labels: what the teachers say of a slice that nobody labelled, where they are sure of it.

The teachers are the decoder, as the mean of its weights over the last steps (mean teacher: Tarvainen and Valpola 2017),
the labels propagated from drawn slices of the volume, and the vote of other images' labelled slices. Their opinions are
pooled as in any answer: where they agree the pool is sure, where they contradict one another it is not. Pseudo-labels
are made anew at each step. They are never stored, never shown, and never shots.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from fewsam.fewshot.inference.fusion import log_opinion_pool
from fewsam.fewshot.model.decoder import FewShotMaskDecoder
from fewsam.fewshot.selftraining.constants import SELF_TRAINING
from fewsam.fewshot.selftraining.pool import Hints

LEAST_PIXELS = 20  # of a class in a batch, below which its overlap says nothing


@dataclass(frozen=True)
class PseudoLabels:
    """Of N slices: classes (N, D, D) long, and the weight (N, D, D) float in 0..1 with which each pixel is learnt."""

    classes: Tensor
    weight: Tensor

    def halved(self) -> PseudoLabels:
        """The same for slices at half their size: every second pixel of every second row."""
        return PseudoLabels(self.classes[:, ::2, ::2], self.weight[:, ::2, ::2])


class Teacher:
    """The mean of a student's weights over its last steps.

    Args:
        student: What it begins with.
        undertrained: How much that had still to learn, 0 to 1 (`ModelCard.undertrained`).

    Attributes:
        decoder: The weights so far; the better decoder of the two in the end.
    """

    def __init__(self, student: FewShotMaskDecoder, undertrained: float) -> None:
        self.decoder = copy.deepcopy(student).eval().requires_grad_(False)
        self.undertrained = undertrained

    @torch.no_grad()
    def follow(self, student: FewShotMaskDecoder, step: int) -> None:
        """Move towards the student after its ``step``, 0 for the first: faster while it has seen few."""
        share = 1 - min(SELF_TRAINING.momentum, (step + 1) / (step + 10))
        for mine, its in zip(self.decoder.parameters(), student.parameters(), strict=True):
            mine.lerp_(its, share)

    @torch.no_grad()
    def labels(
        self, embeddings: Tensor, detail: Tensor, hints: Sequence[Hints], are_2d_images: Sequence[bool]
    ) -> PseudoLabels:
        """Pseudo-labels of N slices.

        Args:
            embeddings: (N, 256, 64, 64) float, as they are.
            detail: (N, 1, D, D) float in [-1, 1], as they are.
            hints: Of each slice.
            are_2d_images: Whether each is an image of its own.
        """
        pooled = [
            self._pooled(embeddings[n : n + 1], detail[n : n + 1], one, flat)
            for n, (one, flat) in enumerate(zip(hints, are_2d_images, strict=True))
        ]
        confidence, classes = torch.cat(pooled).softmax(1).max(1)
        return PseudoLabels(classes, (confidence > SELF_TRAINING.confidence).float())

    def _pooled(self, embedding: Tensor, detail: Tensor, hints: Hints, is_2d_image: bool) -> Tensor:
        """Class log-probabilities (1, C, D, D) of one slice, not normalised."""
        answer = self.decoder.answer(
            embedding, hints.prompts, detail, is_2d_image=is_2d_image, undertrained=self.undertrained
        )
        propagated, voted = _full(hints.propagated), _full(hints.atlas_log_probs)
        return log_opinion_pool(answer.log_softmax(1), propagated, voted, hints.atlas_weight)


def pseudo_label_loss(logits: Tensor, labels: PseudoLabels) -> Tensor:
    """Cross-entropy and soft Dice on the pixels that the teachers are sure of: logits (N, C, D, D).

    Pixels that they are not sure of count in the mean, so that slices of doubt weigh little.
    """
    log_p = logits.log_softmax(1)
    truth = F.one_hot(labels.classes, logits.shape[1]).permute(0, 3, 1, 2).float() * labels.weight[:, None]
    cross_entropy = -(truth * log_p).sum(1).mean()
    p = log_p.exp() * labels.weight[:, None]
    overlap, total = 2 * (p * truth).sum((0, 2, 3)), (p + truth).sum((0, 2, 3))
    there = truth.sum((0, 2, 3)) > LEAST_PIXELS
    there[0] = False
    dice = 1 - (overlap[there] + 1) / (total[there] + 1)
    return cross_entropy + (dice.mean() if there.any() else 0.0)


def _full(maps: Tensor | None) -> Tensor | None:
    return None if maps is None else maps.float()
