"""MONAI Label's inference task: from a request's image to a labelmap on the same grid and plain JSON."""

from __future__ import annotations

import logging
import math
import tempfile
import time
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from monailabel.interfaces.tasks.infer_v2 import InferTask, InferType

from fewsam.collection.loop import NO_SCORE
from fewsam.core.class_values import names_by_value
from fewsam.core.errors import StorageError
from fewsam.encoders.slices import EncoderSlices, encode_until
from fewsam.fewshot.inference.prediction import Prediction
from fewsam.images.endings import FLAT_ENDINGS, LABELMAP_ENDINGS
from fewsam.images.volume import Volume, save_labelmap
from fewsam.server.errors import RequestError
from fewsam.server.tasks.shown import served_labelmap
from fewsam.workspace.segment import predict_on
from fewsam.workspace.workspace import Workspace

logger = logging.getLogger(__name__)


class SegmentationTask(InferTask):
    """Few-shot segmentation of all classes, in one pass for each slice."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        super().__init__(
            type=InferType.SEGMENTATION,
            labels={},
            dimension=3,
            description="Few-shot SAM: segments what a few labelled slices show",
            # Scalars become fields in the viewers. Zero seconds mean no limit.
            config={"time_limit": float(workspace.settings.time_limit or 0), "encode_wait": 0.0},
        )

    def info(self) -> dict[str, Any]:
        self.labels = {name: value for value, name in enumerate(self.workspace.collection.classes, start=1)}
        return dict(super().info())

    def is_valid(self) -> bool:
        return True

    def __call__(self, request: Mapping[str, Any]) -> tuple[str | None, dict[str, Any]]:
        """Segment ``request["image"]`` (a path); ``request["image_id"]`` is its id, None for an uploaded image.

        Raises:
            FewSAMError: the image, the request or the encoder's checkpoint is at fault.
        """
        started = time.monotonic()
        volume = self.workspace.volume(request["image"])
        form = ResultForm.of(request, volume)
        prediction = self.predict(request, volume)
        tick = time.monotonic()
        file = write_result(self.workspace.folder / "results", volume, prediction, form)
        answer = as_answer(prediction)
        answer["latencies"].update(write=round(time.monotonic() - tick, 4), total=round(time.monotonic() - started, 4))
        return str(file), answer

    def predict(self, request: Mapping[str, Any], volume: Volume) -> Prediction:
        """The prediction to serve for ``volume``. It is remembered as served, with its uncertainty."""
        started = time.monotonic()
        workspace = self.workspace
        image_id = request.get("image_id")
        with workspace.embedder.request():  # background encoding holds back until the answer is there
            slices = _slices(request.get("slices"), volume.depth)
            limit = _seconds("time_limit", request.get("time_limit"))
            unencoded = self._unencoded(request, volume, slices, started)
            if workspace.pool is not None:
                prediction = predict_on(workspace, workspace.pool, volume, image_id, slices, limit, unencoded)
            else:
                prediction = workspace.predictor.predict(
                    volume,
                    image_id,
                    slices=slices,
                    time_limit=limit,
                    unencoded=unencoded,
                    progress=lambda done, total: logger.debug("segmenting %s: slice %d of %d", image_id, done, total),
                )
        prediction = prediction.called_as(workspace.collection.names)
        if image_id is not None and prediction.shots:  # without a label there is no answer: nothing was served
            answered = _answered(prediction, slices)
            prediction = self._complete(prediction, image_id, answered)
            # It is remembered before it is sent, since what comes back is compared with it.
            workspace.collection.remember_served(
                image_id, prediction.labelmap, prediction.classes, prediction.model_version, prediction.keys
            )
            former, _ = workspace.collection.scores(image_id) or ([], 0)
            scores = scores_of(prediction, answered, former)
            workspace.collection.record_scores(image_id, scores, prediction.model_version)
        logger.info(
            "segmented %s in %.2f s: model %d, %d shots, %d slices drawn by hand, %d remaining",
            image_id or "an uploaded image", time.monotonic() - started, prediction.model_version,
            prediction.shots, len(prediction.pasted), len(prediction.remaining),
        )  # fmt: skip
        return prediction

    def _unencoded(
        self, request: Mapping[str, Any], volume: Volume, slices: list[int] | None, started: float
    ) -> list[int]:
        """Slices that are still not encoded after the seconds that the request waits for them; without it, none."""
        workspace = self.workspace
        wait = _seconds("encode_wait", request.get("encode_wait"))
        if wait is None or workspace.predictor.ready() is None:
            return []
        wanted = range(volume.depth) if slices is None else slices
        encoder_slices = EncoderSlices(volume, workspace.settings, workspace.embedder)
        try:
            return encode_until(encoder_slices, wanted, request.get("shown"), started + wait)
        except StorageError:  # what cannot be kept would never be there: all is encoded for this answer
            return []

    def _complete(self, prediction: Prediction, image_id: str, answered: set[int]) -> Prediction:
        """Fill slices that were not asked for, or not reached, with what was served before.

        A viewer replaces its whole labelmap by the answer. Blank slices would come back as if somebody had erased
        them.
        """
        shape = prediction.labelmap.shape
        if len(answered) == shape[0]:
            return prediction
        served = served_labelmap(self.workspace.collection, image_id, shape, prediction.classes)
        if served is None:
            return prediction
        fresh = np.isin(np.arange(shape[0]), sorted(answered))[:, None, None]
        merged = np.where(fresh, prediction.labelmap, served[0])
        return replace(prediction, labelmap=merged.astype(prediction.labelmap.dtype))


def as_answer(prediction: Prediction) -> dict[str, Any]:
    """The JSON beside the labelmap."""
    answer = prediction.as_json()
    answer["label_names"] = {name: value for value, name in enumerate(prediction.classes, start=1)}
    return answer


def _answered(prediction: Prediction, slices: list[int] | None) -> set[int]:
    """The slices that an answer speaks of."""
    asked = range(len(prediction.labelmap)) if slices is None else slices
    return set(asked) - set(prediction.remaining) | set(prediction.pasted)


def scores_of(
    prediction: Prediction, answered: Set[int], former: Sequence[dict[str, list[float]]]
) -> list[dict[str, list[float]]]:
    """Uncertainty and foreground of each slice by class, as the collection keeps them for the choice of next slices.

    Slices that were not answered keep their ``former`` ones; without such they have none, and do not pass for certain.
    """
    scores = [
        {"uncertainty": [float(u) for u in uncertainty], "foreground": [float(f) for f in foreground]}
        for uncertainty, foreground in zip(prediction.uncertainty, prediction.foreground, strict=True)
    ]
    kept = former if len(former) == len(scores) else [NO_SCORE] * len(scores)
    return [score if z in answered else kept[z] for z, score in enumerate(scores)]


@dataclass(frozen=True)
class ResultForm:
    """How the client wants the labelmap: file ending and data type."""

    ending: str
    dtype: str

    @classmethod
    def of(cls, request: Mapping[str, Any], volume: Volume) -> ResultForm:
        """What ``request`` asks for; checked before anything is computed.

        Raises:
            RequestError: an unknown file ending or data type.
        """
        default = ".png" if volume.source.lower().endswith(FLAT_ENDINGS) else ".nii.gz"
        ending = "." + str(request.get("result_extension") or default).lower().lstrip(".")
        if ending not in LABELMAP_ENDINGS:
            known = ", ".join(LABELMAP_ENDINGS)
            raise RequestError(f"result_extension {ending!r} is not written here; use one of {known}")
        dtype = str(request.get("result_dtype") or "uint8")
        if dtype not in ("uint8", "uint16"):
            raise RequestError(f"result_dtype {dtype!r} is not written here; use uint8 or uint16")
        return cls(ending, dtype)


def write_result(folder: Path, volume: Volume, prediction: Prediction, form: ResultForm) -> Path:
    """Write the labelmap; MONAI Label deletes the file once it is sent.

    Raises:
        StorageError: the disk is full.
    """
    names = names_by_value(prediction.classes)
    return write_labelmap(folder, volume, prediction.labelmap, names, form)


def write_labelmap(folder: Path, volume: Volume, labelmap: np.ndarray, names: dict[int, str], form: ResultForm) -> Path:
    """The same for a labelmap (Z, H, W) and the names of its values."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=folder, prefix="labelmap-", suffix=form.ending, delete=False) as file:
        path = Path(file.name)
    try:
        save_labelmap(path, labelmap.astype(form.dtype), volume.geometry, names)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return path


def _slices(value: Any, depth: int) -> list[int] | None:
    if value is None:
        return None
    if not isinstance(value, list) or any(type(z) is not int for z in value):
        raise RequestError(f"slices must be a list of slice numbers, got {value!r}")
    outside = [z for z in value if not 0 <= z < depth]
    if outside:
        raise RequestError(f"slices {outside} are outside of the image, which has slices 0..{depth - 1}")
    return sorted(set(value))


def _seconds(name: str, value: Any) -> float | None:
    try:
        seconds = float(value) if value is not None else 0.0
        if math.isnan(seconds):
            raise ValueError(value)
    except (TypeError, ValueError, OverflowError):  # JSON knows numbers of any length
        raise RequestError(f"{name} must be a number of seconds, got {str(value)[:40]!r}") from None
    return seconds if seconds > 0 else None
