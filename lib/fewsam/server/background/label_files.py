"""Label files that clients send and that predictions make: into the collection, and into the datastore for others."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from monailabel.interfaces.datastore import DefaultLabelTag

from fewsam.images.labelwrite import write_native_masks
from fewsam.server.background.background import Background
from fewsam.server.errors import message_of, reworded, status_of
from fewsam.server.paths import scratch
from fewsam.server.storage.pacs_datastore import PacsDatastore
from fewsam.server.storage.palette import colours_of
from fewsam.server.tasks.labels import LabelParams, as_answer
from fewsam.server.tasks.results import result_of

logger = logging.getLogger(__name__)


def submit_label(
    background: Background, image_id: str, file: Path, tag: str, raw: dict[str, Any], params: LabelParams
) -> dict[str, Any]:
    """Take a label that a client sent: the collection first, then the datastore's own copy.

    Args:
        background: Of the running server.
        image_id: Of the image that the label is of.
        file: The label.
        tag: ``final`` for a label to learn from; of others the file alone is kept.
        raw: What the client said beside the file, which the datastore keeps.
        params: The part of it that the collection asks for.

    Raises:
        FewSAMError: the label is refused; nothing of it is kept.
    """
    app = background.app
    path = app.image_path(image_id)
    if tag != DefaultLabelTag.FINAL.value:
        with background.own_write(image_id, tag, file, "taken"):
            label_id = app.datastore().save_label(image_id, str(file), tag, raw)
        return {**(app.on_save_label(image_id, label_id) or {}), "image": image_id, "label": label_id}
    title = app.datastore().title(image_id) if isinstance(app.datastore(), PacsDatastore) else repr(image_id)
    with reworded({str(file): "the label", path: title, repr(image_id): title}):
        submission = background.intake.submit(image_id, path, file, params, source=params.source or f"rest:{tag}")
    answer = {**as_answer(submission), "image": image_id, "label": image_id}
    with _kept_anyway(background, image_id, answer, "The label is stored."):
        # Other programs get the labels in force, and of all slices.
        if (submission.beside or params.one_slice) and (ours := _in_force(background, image_id, path, file.parent)):
            file, raw = ours, {**raw, "label_info": None}
        answer.update(_keep_file(background, image_id, file, tag, raw))
    return answer


def renew_label(background: Background, image_id: str, annotator: str) -> dict[str, Any]:
    """Have the datastore's copy, and the PACS, say what is in force after a label was taken back.

    Where nothing is in force any more, the copy goes; a PACS keeps what it got, since there is no empty DICOM SEG.
    """
    app, tag = background.app, DefaultLabelTag.FINAL.value
    datastore = app.datastore()
    answer: dict[str, Any] = {}
    with _kept_anyway(background, image_id, answer, "The label is taken back."):
        if tag not in datastore.get_labels_by_image_id(image_id):
            return answer  # labels of the command line have no copy
        with scratch(app.workspace.received) as folder:
            if file := _in_force(background, image_id, app.image_path(image_id), Path(folder)):
                answer.update(_keep_file(background, image_id, file, tag, {"annotator": annotator}))
            else:
                background.drop_label(image_id, tag)
    return answer


@contextmanager
def _kept_anyway(background: Background, image_id: str, answer: dict[str, Any], done: str) -> Iterator[None]:
    """A block that follows what is ``done``, and may not refuse it: a failure is said in the answer."""
    try:
        yield
        background.problem(f"label of {image_id}")
    except Exception as error:
        why, unexpected = message_of(error), status_of(error) == 500
        logger.error("the labels of %s are stored, but their file is not: %s", image_id, why, exc_info=unexpected)
        answer["not_kept"] = f"{done} The file for other programs is not renewed: {why}"
        background.problem(f"label of {image_id}", answer["not_kept"])


def _in_force(background: Background, image_id: str, image_path: str, folder: Path) -> Path | None:
    """The labels in force as a file in ``folder``, which names its structures itself; None where there are none."""
    workspace = background.app.workspace
    volume = workspace.volume(image_path)
    if not workspace.collection.shots(image_id, content_hash=volume.content_hash):
        return None  # what a model answered is no label
    found = result_of(workspace.collection, image_id, volume)
    native = {name: volume.geometry.to_native(mask) for name, mask in found.masks.items() if mask.any()}
    if not native:
        return None
    file = folder / "in-force.seg.nrrd"
    write_native_masks(file, native, volume.geometry.affine)
    return file


def _keep_file(background: Background, image_id: str, file: Path, tag: str, raw: dict[str, Any]) -> dict[str, Any]:
    """Put the file of a stored label into the datastore, from where a PACS gets it as DICOM SEG."""
    app = background.app
    datastore, collection = app.datastore(), app.workspace.collection
    pacs = isinstance(datastore, PacsDatastore)
    if pacs:
        names = collection.names
        raw = {
            **raw,
            "classes": list(names.present.values()),
            "colours": colours_of(names),
            "label_state": collection.label_state(image_id),
        }
    with background.own_write(image_id, tag, file, "taken"):
        label_id = datastore.save_label(image_id, str(file), tag, raw)
    answer: dict[str, Any] = {}
    if pacs:
        answer["waiting_for_pacs"] = len(datastore.outbox.waiting())
        if reason := datastore.outbox.reasons().get(image_id):
            answer["pacs_reason"] = reason
    return {**answer, **(app.on_save_label(image_id, label_id) or {})}


def keep_prediction(background: Background, image_id: str, file: Path, tag: str, info: dict[str, Any]) -> None:
    """``save_label`` of an inference: a file for others to read, from which nothing is learnt."""
    with background.own_write(image_id, tag, file, "model"):
        background.app.datastore().save_label(image_id, str(file), tag, info)
