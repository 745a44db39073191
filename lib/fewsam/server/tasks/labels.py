"""A submitted label file becomes shots: read on the image's grid, matched by name, stored before it is acknowledged."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from fewsam.collection import Submission
from fewsam.core.class_values import names_by_value
from fewsam.core.errors import ChangedImageError, EmptyLabelError, LabelError
from fewsam.images.labelfile import read_label
from fewsam.images.volume import Volume
from fewsam.server.errors import RequestError
from fewsam.workspace.workspace import Workspace

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class LabelParams:
    """What a client says of a label beside its file.

    Attributes:
        label_info: Segment names as Slicer sends them, ``[{"name", "idx"}]``; None where the client sends none.
        annotator: Who drew it; empty where nobody says.
        absent_classes: ``"complete"`` or ``"partial"``: whether a class that is not drawn on a slice is background
            there; ``"spoken"`` says so of those that the label speaks of; None where the client leaves it to the
            setting of this name.
        complete_slices: Slices on which every class that is not drawn is absent, whatever ``absent_classes`` says.
        spoken: Classes that the label speaks of even if it draws them nowhere: their earlier masks do not stay.
        by_hand: Slices that a person drew or confirmed: they are meant as they are, whatever they equal. Where any
            are given, what is drawn on others changes no label.
        one_slice: The label is of one slice of a series: the file for other programs holds all others too.
        beside: Slices whose label in force stays; this one is kept beside it as a second reading.
        over: Of some slices the submission in force that the label was compared with, 0 for none; where another one is
            in force by the time that the label is stored, it is refused.
        content_hash: Of the image that the label was drawn on; where the image has other pixels by now, such as more
            slices, the label is refused. Empty where the client does not say.
        source: Where the label comes from; empty for the client itself.
    """

    label_info: list[dict[str, Any]] | None = None
    annotator: str = ""
    absent_classes: str | None = None
    complete_slices: frozenset[int] | None = None
    spoken: tuple[str, ...] = ()
    by_hand: frozenset[int] = frozenset()
    one_slice: bool = False
    beside: frozenset[int] = frozenset()
    over: Mapping[int, int] = field(default_factory=dict)
    content_hash: str = ""
    source: str = ""


def parse_params(text: str, user: str = "") -> tuple[dict[str, Any], LabelParams]:
    """Read the ``params`` field of ``PUT /datastore/label``: as sent, and the part that is ours.

    ``user`` is who the client has proven to be; without it the annotator is who it says.

    Raises:
        RequestError: not a JSON object, or a value of another kind than expected.
    """
    raw = _json_object(text)
    annotator = str(user or raw.get("annotator") or raw.get("client_id") or "")
    complete, beside = _slices(raw, "complete_slices"), _slices(raw, "beside") or frozenset()
    info, absent, image = _label_info(raw), _absent_classes(raw), str(raw.get("content_hash") or "")
    return raw, LabelParams(info, annotator, absent, complete, beside=beside, content_hash=image)


def check_drawn_on(volume: Volume, content_hash: str) -> None:
    """Refuse what was drawn on other pixels than the image has by now: its slice numbers may mean other places.

    Raises:
        ChangedImageError: it has others.
    """
    if content_hash and content_hash != volume.content_hash:
        raise ChangedImageError(
            f"The series has changed since it was opened here, and has {volume.depth} slices now. Nothing was stored, "
            "and what you drew stays in this browser. Reload the page to draw on the series as it is now."
        )


def _json_object(text: str) -> dict[str, Any]:
    try:
        raw = json.loads(text) if text.strip() else None
    except (ValueError, RecursionError) as error:
        raise RequestError(f"params is not valid JSON ({error}); send an object such as {{}}") from None
    if raw is not None and not isinstance(raw, dict):
        raise RequestError(f"params must be a JSON object, got {type(raw).__name__}")
    return raw or {}


def _label_info(raw: dict[str, Any]) -> list[dict[str, Any]] | None:
    info = raw.get("label_info") or None
    if info is not None and not (isinstance(info, list) and all(isinstance(item, dict) for item in info)):
        raise RequestError('params["label_info"] must be a list of {"name": ..., "idx": ...}')
    return info


def _slices(raw: dict[str, Any], name: str) -> frozenset[int] | None:
    slices = raw.get(name)
    if slices is None:
        return None
    if not isinstance(slices, list) or any(type(z) is not int for z in slices):
        raise RequestError(f'params["{name}"] must be a list of slice numbers')
    return frozenset(slices)


def _absent_classes(raw: dict[str, Any]) -> str | None:
    """The parameter ``absent_classes``, or ``policy``, as it was called in earlier versions."""
    name = "policy" if "policy" in raw and "absent_classes" not in raw else "absent_classes"
    value = raw.get(name)
    if value not in (None, "complete", "partial"):
        raise RequestError(f'params["{name}"] must be "complete" or "partial", got {value!r}')
    if name == "policy":
        logger.warning('params["policy"] of a label is now called "absent_classes"; the earlier name still works')
    return value


class LabelIntake:
    """The way of every label into the collection.

    Args:
        workspace: The task.
        on_stored: Called after each submission that changed the collection.
    """

    def __init__(self, workspace: Workspace, on_stored: Callable[[Submission, str], None] | None = None) -> None:
        self.workspace = workspace
        self.on_stored = on_stored

    def submit(
        self, image_id: str, image_path: str, label: Path, params: LabelParams = LabelParams(), *, source: str
    ) -> Submission:
        """Store a label; when this returns it is in the collection, and nothing of it is when it raises.

        Raises:
            ImageError: the image cannot be read.
            ChangedImageError: the image has other pixels than the one that the label was drawn on.
            LabelError: the label cannot be read, is empty, or does not fit the image.
            UnknownClassError: it names a class that the task does not have.
            StorageError: the disk is full.
        """
        known = self.workspace.collection.names
        names = names_by_value(list(known.present.values())) if params.label_info else known.lasting()
        naming = "give each structure a name" + (
            " (some were deleted, which moved the values)" if known.deleted else ""
        )
        # Opened once: a series of a PACS may grow at any time, and slice numbers are those of one version of it.
        volume = self.workspace.volume(image_path)
        check_drawn_on(volume, params.content_hash)
        geometry = volume.geometry
        try:
            masks = read_label(label, geometry, names, params.label_info, naming=naming)
        except EmptyLabelError:
            if not params.complete_slices and not params.by_hand:
                raise
            masks = {}  # nothing is on these slices, and that is what it says
        there = {name.casefold() for name in masks}
        blank = np.zeros(geometry.slices_shape, bool)
        masks.update((name, blank) for name in params.spoken if name.casefold() not in there)
        return self._store(image_id, volume, masks, params, source)

    def submit_masks(
        self,
        image_id: str,
        image_path: str,
        masks: dict[str, np.ndarray],
        params: LabelParams = LabelParams(),
        *,
        source: str,
    ) -> Submission:
        """The same for masks, class name -> bool (Z, H, W)."""
        volume = self.workspace.volume(image_path)
        check_drawn_on(volume, params.content_hash)
        return self._store(image_id, volume, masks, params, source)

    def _store(
        self, image_id: str, volume: Volume, masks: dict[str, np.ndarray], params: LabelParams, source: str
    ) -> Submission:
        collection = self.workspace.collection
        complete = set(params.complete_slices) if params.complete_slices is not None else None
        for what, slices in (("marked complete", complete or ()), ("to be kept beside a label", params.beside)):
            if outside := sorted(z for z in slices if not 0 <= z < volume.depth):
                raise LabelError(
                    f"slices {outside} are {what}, but image {image_id!r} has slices 0..{volume.depth - 1}"
                )
        submission = collection.submit(
            volume,
            image_id,
            masks,
            annotator=params.annotator,
            source=source,
            absent_classes=params.absent_classes,
            complete_slices=complete,
            by_hand=params.by_hand,
            beside=params.beside,
            over=params.over,
        )
        logger.info(
            "label of %s from %s: %d new or changed slices, %d unchanged, %d left as the model served them",
            image_id,
            source,
            len(submission.added) + len(submission.superseded) + len(submission.cleared),
            len(submission.unchanged) + len(submission.kept),
            len(submission.untouched),
        )
        if self.on_stored is not None and submission.changed:
            try:
                self.on_stored(submission, image_id)
            except Exception:  # the label is stored: what follows from it must not take the acknowledgement back
                logger.exception("follow-up work of a stored label failed")
        return submission


def as_answer(submission: Submission) -> dict[str, Any]:
    """What the client learns about its label: slice numbers by what became of them."""
    fates = ("added", "superseded", "cleared", "unchanged", "kept", "untouched", "beside")
    answer: dict[str, Any] = {fate: [int(z) for z in getattr(submission, fate)] for fate in fates}
    answer.update(
        submission=int(submission.submission),
        duplicate=submission.duplicate,
        new_classes=list(submission.new_classes),
        ignored_names=list(submission.unknown_names),
    )
    return answer
