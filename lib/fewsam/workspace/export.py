"""Exports a task from its folder into a portable file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import torch.nn.functional as F

from fewsam.collection import Shot
from fewsam.collection.codec import class_key
from fewsam.collection.structures import Names, steadily
from fewsam.collection.taskfile import TaskFile, write_task
from fewsam.collection.taskmeta import FORMAT, TASK_FILE_SETTINGS, EncoderMeta, ShotMeta, TaskMeta
from fewsam.core.config import OLD_NAMES, Settings
from fewsam.core.errors import CheckpointError, LabelError
from fewsam.core.version import __version__
from fewsam.encoders.embedder import Embedder
from fewsam.fewshot.model.store import TaskModel
from fewsam.fewshot.model.supports import EXTRA_SUPPORT_VIEWS, drawn_classes, support_classes
from fewsam.fewshot.model.views import LabelledSlice, detail_size_for
from fewsam.images.preprocess import PREPROCESS_VERSION
from fewsam.workspace.anonymous import anonymous as without_people
from fewsam.workspace.anonymous import kind_of
from fewsam.workspace.workspace import Workspace


def export_task(
    workspace: Workspace,
    path: Path,
    *,
    with_pixels: bool = False,
    anonymous: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> TaskMeta:
    """Write the task as a portable file; slices imported earlier go along.

    Args:
        with_pixels: Take the images of the labelled slices along, so that the other side can train on them.
        anonymous: Neutral ids of images; no annotators, no dates.
        progress: Called with labelled slices done and in all.

    Raises:
        LabelError: nothing is labelled yet.
        CheckpointError: the decoder belongs to another encoder or cannot be read.
        StorageError: the file cannot be written.
    """
    collection = workspace.collection
    names, (shots, tasks) = steadily(lambda: collection.names, lambda: (collection.shots(), collection.supports()))
    classes = _labelled_classes(workspace, names, shots, tasks)
    model = _served(workspace, names)
    size = _detail_size(workspace, shots, tasks, model)
    rows = _Rows(classes)
    # A lone labelled slice supports predictions by several views of itself, as `SupportSet` has it.
    frozen = any(len(task.pixels) < len(task.meta.shots) for task in tasks)
    views = 1 + EXTRA_SUPPORT_VIEWS if len(shots) == 1 and not frozen else 1
    for done, shot in enumerate(shots, 1):
        labelled = LabelledSlice(shot, classes, workspace.settings, workspace.embedder.info.input_size, size)
        rows.add_shot(shot, labelled, views, workspace.embedder, with_pixels)
        if progress:
            progress(done, len(shots))
    rows.add_imported(tasks)
    meta = _meta_of(workspace, rows, size, _card_of(model, shots) if model else None)
    if anonymous:
        meta = without_people(meta)
    write_task(path, rows.task(meta, model))
    return meta


def _labelled_classes(workspace: Workspace, names: Names, shots: list[Shot], tasks: list[TaskFile]) -> tuple[str, ...]:
    """The classes that some labelled slice shows, in the collection's order."""
    order = tuple(names.present.values())
    shown = {*drawn_classes(shots, order), *support_classes(tasks, order)}
    if not shown:
        raise LabelError(f"{workspace.folder}: nothing is labelled yet, so there is nothing to export; label a slice")
    return tuple(name for name in order if name in shown)


def _served(workspace: Workspace, names: Names) -> TaskModel | None:
    """The served decoder, if there is one; it must belong to the encoder of the labelled slices."""
    model, encoder = workspace.store.load(), workspace.embedder.info
    if model is not None and model.card.encoder != encoder.fingerprint:
        raise CheckpointError(
            f"{workspace.folder}: its decoder was trained on another encoder than {encoder.name}; train again"
        )
    return None if model is None else replace(model, card=model.card.called_as(names))


def _detail_size(workspace: Workspace, shots: list[Shot], tasks: list[TaskFile], model: TaskModel | None) -> int:
    """Side of the decoder's detail input: the decoder's own, else that of the shots, else that of an imported task."""
    if model is not None:
        return model.card.detail_size
    return detail_size_for(shots, workspace.settings) if shots else tasks[0].meta.detail_size


