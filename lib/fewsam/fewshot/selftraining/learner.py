"""The steps of self-training: a student that learns from labelled slices, and from its teacher on the others."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from fewsam.core.config import Settings
from fewsam.fewshot.model.decoder import FewShotMaskDecoder
from fewsam.fewshot.model.pixel_features import GRID
from fewsam.fewshot.selftraining.constants import SELF_TRAINING
from fewsam.fewshot.selftraining.pool import Hints, UnlabelledSlice, embeddings
from fewsam.fewshot.selftraining.pseudo import PseudoLabels, Teacher, pseudo_label_loss
from fewsam.fewshot.training.constants import TRAINING
from fewsam.fewshot.training.episodes import Episodes, stack_prompts
from fewsam.fewshot.training.schedule import Moment, coarse_share
from fewsam.fewshot.training.steps import Learner
from fewsam.images.preprocess import detail_tensor


class SelfLearner:
    """A student and its teacher over labelled and unlabelled slices.

    Args:
        decoder: The student, trained in place; what it has learnt already is the teacher's start.
        labelled: Indices of the labelled slices to learn from.
        unlabelled: With what is known of each, in ``hints``.
        undertrained: How much ``decoder`` has still to learn, 0 to 1.

    Attributes:
        teacher: Holds the result.
        learner: Optimiser and source of chance.
    """

    def __init__(
        self,
        settings: Settings,
        episodes: Episodes,
        decoder: FewShotMaskDecoder,
        labelled: Sequence[int],
        unlabelled: Sequence[UnlabelledSlice],
        hints: Sequence[Hints],
        undertrained: float,
    ) -> None:
        self.episodes, self.labelled, self.unlabelled, self.hints = episodes, list(labelled), unlabelled, hints
        self.learner, self.teacher = Learner(settings, episodes, decoder), Teacher(decoder, undertrained)
        self._detail = settings.detail
        self._coarse_until = coarse_share(decoder, episodes.detail_size)

    def step(self, step: int, steps: int) -> None:
        """Step number ``step`` of ``steps``, 0 for the first."""
        learner, student, rng = self.learner, self.learner.decoder, self.learner.rng
        done = step / steps
        rate = SELF_TRAINING.rate * max(TRAINING.last_rate, 0.5 * (1 + math.cos(math.pi * done)))
        alone = self._detail and rng.random() < SELF_TRAINING.alone
        student.train()
        now = Moment(done=done, selecting=False, coarse=done < self._coarse_until, elapsed=0.0, rate=rate)
        loss = learner.loss(self.labelled, now, detail_alone=alone)
        loss = loss + SELF_TRAINING.weight * self._unlabelled_loss(rng, alone, now.coarse)
        learner.apply(loss, now)
        self.teacher.follow(student, step)

    def _unlabelled_loss(self, rng: np.random.Generator, alone: bool, coarse: bool) -> Tensor:
        """The student sees perturbed slices, and is told what its teacher sees on them as they are."""
        numbers = rng.choice(len(self.unlabelled), min(SELF_TRAINING.batch, len(self.unlabelled)), replace=False)
        slices, hints = [self.unlabelled[n] for n in numbers], [self.hints[n] for n in numbers]
        known = embeddings(slices, self.episodes.embedder)
        detail = detail_tensor(np.stack([one.detail for one in slices])).to(known.device)
        labels = self.teacher.labels(known, detail, hints, [one.is_2d_image for one in slices])
        gain, shift = (_normal(rng, len(slices), SELF_TRAINING.tone).to(known.device) for _ in range(2))
        seen, detail = F.dropout2d(known, SELF_TRAINING.channel_dropout), detail * (1 + gain) + shift
        seen, detail, labels = self._pasted(seen, detail, labels)
        student, labels = self.learner.decoder, labels.halved() if coarse else labels
        if alone:
            ids = self.episodes.bank.class_ids
            return pseudo_label_loss(student.detail_alone(detail, seen, ids, coarse=coarse), labels)
        prompts = stack_prompts([one.prompts for one in hints])
        return pseudo_label_loss(student(seen, prompts, detail, coarse=coarse), labels)

    def _pasted(self, seen: Tensor, detail: Tensor, labels: PseudoLabels) -> tuple[Tensor, Tensor, PseudoLabels]:
        """The same with a box of a labelled slice's view in each slice, and what is drawn there.

        Copy-paste between labelled and unlabelled images (BCP: Bai et al. 2023), here of image and embedding alike.
        """
        episodes, rng = self.episodes, self.learner.rng
        queries = [(int(i), episodes.draw_view(int(i), rng, False)) for i in rng.choice(self.labelled, len(seen))]
        its_detail, its_mask, annotated = episodes.views(queries, rng)
        cells = torch.stack([_box(rng) for _ in queries])[:, None].to(seen.device)
        pixels = F.interpolate(cells, size=detail.shape[-2:], mode="nearest")
        # Where a structure was not looked for, an undrawn pixel may be of it, and teaches nothing.
        sure = annotated.all(1).float()[:, None, None].expand(-1, *detail.shape[-2:])
        inside = pixels[:, 0] > 0
        return (
            seen * (1 - cells) + episodes.embeddings(queries) * cells,
            detail * (1 - pixels) + its_detail * pixels,
            PseudoLabels(
                torch.where(inside, its_mask.argmax(1), labels.classes), torch.where(inside, sure, labels.weight)
            ),
        )


def _box(rng: np.random.Generator) -> Tensor:
    """A random box as 1 on the embedding's grid, 0 elsewhere: (64, 64) float."""
    height, width = rng.integers(*SELF_TRAINING.box, 2)
    top, left = rng.integers(0, GRID - height), rng.integers(0, GRID - width)
    cells = torch.zeros(GRID, GRID, device="cpu")
    cells[top : top + height, left : left + width] = 1
    return cells


def _normal(rng: np.random.Generator, count: int, deviation: float) -> Tensor:
    return torch.from_numpy(rng.normal(0, deviation, (count, 1, 1, 1))).float()
