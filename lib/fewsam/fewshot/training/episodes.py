"""Episodes from the few-shot collection: queries, and the supports that may prompt them.

A query is never among its own supports: a token of the query gives the answer away. With a single
labelled slice its augmented views support one another, which is all there is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import overload

import numpy as np
import torch
from torch import Tensor

from fewsam.collection import Shot
from fewsam.core.config import Settings
from fewsam.encoders.embedder import Embedder
from fewsam.fewshot.model.decoder import Prompts
from fewsam.fewshot.model.prompts import LabelledView, SupportBank
from fewsam.fewshot.model.views import DetailSlice, LabelledSlice, View, detail_tensor
from fewsam.fewshot.training.neighbours import FEW, Place, carried_neighbours, places

EXTRA_SUPPORT_VIEWS = 2  # of a slice that is the only one to show a class
FOLDS = 6  # the probe is fitted anew for each
MEMORY = 1024  # views and prompts remembered, some 300 kB each
TONE = 0.1  # spread of fresh gain and shift on the detail input


def drawn_classes(shots: Sequence[Shot], order: Sequence[str]) -> tuple[str, ...]:
    """Classes of ``order`` drawn on at least one of ``shots``."""
    present = {name for shot in shots for name in shot.masks}
    return tuple(name for name in order if name in present)


@dataclass(frozen=True)
class Batch:
    """N queries: embeddings (N, 256, 64, 64), prompts, detail (N, 1, D, D), mask (N, C, D, D), known (N, C)."""

    embeddings: Tensor
    prompts: Prompts
    detail: Tensor
    mask: Tensor
    known: Tensor


class Episodes:
    """Draws queries and supports from labelled slices whose embeddings come from the cache.

    Args:
        shots: Current shots of the collection.
        classes: Classes in the order of the logits, background left out.
        detail_size: Side D of detail and masks.
        slots: Number of each class that stays its own, without background; 1, 2, ... by default.
        imported: Further supports, such as come with a task file; then there may be no shots.
    """

    def __init__(
        self,
        settings: Settings,
        shots: Sequence[Shot],
        classes: Sequence[str],
        embedder: Embedder,
        detail_size: int,
        slots: Sequence[int] | None = None,
        imported: Sequence[LabelledView] = (),
    ) -> None:
        self.settings, self.embedder, self.classes = settings, embedder, tuple(classes)
        self.detail_size = detail_size
        self._neighbours: dict[int, list[DetailSlice]] = {}
        self._known_views: dict[tuple[int, int], View] = {}
        self._known_prompts: dict[tuple[int, ...], Prompts] = {}
        size = embedder.info.input_size
        self.slices = [LabelledSlice(shot, classes, settings, size, detail_size) for shot in shots]
        # Their pixels are let go where nothing will ask for them: a server keeps its episodes.
        self._shots = list(shots) if settings.neighbours and len(shots) <= FEW else []
        self._drawn = [set(shot.masks) for shot in shots]
        supports = [(index, 0) for index in range(len(shots))]
        # A class drawn on one slice alone has no other slice to learn from: further views of it stand in.
        alone = [
            i for i, drawn in enumerate(self._drawn) if drawn - set().union(*self._drawn[:i], *self._drawn[i + 1 :])
        ]
        supports += [(i, view) for i in alone for view in range(1, 1 + EXTRA_SUPPORT_VIEWS) if self._encoded(i, view)]
        self._supports = supports
        # What prompts a new slice: the labelled slices as they are, and what was imported.
        self.primary = torch.tensor([e for e, (_, view) in enumerate(supports) if view == 0])
        self.primary = torch.cat([self.primary, torch.arange(len(supports), len(supports) + len(imported))]).long()
        numbers = [0, *(slots if slots is not None else range(1, 1 + len(classes)))]
        self.bank = SupportBank(_Supports(self._labelled_view, supports, imported), settings.prototypes, numbers)

    @cached_property
    def _views(self) -> list[list[int]]:
        """Numbers of the encoded views of each slice; only trainings ask."""
        numbers = range(self.settings.views + 1)
        return [[number for number in numbers if self._encoded(index, number)] for index in range(len(self.slices))]

    def draw_view(self, index: int, rng: np.random.Generator, fresh: bool) -> int:
        """A view number for slice ``index``: a cached one, or one never seen where ``fresh``."""
        if fresh:
            return int(rng.integers(1_000, 2**31))
        return int(rng.choice(self._views[index]))

    def neighbours(self, index: int) -> list[DetailSlice]:
        """The slices next to slice ``index`` that nobody drew, with its labels (`fewsam.fewshot.training.neighbours`).

        None where many slices are labelled, or the setting says so.
        """
        if not self._shots:
            return []
        if index not in self._neighbours:
            self._neighbours[index] = carried_neighbours(
                self._shots[index], self._places, self.classes, self.settings, self.detail_size
            )
        return self._neighbours[index]

    @cached_property
    def _places(self) -> set[Place]:
        return places(self._shots)

    def supports_for(self, query: int, allowed: Sequence[int]) -> Tensor:
        """Bank entries that may prompt slice ``query``: of ``allowed`` slices, never the query itself.

        Slices are left out by fold, so that there are few different subsets to fit. Where the query has a class
        that no other slice has, its own augmented views stand in.
        """
        folds = min(FOLDS, len(self.slices))
        others = [e for e, (i, view) in enumerate(self._supports) if i in set(allowed) and i != query and view == 0]
        entries = [e for e in others if self._supports[e][0] % folds != query % folds]
        missing = self._drawn[query] - set().union(*(self._drawn[self._supports[e][0]] for e in entries))
        entries += [e for e in others if e not in entries and self._drawn[self._supports[e][0]] & missing]
        missing -= set().union(*(self._drawn[self._supports[e][0]] for e in entries))
        if missing or not entries:
            entries += [e for e, (i, view) in enumerate(self._supports) if i == query and view > 0]
        return torch.tensor(sorted(entries))

    def batch(
        self,
        queries: Sequence[tuple[int, int]],
        supports: Sequence[Tensor],
        rng: np.random.Generator | None = None,
    ) -> Batch:
        """Tensors for (slice index, view number) pairs and the bank entries that prompt each.

        With ``rng``, the detail input gets a fresh change of tone: it costs nothing, unlike a fresh embedding.
        """
        views = [self._view(*query) for query in queries]
        embeddings = self._embed(views, queries)
        place = torch.tensor([self.slices[index].z for index, _ in queries])
        parts = [
            self._prompts(query, subset, embeddings[i : i + 1], place[i : i + 1])
            for i, (query, subset) in enumerate(zip(queries, supports, strict=True))
        ]
        detail = detail_tensor(np.stack([view.detail for view in views]))
        if rng is not None:
            gain, shift = (torch.from_numpy(rng.normal(0, TONE, (len(views), 1, 1, 1))).float() for _ in range(2))
            detail = detail * (1 + gain) + shift
        return Batch(
            embeddings,
            stack_prompts(parts),
            detail,
            torch.stack([view.mask for view in views]),
            torch.stack([self.slices[index].known for index, _ in queries]),
        )

    def _view(self, index: int, number: int) -> View:
        """A view, remembered if it will come again."""
        if number > self.settings.views:
            return self.slices[index].view(number)
        if (index, number) not in self._known_views:
            if len(self._known_views) >= MEMORY:
                self._known_views.clear()
            self._known_views[index, number] = self.slices[index].view(number)
        return self._known_views[index, number]

    def _prompts(self, query: tuple[int, int], subset: Tensor, embedding: Tensor, place: Tensor) -> Prompts:
        """Prompts of one query, remembered if it will come again with the same supports."""
        key = (*query, *subset.tolist())
        if key not in self._known_prompts or query[1] > self.settings.views:
            if len(self._known_prompts) >= MEMORY:
                self._known_prompts.clear()
            self._known_prompts[key] = self.bank.prompts(
                embedding, place, subset=subset, retrieve=self.settings.retrieve
            )
        return self._known_prompts[key]

    def embeddings(self, queries: Sequence[tuple[int, int]]) -> Tensor:
        """image_embeddings (N, 256, 64, 64) of (slice index, view number) pairs."""
        return self._embed([self._view(*query) for query in queries], queries)

    def _embed(self, views: Sequence[View], queries: Sequence[tuple[int, int]]) -> Tensor:
        store = all(number <= self.settings.views for _, number in queries)  # fresh views do not come again
        return torch.from_numpy(self.embedder.embed(np.stack([view.image for view in views]), store=store)).float()

    def _encoded(self, index: int, number: int) -> bool:
        if not self.embedder.cached_only:
            return True
        return self.embedder.missing(self.slices[index].view(number).image[None]) == 0

    def _labelled_view(self, index: int, number: int) -> LabelledView:
        labelled = self.slices[index]
        view = self._view(index, number)
        mask = torch.nn.functional.adaptive_avg_pool2d(view.mask, 64)
        return LabelledView(index, self.embeddings([(index, number)])[0], mask, labelled.known, labelled.z)


class _Supports(Sequence[LabelledView]):
    """Views of the labelled slices, each made when it is asked for, and then the imported ones."""

    def __init__(
        self,
        make: Callable[[int, int], LabelledView],
        supports: Sequence[tuple[int, int]],
        imported: Sequence[LabelledView],
    ) -> None:
        self._make, self._supports, self._imported = make, supports, imported

    def __len__(self) -> int:
        return len(self._supports) + len(self._imported)

    @overload
    def __getitem__(self, place: int) -> LabelledView: ...
    @overload
    def __getitem__(self, place: slice) -> list[LabelledView]: ...
    def __getitem__(self, place: int | slice) -> LabelledView | list[LabelledView]:
        if isinstance(place, slice):
            return [self[one] for one in range(*place.indices(len(self)))]
        if place >= len(self._supports):
            return self._imported[place - len(self._supports)]
        return self._make(*self._supports[place])


def prepare_views(
    settings: Settings,
    shots: Sequence[Shot],
    embedder: Embedder,
    progress: Callable[[int, int], None] | None = None,
    priority: bool = False,
) -> int:
    """Encode and keep what training will read: every labelled slice and its augmented views.

    Returns:
        How many views there are. They are pinned in the cache, so that no other slice displaces them; views of labels
        that are no longer in force, or of other settings, are let go.
    """
    size = embedder.info.input_size
    total, done = len(shots) * (settings.views + 1), 0
    pinned: list[str] = []
    for shot in shots:
        labelled = LabelledSlice(shot, tuple(shot.masks), settings, size, 64)
        for number in range(settings.views + 1):
            image = labelled.view(number).image[None]
            embedder.ensure(image, priority=priority)
            keys = embedder.keys(image)
            embedder.cache.pin(keys)
            pinned += keys
            done += 1
            if progress:
                progress(done, total)
    embedder.cache.pin_only(pinned)
    return total


def stack_prompts(parts: Sequence[Prompts]) -> Prompts:
    """Prompts of several queries, padded to the longest: (N, C, T, 256) and so on."""
    longest = max(part.tokens.shape[2] for part in parts)

    def pad(x: Tensor) -> Tensor:
        missing = longest - x.shape[2]
        return x if not missing else torch.cat([x, x.new_zeros(*x.shape[:2], missing, *x.shape[3:])], dim=2)

    return Prompts(
        torch.cat([pad(part.tokens) for part in parts]),
        torch.cat([pad(part.present) for part in parts]),
        torch.cat([part.prior for part in parts]),
        parts[0].slots,
        torch.cat([part.shown for part in parts]),
    )
