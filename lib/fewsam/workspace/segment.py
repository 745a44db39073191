"""Images segmented with what a task knows, here or by the workers of a pool, and the answers remembered."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fewsam.core.errors import FewSAMError, StorageError
from fewsam.core.jobs import Job, as_finished
from fewsam.core.pool import Pool
from fewsam.encoders.slices import EncoderSlices
from fewsam.fewshot.inference.frozen import FrozenTask, drawn_for, freeze, segment_frozen
from fewsam.fewshot.inference.prediction import Prediction
from fewsam.images.casefiles import case_id
from fewsam.images.sequences import load_image
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
    known = known_as(workspace, volume)
    prediction = workspace.predictor.predict(volume, known, progress=progress)
    if deliver is not None:
        deliver(prediction)
    _remember(workspace, known or image_id, prediction)
    return prediction


@dataclass(frozen=True)
class Segmented:
    """One image of many: its answer, or why there is none."""

    path: Path
    volume: Volume | None = None
    prediction: Prediction | None = None
    error: str = ""


def segment_images(
    workspace: Workspace, pool: Pool, paths: Iterable[Path], deliver: Callable[[Segmented], None]
) -> None:
    """Segment images on a pool. What one image fails with, the others do not notice.

    This process alone reads the images and writes: the embeddings that workers computed, and the answers.

    Args:
        deliver: Called with each image as it ends; an answer is remembered once this has returned.

    Raises:
        FewSAMError: the cluster is gone, or the disk is full. What was delivered stays.
    """
    frozen = freeze(workspace.predictor)
    unread: list[Segmented] = []
    for done in as_finished(pool, _jobs(workspace, pool, frozen, paths, unread)):
        while unread:
            deliver(unread.pop())
        path, volume = done.job.about
        if done.error is not None:
            deliver(Segmented(path, volume, error=done.why))
            continue
        prediction, fresh = done.value
        _keep(workspace, fresh)
        deliver(Segmented(path, volume, prediction))
        _remember(workspace, known_as(workspace, volume) or case_id(path), prediction)
    while unread:
        deliver(unread.pop())


def segment_each(
    workspace: Workspace,
    paths: Iterable[Path],
    deliver: Callable[[Segmented], None],
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """What `segment_images` does, by this process alone, one image after the other.

    Args:
        progress: Called with slices of the image done and in all.

    Raises:
        StorageError: the disk is full. What was delivered stays.
    """
    settings = workspace.settings
    for path in paths:
        try:
            volume = load_image(path, settings.axis, settings.sequences)
            known = known_as(workspace, volume)
            prediction = workspace.predictor.predict(volume, known, progress=progress)
        except StorageError:
            raise
        except FewSAMError as error:  # one bad image must not end a long run
            deliver(Segmented(path, error=str(error)))
            continue
        deliver(Segmented(path, volume, prediction))
        _remember(workspace, known or case_id(path), prediction)


def predict_on(
    workspace: Workspace,
    pool: Pool,
    volume: Volume,
    image_id: str | None,
    slices: Sequence[int] | None = None,
    time_limit: float | None = None,
    unencoded: Sequence[int] = (),
) -> Prediction:
    """What `Predictor.predict` gives, computed by a worker of the pool; it waits for that.

    Raises:
        FewSAMError: as there, or the pool is gone.
    """
    frozen = freeze(workspace.predictor)
    drawn = drawn_for(frozen, workspace.predictor, volume, image_id)
    given = (pool.share(frozen), volume, drawn, _known(workspace, volume))
    prediction, fresh = pool.submit(segment_frozen, *given, slices, time_limit, unencoded).result()
    _keep(workspace, fresh)
    return prediction


def known_as(workspace: Workspace, volume: Volume) -> str | None:
    """The name under which the pixels of ``volume`` are in the collection."""
    images = workspace.collection.images()
    return next((record.image_id for record in images if record.content_hash == volume.content_hash), None)


def _jobs(
    workspace: Workspace, pool: Pool, frozen: FrozenTask, paths: Iterable[Path], unread: list[Segmented]
) -> Iterator[Job]:
    settings, shared = workspace.settings, pool.share(frozen)
    for path in paths:
        try:
            volume = load_image(path, settings.axis, settings.sequences)
            drawn = drawn_for(frozen, workspace.predictor, volume, known_as(workspace, volume))
            yield Job(
                str(path), segment_frozen, (shared, volume, drawn, _known(workspace, volume)), about=(path, volume)
            )
        except FewSAMError as error:  # one bad file must not end a long run
            unread.append(Segmented(path, error=str(error)))


def _known(workspace: Workspace, volume: Volume) -> dict[str, np.ndarray]:
    """The embeddings of a volume's slices that the cache holds, by key."""
    slices = EncoderSlices(volume, workspace.settings, workspace.embedder)
    found: dict[str, np.ndarray] = {}
    for chunk in slices.chunks():
        keys = workspace.embedder.keys(slices.inputs(slices.raw(chunk)))
        cached = zip(keys, workspace.cache.get_many(keys), strict=True)
        found |= {key: embedding for key, embedding in cached if embedding is not None}
    return found


def _keep(workspace: Workspace, fresh: Mapping[str, np.ndarray]) -> None:
    for key, embedding in fresh.items():
        workspace.cache.put(key, embedding)


def _remember(workspace: Workspace, name: str, prediction: Prediction) -> None:
    if prediction.classes and prediction.shots:
        workspace.collection.remember_served(
            name, prediction.labelmap, prediction.classes, prediction.model_version, prediction.keys
        )
