"""What training is measured by: the Dice reached on labelled slices, and how much is still to learn of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from fewsam.core.metrics import dice
from fewsam.fewshot.inference.postprocess import keep_largest
from fewsam.fewshot.model.decoder import FewShotMaskDecoder
from fewsam.fewshot.training.constants import VALIDATION
from fewsam.fewshot.training.episodes import Episodes
from fewsam.images.resize import resize


@dataclass(frozen=True)
class Measured:
    """Mean hard Dice on some slices, and the classes for which the largest component alone does better."""

    metric: float
    largest_component: tuple[str, ...]


@torch.inference_mode()
def measure(
    decoder: FewShotMaskDecoder | None,
    episodes: Episodes,
    queries: Sequence[int],
    supports: Sequence[int],
    undertrained: float = 0.0,
) -> Measured:
    """Dice of ``queries`` prompted by ``supports``, averaged over the classes drawn or predicted there.

    Args:
        decoder: None measures the training-free prior.
        undertrained: How much the decoder has still to learn, which gives the prior a larger share.
    """
    if decoder is not None:
        decoder.eval()
    scores: dict[int, list[tuple[float, float]]] = {}
    for query in queries:
        batch = episodes.batch([(query, 0)], [episodes.supports_for(query, supports)])
        if decoder is not None:
            flat = episodes.slices[query].is_2d_image
            logits = decoder.answer(
                batch.embeddings, batch.prompts, batch.detail, is_2d_image=flat, undertrained=undertrained
            )
        else:
            logits = resize(batch.prompts.prior, batch.mask.shape[-2:])
        predicted = logits.argmax(1)[0].cpu().numpy()
        truth = batch.mask.argmax(1)[0].cpu().numpy()
        for c in range(1, batch.mask.shape[1]):
            if batch.annotated_classes[0, c] and ((truth == c).any() or (predicted == c).any()):
                whole, largest = predicted == c, keep_largest(predicted == c)
                scores.setdefault(c, []).append((dice(whole, truth == c), dice(largest, truth == c)))
    means = {c: np.mean(pairs, axis=0) for c, pairs in scores.items()}
    better = tuple(
        episodes.classes[c - 1] for c, (whole, largest) in means.items() if largest > whole + VALIDATION.component_gain
    )
    return Measured(float(np.mean([whole for whole, _ in means.values()])) if means else 0.0, better)


def measure_undertrained(decoder: FewShotMaskDecoder, episodes: Episodes, train: Sequence[int]) -> float:
    """How much a decoder has still to learn of the very slices it learnt from, 0 to 1.

    On a slow machine the decoder may be undertrained yet overconfident. This shows where the decoder has every
    advantage: on slices it learnt from, where the prior is asked without them. The result is 1 while the decoder
    removes at most `new` of the prior's error (one minus the Dice), and 0 from `settled` on (docs/research/decoder.md).
    It is 0 where this cannot be told: one slice alone leaves the prior nothing to answer from, and on 2D images the
    prior has a larger share in any case, and its edges, which no decoder places better, hide what is learnt.

    Args:
        train: Indices of the slices it learnt from.
    """
    train = [i for i in train if not episodes.slices[i].is_2d_image]
    drawn = [i for i in train if episodes.supports.drawn[i]]  # others tell right from wrong of no class
    if len(train) < 2 or not drawn:
        return 0.0
    some = [drawn[i] for i in np.unique(np.linspace(0, len(drawn) - 1, VALIDATION.asked).round().astype(int))]
    ours, prior = (measure(one, episodes, some, train).metric for one in (decoder, None))
    removed = (ours - prior) / max(1 - prior, 1e-6)
    new, settled = VALIDATION.new, VALIDATION.settled
    return float(np.clip((settled - removed) / (settled - new), 0, 1))
