"""Few-shot training of the decoder: one loop over episodes drawn from the cache.

Some labelled slices are held back: those of validation images where the collection has any, and then
the weights that do best on them are kept; else one labelled slice (the newest that the served decoder
has not seen), and then a shorter second part of the run learns from all slices. The served decoder
(before the first training: the prior) stays where it did clearly better on the slices held back.
"""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save
from torch import Tensor

from fewsam.collection import Collection, Shot
from fewsam.config import Settings
from fewsam.decoder import FewShotMaskDecoder, load_sam_weights
from fewsam.embedder import Embedder
from fewsam.encoders import sam_decoder_state
from fewsam.episodes import Episodes, drawn_classes
from fewsam.errors import FewSAMError, LabelError
from fewsam.losses import segmentation_loss
from fewsam.model import ModelCard, ModelStore, TaskModel, build_decoder, class_slots, write_atomically
from fewsam.validation import Split, measure, split_shots
from fewsam.views import detail_size_for

logger = logging.getLogger(__name__)

SELECT_SHARE = 0.7  # of the steps, with slices held back; the rest learns from all
EVALUATIONS = 6  # on the slices held back
CHECKPOINT_SECONDS = 10.0
CAREFUL = 0.5  # of the learning rate
TOLERANCE = 0.01  # Dice by which the served decoder must do better on validation images to stay
TOLERANCE_ONE_SLICE = 0.05  # the same where it is measured on one slice


@dataclass(frozen=True)
class TrainProgress:
    """Where a run is: ``epoch`` of ``total_epochs`` evaluations' worth of steps, loss and metric so far."""

    epoch: int
    total_epochs: int
    step: int
    loss: float
    metric: float | None


@dataclass(frozen=True)
class TrainResult:
    """How a run ended. ``version`` is the one served afterwards; ``metric`` is Dice on slices held back."""

    version: int
    published: bool
    metric: float | None
    previous_metric: float | None
    steps: int
    seconds: float
    notes: list[str] = field(default_factory=list)


