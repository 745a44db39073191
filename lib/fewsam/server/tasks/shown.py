"""What a viewer shows of an image without a computation: slices as they were drawn, over the answer served last."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fewsam.collection import Shot
from fewsam.collection.store import Collection
from fewsam.fewshot.inference.prediction import drawn_labelmap
from fewsam.images.volume import Volume


def served_labelmap(
    collection: Collection, image_id: str, shape: tuple[int, ...], classes: Sequence[str]
) -> tuple[np.ndarray, int] | None:
    """The answer served last, (Z, H, W) uint8, and the version of its model.

    None where there is none that fits: of another shape. Its values are those of ``classes`` now; what was answered of
    a class that was deleted since is left out.
    """
    served = collection.served(image_id)
    if served is None:
        return None
    labelmap, its_classes, version = served
    if labelmap.shape != tuple(shape):
        return None
    if tuple(classes[: len(its_classes)]) == tuple(its_classes):
        return labelmap, version
    return renumbered(labelmap, its_classes, classes), version


def renumbered(labelmap: np.ndarray, its_classes: Sequence[str], classes: Sequence[str]) -> np.ndarray:
    """A labelmap of ``its_classes`` with the values of ``classes``; what is none of these is left out."""
    values = np.zeros(256, np.uint8)
    for value, name in enumerate(its_classes, start=1):
        values[value] = classes.index(name) + 1 if name in classes else 0
    return np.asarray(values[labelmap])


def shown_labelmap(
    collection: Collection,
    image_id: str | None,
    volume: Volume,
    classes: Sequence[str],
    shots: Sequence[Shot] | None = None,
) -> tuple[np.ndarray, int | None]:
    """What a viewer shows: (Z, H, W) uint8, and the version of the model whose answer is below, if one is.

    Args:
        collection: The labelled slices, and what was served.
        image_id: None for an image that is not of the studies, of which nothing is known.
        volume: The image.
        classes: The structures in the order of the values, as the caller goes on to name them: read once, since each
            one that is deleted or comes back moves those after it.
        shots: Its labelled slices, where they were read already.
    """
    shape = volume.slices.shape[:3]
    if image_id is None:
        return np.zeros(shape, np.uint8), None
    served = served_labelmap(collection, image_id, shape, classes)
    labels, version = (served[0].copy(), served[1]) if served is not None else (np.zeros(shape, np.uint8), None)
    for shot in collection.shots(image_id, content_hash=volume.content_hash) if shots is None else shots:
        labels[shot.slice] = drawn_labelmap(shot, classes, labels[shot.slice])
    return labels, version
