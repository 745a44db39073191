"""A task made ready for prediction: its labelled slices as prompts, and the decoder trained on them, if any."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from fewsam.collection import Collection, one_of_each_place
from fewsam.collection.store import unread_notes
from fewsam.collection.structures import Names
from fewsam.core.config import Settings
from fewsam.core.errors import FewSAMError
from fewsam.encoders.embedder import Embedder
from fewsam.fewshot.inference.fusion import SliceEvidence, atlas_weight
from fewsam.fewshot.model.card import class_ids, id_order
from fewsam.fewshot.model.pixel_features import embedding_tells
from fewsam.fewshot.model.store import ModelStore, TaskModel
from fewsam.fewshot.model.supports import SupportSet, drawn_classes, labelled_views, support_classes, usable_imports
from fewsam.fewshot.model.views import detail_size_for
from fewsam.fewshot.registration.atlas import Atlases
from fewsam.images.volume import Volume


@dataclass(frozen=True)
class FewShotTask:
    """The collection and the served decoder, made ready.

    Attributes:
        supports: The labelled slices and imports as prompts.
        classes: Those drawn or imported, in the order of the logits, background left out.
        detail_size: Side D of the decoder's detail input and of its answer.
        model: None while no decoder is trained, or none that fits.
        atlases: The labelled slices, for other images.
        embedding_tells: The encoder knows more of a pixel than the slice itself shows (`embedding_tells`).
        notes: What the person who asks should be told.
    """

    supports: SupportSet
    classes: tuple[str, ...]
    detail_size: int
    model: TaskModel | None
    atlases: Atlases
    embedding_tells: bool
    notes: list[str]

    def to(self, device: torch.device) -> FewShotTask:
        """The task on ``device``, as another process segments with it: without its labelled slices' views."""
        model = None if self.model is None else self.model.to(device)
        return replace(self, supports=self.supports.to(device), model=model)

    @property
    def undertrained(self) -> float:
        """How much the decoder has still to learn, 0 to 1; 1 without a decoder."""
        return 1.0 if self.model is None else self.model.card.undertrained

    def evidence(
        self,
        volume: Volume,
        embeddings: Tensor,
        detail: Tensor,
        propagated: Tensor | None,
        atlas_log_probs: Tensor | None,
    ) -> SliceEvidence:
        """What is known of N slices of ``volume``, with what the decoder sees on them and what the atlases count.

        All of it is on the device of ``embeddings`` and ``detail``; registration answers on the CPU.
        """
        return SliceEvidence(
            embeddings=embeddings,
            detail=detail,
            detail_features=None if self.model is None else self.model.decoder.detail_features(detail, embeddings),
            propagated=None if propagated is None else propagated.to(embeddings.device),
            atlas_log_probs=None if atlas_log_probs is None else atlas_log_probs.to(embeddings.device),
            atlas_weight=atlas_weight(
                0.0 if self.embedding_tells else self.undertrained, volume.depth, self.atlases.num_atlases(volume)
            ),
            is_2d_image=volume.depth == 1,
        )


def make_ready(settings: Settings, embedder: Embedder, collection: Collection, store: ModelStore) -> FewShotTask | None:
    """Labelled slices and imports encoded and pooled, the served decoder loaded; None without any label."""
    shots, names = one_of_each_place(collection.shots()), collection.names
    order = tuple(names.present.values())
    imports, notes = usable_imports(collection, embedder.info.fingerprint)
    notes += unread_notes(collection, shots)
    supported = {*drawn_classes(shots, order), *support_classes(imports, order)}
    classes = tuple(name for name in order if name in supported)
    if not classes:
        return None
    model = _fitting_model(store, embedder, names, classes, notes)
    if model is not None:
        detail_size = model.card.detail_size
    else:
        detail_size = detail_size_for(shots, settings) if shots else imports[0].meta.detail_size
    ids = class_ids(id_order(model.card if model else None, classes), classes)
    imported = labelled_views(imports, classes, len(shots))
    supports = SupportSet(settings, shots, classes, embedder, detail_size, ids, imported)
    supports.let_go()
    tells = embedding_tells(embedder.info.name, detail_size)
    return FewShotTask(supports, classes, detail_size, model, Atlases(shots, classes, settings), tells, notes)


def _fitting_model(
    store: ModelStore, embedder: Embedder, names: Names, classes: Sequence[str], notes: list[str]
) -> TaskModel | None:
    """The served decoder if there is one that fits; what a person should know of it is added to ``notes``."""
    try:
        model = store.load(embedder.device)
    except FewSAMError as error:
        notes.append(f"answering untrained: {error}")
        return None
    if model is None:
        return None
    notes += model.notes
    model = replace(model, card=model.card.called_as(names))
    if model.card.encoder != embedder.info.fingerprint:
        notes.append("the trained decoder belongs to another encoder: answering untrained; train again")
        return None
    if new := [name for name in classes if name not in model.card.classes]:
        notes.append(f"drawn since the last training: {', '.join(new)}; train to learn them")
    return model
