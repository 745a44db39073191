"""One answer from three sources: prompts and decoder, the volume's own drawn slices, and other images' labelled slices.

Each source gives a distribution over classes at each cell. Their logarithms are added with weights (a logarithmic
opinion pool). `fused_answer` is the one way from prompts to such an answer, for whole volumes and for clicks.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from fewsam.fewshot.model.decoder import Prompts
from fewsam.fewshot.model.store import TaskModel
from fewsam.fewshot.registration.atlas import ATLAS
from fewsam.images.resize import resize


@dataclass(frozen=True)
class FusionConstants:
    """Weights against 1 for the answer of prompts and decoder; no units.

    Attributes:
        propagation_weight: Of the labels propagated from the volume's own drawn slices (docs/research/propagation.md).
        temperature: Of the sum with them. The winner stays the winner, and the uncertainty shown comes near the error
            (docs/research/uncertainty.md).
        atlas_weight_untrained: Of other images' slices beside an untrained answer whose embedding tells little, so that
            it is the weaker of the two (docs/research/atlas.md, as the next two).
        atlas_weight_2d_image: The same beside a trained decoder, or the prior of an embedding that tells much, on an
            image of its own.
        atlas_weight_slice: The same on a slice of a volume. It may lie at a height that no labelled slice shows, which
            the decoder notices better; an image of its own has no height.
    """

    propagation_weight: float = 4.0
    temperature: float = 0.35
    atlas_weight_untrained: float = 2.0
    atlas_weight_2d_image: float = 1.0
    atlas_weight_slice: float = 0.25


FUSION = FusionConstants()


@dataclass(frozen=True)
class SliceEvidence:
    """What is known of N slices of one volume, whatever prompts are asked about them.

    Attributes:
        embeddings: (N, 256, 64, 64) float.
        detail: (N, 1, D, D) float in [-1, 1].
        detail_features: What the decoder's detail branch gives for ``detail``; None without a decoder or the branch.
        propagated: (N, C, t, t) log-probabilities by `Propagation`; None without drawn slices.
        atlas_log_probs: (N, C, t, t) log-probabilities by `Atlases`; None without other labelled images.
        atlas_weight: Weight of ``atlas_log_probs`` (`atlas_weight`).
        is_2d_image: The volume is a single image.
    """

    embeddings: Tensor
    detail: Tensor
    detail_features: Tensor | None
    propagated: Tensor | None
    atlas_log_probs: Tensor | None
    atlas_weight: float
    is_2d_image: bool


def fused_answer(
    model: TaskModel | None, evidence: SliceEvidence, prompts: Prompts, *, side: int, trust: Tensor | None = None
) -> Tensor:
    """Class log-probabilities (N, C, s, s) of N slices, not normalised: the decoder's answer, pooled with the others.

    Args:
        model: None answers by the prompts' training-free prior.
        side: The side s of the answer without a model; a decoder answers at the side of its detail input.
        trust: As `log_opinion_pool` has it.
    """
    if model is None:
        logits = resize(prompts.prior, side)
    else:
        logits = model.decoder.answer(
            evidence.embeddings,
            prompts,
            evidence.detail,
            evidence.detail_features,
            is_2d_image=evidence.is_2d_image,
            undertrained=model.card.undertrained,
        )
    return log_opinion_pool(
        logits.log_softmax(dim=1), evidence.propagated, evidence.atlas_log_probs, evidence.atlas_weight, trust
    )


def log_opinion_pool(
    answers: Tensor,
    propagated: Tensor | None,
    atlas_log_probs: Tensor | None,
    weight: float,
    trust: Tensor | None = None,
) -> Tensor:
    """Weighted sum of the three sources' class log-probabilities, not normalised.

    Args:
        answers: (..., N, C, s, s) log-probabilities of prompts and decoder.
        propagated: (N, C, t, t) of `fewsam.fewshot.registration.propagation`, or None for none.
        atlas_log_probs: (N, C, t, t) of `fewsam.fewshot.registration.atlas`, or None for none.
        weight: Of ``atlas_log_probs``.
        trust: (u, u) in 0..1, how much the other two count at each place; all of them by default.
    """
    side = answers.shape[-1]
    share = 1.0 if trust is None else resize(trust[None, None], side)
    if atlas_log_probs is not None:
        answers = (answers + weight * share * resize(atlas_log_probs, side)) / (1 + weight)
    if propagated is not None:
        answers = FUSION.temperature * (answers + FUSION.propagation_weight * share * resize(propagated, side))
    return answers


def atlas_weight(undertrained: float, depth: int, num_atlases: int) -> float:
    """Weight of other images' labelled slices in a volume of ``depth`` slices.

    Args:
        undertrained: How much the decoder has still to learn, 0 to 1; 1 without a decoder. 0 where the embedding tells
            much: there the prior, which has the say meanwhile, is no weaker than a trained decoder.
        num_atlases: Labelled slices of other images. Few are worth less: as much less as they are fewer than are used.
    """
    trained = FUSION.atlas_weight_2d_image if depth == 1 else FUSION.atlas_weight_slice
    full = trained + undertrained * (FUSION.atlas_weight_untrained - trained)
    return full * min(1.0, num_atlases / ATLAS.num_atlases)
