"""Parts of the labelled slices that are held back one after the other, to see whether self-training helps."""

from __future__ import annotations

from collections.abc import Sequence

from fewsam.collection import Shot
from fewsam.fewshot.selftraining.constants import SELF_TRAINING
from fewsam.fewshot.training.split import without_the_last_of_a_class


def folds_of(shots: Sequence[Shot], count: int | None = None) -> list[list[int]]:
    """Indices of the slices held back in each fold: ``count`` parts at most, by default as many as usual; none empty.

    The slices of one image stay together where more images are labelled than there are folds, since a slice tells what
    its neighbours are. No class is held back with every slice that shows it: without one, nothing of it is learnt. At
    least two slices are left: one alone has no other that prompts it, so that nothing can be learnt from it.
    """
    count = count or SELF_TRAINING.folds
    images = sorted({shot.place[0] for shot in shots})  # by their pixels, whatever they are called
    by_image = len(images) >= count
    order = sorted(range(len(shots)), key=lambda i: shots[i].place)
    place = {index: (images.index(shots[index].place[0]) if by_image else n) for n, index in enumerate(order)}
    folds = [[index for index in order if place[index] % count == fold] for fold in range(count)]
    folds = [without_the_last_of_a_class(shots, fold) for fold in folds]
    return [held for held in folds if held and len(shots) - len(held) >= 2]
