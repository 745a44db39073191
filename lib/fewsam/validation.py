"""What training is measured on: which labelled slices are held back, and the Dice reached there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from fewsam.collection import Shot
from fewsam.decoder import FewShotMaskDecoder
from fewsam.episodes import Episodes
from fewsam.metrics import dice
from fewsam.model import TaskModel
from fewsam.postprocess import keep_largest

MIN_SHOTS_TO_HOLD_BACK = 4


@dataclass(frozen=True)
class Split:
    """Indices of slices to learn from first, to measure on, and to learn from in the end."""

    learn: list[int]
    measure: list[int]
    finish: list[int]


def split_shots(shots: Sequence[Shot], served: TaskModel | None) -> Split:
    """Validation images' slices are measured on; without any, one slice that ``served`` has not seen."""
    everyone = list(range(len(shots)))
    validation = [i for i in everyone if shots[i].split == "val"]
    learn = [i for i in everyone if shots[i].split != "val"]
    if validation and learn:
        return Split(learn, validation, [])
    seen = set(served.card.shots) if served else set()
    spare = [i for i in everyone if _is_spare(shots, i)]
    unseen = [i for i in spare if shots[i].shot_id not in seen] or spare
    if len(everyone) < MIN_SHOTS_TO_HOLD_BACK or not unseen:
        return Split(everyone, [], [])
    # The newest slice, or on a first training the middle one: the ends of a volume are its odd ones.
    held = max(unseen, key=lambda i: shots[i].shot_id) if served else _middle(shots, unseen)
    return Split([i for i in everyone if i != held], [held], everyone)


def _is_spare(shots: Sequence[Shot], index: int) -> bool:
    """Whether every class drawn on a slice is drawn on another too: without it, none goes unlearned."""
    others = {name for i, shot in enumerate(shots) if i != index for name in shot.masks}
    return others.issuperset(shots[index].masks)


def _middle(shots: Sequence[Shot], among: Sequence[int]) -> int:
    by_place = sorted(among, key=lambda i: (shots[i].image_id, shots[i].slice))
    return by_place[len(by_place) // 2]


@dataclass(frozen=True)
class Measured:
    """Mean hard Dice on some slices, and the classes for which the largest component alone does better."""

    metric: float
    largest_component: tuple[str, ...]


@torch.inference_mode()
def measure(
    decoder: FewShotMaskDecoder | None, episodes: Episodes, queries: Sequence[int], supports: Sequence[int]
) -> Measured:
    """Dice of ``queries`` prompted by ``supports``, averaged over the classes drawn or predicted there.

    Without a decoder it is the prior's.
    """
    if decoder is not None:
        decoder.eval()
    scores: dict[int, list[tuple[float, float]]] = {}
    for query in queries:
        batch = episodes.batch([(query, 0)], [episodes.supports_for(query, supports)])
        if decoder is not None:
            picture = episodes.slices[query].picture
            logits = decoder.answer(batch.embeddings, batch.prompts, batch.detail, picture=picture)
        else:
            logits = F.interpolate(batch.prompts.prior, size=batch.mask.shape[-2:], mode="bilinear")
        predicted = logits.argmax(1)[0].numpy()
        truth = batch.mask.argmax(1)[0].numpy()
        for c in range(1, batch.mask.shape[1]):
            if batch.known[0, c] and ((truth == c).any() or (predicted == c).any()):
                whole, largest = predicted == c, keep_largest(predicted == c)
                scores.setdefault(c, []).append((dice(whole, truth == c), dice(largest, truth == c)))
    means = {c: np.mean(pairs, axis=0) for c, pairs in scores.items()}
    better = tuple(episodes.classes[c - 1] for c, (whole, largest) in means.items() if largest > whole + 0.005)
    return Measured(float(np.mean([whole for whole, _ in means.values()])) if means else 0.0, better)