def _meta_of(workspace: Workspace, rows: _Rows, detail_size: int, card: dict[str, Any] | None) -> TaskMeta:
    return TaskMeta(
        format=FORMAT,
        fewsam=__version__,
        written=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        classes=rows.classes,
        encoder=EncoderMeta(**workspace.embedder.info.as_dict()),
        preprocessing=PREPROCESS_VERSION,
        settings=_carried(workspace.settings, rows.classes),
        detail_size=detail_size,
        card=card,
        shots=tuple(rows.metas),
    )


def _carried(settings: Settings, classes: tuple[str, ...]) -> dict[str, Any]:
    """The settings that a task file carries, under their present names and those that earlier versions read."""
    values = settings.model_copy(update={"labels": classes}).model_dump(mode="json", include=set(TASK_FILE_SETTINGS))
    return {**values, **{old: values[new] for old, new in OLD_NAMES.items() if new in values}}


class _Rows:
    """Supports gathered for a task file of ``classes``."""

    def __init__(self, classes: tuple[str, ...]) -> None:
        self.classes = classes
        self.metas: list[ShotMeta] = []
        self.pixels: dict[int, np.ndarray] = {}
        self.drawn: dict[int, np.ndarray] = {}
        self._rows: list[tuple[int, np.ndarray, np.ndarray, np.ndarray, float]] = []

    def add(self, shot: int, embedding: np.ndarray, mask: np.ndarray, known: np.ndarray, z: float) -> None:
        self._rows.append((shot, embedding, mask, known, z))

    def add_shot(self, shot: Shot, labelled: LabelledSlice, views: int, embedder: Embedder, with_pixels: bool) -> None:
        """Add a shot by its first ``views`` views."""
        position = len(self.metas)
        for number in range(views):
            view = labelled.view(number)
            mask = F.adaptive_avg_pool2d(view.mask, 64).numpy()
            embedding = embedder.embed(view.image[None])[0]
            self.add(position, embedding, mask, labelled.annotated_classes.numpy(), labelled.relative_z)
        self.metas.append(_shot_meta(shot, with_pixels))
        if with_pixels:
            self.pixels[position], self.drawn[position] = shot.pixels, labelled.stencil

    def add_imported(self, tasks: list[TaskFile]) -> None:
        """Add the imported slices without pixels; those with pixels are among the shots."""
        for task in tasks:
            column = {class_key(name): c for c, name in enumerate(task.meta.classes, 1)}
            source = [column.get(class_key(name), 0) for name in self.classes]
            others = [c for c in range(len(task.meta.classes) + 1) if c not in source or c == 0]
            place: dict[int, int] = {}
            for s, shot in enumerate(task.shot.tolist()):
                if shot in task.pixels:
                    continue
                if shot not in place:
                    place[shot] = len(self.metas)
                    self.metas.append(task.meta.shots[shot])
                drawn = [task.masks[s, c] if c else np.zeros((64, 64), np.float32) for c in source]
                mask = np.stack([task.masks[s, others].sum(0).clip(0, 1), *drawn])
                known = np.array([True, *(bool(c and task.known[s, c]) for c in source)])
                self.add(place[shot], task.embeddings[s], mask, known, float(task.z[s]))

    def task(self, meta: TaskMeta, model: TaskModel | None) -> TaskFile:
        shot, embeddings, masks, known, z = zip(*self._rows, strict=True)
        return TaskFile(
            meta,
            np.array(shot, np.int64),
            np.stack(embeddings),
            np.stack(masks).astype(np.float32).clip(0, 1),
            np.stack(known),
            np.array(z, np.float32),
            decoder={k: v.detach().float() for k, v in model.decoder.state_dict().items()} if model else None,
            pixels=self.pixels,
            drawn=self.drawn,
        )


def _shot_meta(shot: Shot, with_pixels: bool) -> ShotMeta:
    return ShotMeta(
        image=shot.image.content_hash,
        slice=shot.slice,
        shape=shot.image.shape,
        spacing=shot.image.spacing,
        annotator=shot.annotator,
        time=shot.time,
        source=kind_of(shot.source),
        stats={key: float(value) for key, value in shot.image.stats.items()} if with_pixels else {},
    )


def _card_of(model: TaskModel, shots: list[Shot]) -> dict[str, Any]:
    """The decoder's card as plain types; ids of slices become positions in the file."""
    place = {shot.shot_id: n for n, shot in enumerate(shots)}
    card = asdict(replace(model.card, keys=()))  # another task has keys of its own
    for name in ("shots", "measured_on"):
        card[name] = [place[shot] for shot in card[name] if shot in place]
    return card
