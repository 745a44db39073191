"""Chunks of one volume through preprocessing, encoder, prompts and decoder."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from fewsam.collection import Shot
from fewsam.core.config import Settings
from fewsam.core.device import in_smaller_steps
from fewsam.encoders.embedder import Embedder
from fewsam.encoders.slices import EncoderSlices
from fewsam.fewshot.inference.fusion import SliceEvidence, fused_answer, log_opinion_pool
from fewsam.fewshot.inference.task import FewShotTask
from fewsam.fewshot.inference.uncertainty import expected_error
from fewsam.fewshot.registration.propagation import Propagation
from fewsam.fewshot.registration.registration import Fields
from fewsam.images.frame import make_frame
from fewsam.images.preprocess import detail_bytes, detail_tensor
from fewsam.images.resize import resize
from fewsam.images.volume import Volume

MIN_SHOTS_FOR_SUBSETS = 3  # labelled slices from which on parts of them answer too, for the uncertainty


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
        self.intensity = self.slices.intensity
        self.frame = make_frame(shape, spacing, task.detail_size)  # on which masks were made, and answers are given
        self.uncertainty = np.zeros((volume.depth, len(task.classes)), np.float32)
        self._kept: list[np.ndarray] = []
        drawn = drawn if settings.propagate else {}
        self.propagation = Propagation(volume, drawn, task.classes, self.intensity, fields)

    def probabilities(self) -> np.ndarray:
        """(slices run, C, D, D) float16."""
        self._kept = [np.concatenate(self._kept)]  # not held twice: of a long series they are gigabytes
        return self._kept[0]

    def run(self, chunk: Sequence[int]) -> None:
        """Segment the slices of ``chunk``, fewer at a time where the device's memory does not suffice.

        Raises:
            ConfigError: it does not suffice for one slice.
        """
        what = "segmenting one slice; set device to cpu, or detail_size or ensemble to a smaller number"
        in_smaller_steps(self._run, list(chunk), self.embedder.device, what)

    @property
    def can_register(self) -> bool:
        """Whether there is a labelled slice that could be registered to others."""
        atlases = self.task.atlases.num_atlases(self.volume) if self.settings.atlas else 0
        return bool(self.propagation.drawn or atlases)

    @torch.inference_mode()
    def run_without_embeddings(self, chunk: Sequence[int]) -> None:
        """Segment slices that are not encoded yet, from labelled slices by registration alone.

        A slice that nothing is registered to is background.
        """
        tick = time.monotonic()
        propagated, atlas_log_probs = self._registered(chunk, tick)
        tick, classes = time.monotonic(), 1 + len(self.task.classes)
        nothing = torch.zeros(len(chunk), classes, self.task.detail_size, self.task.detail_size, device="cpu")
        # Other images' slices stand where the decoder's answer would.
        other = nothing if atlas_log_probs is None else resize(atlas_log_probs, self.task.detail_size)
        answer = log_opinion_pool(other, propagated, None, 0.0).softmax(dim=1)
        self.uncertainty[list(chunk)] = expected_error(answer[None], torch.ones(1, classes, device="cpu")).numpy()
        self._kept.append(answer.half().numpy())
        self._spent("decode", tick)

    @torch.inference_mode()
    def _run(self, chunk: Sequence[int]) -> None:
        tick = time.monotonic()
        raw = self.slices.raw(chunk)
        images = self.slices.inputs(raw)
        details = detail_bytes(raw, self.intensity, self.frame)
        tick = self._spent("preprocess", tick)
        embeddings = self.embedder.tensor(images)
        tick = self._spent("encode", tick)
        propagated, atlas_log_probs = self._registered(chunk, tick)
        tick = time.monotonic()
        detail = detail_tensor(details).to(self.embedder.device)
        evidence = self.task.evidence(self.volume, embeddings, detail, propagated, atlas_log_probs)
        self._answer(chunk, evidence)
        self._spent("decode", tick)

    def _registered(self, chunk: Sequence[int], tick: float) -> tuple[Tensor | None, Tensor | None]:
        """What labelled slices of this volume, and those of other images, say of the slices by registration."""
        propagated = self.propagation(chunk, self.frame)
        tick = self._spent("propagate", tick)
        atlas_log_probs = None
        if self.settings.atlas:
            fields = self.propagation.fields
            atlas_log_probs = self.task.atlases.log_probs(self.volume, chunk, self.intensity, fields, self.frame)
        self._spent("atlas", tick)
        return propagated, atlas_log_probs

    def _answer(self, chunk: Sequence[int], evidence: SliceEvidence) -> None:
        """Keep the answer on the slices of ``chunk``, and how wrong it may be."""
        bank, subsets, side = self.task.supports.bank, self._subsets(), evidence.detail.shape[-1]
        relative_z = torch.tensor([z / max(1, self.volume.depth - 1) for z in chunk], device=bank.device)
        members = []
        for subset in subsets:
            prompts = bank.prompts(evidence.embeddings, relative_z, subset=subset, retrieve=self.settings.retrieve)
            members.append(fused_answer(self.task.model, evidence, prompts, side=side).softmax(dim=1))
        supported = torch.stack([bank.num_supports(subset) > 0 for subset in subsets])
        self.uncertainty[list(chunk)] = expected_error(torch.stack(members), supported).cpu().numpy()
        # The answer is that of all supports. Averaged with answers of some of them it was worse by 0.01 to 0.09 mean
        # IoU at three and five slices: a subset may lack the one slice that shows a class.
        self._kept.append(members[0].half().cpu().numpy())

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
