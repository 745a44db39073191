"""A task made ready for prediction: its labelled slices as prompts, and the decoder trained on them, if any."""

from __future__ import annotations

from dataclasses import dataclass

from fewsam.collection import Collection
from fewsam.collection.store import unread_notes
from fewsam.core.config import Settings
from fewsam.core.errors import FewSAMError
from fewsam.encoders.embedder import Embedder
from fewsam.fewshot.model.store import ModelStore, TaskModel, class_ids, id_order
from fewsam.fewshot.model.supports import SupportSet, drawn_classes, labelled_views, support_classes, usable_imports
from fewsam.fewshot.model.views import detail_size_for
from fewsam.fewshot.registration.atlas import Atlases


@dataclass(frozen=True)
class FewShotTask:
    """The collection and the served decoder, made ready.

    Attributes:
        supports: The labelled slices and imports as prompts.
        classes: Those drawn or imported, in the order of the logits, background left out.
        detail_size: Side D of the decoder's detail input and of its answer.
        model: None while no decoder is trained, or none that fits.
        atlases: The labelled slices, for other images.
        notes: What the person who asks should be told.
    """

    supports: SupportSet
    classes: tuple[str, ...]
    detail_size: int
    model: TaskModel | None
    atlases: Atlases
    notes: list[str]

    @property
    def undertrained(self) -> float:
        """How much the decoder has still to learn, 0 to 1; 1 without a decoder."""
        return 1.0 if self.model is None else self.model.card.undertrained


def make_ready(settings: Settings, embedder: Embedder, collection: Collection, store: ModelStore) -> FewShotTask | None:
    """Labelled slices and imports encoded and pooled, the served decoder loaded; None without any label."""
    shots, order = collection.shots(), collection.classes
    imports, notes = usable_imports(collection, embedder.info.fingerprint)
    notes += unread_notes(collection, shots)
    shown = {*drawn_classes(shots, order), *support_classes(imports, order)}
    classes = tuple(name for name in order if name in shown)
    if not classes:
        return None
    model = None
    try:
        model = store.load()
    except FewSAMError as error:
        notes.append(f"answering untrained: {error}")
    if model is not None:
        notes += model.notes
        if model.card.encoder != embedder.info.fingerprint:
            notes.append("the trained decoder belongs to another encoder: answering untrained; train again")
            model = None
        elif new := [name for name in classes if name not in model.card.classes]:
            notes.append(f"drawn since the last training: {', '.join(new)}; train to learn them")
    if model is not None:
        detail_size = model.card.detail_size
    else:
        detail_size = detail_size_for(shots, settings) if shots else imports[0].meta.detail_size
    ids = class_ids(id_order(model.card if model else None, classes), classes)
    imported = labelled_views(imports, classes, len(shots))
    supports = SupportSet(settings, shots, classes, embedder, detail_size, ids, imported)
    return FewShotTask(supports, classes, detail_size, model, Atlases(shots, classes, settings), notes)