def train(
    settings: Settings,
    collection: Collection,
    embedder: Embedder,
    store: ModelStore,
    *,
    folder: Path,
    progress: Callable[[TrainProgress], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> TrainResult:
    """Train on the collection as it is now and publish the result.

    Args:
        folder: For the run's own checkpoint and TensorBoard events; a run that was killed goes on from there.
        progress: Called about every second.
        should_stop: Polled every step; when true, the run ends without publishing and can be resumed.

    Raises:
        LabelError: there is no labelled slice yet.
        NotEncodedError: the cache lacks the labelled slices and the encoder may not be built here.
    """
    started = time.monotonic()
    torch.manual_seed(settings.seed)
    shots = collection.shots()
    classes = drawn_classes(shots, collection.classes)
    if not classes:
        raise LabelError("there is no labelled slice to learn from; submit a label for at least one slice, then train")
    served, notes = _served(store)
    detail_size = detail_size_for(shots, settings)
    switches = decoder_switches(settings, embedder)
    wanted = ModelCard(classes, (), embedder.info.fingerprint, detail_size, switches, tuple(s.shot_id for s in shots))
    warm = served is not None and _fits(served.card, wanted)
    slots = class_slots(served.card if warm and served else None, classes)
    card = replace(wanted, slots=slots)
    numbers = [slots.index(name) + 1 for name in classes]
    episodes = Episodes(settings, shots, classes, embedder, detail_size, numbers)
    split = split_shots(shots, served)
    decoder = build_decoder(switches)
    if warm and served is not None:
        decoder.load_state_dict(served.decoder.state_dict())
    else:
        initialise_from_sam(decoder, settings)

    run = _Run(settings, episodes, decoder, folder, card, warm)
    best, metric = run.fit(split, progress, should_stop, started)
    if best is None:
        return TrainResult(store.version(), False, None, None, run.step, time.monotonic() - started, ["stopped"])
    seen = set(served.card.shots) if warm and served else set()
    previous = None if set(_ids(shots, split.measure)) & seen else run.start_metric
    seconds = time.monotonic() - started
    tolerance = TOLERANCE_ONE_SLICE if split.finish else TOLERANCE
    if settings.keep_better and previous is not None and metric is not None and previous > metric + tolerance:
        what = "served decoder" if warm else "untrained answer"
        notes.append(f"the {what} did better on the slices held back (Dice {previous:.3f} > {metric:.3f}): kept")
        run.forget()
        return TrainResult(store.version(), False, metric, previous, run.step, seconds, notes)
    card = replace(
        card,
        metric=metric,
        measured_on=tuple(_ids(shots, split.measure)),
        largest_component=run.largest_component,
        steps=run.step + (served.card.steps if warm and served else 0),
        seconds=seconds,
        trained_at=datetime.now(timezone.utc).isoformat(timespec="seconds"),
    )
    version = store.publish(best, card)
    run.forget()
    return TrainResult(version, True, metric, previous, run.step, seconds, notes)


def decoder_switches(settings: Settings, embedder: Embedder) -> dict[str, Any]:
    """Constructor arguments of the decoder: SAM's own grid for SAM, a coarser one for the compact encoder."""
    small = embedder.info.name == "compact"
    return {
        "use_tokens": settings.prompt_tokens,
        "use_dense": settings.dense_prompt,
        "use_detail": settings.detail,
        "stride": 8 if small else 1,
        "mlp_dim": 256 if small else 2048,
    }


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


def initialise_from_sam(decoder: FewShotMaskDecoder, settings: Settings) -> None:
    """Start from the SAM checkpoint's decoder where there is one."""
    state = sam_decoder_state(settings)
    if state:
        logger.info("decoder starts from %d tensors of the SAM checkpoint", len(load_sam_weights(decoder, state)))


def fast_bfloat16() -> bool:
    """Whether this CPU multiplies bfloat16 in hardware (AVX512-BF16 or AMX), where it pays by a third and more."""
    return bool(torch.cpu._is_avx512_bf16_supported())


class _Run:
    """One training run's state: decoder, optimiser, step, and what must survive a kill."""

    def __init__(
        self,
        settings: Settings,
        episodes: Episodes,
        decoder: FewShotMaskDecoder,
        folder: Path,
        card: ModelCard,
        warm: bool,
    ) -> None:
        self.settings, self.episodes, self.decoder = settings, episodes, decoder
        self.weights_file, self.state_file = folder / "run.safetensors", folder / "run.json"
        self.signature = {"shots": list(card.shots), "encoder": card.encoder, "switches": card.switches}
        self.rng = np.random.default_rng(settings.seed)
        self.optimiser = torch.optim.AdamW(parameter_groups(decoder, settings.learning_rate), weight_decay=1e-2)
        self.rates = [group["lr"] for group in self.optimiser.param_groups]
        self.step, self.spent = 0, 0.0
        self.warm = warm
        self.start_metric: float | None = None
        self.largest_component: tuple[str, ...] = ()
        self._resume()

    def fit(
        self,
        split: Split,
        progress: Callable[[TrainProgress], None] | None,
        should_stop: Callable[[], bool] | None,
        started: float,
    ) -> tuple[dict[str, Tensor] | None, float | None]:
        """The best weights and their metric on ``split.measure``; (None, None) when told to stop."""
        settings, total = self.settings, self.settings.steps
        select_until = SELECT_SHARE if split.finish else 1.0
        best: dict[str, Tensor] | None = None
        best_metric: float | None = None
        loss, saved, evaluations = math.nan, time.monotonic(), 0
        if split.measure and self.step == 0:  # the served decoder's, or the prior's where none is served
            served = self.decoder if self.warm else None
            self.start_metric = measure(served, self.episodes, split.measure, split.learn).metric
        fresh = settings.fresh_views and not self.episodes.embedder.cached_only
        while True:
            elapsed = time.monotonic() - started + self.spent
            done = min(1.0, max(self.step / total, elapsed / settings.train_seconds))
            selecting = done < select_until
            evaluate_at = (evaluations + 1) / EVALUATIONS * select_until
            if split.measure and evaluations < EVALUATIONS and (done >= evaluate_at or not selecting):
                evaluations = max(evaluations + 1, int(done / select_until * EVALUATIONS))
                measured = measure(self.decoder, self.episodes, split.measure, split.learn)
                # One slice held back is too noisy to choose a step by: there the latest weights go on.
                if best_metric is None or measured.metric >= best_metric or split.finish:
                    best, best_metric = _copy(self.decoder), measured.metric
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
        return (_copy(self.decoder) if split.finish or best is None else best), best_metric

    def _step(self, slices: Sequence[int], done: float, fresh: bool) -> float:
        for group, rate in zip(self.optimiser.param_groups, self.rates, strict=True):
            group["lr"] = rate * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * done)))
        chosen = self.rng.choice(slices, size=self.settings.batch, replace=len(slices) < self.settings.batch)
        queries = [(int(i), self.episodes.draw_view(int(i), self.rng, fresh)) for i in chosen]
        supports = [self.episodes.supports_for(i, slices) for i, _ in queries]
        batch = self.episodes.batch(queries, supports, self.rng)
        self.decoder.train()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=fast_bfloat16()):
            logits = self.decoder(batch.embeddings, batch.prompts, batch.detail)
        loss = segmentation_loss(logits.float(), batch.mask, batch.known)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.decoder.parameters(), 1.0)
        self.optimiser.step()
        self.step += 1
        return float(loss.detach())

    def forget(self) -> None:
        """The run ended well: nothing to go on from."""
        self.state_file.unlink(missing_ok=True)
        self.weights_file.unlink(missing_ok=True)

    def _save(self, elapsed: float) -> None:
        write_atomically(self.weights_file, save(_copy(self.decoder)))
        state = {"signature": self.signature, "step": self.step, "elapsed": elapsed}
        write_atomically(self.state_file, json.dumps(state).encode())

    def _resume(self) -> None:
        try:
            state = json.loads(self.state_file.read_text(encoding="utf-8"))
            if state["signature"] != self.signature:
                return
            self.decoder.load_state_dict(load_file(self.weights_file))
            self.step, self.spent = int(state["step"]), float(state["elapsed"])
            logger.info("going on from step %d of a run that did not end", self.step)
        except FileNotFoundError:
            return
        except Exception as error:  # whatever a half-written file gives: start afresh
            logger.warning(
                "the unfinished run in %s cannot be read (%s); starting afresh", self.state_file.parent, error
            )


def _served(store: ModelStore) -> tuple[TaskModel | None, list[str]]:
    try:
        return store.load(), []
    except FewSAMError as error:
        return None, [f"training from scratch: {error}"]


def _fits(served: ModelCard, wanted: ModelCard) -> bool:
    same = ("encoder", "detail_size", "switches")
    return all(getattr(served, name) == getattr(wanted, name) for name in same)


def _ids(shots: Sequence[Shot], indices: Sequence[int]) -> list[int]:
    return [shots[i].shot_id for i in indices]


def _copy(decoder: FewShotMaskDecoder) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in decoder.state_dict().items()}
