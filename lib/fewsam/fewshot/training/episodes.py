"""Episodes from the few-shot collection: queries, and the supports that may prompt them.

A query is never among its own supports: a token of the query gives the answer away. With a single
labelled slice its augmented views support one another, which is all there is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from fewsam.collection import Place, Shot
from fewsam.core.config import Settings
from fewsam.encoders.embedder import Embedder
from fewsam.fewshot.model.decoder import Prompts
from fewsam.fewshot.model.supports import SupportSet
from fewsam.fewshot.model.views import FRESH_VIEWS, DetailSlice, LabelledSlice
from fewsam.fewshot.training.constants import TRAINING
from fewsam.fewshot.training.neighbours import propagated_neighbours
from fewsam.images.preprocess import detail_tensor

MEMORY = 1024  # prompts kept in memory, of some 300 kB each


@dataclass(frozen=True)
class Batch:
    """N queries: embeddings (N, 256, 64, 64), prompts, detail (N, 1, D, D), mask (N, C, D, D), and bool (N, C), whether
    an annotator looked for the class."""

    embeddings: Tensor
    prompts: Prompts
    detail: Tensor
    mask: Tensor
    annotated_classes: Tensor


class Episodes:
    """Draws queries and supports from labelled slices whose embeddings come from the cache.

    Args:
        shots: Current shots of the collection.
        classes: Classes in the order of the logits, background left out.
        detail_size: Side D of detail and masks.
        class_ids: The id of background (0) and of each class in the decoder; 0, 1, 2, ... by default.
    """

    def __init__(
        self,
        settings: Settings,
        shots: Sequence[Shot],
        classes: Sequence[str],
        embedder: Embedder,
        detail_size: int,
        class_ids: Sequence[int] | None = None,
    ) -> None:
        self.supports = SupportSet(settings, shots, classes, embedder, detail_size, class_ids)
        self.settings, self.classes, self.detail_size = settings, self.supports.classes, detail_size
        self.embedder, self.slices, self.bank = embedder, self.supports.slices, self.supports.bank
        self._neighbours: dict[int, list[DetailSlice]] = {}
        self._kept_prompts: dict[tuple[int, ...], Prompts] = {}
        self._drawable: dict[int, list[int]] = {}  # slice -> numbers of views that are not known to be missing
        self._encoded: set[tuple[int, int]] = set()
        # The shots, with their pixels, are kept only where neighbours of drawn slices will be asked for.
        self._shots = list(shots) if settings.neighbours and len(shots) <= TRAINING.neighbours_up_to else []

    def draw_view(self, index: int, rng: np.random.Generator, fresh: bool) -> int:
        """A view number for slice ``index``: a cached one, or one never seen where ``fresh``.

        Whether one is cached is asked when it is drawn: to make all views of dozens of slices takes longer than a
        training.
        """
        if fresh:
            return int(rng.integers(*FRESH_VIEWS))
        left = self._drawable.setdefault(index, list(range(self.settings.views + 1)))
        while left:
            number = int(rng.choice(left))
            if (index, number) in self._encoded or self.supports.encoded(index, number):
                self._encoded.add((index, number))
                return number
            left.remove(number)
        return 0

    def neighbours(self, index: int) -> list[DetailSlice]:
        """The slices next to slice ``index`` that nobody drew, with its labels (`fewsam.fewshot.training.neighbours`).

        None where many slices are labelled, or the setting says so.
        """
        if not self._shots:
            return []
        if index not in self._neighbours:
            self._neighbours[index] = propagated_neighbours(
                self._shots[index], self._places, self.classes, self.settings, self.detail_size
            )
        return self._neighbours[index]

    @cached_property
    def _places(self) -> set[Place]:
        return {shot.place for shot in self._shots}

    def supports_for(self, query: int, allowed: Sequence[int]) -> Tensor:
        """Bank entries that may prompt slice ``query``: of ``allowed`` slices, never the query itself.

        Slices are left out by fold, so that there are few different subsets to fit. Where the query has a class
        that no other slice has, its own augmented views stand in.
        """
        folds, all_entries, drawn = min(TRAINING.folds, len(self.slices)), self.supports.entries, self.supports.drawn
        others = [e for e, (i, view) in enumerate(all_entries) if i in set(allowed) and i != query and view == 0]
        entries = [e for e in others if all_entries[e][0] % folds != query % folds]
        missing = drawn[query] - set().union(*(drawn[all_entries[e][0]] for e in entries))
        entries += [e for e in others if e not in entries and drawn[all_entries[e][0]] & missing]
        missing -= set().union(*(drawn[all_entries[e][0]] for e in entries))
        if missing or not entries:
            entries += [e for e, (i, view) in enumerate(all_entries) if i == query and view > 0]
        return torch.tensor(sorted(entries), device=self.embedder.device)

    def batch(
        self,
        queries: Sequence[tuple[int, int]],
        supports: Sequence[Tensor],
        rng: np.random.Generator | None = None,
    ) -> Batch:
        """Tensors for (slice index, view number) pairs and the bank entries that prompt each.

        With ``rng``, the detail input gets a fresh change of tone: it costs nothing, unlike a fresh embedding.
        """
        embeddings = self.supports.embeddings(queries)
        places_along = [self.slices[index].relative_z for index, _ in queries]
        relative_z = torch.tensor(places_along, device=self.embedder.device)
        parts = [
            self._prompts(query, subset, embeddings[i : i + 1], relative_z[i : i + 1])
            for i, (query, subset) in enumerate(zip(queries, supports, strict=True))
        ]
        return Batch(embeddings, stack_prompts(parts), *self.views(queries, rng))

    def views(
        self, queries: Sequence[tuple[int, int]], rng: np.random.Generator | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Detail, mask and annotated classes of `Batch` for (slice index, view number) pairs, without any prompt.

        They are on the task's device.
        """
        views = [self.supports.view(*query) for query in queries]
        detail = detail_tensor(np.stack([view.detail for view in views]))
        if rng is not None:
            gain, shift = (
                torch.from_numpy(rng.normal(0, TRAINING.tone, (len(views), 1, 1, 1))).float() for _ in range(2)
            )
            detail = detail * (1 + gain) + shift
        annotated = torch.stack([self.slices[index].annotated_classes for index, _ in queries])
        return self.on_device(detail, torch.stack([view.mask for view in views]), annotated)

    def on_device(self, detail: Tensor, mask: Tensor, annotated_classes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What was made on the CPU, on the task's device."""
        device = self.embedder.device
        return detail.to(device), mask.to(device), annotated_classes.to(device)

    def _prompts(self, query: tuple[int, int], subset: Tensor, embedding: Tensor, relative_z: Tensor) -> Prompts:
        """Prompts of one query, remembered if it will come again with the same supports."""
        key = (*query, *subset.tolist())
        if key not in self._kept_prompts or query[1] > self.settings.views:
            if len(self._kept_prompts) >= MEMORY:
                self._kept_prompts.clear()
            self._kept_prompts[key] = self.bank.prompts(
                embedding, relative_z, subset=subset, retrieve=self.settings.retrieve
            )
        return self._kept_prompts[key]

    def embeddings(self, queries: Sequence[tuple[int, int]]) -> Tensor:
        """image_embeddings (N, 256, 64, 64) of (slice index, view number) pairs."""
        return self.supports.embeddings(queries)


def prepare_views(
    settings: Settings,
    shots: Sequence[Shot],
    embedder: Embedder,
    progress: Callable[[int, int], None] | None = None,
    priority: bool = False,
    known: dict[int, list[str]] | None = None,
) -> int:
    """Encode and keep what training will read: every labelled slice and its augmented views.

    Args:
        progress: Called with the views that are there, and how many there will be.
        priority: Before what others ask the encoder for.
        known: The keys in the cache of each shot's views, by the shot's number, from calls with the same settings
            before; it is brought up to date. A shot of which all are in the cache is passed over: to make its views
            again, to ask for them, takes tenths of a second.

    Returns:
        How many views there are. They are pinned in the cache, so that no other slice displaces them; views of labels
        that are no longer in force, or of other settings, are let go.
    """
    views, known = settings.views + 1, {} if known is None else known
    total, keys = len(shots) * views, dict[int, list[str]]()

    def count(done: int) -> None:
        if progress:
            progress(done, total)

    for place, shot in enumerate(shots):
        kept = known.get(shot.shot_id, [])
        if len(kept) == views and all(embedder.cache.contains(kept)):
            embedder.cache.pin(kept)
            count((place + 1) * views)
        else:
            kept = _encoded_views(shot, settings, embedder, priority, lambda n: count(place * views + n))  # noqa: B023
        keys[shot.shot_id] = kept
    embedder.cache.pin_only([key for of_shot in keys.values() for key in of_shot])
    known.clear()
    known.update(keys)
    return total


def _encoded_views(
    shot: Shot, settings: Settings, embedder: Embedder, priority: bool, count: Callable[[int], None]
) -> list[str]:
    """Keys in the cache of a labelled slice and its views, each encoded and pinned."""
    labelled = LabelledSlice(shot, tuple(shot.masks), settings, embedder.info.input_size, 64)
    found: list[str] = []
    for number in range(settings.views + 1):
        image = labelled.view(number).image[None]
        embedder.ensure(image, priority=priority)
        keys = embedder.keys(image)
        embedder.cache.pin(keys)
        found += keys
        count(number + 1)
    return found


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
        parts[0].class_ids,
        torch.cat([part.num_supports for part in parts]),
    )
