"""From a volume to a labelmap, with what the collection and the served decoder know.

With no label the answer is empty and says why; with labels but no trained decoder the training-free
prior answers and says that it is untrained; slices drawn by hand come back as drawn.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fewsam.collection import Collection, Shot
from fewsam.config import Settings
from fewsam.decoder import Prompts
from fewsam.embedder import Embedder
from fewsam.episodes import Episodes, drawn_classes
from fewsam.errors import FewSAMError
from fewsam.imported import labelled_views, support_classes, usable_imports
from fewsam.model import ModelStore, TaskModel, class_slots
from fewsam.postprocess import class_indices, keep_largest_of
from fewsam.preprocess import Frame, choose_intensity, image_stats, make_frame, to_uint8
from fewsam.uncertainty import expected_disagreement
from fewsam.views import detail_bytes, detail_size_for, detail_tensor
from fewsam.volume import Volume

logger = logging.getLogger(__name__)

CHUNK = 4  # slices a pass: what bounds memory and the wait of others
MIN_SHOTS_FOR_SUBSETS = 3


@dataclass(frozen=True)
class Prediction:
    """A labelmap and what stands behind it.

    Attributes:
        labelmap: (Z, H, W) uint8, value = position in ``classes`` + 1.
        uncertainty: (Z, C) float32 in 0..1, one minus the Dice that the probabilities and the support
            subsets expect of themselves; 0 where a class is neither predicted nor suspected.
        foreground: (Z, C) float32, share of the slice's pixels given to the class.
        model_version: 0 while no decoder is trained.
        remaining: Slices not segmented because time ran out.
        pasted: Slices that are as somebody drew them.
    """

    labelmap: np.ndarray
    classes: tuple[str, ...]
    uncertainty: np.ndarray
    foreground: np.ndarray
    model_version: int
    trained: bool
    shots: int
    encoder: dict[str, Any]
    pasted: list[int] = field(default_factory=list)
    remaining: list[int] = field(default_factory=list)
    latencies: dict[str, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """Everything but the labelmap, as plain types."""
        voxels = np.bincount(self.labelmap.ravel(), minlength=len(self.classes) + 1)
        return {
            "model_version": self.model_version,
            "trained": self.trained,
            "shots": self.shots,
            "classes": list(self.classes),
            "voxels": {name: int(voxels[value]) for value, name in enumerate(self.classes, 1)},
            "uncertainty": [round(float(row.max(initial=0)), 4) for row in self.uncertainty],
            "uncertainty_by_class": {
                name: [round(float(u), 4) for u in self.uncertainty[:, c]] for c, name in enumerate(self.classes)
            },
            "pasted": self.pasted,
            "remaining": self.remaining,
            "latencies": {name: round(seconds, 4) for name, seconds in self.latencies.items()},
            "notes": self.notes,
            "encoder": self.encoder,
        }


@dataclass(frozen=True)
class _Task:
    """The collection and the served decoder, made ready for prediction."""

    episodes: Episodes
    classes: tuple[str, ...]  # drawn ones, in the order of the logits
    detail_size: int
    model: TaskModel | None
    notes: list[str]


class Predictor:
    """Segments volumes; keeps what it made of the collection until the collection or the decoder changes."""

    def __init__(self, settings: Settings, embedder: Embedder, collection: Collection, store: ModelStore) -> None:
        self.settings, self.embedder, self.collection, self.store = settings, embedder, collection, store
        self._lock = threading.Lock()
        self._task: tuple[tuple[int, int], _Task | None] | None = None

    def predict(
        self,
        volume: Volume,
        image_id: str | None = None,
        *,
        slices: Sequence[int] | None = None,
        progress: Callable[[int, int], None] | None = None,
        time_limit: float | None = None,
    ) -> Prediction:
        """Segment ``volume``, or only ``slices`` of it.

        Args:
            image_id: Its id in the collection, so that its drawn slices are pasted.
            progress: Called with slices done and in all.
            time_limit: Seconds after which the slices left are returned in ``remaining`` (default: the setting).
        """
        started = time.monotonic()
        limit = time_limit if time_limit is not None else self.settings.time_limit
        classes = self.collection.classes
        task = self._ready()
        wanted = sorted(set(range(volume.depth)) if slices is None else {z for z in slices if 0 <= z < volume.depth})
        mine = self._drawn(volume, image_id)
        shape = volume.slices.shape[:3]
        if task is None:
            why = "no labelled slice yet: submit a label for at least one slice, then segment again"
            labelmap = np.zeros(shape, np.uint8)
            return self._prediction(labelmap, classes, volume.depth, None, [], wanted, [why], {}, [])

        latencies = {"prepare": time.monotonic() - started}
        scores = _Scores(volume.depth, len(task.classes))
        runner = _Runner(self, task, volume, latencies)
        done: list[int] = []
        for start in range(0, len(wanted), CHUNK):
            chunk = wanted[start : start + CHUNK]
            if limit is not None and done and time.monotonic() - started > limit:
                break
            runner.run(chunk, scores)
            done += chunk
            if progress:
                progress(len(done), len(wanted))
        tick = time.monotonic()
        labelmap = self._compose(volume, task, runner, done, mine)
        latencies["postprocess"] = time.monotonic() - tick
        latencies["total"] = time.monotonic() - started
        notes = list(task.notes)
        if task.model is None:
            notes.append("untrained: the answer of prototypes and a linear probe; train to improve it")
        missing = [name for name in classes if name not in task.classes]
        if missing:
            notes.append(f"no labelled slice yet for: {', '.join(missing)}")
        remaining = [z for z in wanted if z not in set(done)]
        return self._prediction(
            labelmap, classes, volume.depth, (task, scores), sorted(mine), remaining, notes, latencies, done
        )

    def _drawn(self, volume: Volume, image_id: str | None) -> dict[int, Shot]:
        """Shots to paste back, by slice: those drawn on just these pixels, whatever else the id once named."""
        if image_id is None:
            return {}
        return {shot.slice: shot for shot in self.collection.shots(image_id, content_hash=volume.content_hash)}

    def forget(self) -> None:
        """Free what is kept of the collection and the decoder, for instance after running out of memory."""
        with self._lock:
            self._task = None

    def _prediction(
        self,
        labelmap: np.ndarray,
        classes: tuple[str, ...],
        depth: int,
        scored: tuple[_Task, _Scores] | None,
        pasted: list[int],
        remaining: list[int],
        notes: list[str],
        latencies: dict[str, float],
        done: list[int],
    ) -> Prediction:
        uncertainty = np.zeros((depth, len(classes)), np.float32)
        foreground = np.zeros((depth, len(classes)), np.float32)
        model = None
        if scored is not None:
            task, scores = scored
            model = task.model
            columns = [classes.index(name) for name in task.classes]
            uncertainty[:, columns] = scores.uncertainty
            uncertainty[pasted] = 0
            for c in range(len(classes)):
                foreground[:, c] = (labelmap == c + 1).mean(axis=(1, 2))
        return Prediction(
            labelmap,
            classes,
            uncertainty,
            foreground,
            model_version=model.version if model else 0,
            trained=model is not None,
            shots=len(scored[0].episodes.bank.shots.unique()) if scored else 0,
            encoder=self.embedder.info.as_dict(),
            pasted=pasted,
            remaining=remaining,
            latencies=latencies,
            notes=notes,
        )

    def _compose(
        self, volume: Volume, task: _Task, runner: _Runner, done: list[int], mine: dict[int, Shot]
    ) -> np.ndarray:
        """Probabilities to labelmap on the image's grid, drawn slices as drawn."""
        settings = self.settings
        labelmap = np.zeros(volume.slices.shape[:3], np.uint8)
        if not done:
            return labelmap
        winners = class_indices(
            runner.probabilities(),
            runner.frame,
            smooth=settings.smooth_z and len(done) == volume.depth,
            gate=settings.presence_gate,
        )
        values = np.array([0, *(self.collection.classes.index(name) + 1 for name in task.classes)], np.uint8)
        labelmap[done] = values[winners]
        if settings.largest_component != "off":
            helped = task.model.card.largest_component if task.model else ()
            names = task.classes if settings.largest_component == "on" else helped
            labelmap = keep_largest_of(labelmap, [self.collection.classes.index(name) + 1 for name in names])
        for z, shot in mine.items():
            labelmap[z] = drawn_labelmap(shot, self.collection.classes, labelmap[z])
        return labelmap

    def _ready(self) -> _Task | None:
        key = (self.collection.version, self.store.version())
        with self._lock:
            if self._task is None or self._task[0] != key:
                self._task = (key, self._build())
            return self._task[1]

    def _build(self) -> _Task | None:
        shots, order = self.collection.shots(), self.collection.classes
        imports, notes = usable_imports(self.collection, self.embedder.info.fingerprint)
        shown = {*drawn_classes(shots, order), *support_classes(imports, order)}
        classes = tuple(name for name in order if name in shown)
        if not classes:
            return None
        model = None
        try:
            model = self.store.load()
        except FewSAMError as error:
            notes.append(f"answering untrained: {error}")
        if model is not None:
            notes += model.notes
            if model.card.encoder != self.embedder.info.fingerprint:
                notes.append("the trained decoder belongs to another encoder: answering untrained; train again")
                model = None
            elif new := [name for name in classes if name not in model.card.classes]:
                notes.append(f"drawn since the last training: {', '.join(new)}; train to learn them")
        if model is not None:
            detail_size = model.card.detail_size
        else:
            detail_size = detail_size_for(shots, self.settings) if shots else imports[0].meta.detail_size
        slots = class_slots(model.card if model else None, classes)
        numbers = [slots.index(name) + 1 for name in classes]
        imported = labelled_views(imports, classes, len(shots))
        episodes = Episodes(self.settings, shots, classes, self.embedder, detail_size, numbers, imported)
        return _Task(episodes, classes, detail_size, model, notes)


