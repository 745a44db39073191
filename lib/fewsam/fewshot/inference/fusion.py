"""One answer from three: prompts and decoder, the volume's own drawn slices, and the labelled slices of other images.

Each is a distribution over classes at each cell; their logarithms are added with weights (a logarithmic opinion pool).
docs/propagation.md and docs/atlas.md have what the weights were chosen by.
"""

from __future__ import annotations

from torch import Tensor

from fewsam.fewshot.registration.atlas import ATLASES
from fewsam.images.resize import resize

CARRIED = 4.0  # weight of what was carried from the volume's own drawn slices
EVEN = 0.35  # of the sum with it: winners stay, the uncertainty shown comes near the error (docs/uncertainty.md)
# Weight of the vote of other images' slices. The untrained answer is often the weaker of the two. A slice of a volume
# may lie at a height that no labelled slice shows, and the decoder notices that better; a picture has no height.
VOTE_UNTRAINED, VOTE_PICTURE, VOTE_SLICE = 2.0, 1.0, 0.25


def vote_weight(newness: float, depth: int, voters: int) -> float:
    """Of a vote in a volume of ``depth`` slices, beside an answer that is untrained (1), trained (0), or in between.

    Args:
        newness: The decoder's, or 1.
        voters: Labelled slices of other images; few are worth less, by as much as they are fewer than could vote.
    """
    trained = VOTE_PICTURE if depth == 1 else VOTE_SLICE
    full = trained + newness * (VOTE_UNTRAINED - trained)
    return full * min(1.0, voters / ATLASES)


def fused(
    answers: Tensor, carried: Tensor | None, vote: Tensor | None, weight: float, trust: Tensor | None = None
) -> Tensor:
    """Class log-probabilities, not normalised.

    Args:
        answers: (..., N, C, s, s) log-probabilities of prompts and decoder.
        carried: (N, C, t, t) of `fewsam.fewshot.registration.propagation`, or None for none.
        vote: (N, C, t, t) of `fewsam.fewshot.registration.atlas`, or None for none.
        weight: Of the vote.
        trust: (u, u) in 0..1, what of the other two counts where; all of it by default.
    """
    side = answers.shape[-1]
    share = 1.0 if trust is None else resize(trust[None, None], side)
    if vote is not None:
        answers = (answers + weight * share * resize(vote, side)) / (1 + weight)
    if carried is not None:
        answers = EVEN * (answers + CARRIED * share * resize(carried, side))
    return answers
