"""The loop of one training run: steps, evaluations, checkpoints to go on from."""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import load_file, save
from torch import Tensor

from fewsam.core.atomic import write_atomically
from fewsam.core.config import Settings
from fewsam.core.errors import StorageError
from fewsam.fewshot.model.decoder import FewShotMaskDecoder
from fewsam.fewshot.model.losses import segmentation_loss
from fewsam.fewshot.model.store import ModelCard, checksum
from fewsam.fewshot.model.views import DetailSlice
from fewsam.fewshot.training.episodes import Episodes
from fewsam.fewshot.training.tensorboard import Curves
from fewsam.fewshot.training.validation import Split, measure, measure_undertrained
from fewsam.images.preprocess import detail_tensor

logger = logging.getLogger(__name__)

SELECT_SHARE = 0.7  # of the steps, with slices held back; the rest learns from all
EVALUATIONS = 6  # on the slices held back
CHECKPOINT_SECONDS = 10.0
LOG_STEPS = 10  # between two points of the loss curve
CAREFUL = 0.5  # of the learning rate
# Share of the steps that train the detail branch alone. With all of them on whole episodes (0) the decoder without the
# prior reached 0.65 mean IoU on three slices of a CT, with 0.67 and 0.9 of them 0.74; a U-Net in as many steps 0.76.
DETAIL_STEPS = 0.8
# A first training sees slices of more than COARSE_ABOVE pixels a side at half their size for this share of its steps,
# where one takes a quarter of the time: docs/decoder.md.
COARSE, COARSE_ABOVE = 0.5, 192
# Of those steps' slices, the share that is a drawn slice's neighbour instead, while few are drawn: docs/neighbours.md.
NEIGHBOURS = 0.25


@dataclass(frozen=True)
class TrainProgress:
    """Where a run is: ``epoch`` of ``total_epochs`` evaluations' worth of steps, loss and metric so far."""

    epoch: int
    total_epochs: int
    step: int
    loss: float
    metric: float | None


