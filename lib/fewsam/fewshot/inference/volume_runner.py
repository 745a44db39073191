"""Chunks of one volume through preprocessing, encoder, prompts and decoder."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from fewsam.collection import Shot
from fewsam.core.config import Settings
from fewsam.encoders.embedder import Embedder
from fewsam.encoders.slices import EncoderSlices
from fewsam.fewshot.inference.fusion import fused, vote_weight
from fewsam.fewshot.inference.task import FewShotTask
from fewsam.fewshot.inference.uncertainty import expected_error
from fewsam.fewshot.model.decoder import Prompts
from fewsam.fewshot.registration.propagation import Propagation
from fewsam.fewshot.registration.registration import Fields
from fewsam.images.preprocess import detail_bytes, detail_tensor, make_frame
from fewsam.images.resize import resize
from fewsam.images.volume import Volume

MIN_SHOTS_FOR_SUBSETS = 3


class VolumeRunner:
    """Keeps what the chunks gave.

    Args:
        fields: Kept by the caller from request to request.

    Attributes:
        uncertainty: (Z, C) float32, classes in the order of ``task.classes``; 0 where not run.
        latencies: Seconds by stage, so far.
        frame: Where the slice lies in the square of ``probabilities``.
    """

    def __init__(
        self,
        settings: Settings,
        embedder: Embedder,
        task: FewShotTask,
        volume: Volume,
        drawn: Mapping[int, Shot],
        fields: Fields,
    ) -> None:
        self.settings, self.embedder, self.task, self.volume = settings, embedder, task, volume
        self.latencies: dict[str, float] = {}
        geometry = volume.geometry
        shape, spacing = geometry.slices_shape, geometry.spacing
        self.slices = EncoderSlices(volume, settings, embedder)
        self.intensity, self.frame = self.slices.intensity, self.slices.frame
        self.detail_frame = make_frame(shape, spacing, task.detail_size)
        self.uncertainty = np.zeros((volume.depth, len(task.classes)), np.float32)
        self._kept: list[np.ndarray] = []
        drawn = drawn if settings.propagate else {}
        self.propagation = Propagation(volume, drawn, task.classes, self.intensity, fields)

    def probabilities(self) -> np.ndarray:
        """(slices run, C, D, D) float16."""
        return np.concatenate(self._kept)

    @torch.inference_mode()
    def run(self, chunk: Sequence[int]) -> None:
        """Segment the slices of ``chunk``."""
        tick = time.monotonic()
        raw = self.slices.raw(chunk)
        images = self.slices.inputs(raw)
        details = detail_bytes(raw, self.intensity, self.detail_frame)
        tick = self._spent("preprocess", tick)
        embeddings = torch.from_numpy(self.embedder.embed(images)).float()
        tick = self._spent("encode", tick)
        place = torch.tensor([z / max(1, self.volume.depth - 1) for z in chunk])
        detail = detail_tensor(details)
        carried = self.propagation(chunk)
        tick = self._spent("propagate", tick)
        vote = None
        if self.settings.atlas:
            vote = self.task.atlases.vote(self.volume, chunk, self.intensity, self.propagation.fields)
        weight = vote_weight(self.task.newness, self.volume.depth, self.task.atlases.voters(self.volume))
        tick = self._spent("atlas", tick)
        subsets = self._subsets()
        model = self.task.model
        seen = None if model is None else model.decoder.detail_features(detail)
        answers = torch.stack([self._decode(embeddings, place, detail, seen, subset) for subset in subsets])
        members = fused(answers, carried, vote, weight).softmax(dim=2)
        shown = torch.stack([self.task.supports.bank.shown(subset) > 0 for subset in subsets])
        self.uncertainty[list(chunk)] = expected_error(members, shown).numpy()
        # The answer is that of all supports. Averaged with answers of some of them it was worse by 0.01 to 0.09 mean
        # IoU at three and five slices: a subset may lack the one slice that shows a class.
        self._kept.append(members[0].half().numpy())
        self._spent("decode", tick)

    def _decode(self, embeddings: Tensor, place: Tensor, detail: Tensor, seen: Tensor | None, subset: Tensor) -> Tensor:
        bank, model, side = self.task.supports.bank, self.task.model, detail.shape[-1]
        if model is None:
            prior = bank.prior(embeddings, place, subset)
            logits = resize(prior, side)
        else:
            prompts: Prompts = bank.prompts(embeddings, place, subset=subset, retrieve=self.settings.retrieve)
            logits = model.decoder.answer(embeddings, prompts, detail, seen, picture=self.volume.depth == 1)
        return logits.log_softmax(dim=1)

    def _subsets(self) -> list[Tensor]:
        """All supports, and a part of them (each leaving another share out) for each further member of the ensemble."""
        everything = self.task.supports.primary
        shots = self.task.supports.bank.shots[everything]
        parts = self.settings.ensemble - 1
        if parts < 1 or len(shots.unique()) < MIN_SHOTS_FOR_SUBSETS:
            return [everything]
        if parts == 1:
            return [everything, everything[::2]]
        return [everything] + [everything[shots % parts != part] for part in range(parts)]

    def _spent(self, stage: str, since: float) -> float:
        now = time.monotonic()
        self.latencies[stage] = self.latencies.get(stage, 0.0) + now - since
        return now
