"""The labelled slices of a task as supports: what prompts a new slice, in prediction and in training.

Two kinds of labelled slices prompt alike. The task's own come with their pixels, so that their views are encoded or
read from the cache. Those that came with a task file without pixels are embeddings and masks already.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Sequence
from typing import Any, overload

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from fewsam.collection import Collection, Shot
from fewsam.collection.codec import class_key
from fewsam.collection.imported import TaskCollection
from fewsam.collection.taskfile import TaskFile
from fewsam.core.config import Settings
from fewsam.encoders.embedder import Embedder
from fewsam.fewshot.model.pixel_features import GRID
from fewsam.fewshot.model.prompts import LabelledView, SupportBank
from fewsam.fewshot.model.views import LabelledSlice, View

logger = logging.getLogger(__name__)

EXTRA_SUPPORT_VIEWS = 2  # augmented views of a slice that is the only one to show a class
MEMORY = 1 << 30  # bytes of views kept in memory; one takes some 300 kB to several MB


class SupportSet:
    """The labelled slices of a task, their views, and the bank that prompts from them.

    Args:
        shots: Current shots of the collection.
        classes: Classes in the order of the logits, background left out.
        detail_size: Side D of detail and masks.
        class_ids: The id of background (0) and of each class in the decoder; 0, 1, 2, ... by default.
        imported: Further supports, such as come with a task file; then there may be no shots.

    Attributes:
        slices: The shots as labelled slices, in the same order.
        drawn: Names of the classes drawn on each of them.
        entries: (slice index, view number) of each entry of the bank; the imported supports follow them.
        primary: Entries that prompt a new slice: the labelled slices as they are, and the imported supports.
        bank: All entries as tensors.
    """

    def __init__(
        self,
        settings: Settings,
        shots: Sequence[Shot],
        classes: Sequence[str],
        embedder: Embedder,
        detail_size: int,
        class_ids: Sequence[int] | None = None,
        imported: Sequence[LabelledView] = (),
    ) -> None:
        self.settings, self.embedder, self.classes, self.detail_size = settings, embedder, tuple(classes), detail_size
        size = embedder.info.input_size
        self.slices = [LabelledSlice(shot, classes, settings, size, detail_size) for shot in shots]
        self.drawn = [set(shot.masks) for shot in shots]
        self._views: dict[tuple[int, int], View] = {}
        self.entries = [(index, 0) for index in range(len(shots))]
        # A class drawn on one slice alone has no other slice to learn from: further views of it stand in.
        alone = [i for i, drawn in enumerate(self.drawn) if drawn - set().union(*self.drawn[:i], *self.drawn[i + 1 :])]
        self.entries += [
            (i, view) for i in alone for view in range(1, 1 + EXTRA_SUPPORT_VIEWS) if self.encoded(i, view)
        ]
        primary = [entry for entry, (_, view) in enumerate(self.entries) if view == 0]
        primary += range(len(self.entries), len(self.entries) + len(imported))
        self.primary = torch.tensor(primary, dtype=torch.long, device=embedder.device)
        views = _BankViews(self._labelled_view, self.entries, imported, embedder.device)
        self.bank = SupportBank(views, settings.prototypes, class_ids)

    def __getstate__(self) -> dict[str, Any]:
        """For another process: what prompts. Views and the embedder, which has files open, stay here."""
        return {**self.__dict__, "embedder": None, "slices": [], "_views": {}}

    def to(self, device: torch.device) -> SupportSet:
        """What prompts, on ``device``, without views and embedder: as it goes to another process."""
        there = copy.copy(self)  # by way of `__getstate__`
        there.primary, there.bank = self.primary.to(device), self.bank.to(device)
        return there

    def let_go(self) -> None:
        """Forget slices and views, of megabytes each: what prompts is in the bank."""
        self.slices, self._views = [], {}

    def view(self, index: int, number: int) -> View:
        """View ``number`` of slice ``index``, kept in memory if it will be asked for again."""
        if number > self.settings.views:
            return self.slices[index].view(number)
        if (index, number) not in self._views:
            if sum(view.nbytes for view in self._views.values()) >= MEMORY:
                self._views.clear()
            self._views[index, number] = self.slices[index].view(number)
        return self._views[index, number]

    def encoded(self, index: int, number: int) -> bool:
        """Whether a view's embedding is in the cache or can be made here."""
        if not self.embedder.cached_only:
            return True
        return self.embedder.missing(self.view(index, number).image[None]) == 0

    def embeddings(self, queries: Sequence[tuple[int, int]]) -> Tensor:
        """image_embeddings (N, 256, 64, 64) of (slice index, view number) pairs, on the task's device."""
        images = np.stack([self.view(*query).image for query in queries])
        store = all(number <= self.settings.views for _, number in queries)  # fresh views do not come again
        return self.embedder.tensor(images, store=store)

    def _labelled_view(self, index: int, number: int) -> LabelledView:
        labelled = self.slices[index]
        embedding = self.embeddings([(index, number)])[0]
        mask = F.adaptive_avg_pool2d(self.view(index, number).mask, GRID).to(embedding.device)
        return LabelledView(index, embedding, mask, labelled.annotated_classes, labelled.relative_z)