class _Scores:
    """Uncertainty by slice and class, filled chunk by chunk."""

    def __init__(self, depth: int, classes: int) -> None:
        self.uncertainty = np.zeros((depth, classes), np.float32)


class _Runner:
    """Chunks of one volume through encoder, prompts and decoder; keeps probabilities at detail size."""

    def __init__(self, predictor: Predictor, task: _Task, volume: Volume, latencies: dict[str, float]) -> None:
        self.settings, self.embedder, self.task, self.volume = predictor.settings, predictor.embedder, task, volume
        self.latencies = latencies
        geometry = volume.geometry
        shape, spacing = geometry.slices_shape, geometry.spacing
        self.intensity = choose_intensity(image_stats(volume), self.settings)
        self.frame: Frame = make_frame(shape, spacing, self.embedder.info.input_size)
        self.detail_frame = make_frame(shape, spacing, task.detail_size)
        self._kept: list[np.ndarray] = []

    def probabilities(self) -> np.ndarray:
        """(slices run, C, D, D) float16."""
        return np.concatenate(self._kept)

    @torch.inference_mode()
    def run(self, chunk: Sequence[int], scores: _Scores) -> None:
        tick = time.monotonic()
        raw = np.stack([self.volume.raw_slice(z) for z in chunk])
        images = to_uint8(raw, self.intensity, self.frame, self.settings.channels)
        details = detail_bytes(raw, self.intensity, self.detail_frame)
        tick = self._spent("preprocess", tick)
        embeddings = torch.from_numpy(self.embedder.embed(images)).float()
        tick = self._spent("encode", tick)
        place = torch.tensor([z / max(1, self.volume.depth - 1) for z in chunk])
        detail = detail_tensor(details)
        members = torch.stack([self._decode(embeddings, place, detail, subset) for subset in self._subsets()])
        scores.uncertainty[list(chunk)] = expected_disagreement(members).numpy()
        # The answer is that of all supports. Averaged with answers of some of them it was worse by 0.01 to 0.09 mean
        # IoU at three and five slices: a subset may lack the one slice that shows a class.
        self._kept.append(members[0].half().numpy())
        self._spent("decode", tick)

    def _decode(self, embeddings: Tensor, place: Tensor, detail: Tensor, subset: Tensor) -> Tensor:
        bank, model, side = self.task.episodes.bank, self.task.model, detail.shape[-1]
        if model is None:
            prior = bank.prior(embeddings, place, subset)
            logits = torch.nn.functional.interpolate(prior, size=(side, side), mode="bilinear", align_corners=False)
        else:
            prompts: Prompts = bank.prompts(embeddings, place, subset=subset, retrieve=self.settings.retrieve)
            logits = model.decoder.answer(embeddings, prompts, detail)
        return logits.softmax(dim=1)

    def _subsets(self) -> list[Tensor]:
        """All supports, and a part of them (each leaving another share out) for each further member of the ensemble."""
        everything = self.task.episodes.primary
        shots = self.task.episodes.bank.shots[everything]
        parts = self.settings.ensemble - 1
        if parts < 1 or len(shots.unique()) < MIN_SHOTS_FOR_SUBSETS:
            return [everything]
        if parts == 1:
            return [everything, everything[::2]]
        return [everything] + [everything[shots % parts != part] for part in range(parts)]

    def _spent(self, stage: str, since: float) -> float:
        now = time.monotonic()
        self.latencies[stage] = self.latencies.get(stage, 0.0) + now - since
        return now


def drawn_labelmap(shot: Shot, classes: Sequence[str], below: np.ndarray) -> np.ndarray:
    """A shot as labels (H, W); classes it does not know keep what is ``below`` where nothing is drawn."""
    known = [value for value, name in enumerate(classes, 1) if name in shot.known]
    result = np.where(np.isin(below, known), 0, below).astype(np.uint8)
    for value, name in enumerate(classes, 1):
        if name in shot.masks:
            result[shot.masks[name]] = value
    return result
