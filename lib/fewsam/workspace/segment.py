"""One image segmented with what a task knows, and the answer remembered."""

from __future__ import annotations

from collections.abc import Callable

from fewsam.fewshot.inference.prediction import Prediction
from fewsam.images.volume import Volume
from fewsam.workspace.workspace import Workspace


def segment_volume(
    workspace: Workspace,
    volume: Volume,
    image_id: str,
    progress: Callable[[int, int], None] | None = None,
    deliver: Callable[[Prediction], None] | None = None,
) -> Prediction:
    """Segment ``volume`` and remember the answer: labels that correct it teach by their corrections alone.

    Args:
        image_id: The image's name in the collection, unless the same pixels were labelled under another name: slices
            that somebody drew are found by the pixels, not by the name.
        progress: Called with slices done and in all.
        deliver: Hands the answer to the person. What could not be handed over is not remembered.

    Raises:
        CheckpointError: the encoder's weights cannot be had.
        StorageError: the answer cannot be remembered.
    """
    collection = workspace.collection
    known = [record.image_id for record in collection.images() if record.content_hash == volume.content_hash]
    prediction = workspace.predictor.predict(volume, known[0] if known else None, progress=progress)
    if deliver is not None:
        deliver(prediction)
    if prediction.classes and prediction.shots:
        name = known[0] if known else image_id
        collection.remember_served(name, prediction.labelmap, prediction.classes, prediction.model_version)
    return prediction
