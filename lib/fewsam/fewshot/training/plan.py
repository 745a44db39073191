"""What a training run learns from, what it goes on from, and what is told of its decoder."""

from __future__ import annotations

import logging
from collections.abc import Sequence, Set
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from typing import Any

from fewsam.collection import Collection, Place, Shot, one_of_each_place
from fewsam.collection.store import unread_notes
from fewsam.collection.structures import Names, steadily
from fewsam.core.config import Settings
from fewsam.core.errors import FewSAMError, LabelError
from fewsam.encoders import sam_decoder_state
from fewsam.encoders.embedder import Embedder
from fewsam.fewshot.model.card import ModelCard, class_ids, id_order
from fewsam.fewshot.model.decoder import FewShotMaskDecoder, load_sam_weights
from fewsam.fewshot.model.pixel_features import embedding_tells
from fewsam.fewshot.model.store import ModelStore, TaskModel, build_decoder
from fewsam.fewshot.model.supports import drawn_classes
from fewsam.fewshot.model.views import detail_size_for
from fewsam.fewshot.training.constants import TRAINING
from fewsam.fewshot.training.episodes import Episodes
from fewsam.fewshot.training.selection import Trained
from fewsam.fewshot.training.split import Split, split_shots

logger = logging.getLogger(__name__)

# Settings that a run is made with from its first step to its last. Its length may change on the way.
_OF_A_RUN = (
    "intensity", "window", "percentiles", "channels", "prototypes", "retrieve", "batch", "learning_rate", "views",
    "fresh_views", "neighbours", "seed",
)  # fmt: skip


@dataclass(frozen=True)
class Plan:
    """What a run learns from and what it goes on from.

    Attributes:
        card: The card of the decoder to be, as far as it is known before the run.
        served: The served decoder that the run goes on from; None where there is none, or none that fits.
        learnt: Where ``served`` has learnt, slices corrected since included; None where there is none.
        decoder: Trained by the run: the weights of ``served``, or new ones.
        notes: What the person should be told.
    """

    shots: list[Shot]
    card: ModelCard
    served: TaskModel | None
    learnt: Set[Place] | None
    episodes: Episodes
    split: Split
    decoder: FewShotMaskDecoder
    notes: list[str]

    def signature(self) -> dict[str, Any]:
        """Tells runs apart: an unfinished run is gone on with where all of this is the same."""
        card = self.card
        return {
            "shots": [shot.shot_id for shot in self.shots],
            "classes": card.keys,
            "encoder": card.encoder,
            "detail_size": card.detail_size,
            "switches": card.switches,
            "served": self.served.version if self.served else 0,
            "val": self._ids(self.split.val),
            "settings": self.episodes.settings.model_dump(mode="json", include=set(_OF_A_RUN)),
        }

    def served_has_seen_val(self) -> bool:
        """Whether the served decoder learnt from a slice held out now, so that its metric says nothing."""
        return any(self.shots[i].place in (self.learnt or ()) for i in self.split.val)

    def tolerance(self) -> float:
        """Dice by which what is served must do better than the new decoder to stay."""
        if not self.split.final:
            return TRAINING.tolerance
        return TRAINING.tolerance_few if self.served else TRAINING.tolerance_untrained

    def card_of(self, trained: Trained, seconds: float) -> ModelCard:
        """The card that is published with the new decoder.

        Measured on slices from which the served decoder has learnt, it would say more than it knows of others.
        """
        known = self.served_has_seen_val()
        return replace(
            self.card,
            metric=None if known else trained.metric,
            measured_on=() if known else tuple(self._ids(self.split.val)),
            largest_component=trained.largest_component,
            steps=trained.step + (self.served.card.steps if self.served else 0),
            undertrained=trained.undertrained,
            seconds=seconds,
            trained_at=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        )

    def _ids(self, indices: Sequence[int]) -> list[int]:
        return [self.shots[i].shot_id for i in indices]


