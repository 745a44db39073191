"""Learn from images that nobody labelled, and publish the result where it is better on labelled slices held back."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import torch

from fewsam.collection import Collection
from fewsam.core.config import Settings
from fewsam.core.errors import LabelError
from fewsam.encoders.embedder import Embedder
from fewsam.fewshot.model.store import ModelStore
from fewsam.fewshot.registration.registration import Fields
from fewsam.fewshot.selftraining.folds import folds_of
from fewsam.fewshot.selftraining.pool import Hints, OpenVolume, UnlabelledSlice, find_slices, hints_for
from fewsam.fewshot.selftraining.run import Outcome, SelfTraining
from fewsam.fewshot.training.checkpoint import RunCheckpoint
from fewsam.fewshot.training.plan import Plan, plan_run
from fewsam.fewshot.training.run import TrainProgress
from fewsam.fewshot.training.train import TrainResult, TrainStatus, alone

CHECKPOINT_FILE = "unlabelled.safetensors"
NOT_TRAINED = (
    "there is no trained decoder to improve; train once, then learn from unlabelled images. If a training ended "
    "with the untrained answer kept, label more slices and train again"
)
UNKNOWN_LABELS = (
    "the served decoder has learnt from none of the labelled slices, so that they do not tell whether unlabelled "
    "images help it: train first"
)
IMAGE_ALONE = (
    "learning from unlabelled images is for decoders that read the encoder's embeddings. This one reads the images "
    "alone (slices of at most 64 pixels a side, or an encoder with random weights), and such decoders got no better by "
    "it: label more slices instead"
)


def improve(
    settings: Settings,
    collection: Collection,
    embedder: Embedder,
    store: ModelStore,
    images: Sequence[str],
    open_volume: OpenVolume,
    *,
    folder: Path,
    progress: Callable[[TrainProgress], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
    hold_back: bool = True,
) -> TrainResult:
    """Have the served decoder learn from unlabelled slices too, for when nobody waits: it takes minutes.

    Args:
        images: Ids of the images of the studies, labelled or not. Only slices whose embeddings are in the cache are
            learnt from, where the encoder may not be built here.
        open_volume: Opens one of them.
        folder: For the unfinished run, which a stopped or killed one goes on from.
        progress: Called at every step.
        should_stop: Polled at every step; when true, the run ends without publishing and can be resumed.
        hold_back: False publishes the result unmeasured: for evaluations, which have a truth of their own.

    Raises:
        LabelError: no decoder is served that fits, it reads the images alone or knows none of the labelled slices, too
            few slices are labelled, or no image is of use.
        NotEncodedError: the cache lacks the labelled slices and the encoder may not be built here.
        StorageError: the disk is full, or another run on this folder does not end.
    """
    with alone(folder):
        started = time.monotonic()
        plan, folds = _planned(settings, collection, embedder, store, hold_back)
        stop = should_stop or (lambda: False)
        unlabelled = find_slices(
            images, open_volume, plan.shots, plan.episodes.bank, settings, embedder, plan.episodes.detail_size, stop
        )
        if not unlabelled and not stop():
            raise LabelError(
                "no unlabelled image is of use: none of them is encoded and shows what the labelled slices show; "
                "wait until the images are encoded, add images of the same kind, or raise cache_gb where the cache "
                "cannot hold them all"
            )
        hints = _Hints(settings, plan, embedder, unlabelled, open_volume, stop)
        checkpoint = RunCheckpoint(folder / CHECKPOINT_FILE, {**plan.signature(), "unlabelled": _names(unlabelled)})
        run = SelfTraining(settings, plan, folds, unlabelled, hints, checkpoint)
        outcome = None if stop() else run.run(progress, stop)
        seconds, steps = time.monotonic() - started, run.total_steps
        if outcome is None:
            return TrainResult(TrainStatus.STOPPED, store.version(), None, None, steps, seconds, plan.notes)
        result = _published(plan, store, outcome, len(unlabelled), steps, seconds)
        checkpoint.forget()
        return result


def check_improvable(store: ModelStore) -> None:
    """Refuse what `improve` would refuse of the served decoder, without loading its weights.

    Raises:
        LabelError: there is none, or it reads the images alone.
        CheckpointError: it cannot be read.
    """
    info = store.info()
    if not info["trained"]:
        raise LabelError(NOT_TRAINED)
    _check_reads_embedding(info["switches"])


def _check_reads_embedding(switches: Mapping[str, Any]) -> None:
    """Without an embedding nothing can be hidden from the student, and it learns its own mistakes."""
    if switches.get("use_detail") and not switches.get("use_embedding"):
        raise LabelError(IMAGE_ALONE)


def _planned(
    settings: Settings, collection: Collection, embedder: Embedder, store: ModelStore, hold_back: bool
) -> tuple[Plan, list[list[int]]]:
    torch.manual_seed(settings.seed)
    plan = plan_run(settings, collection, embedder, store)
    if plan.served is None:
        raise LabelError(NOT_TRAINED)
    _check_reads_embedding(plan.served.card.switches)
    if not any(shot.place in (plan.learnt or ()) for shot in plan.shots):
        raise LabelError(UNKNOWN_LABELS)
    folds = folds_of(plan.shots) if hold_back else []
    if hold_back and not folds:
        raise LabelError(
            "too few slices are labelled to see whether unlabelled images help: it takes three, and each structure on "
            "two of them"
        )
    return plan, folds


class _Hints:
    """What given labelled slices say of the unlabelled ones. Registrations are kept from fold to fold."""

    def __init__(
        self,
        settings: Settings,
        plan: Plan,
        embedder: Embedder,
        unlabelled: Sequence[UnlabelledSlice],
        open_volume: OpenVolume,
        should_stop: Callable[[], bool],
    ) -> None:
        self.settings, self.plan, self.embedder, self.unlabelled = settings, plan, embedder, unlabelled
        self.open_volume, self.should_stop, self.fields = open_volume, should_stop, Fields()

    def __call__(self, labelled: Sequence[int]) -> list[Hints]:
        episodes, allowed = self.plan.episodes, set(labelled)
        entries = [e for e, (index, view) in enumerate(episodes.supports.entries) if index in allowed and view == 0]
        shots = [self.plan.shots[index] for index in labelled]
        subset = torch.tensor(entries, device=episodes.bank.device)
        return hints_for(
            self.unlabelled, self.open_volume, shots, episodes.classes, episodes.bank, subset,
            self.settings, self.embedder, self.fields, self.should_stop,
        )  # fmt: skip


def _published(plan: Plan, store: ModelStore, outcome: Outcome, slices: int, steps: int, seconds: float) -> TrainResult:
    """Publish what is better; what was served meanwhile by another training stays."""
    before, after = outcome.before, outcome.after
    measured = "" if before is None else f"; on labelled slices held back: Dice {before:.3f} before, {after:.3f} after"
    notes = list(plan.notes)
    served = plan.served
    status, version = TrainStatus.SERVED_KEPT, store.version()
    if outcome.weights is None and outcome.served is not None:
        before, after = outcome.served.before, outcome.served.after
        notes.append(
            f"with unlabelled images the decoder did worse on slices that it knows (Dice {before:.3f} before, "
            f"{after:.3f} after): nothing is changed"
        )
    elif outcome.weights is None:
        notes.append(f"unlabelled images did not help: nothing is changed{measured}")
    elif served is None or version != served.version:
        notes.append("another training ended meanwhile: its decoder stays")
    else:
        card = replace(
            served.card,
            classes=plan.card.classes,
            class_ids=plan.card.class_ids,
            keys=plan.card.keys,
            shots=plan.card.shots,  # labels that came after the last training were learnt from here
            steps=served.card.steps + steps,
            seconds=seconds,
            unlabelled_slices=slices,
            trained_at=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        )
        status, version = TrainStatus.PUBLISHED, store.publish(outcome.weights, card)
        notes.append(f"learnt from {slices} unlabelled slices{measured}")
    return TrainResult(status, version, after, before, steps, seconds, notes)


def _names(unlabelled: Sequence[UnlabelledSlice]) -> str:
    """Tells one choice of slices from another."""
    digest = hashlib.sha256()
    for one in unlabelled:
        digest.update(f"{one.image_id}\0{one.slice}\0".encode())
        digest.update(one.image.tobytes())
    return digest.hexdigest()[:32]