class _BankViews(Sequence[LabelledView]):
    """Views of the labelled slices, each made when it is asked for, and then the imported ones."""

    def __init__(
        self,
        make: Callable[[int, int], LabelledView],
        entries: Sequence[tuple[int, int]],
        imported: Sequence[LabelledView],
        device: torch.device,
    ) -> None:
        self._make, self._entries, self._imported, self._device = make, entries, imported, device

    def __len__(self) -> int:
        return len(self._entries) + len(self._imported)

    @overload
    def __getitem__(self, index: int) -> LabelledView: ...
    @overload
    def __getitem__(self, index: slice) -> list[LabelledView]: ...
    def __getitem__(self, index: int | slice) -> LabelledView | list[LabelledView]:
        if isinstance(index, slice):
            return [self[one] for one in range(*index.indices(len(self)))]
        if index >= len(self._entries):
            return self._imported[index - len(self._entries)].to(self._device)
        return self._make(*self._entries[index])


def drawn_classes(shots: Sequence[Shot], order: Sequence[str]) -> tuple[str, ...]:
    """Classes of ``order`` that are drawn on at least one of ``shots``."""
    present = {name for shot in shots for name in shot.masks}
    return tuple(name for name in order if name in present)


def support_classes(tasks: Sequence[TaskFile], order: Sequence[str]) -> set[str]:
    """Classes of ``order`` that a support without pixels shows."""
    names = {class_key(name): name for name in order}
    found = set()
    for task in tasks:
        frozen = [s for s, shot in enumerate(task.shot) if int(shot) not in task.pixels]
        present = task.masks[frozen].sum(axis=(0, 2, 3)) > 0
        for name, flag in zip(task.meta.classes, present[1:], strict=True):
            if flag:
                found.add(names.get(class_key(name), ""))
    return found & set(order)


def labelled_views(tasks: Sequence[TaskFile], classes: Sequence[str], first_shot: int) -> list[LabelledView]:
    """Supports without pixels as views for a `SupportBank` of ``classes``; their shots count from ``first_shot``."""
    views = []
    for task in tasks:
        column = {class_key(name): c for c, name in enumerate(task.meta.classes, 1)}
        source = [column.get(class_key(name)) for name in classes]
        for s, shot in enumerate(task.shot.tolist()):
            if shot in task.pixels:
                continue
            drawn = np.stack([np.zeros((GRID, GRID), np.float32) if c is None else task.masks[s, c] for c in source])
            # A class that is not asked for is background here, and the file knows nothing of classes it lacks.
            others = [c for c in range(len(task.meta.classes) + 1) if c not in source]
            mask = np.concatenate([task.masks[s, others].sum(0, keepdims=True), drawn])
            annotated = [True, *(c is not None and bool(task.known[s, c]) for c in source)]
            view = LabelledView(
                shot=first_shot + shot,
                embedding=torch.from_numpy(task.embeddings[s].astype(np.float32)),
                mask=torch.from_numpy(mask),
                annotated_classes=torch.tensor(annotated, device="cpu"),
                relative_z=float(task.z[s]),
            )
            views.append(view)
        first_shot += len(task.meta.shots)
    return views


def usable_imports(collection: Collection, fingerprint: str) -> tuple[list[TaskFile], list[str]]:
    """Imported task files made with the encoder of ``fingerprint``, and notes that tell people what becomes of them."""
    if not isinstance(collection, TaskCollection):
        return [], []
    tasks = [task for task in collection.supports() if task.meta.encoder.fingerprint == fingerprint]
    notes = []
    if strange := len(collection.imported_files()) - len(tasks):
        notes.append(f"{strange} imported tasks are damaged or belong to another encoder: left out")
        logger.warning("%s", notes[0])
    if frozen := sum(len(task.meta.shots) - len(task.pixels) for task in tasks):
        notes.append(f"{frozen} imported labelled slices prompt as well")
    return tasks, notes
