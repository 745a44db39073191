"""Imports a portable file into a new or an existing task folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import ValidationError

from fewsam.collection.taskfile import TaskFile, read_task
from fewsam.collection.taskmeta import PIXEL_SETTINGS, TASK_FILE_SETTINGS, TaskMeta
from fewsam.core.config import Settings, load_settings, with_current_names
from fewsam.core.errors import CheckpointError, ConfigError
from fewsam.encoders import encoder_info
from fewsam.fewshot.model.card import FORMAT as MODEL_FORMAT
from fewsam.fewshot.model.card import ModelCard, class_ids, id_order, read_card
from fewsam.fewshot.model.decoder import FewShotMaskDecoder
from fewsam.fewshot.model.prompts import LabelledView, SupportBank
from fewsam.fewshot.model.store import build_decoder
from fewsam.images.preprocess import PREPROCESS_VERSION
from fewsam.workspace.task_folder import is_task
from fewsam.workspace.task_settings import keep_settings, task_settings
from fewsam.workspace.workspace import Workspace


@dataclass(frozen=True)
class Imported:
    """The result of an import. ``version`` is the decoder's number here, 0 if the file has no decoder."""

    classes: tuple[str, ...]
    shots: int
    with_pixels: int
    version: int
    again: bool  # these slices were here already


def import_task(path: Path, folder: Path, preset: str | None = None, conf: Mapping[str, Any] | None = None) -> Imported:
    """Take a task file into the task in ``folder``, which is made where there is none; it segments at once.

    Raises:
        CheckpointError: damaged, not a task file, or made with another encoder.
        ConfigError: the task in ``folder`` prepares its images in another way.
        StorageError: the disk is full.
    """
    task = read_task(path)
    meta = task.meta
    if meta.preprocessing != PREPROCESS_VERSION:
        raise CheckpointError(
            f"{path}: its images were prepared by version {meta.preprocessing} of the preprocessing, here it is "
            f"{PREPROCESS_VERSION}; use the same version of fewsam on both sides"
        )
    fresh = not is_task(folder)
    if fresh and preset is not None and "encoder" not in load_settings(preset).model_fields_set:
        conf = {"encoder": meta.encoder.name, **(conf or {})}
    settings = _settings_of(path, meta, conf) if fresh and preset is None else task_settings(folder, preset, conf)
    _check_fit(path, meta, settings)
    decoder = _decoder(path, task) if meta.card is not None else None
    if fresh:
        keep_settings(folder, settings)
    with Workspace(settings, folder) as workspace:
        stored, keys = workspace.collection.keep_imported(path)
        version = 0
        if decoder is not None:
            state, card = decoder
            version = workspace.store.publish(state, replace(card, keys=()).called_as(workspace.collection.names, keys))
        return Imported(meta.classes, len(meta.shots), len(task.pixels), version, not stored)


def _settings_of(path: Path, meta: TaskMeta, conf: Mapping[str, Any] | None) -> Settings:
    theirs = with_current_names(meta.settings, warn=False)
    taken = {key: value for key, value in theirs.items() if key in TASK_FILE_SETTINGS}
    known = {"encoder": meta.encoder.name, **taken, "labels": list(meta.classes)}
    try:
        return load_settings(None, {**known, **(conf or {})})
    except ConfigError as error:
        raise ConfigError(f"{path}: its settings do not fit this version: {error}") from None


def _check_fit(path: Path, meta: TaskMeta, settings: Settings) -> None:
    here, its = encoder_info(settings), meta.encoder
    if here.fingerprint != its.fingerprint:
        weights = f"weights {its.checkpoint_sha256[:12]}" if its.checkpoint_sha256 else "no weights file"
        mine = f"weights {here.checkpoint_sha256[:12]}" if here.checkpoint_sha256 else "no weights file"
        raise CheckpointError(
            f"{path}: made with the encoder {its.name} at {its.input_size} px ({weights}), here it is {here.name} at "
            f"{here.input_size} px ({mine}): embeddings do not carry over. Import with "
            f"--conf encoder={its.name} and, for weights of one's own, --conf checkpoint=FILE"
        )
    theirs = load_settings(None, {key: meta.settings[key] for key in PIXEL_SETTINGS if key in meta.settings})
    for key in PIXEL_SETTINGS:
        if key != "input_size" and getattr(theirs, key) != getattr(settings, key):
            raise ConfigError(
                f"{path}: its images were prepared with {key} {getattr(theirs, key)}, this task has "
                f"{getattr(settings, key)}; import it into a folder of its own"
            )


def _decoder(path: Path, task: TaskFile) -> tuple[dict[str, torch.Tensor], ModelCard]:
    """The weights, checked by building the decoder and running it once, and the card for serving them here."""
    assert task.decoder is not None
    try:
        card = read_card(task.meta.card)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])[:80]
        raise CheckpointError(f"{path}: the card of its decoder: {where}: {first['msg']}; update fewsam") from None
    if card.format != MODEL_FORMAT or card.detail_size != task.meta.detail_size:
        raise _unfit(path, f"format {card.format}, detail {card.detail_size} px")
    if card.encoder != task.meta.encoder.fingerprint:
        raise CheckpointError(f"{path}: its decoder belongs to another encoder than its labelled slices; export again")
    try:
        decoder = build_decoder(card.switches).eval()
        decoder.load_state_dict(task.decoder)
        _try(decoder, task, card)
    except (CheckpointError, RuntimeError, ValueError, IndexError, ZeroDivisionError, AssertionError) as error:
        raise _unfit(path, " ".join(str(error).split()).removesuffix("; update fewsam")[:200]) from None
    # The metric was measured on slices of elsewhere, whose ids mean nothing here: it stays in the file alone.
    return dict(decoder.state_dict()), replace(card, metric=None, shots=(), measured_on=())


def _unfit(path: Path, why: str) -> CheckpointError:
    return CheckpointError(f"{path}: its decoder does not fit this version ({why}); update fewsam")


@torch.inference_mode()
def _try(decoder: FewShotMaskDecoder, task: TaskFile, card: ModelCard) -> None:
    """Decode one slice, since weights that fit may still not run.

    Raises:
        ValueError: the answer is of the wrong size or holds values that are no numbers.
    """
    ids = class_ids(id_order(card, task.meta.classes), task.meta.classes)
    view = LabelledView(
        0,
        torch.from_numpy(task.embeddings[0].astype(np.float32)),
        torch.from_numpy(task.masks[0].copy()),
        torch.from_numpy(task.known[0].copy()),
        float(task.z[0]),
    )
    prompts = SupportBank([view], class_ids=ids).prompts(view.embedding[None], torch.tensor([view.relative_z]))
    side = card.detail_size
    logits = decoder(view.embedding[None], prompts, torch.zeros(1, 1, side, side))
    if logits.shape != (1, 1 + len(task.meta.classes), side, side) or not bool(torch.isfinite(logits).all()):
        raise ValueError(f"it answers with {tuple(logits.shape)}, or with values that are no numbers")
