"""One training step: an episode for the whole decoder, or labelled slices for its detail branch alone."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from fewsam.core.config import Settings
from fewsam.core.device import is_out_of_memory, release_memory
from fewsam.core.errors import ConfigError
from fewsam.fewshot.model.decoder import FewShotMaskDecoder
from fewsam.fewshot.model.losses import segmentation_loss
from fewsam.fewshot.model.views import FRESH_VIEWS, DetailSlice
from fewsam.fewshot.training.constants import TRAINING
from fewsam.fewshot.training.episodes import Episodes
from fewsam.fewshot.training.schedule import Moment
from fewsam.images.preprocess import detail_tensor

logger = logging.getLogger(__name__)

# Attention and hypernetwork, which the full learning rate would unsettle.
CAREFUL = ("transformer.", "output_hypernetworks_mlp.", "token_", "dense_proj.", "mask_tokens.", "output_upscaling.")


class Learner:
    """A decoder with its optimiser and the run's source of chance.

    Attributes:
        rng: The only source of chance in a step.
        optimiser: AdamW over the decoder's parameters.
    """

    def __init__(self, settings: Settings, episodes: Episodes, decoder: FewShotMaskDecoder) -> None:
        self.settings, self.episodes, self.decoder = settings, episodes, decoder
        self.device = episodes.embedder.device
        self.rng = np.random.default_rng(settings.seed)
        groups = parameter_groups(decoder, settings.learning_rate)
        self.optimiser = torch.optim.AdamW(groups, weight_decay=TRAINING.weight_decay)
        self._rates = [group["lr"] for group in self.optimiser.param_groups]
        self._fresh = settings.fresh_views and not episodes.embedder.cached_only
        self._batch = settings.batch or (TRAINING.batch_embedding if decoder.use_embedding else TRAINING.batch_image)

    def step(self, slices: Sequence[int], now: Moment) -> float:
        """Learn from some of ``slices``, from fewer where the device's memory does not suffice; the loss."""
        detail_alone = self.settings.detail and self.rng.random() < TRAINING.detail_steps
        self.decoder.train()
        while True:
            try:
                return self.apply(self.loss(slices, now, detail_alone=detail_alone), now)
            except RuntimeError as error:
                if not is_out_of_memory(error):
                    raise
            self._take_fewer()

    def loss(self, slices: Sequence[int], now: Moment, *, detail_alone: bool) -> Tensor:
        """The loss on some of ``slices``: of the whole decoder, or of its detail branch without any prompt."""
        size = self._batch
        chosen = [int(i) for i in self.rng.choice(slices, size=size, replace=len(slices) < size)]
        return self._detail_loss(chosen, now) if detail_alone else self._episode_loss(chosen, slices, now)

    def apply(self, loss: Tensor, now: Moment) -> float:
        """One step of the optimiser down this loss; the loss."""
        for group, rate in zip(self.optimiser.param_groups, self._rates, strict=True):
            group["lr"] = rate * now.rate
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.decoder.parameters(), TRAINING.gradient_norm)
        self.optimiser.step()
        return float(loss.detach())

    def _take_fewer(self) -> None:
        """Halve the slices of a step.

        Raises:
            ConfigError: it is one slice already.
        """
        self.optimiser.zero_grad(set_to_none=True)
        release_memory(self.device)
        if self._batch == 1:
            raise ConfigError(
                f"the memory of {self.device} does not suffice to learn from one slice at a time; set device to cpu"
            )
        self._batch //= 2
        logger.warning(
            "the memory of %s does not suffice for a training step; from here on a step has %d slices",
            self.device, self._batch,
        )  # fmt: skip

    def _episode_loss(self, chosen: Sequence[int], slices: Sequence[int], now: Moment) -> Tensor:
        """The loss of the whole decoder on views of the ``chosen`` slices, prompted by others of ``slices``."""
        queries = [(i, self.episodes.draw_view(i, self.rng, self._fresh)) for i in chosen]
        supports = [self.episodes.supports_for(i, slices) for i in chosen]
        batch = self.episodes.batch(queries, supports, self.rng)
        logits = self.decoder(batch.embeddings, batch.prompts, batch.detail, coarse=now.coarse)
        return segmentation_loss(logits, _sized(batch.mask, now), batch.annotated_classes)

    def _detail_loss(self, chosen: Sequence[int], now: Moment) -> Tensor:
        """The loss of the detail branch alone, without prompts."""
        if self.decoder.use_embedding:
            return self._features_loss(chosen, now)
        return self._image_loss(chosen, now)

    def _features_loss(self, chosen: Sequence[int], now: Moment) -> Tensor:
        """The loss of the detail branch that reads embeddings, on views that are encoded already."""
        queries = [(i, self.episodes.draw_view(i, self.rng, self._fresh)) for i in chosen]
        detail, mask, annotated = self.episodes.views(queries, self.rng)
        logits = self.decoder.detail_alone(
            detail, self.episodes.embeddings(queries), self.episodes.bank.class_ids, coarse=now.coarse
        )
        return segmentation_loss(logits, _sized(mask, now), annotated)

    def _image_loss(self, chosen: Sequence[int], now: Moment) -> Tensor:
        """The loss of the detail branch that reads the image alone, on views never seen: they cost no encoding."""
        drawn = [self._drawn_or_next(i) for i in chosen]
        views = [one.detail_view(int(self.rng.integers(*FRESH_VIEWS))) for one in drawn]
        detail = detail_tensor(np.stack([view[0] for view in views]))
        mask = torch.stack([view[1] for view in views])
        annotated = torch.stack([one.annotated_classes for one in drawn])
        detail, mask, annotated = self.episodes.on_device(detail, mask, annotated)
        no_embedding = detail.new_empty(0)
        logits = self.decoder.detail_alone(detail, no_embedding, self.episodes.bank.class_ids, coarse=now.coarse)
        return segmentation_loss(logits, _sized(mask, now), annotated)

    def _drawn_or_next(self, index: int) -> DetailSlice:
        """Slice ``index``, or one beside it."""
        beside = self.episodes.neighbours(index)
        if beside and self.rng.random() < TRAINING.neighbour_share:
            return beside[int(self.rng.integers(len(beside)))]
        return self.episodes.slices[index]


def parameter_groups(decoder: FewShotMaskDecoder, rate: float) -> list[dict[str, Any]]:
    """Convolutions learn at ``rate``; attention and hypernetwork more slowly."""
    named = list(decoder.named_parameters())
    return [
        {"params": [value for name, value in named if not name.startswith(CAREFUL)], "lr": rate},
        {"params": [value for name, value in named if name.startswith(CAREFUL)], "lr": TRAINING.careful_rate * rate},
    ]


def _sized(x: Tensor, now: Moment) -> Tensor:
    """Masks (N, C, D, D) at the side at which the decoder answers now."""
    return F.avg_pool2d(x, 2) if now.coarse else x
