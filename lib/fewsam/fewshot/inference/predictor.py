"""From a volume to a labelmap, with what the collection and the served decoder know.

With no label the answer is empty and says why; with labels but no trained decoder the training-free
prior answers and says that it is untrained; slices drawn by hand come back as drawn.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import groupby

import numpy as np

from fewsam.collection import Collection, Shot
from fewsam.collection.structures import steadily
from fewsam.core.class_values import lookup_values, values_by_name
from fewsam.core.config import Settings
from fewsam.encoders.embedder import Embedder
from fewsam.fewshot.inference.postprocess import class_indices, clean, keep_largest, without_islands, without_strays
from fewsam.fewshot.inference.prediction import Prediction, drawn_labelmap
from fewsam.fewshot.inference.task import FewShotTask, make_ready
from fewsam.fewshot.inference.uncertainty import with_distance
from fewsam.fewshot.inference.volume_runner import VolumeRunner
from fewsam.fewshot.model.store import ModelStore
from fewsam.fewshot.registration.registration import Fields
from fewsam.images.volume import Volume

CHUNK = 4  # slices a pass: what bounds memory and the wait of others
CHUNK_ACCELERATOR = 16  # the same on an accelerator, which small passes would leave idle


class Predictor:
    """Segments volumes; keeps what it made of the collection until the collection or the decoder changes."""

    def __init__(self, settings: Settings, embedder: Embedder, collection: Collection, store: ModelStore) -> None:
        self.settings, self.embedder, self.collection, self.store = settings, embedder, collection, store
        self.fields = Fields()
        self._lock = threading.Lock()
        self._task: tuple[tuple[int, int], FewShotTask | None] | None = None

    @property
    def structures(self) -> dict[str, str]:
        """What the task's structures are called, by key, in the order of the labelmap's values."""
        return self.collection.names.present

    def predict(
        self,
        volume: Volume,
        image_id: str | None = None,
        *,
        slices: Sequence[int] | None = None,
        progress: Callable[[int, int], None] | None = None,
        time_limit: float | None = None,
        unencoded: Sequence[int] = (),
    ) -> Prediction:
        """Segment ``volume``, or only ``slices`` of it.

        Args:
            image_id: Its id in the collection, so that its drawn slices are pasted.
            progress: Called with slices done and in all.
            time_limit: Seconds after which the slices left are returned in ``remaining`` (default: the setting).
            unencoded: Slices to answer without their embeddings: from labelled slices, by registration alone. They are
                in ``remaining`` where there is nothing to register.
        """
        started = time.monotonic()
        limit = time_limit if time_limit is not None else self.settings.time_limit
        structures, (task, mine) = steadily(
            lambda: self.structures, lambda: (self.ready(), self.drawn(volume, image_id))
        )
        wanted = sorted(set(range(volume.depth)) if slices is None else {z for z in slices if 0 <= z < volume.depth})
        if task is None:
            why = "no labelled slice yet: submit a label for at least one slice, then segment again"
            return self._empty(np.zeros(volume.slices.shape[:3], np.uint8), structures, [], wanted, [why])
        runner = VolumeRunner(self.settings, self.embedder, task, volume, mine, self.fields)
        runner.latencies["prepare"] = time.monotonic() - started
        apart = frozenset(unencoded)
        todo = wanted if runner.can_register else [z for z in wanted if z not in apart]
        done = self._run(runner, todo, apart, progress, None if limit is None else started + limit)
        tick = time.monotonic()
        labelmap = self._compose(volume, task, tuple(structures.values()), runner, done, mine)
        runner.latencies["postprocess"] = time.monotonic() - tick
        runner.latencies["total"] = time.monotonic() - started
        return self._answer(labelmap, task, structures, runner, mine, wanted, done, apart)

    @staticmethod
    def _run(
        runner: VolumeRunner,
        wanted: Sequence[int],
        unencoded: frozenset[int],
        progress: Callable[[int, int], None] | None,
        until: float | None,
    ) -> list[int]:
        """Segment slices chunk by chunk, at least one chunk, until all are done or time is up; those that are done."""
        done: list[int] = []
        size = CHUNK if runner.embedder.device.type == "cpu" else CHUNK_ACCELERATOR
        for chunk in _chunks(wanted, unencoded, size):
            if until is not None and done and time.monotonic() > until:
                break
            (runner.run_without_embeddings if chunk[0] in unencoded else runner.run)(chunk)
            done += chunk
            if progress:
                progress(len(done), len(wanted))
        return done

    def _answer(
        self,
        labelmap: np.ndarray,
        task: FewShotTask,
        structures: dict[str, str],
        runner: VolumeRunner,
        mine: dict[int, Shot],
        wanted: Sequence[int],
        done: Sequence[int],
        apart: frozenset[int],
    ) -> Prediction:
        """The labelmap with its uncertainty and with what stands behind it."""
        notes, classes = list(task.notes), tuple(structures.values())
        if task.model is None:
            notes.append("untrained: the answer of prototypes and a linear probe; train to improve it")
        if missing := [name for name in classes if name not in task.classes]:
            notes.append(f"no labelled slice yet for: {', '.join(missing)}")
        unencoded = [z for z in wanted if z in apart and z not in mine]
        if unencoded:
            how = "answered from labelled slices alone" if runner.can_register else "not answered"
            notes.append(
                f"{len(unencoded)} of {len(labelmap)} slices are not encoded yet and are {how}; segment again when all "
                "are encoded, and the answer will be better"
            )
        remaining = [z for z in wanted if z not in set(done)]
        answer = self._empty(labelmap, structures, sorted(mine), remaining, notes)
        columns = [classes.index(name) for name in task.classes]
        answer.uncertainty[:, columns] = with_distance(runner.uncertainty, mine)
        answer.uncertainty[answer.pasted] = 0
        for c in range(len(classes)):
            answer.foreground[:, c] = (labelmap == c + 1).mean(axis=(1, 2))
        return replace(
            answer,
            model_version=task.model.version if task.model else 0,
            trained=task.model is not None,
            shots=len(task.supports.bank.shots.unique()),
            latencies=runner.latencies,
            unencoded=unencoded,
        )

    def drawn(self, volume: Volume, image_id: str | None) -> dict[int, Shot]:
        """Shots of the volume, by slice: those drawn on just these pixels, whatever else the id once named."""
        if image_id is None:
            return {}
        return {shot.slice: shot for shot in self.collection.shots(image_id, content_hash=volume.content_hash)}

    def _empty(
        self,
        labelmap: np.ndarray,
        structures: dict[str, str],
        pasted: list[int],
        remaining: list[int],
        notes: list[str],
    ) -> Prediction:
        """An answer in which nothing was segmented."""
        classes = tuple(structures.values())
        nothing = np.zeros((len(labelmap), len(classes)), np.float32)
        return Prediction(
            labelmap, classes, nothing, nothing.copy(), model_version=0, trained=False, shots=0,
            encoder=self.embedder.info.as_dict(), pasted=pasted, remaining=remaining, notes=notes,
            keys=tuple(structures),
        )  # fmt: skip

    def _compose(
        self,
        volume: Volume,
        task: FewShotTask,
        classes: tuple[str, ...],
        runner: VolumeRunner,
        done: list[int],
        mine: dict[int, Shot],
    ) -> np.ndarray:
        """Probabilities to labelmap on the image's grid, drawn slices as drawn."""
        settings = self.settings
        labelmap = np.zeros(volume.slices.shape[:3], np.uint8)
        if not done:
            return labelmap
        winners = class_indices(
            runner.probabilities(),
            runner.frame,
            depths=volume.geometry.depths if settings.smooth_z and len(done) == volume.depth else None,
            # Where drawn slices are propagated to the others they say what is there, and probabilities are evened out.
            gate=settings.presence_gate and not (mine and settings.propagate),
        )
        values = lookup_values(task.classes, classes)
        labelmap[done] = values[winners]
        # Between slices that were not asked for, nothing touches anything.
        if settings.largest_component != "off" and len(done) == volume.depth:
            labelmap = self._cleaned(labelmap, task, classes, mine)
        for z, shot in mine.items():
            labelmap[z] = drawn_labelmap(shot, classes, labelmap[z])
        return labelmap

    def _cleaned(
        self, labelmap: np.ndarray, task: FewShotTask, classes: tuple[str, ...], mine: dict[int, Shot]
    ) -> np.ndarray:
        """The labelmap without stray components, as the setting has it."""
        every, is_2d_image = self.settings.largest_component == "on", len(labelmap) == 1
        helped = task.model.card.largest_component if task.model else ()
        # What helped was measured on slices. Between slices a class may be in pieces, as a spine is.
        keep = keep_largest if every or is_2d_image else without_islands
        names = task.classes if every else helped
        values = values_by_name(classes)
        labelmap = clean(labelmap, [values[name] for name in names if name in values], keep)  # one may be renamed
        for name in task.classes:
            drawn = [z for z, shot in mine.items() if name in shot.masks and shot.masks[name].any()]
            if drawn:
                labelmap = clean(labelmap, [values[name]], partial(without_strays, first=min(drawn), last=max(drawn)))
        return labelmap

    def ready(self) -> FewShotTask | None:
        """What the collection and the served decoder are now; None without any label."""
        key = (self.collection.version, self.store.version())
        with self._lock:
            if self._task is None or self._task[0] != key:
                self._task = (key, make_ready(self.settings, self.embedder, self.collection, self.store))
            return self._task[1]


def _chunks(slices: Sequence[int], unencoded: frozenset[int], size: int) -> Iterator[list[int]]:
    """``slices`` in order, at most ``size`` at once, those in ``unencoded`` apart from the others."""
    for _, group in groupby(slices, unencoded.__contains__):
        part = list(group)
        yield from (part[start : start + size] for start in range(0, len(part), size))