class TrainingRun:
    """One training run's state: decoder, optimiser, step, and what must survive a kill."""

    def __init__(
        self,
        settings: Settings,
        episodes: Episodes,
        decoder: FewShotMaskDecoder,
        folder: Path,
        card: ModelCard,
        served: ModelCard | None,
        events: Path,
    ) -> None:
        """``served`` is what ``decoder`` goes on from, None for a first training.

        ``folder`` keeps what a killed run goes on from, ``events`` the curves for TensorBoard.
        """
        self.settings, self.episodes, self.decoder = settings, episodes, decoder
        self.file = folder / "run.safetensors"  # weights and place in one file, which a kill cannot part
        self.events = events
        self.signature = {"shots": list(card.shots), "encoder": card.encoder, "switches": card.switches}
        self.rng = np.random.default_rng(settings.seed)
        self.optimiser = torch.optim.AdamW(parameter_groups(decoder, settings.learning_rate), weight_decay=1e-2)
        self.rates = [group["lr"] for group in self.optimiser.param_groups]
        self.step, self.spent, self.prepared = 0, 0.0, 0.0
        self.warm, self.coarse = served is not None, False
        self.behind = 0 if served is None else served.steps
        self.start_metric: float | None = None
        self.largest_component: tuple[str, ...] = ()
        self.steps_behind = 0  # the weights that are returned
        self.undertrained = 0.0  # of the weights that are returned
        self.served_undertrained = 0.0 if served is None else served.undertrained
        self._resume()

    def fit(
        self,
        split: Split,
        progress: Callable[[TrainProgress], None] | None,
        should_stop: Callable[[], bool] | None,
        started: float,
    ) -> tuple[dict[str, Tensor] | None, float | None]:
        """The best weights and their metric on ``split.measure``; (None, None) when told to stop."""
        board = Curves(self.events, self.step)
        try:
            return self._fit(split, progress, should_stop, started, board)
        finally:
            board.close()

    def _fit(
        self,
        split: Split,
        progress: Callable[[TrainProgress], None] | None,
        should_stop: Callable[[], bool] | None,
        started: float,
        board: Curves,
    ) -> tuple[dict[str, Tensor] | None, float | None]:
        settings, total = self.settings, self.settings.steps
        select_until = SELECT_SHARE if split.finish else 1.0
        best: dict[str, Tensor] | None = None
        best_metric: float | None = None
        loss, saved, evaluations = math.nan, time.monotonic(), 0
        if split.measure and self.step == 0:  # the served decoder's, or the prior's where none is served
            served = self.decoder if self.warm else None
            self.start_metric = measure(
                served, self.episodes, split.measure, split.learn, self.served_undertrained
            ).metric
        fresh = settings.fresh_views and not self.episodes.embedder.cached_only
        # What comes before the first step takes of the time and has no part in the schedule: a run that its steps end
        # is then the same again, however long that took.
        self.prepared += time.monotonic() - started
        while True:
            elapsed = time.monotonic() - started + self.spent
            done = min(1.0, max(self.step / total, self._time_share(elapsed)))
            selecting = done < select_until
            self.coarse = done < COARSE and not self.warm and self.episodes.detail_size > COARSE_ABOVE
            evaluate_at = (evaluations + 1) / EVALUATIONS * select_until
            due = evaluations < EVALUATIONS and (done >= evaluate_at or not selecting)
            if split.measure and due and not self.coarse:
                evaluations = max(evaluations + 1, int(done / select_until * EVALUATIONS))
                undertrained = 0.0
                if split.finish and not selecting:  # what is measured last is what the person is told
                    undertrained = measure_undertrained(self.decoder, self.episodes, split.learn)
                measured = measure(self.decoder, self.episodes, split.measure, split.learn, undertrained)
                board.add("dice/held_back", measured.metric, self.step)
                # Few slices held back are too noisy to choose a step by: there the latest weights go on.
                if best_metric is None or measured.metric >= best_metric or split.finish:
                    best, best_metric = _copy(self.decoder), measured.metric
                    self.steps_behind = self.behind + self.step
                    self.largest_component = measured.largest_component
            if progress:
                epoch = min(EVALUATIONS, int(done * EVALUATIONS))
                progress(TrainProgress(epoch, EVALUATIONS, self.step, loss, best_metric))
            if done >= 1.0:
                break
            if should_stop and should_stop():
                self._save(elapsed)
                return None, None
            if time.monotonic() - saved > CHECKPOINT_SECONDS:
                self._save(elapsed)
                saved = time.monotonic()
            loss = self._step(split.learn if selecting else split.finish, done, fresh)
            if self.step % LOG_STEPS == 0:
                board.add("loss", loss, self.step)
        if split.finish or best is None:
            best, self.steps_behind = _copy(self.decoder), self.behind + self.step
        self.decoder.load_state_dict(best)
        self.undertrained = measure_undertrained(self.decoder, self.episodes, split.finish or split.learn)
        if self.undertrained and split.measure and not split.finish:
            best_metric = measure(self.decoder, self.episodes, split.measure, split.learn, self.undertrained).metric
        return best, best_metric

    def _time_share(self, elapsed: float) -> float:
        """How much of the time for steps is over."""
        left = self.settings.train_seconds - self.prepared
        return (elapsed - self.prepared) / left if left > 0 else 1.0

    def _step(self, slices: Sequence[int], done: float, fresh: bool) -> float:
        """One step of the whole decoder on an episode, or of its detail branch alone."""
        for group, rate in zip(self.optimiser.param_groups, self.rates, strict=True):
            group["lr"] = rate * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * done)))
        if self.settings.detail and self.rng.random() < DETAIL_STEPS:
            return self._detail_step(slices)
        chosen = self.rng.choice(slices, size=self.settings.batch, replace=len(slices) < self.settings.batch)
        queries = [(int(i), self.episodes.draw_view(int(i), self.rng, fresh)) for i in chosen]
        supports = [self.episodes.supports_for(i, slices) for i, _ in queries]
        batch = self.episodes.batch(queries, supports, self.rng)
        self.decoder.train()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=fast_bfloat16()):
            logits = self.decoder(batch.embeddings, batch.prompts, self._sized(batch.detail))
        loss = segmentation_loss(logits.float(), self._sized(batch.mask), batch.known)
        return self._descend(loss)

    def _detail_step(self, slices: Sequence[int]) -> float:
        """The detail branch alone, on views never seen: they cost no encoding."""
        chosen = self.rng.choice(slices, size=self.settings.batch, replace=len(slices) < self.settings.batch)
        drawn = [self._drawn_or_next(int(i)) for i in chosen]
        views = [one.detail_view(int(self.rng.integers(1_000, 2**31))) for one in drawn]
        detail = detail_tensor(np.stack([view[0] for view in views]))
        mask = torch.stack([view[1] for view in views])
        known = torch.stack([one.known for one in drawn])
        self.decoder.train()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=fast_bfloat16()):
            logits = self.decoder.detail_alone(self._sized(detail), self.episodes.bank.class_ids)
        return self._descend(segmentation_loss(logits.float(), self._sized(mask), known))

    def _sized(self, x: Tensor) -> Tensor:
        """Slices or masks (N, C, D, D) at the side that the decoder learns at now."""
        return F.avg_pool2d(x, 2) if self.coarse else x

    def _drawn_or_next(self, index: int) -> DetailSlice:
        """Slice ``index``, or one beside it."""
        beside = self.episodes.neighbours(index)
        if beside and self.rng.random() < NEIGHBOURS:
            return beside[int(self.rng.integers(len(beside)))]
        return self.episodes.slices[index]

    def _descend(self, loss: Tensor) -> float:
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.decoder.parameters(), 1.0)
        self.optimiser.step()
        self.step += 1
        return float(loss.detach())

    def forget(self) -> None:
        """The run ended well: nothing to go on from."""
        self.file.unlink(missing_ok=True)

    def _save(self, elapsed: float) -> None:
        state = {"signature": self.signature, "step": self.step, "elapsed": elapsed, "prepared": self.prepared}
        weights = _copy(self.decoder)
        metadata = {"run": json.dumps(state), "checksum": checksum(weights)}
        try:
            write_atomically(self.file, save(weights, metadata=metadata))
        except StorageError as error:  # it only saves time should the run be killed: the run itself goes on
            logger.warning("the run cannot be resumed if it is killed: %s", error)

    def _resume(self) -> None:
        try:
            with safe_open(self.file, framework="pt") as file:
                metadata = file.metadata()
            state, weights = json.loads(metadata["run"]), load_file(self.file)
            if state["signature"] != self.signature:
                return
            if metadata["checksum"] != checksum(weights):
                raise ValueError("its weights are not those that were written")
            self.decoder.load_state_dict(weights)
            self.step = int(state["step"])
            self.spent, self.prepared = float(state["elapsed"]), float(state.get("prepared", 0.0))
            logger.info("going on from step %d of a run that did not end", self.step)
        except FileNotFoundError:
            return
        except Exception as error:  # whatever a damaged file gives: start afresh
            logger.warning("the unfinished run %s cannot be read (%s); starting afresh", self.file, error)


def parameter_groups(decoder: FewShotMaskDecoder, rate: float) -> list[dict[str, Any]]:
    """Convolutions learn at ``rate``; attention and hypernetwork, which it would unsettle, more slowly."""
    careful = (
        "transformer.",
        "output_hypernetworks_mlp.",
        "token_",
        "dense_proj.",
        "mask_tokens.",
        "output_upscaling.",
    )
    named = list(decoder.named_parameters())
    return [
        {"params": [value for name, value in named if not name.startswith(careful)], "lr": rate},
        {"params": [value for name, value in named if name.startswith(careful)], "lr": CAREFUL * rate},
    ]


def fast_bfloat16() -> bool:
    """Whether this CPU multiplies bfloat16 in hardware (AVX512-BF16 or AMX), where it pays by a third and more."""
    return bool(torch.cpu._is_avx512_bf16_supported())


def _copy(decoder: FewShotMaskDecoder) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in decoder.state_dict().items()}