def plan_run(settings: Settings, collection: Collection, embedder: Embedder, store: ModelStore) -> Plan:
    """Labelled slices, their split, and the decoder to train.

    Raises:
        LabelError: there is no labelled slice yet.
        NotEncodedError: the cache lacks the labelled slices and the encoder may not be built here.
    """
    names, shots = steadily(lambda: collection.names, collection.shots)
    shots = one_of_each_place(shots)
    classes = drawn_classes(shots, tuple(names.present.values()))
    if not classes:
        raise LabelError("there is no labelled slice to learn from; submit a label for at least one slice, then train")
    latest, notes = _served(store, embedder, names)
    notes += unread_notes(collection, shots)
    detail_size = detail_size_for(shots, settings)
    switches = decoder_switches(settings, embedder, detail_size)
    card = ModelCard(classes, (), embedder.info.fingerprint, detail_size, switches)
    served = latest if latest is not None and _fits(latest.card, card) else None
    order = id_order(served.card if served else None, classes)
    episodes = Episodes(settings, shots, classes, embedder, detail_size, class_ids(order, classes))
    decoder = build_decoder(switches).to(embedder.device)
    if served is not None:
        decoder.load_state_dict(served.decoder.state_dict())
    else:
        initialise_from_sam(decoder, settings)
    known = collection.places(served.card.shots) if served else None
    split = split_shots(shots, known)
    # What it goes on from has learnt counts too: slices that it knows say nothing of how it does on others.
    learnt = {shots[i].shot_id for i in split.final or split.train} | set(served.card.shots if served else ())
    card = replace(card, class_ids=order, keys=_keys_of(order, served, names), shots=tuple(sorted(learnt)))
    return Plan(shots, card, served, known, episodes, split, decoder, notes)


def decoder_switches(settings: Settings, embedder: Embedder, detail_size: int) -> dict[str, Any]:
    """Constructor arguments of the decoder: SAM's own grid and width where its weights are the start, else less."""
    name = embedder.info.name
    small = name == "compact" or (name == "medsam_lite" and settings.whiten)
    switches: dict[str, Any] = {
        "use_tokens": settings.prompt_tokens,
        "use_dense": settings.dense_prompt,
        "use_detail": settings.detail,
        "stride": 8 if small else 1,
        "mlp_dim": 256 if small else 2048,
    }
    if reads_embedding(settings, embedder, detail_size):  # absent where not: decoders of earlier versions still fit
        switches["use_embedding"] = True
    return switches


def reads_embedding(settings: Settings, embedder: Embedder, detail_size: int) -> bool:
    """Whether the detail branch reads the embedding; by default where that tells more than the slice itself."""
    if settings.decoder_reads == "auto":
        return settings.detail and embedding_tells(embedder.info.name, detail_size)
    return settings.detail and settings.decoder_reads == "embedding"


def initialise_from_sam(decoder: FewShotMaskDecoder, settings: Settings) -> None:
    """Start from the SAM checkpoint's decoder where there is one."""
    state = sam_decoder_state(settings)
    if state:
        logger.info("decoder starts from %d tensors of the SAM checkpoint", len(load_sam_weights(decoder, state)))


def _served(store: ModelStore, embedder: Embedder, names: Names) -> tuple[TaskModel | None, list[str]]:
    """The served decoder, with its classes called as they are now."""
    try:
        model = store.load(embedder.device)
    except FewSAMError as error:
        return None, [f"training from scratch: {error}"]
    return None if model is None else replace(model, card=model.card.called_as(names)), []


def _keys_of(order: Sequence[str], served: TaskModel | None, names: Names) -> tuple[str, ...]:
    """The keys of classes in `id_order`'s order: those of the served decoder, and of classes that are new."""
    before = served.card.keys if served else ()
    return (*before, *(names.key_of(name) for name in order[len(before) :]))


def _fits(served: ModelCard, wanted: ModelCard) -> bool:
    same = ("encoder", "switches")  # slices of any size can be read by the same weights
    return all(getattr(served, name) == getattr(wanted, name) for name in same)
