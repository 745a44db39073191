"""Trained decoders on disk: numbered safetensors files and one pointer, replaced atomically.

A reader sees the previous version or the next, never half of one; a process killed while publishing
leaves at most a file that no pointer names.
"""

from __future__ import annotations

import errno
import json
import os
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor

from fewsam.decoder import FewShotMaskDecoder
from fewsam.errors import CheckpointError, StorageError

KEPT_VERSIONS = 3
FORMAT = 1


@dataclass(frozen=True)
class ModelCard:
    """What a trained decoder is, beside its weights.

    Attributes:
        classes: Class names in the order of its logits, without background.
        slots: All classes the task has had, in the order of their slots (1, 2, ...) in the decoder.
        encoder: Fingerprint of the encoder whose embeddings it was trained on.
        detail_size: Side D of its detail input.
        switches: Constructor arguments of the decoder.
        shots: Ids of the shots it was trained on.
        metric: Mean Dice on slices it was not trained on; None where there were none.
        measured_on: Ids of those slices.
        largest_component: Classes for which keeping the largest component helped.
        steps: Training steps behind it, earlier runs included.
    """

    classes: tuple[str, ...]
    slots: tuple[str, ...]
    encoder: str
    detail_size: int
    switches: dict[str, Any]
    shots: tuple[int, ...] = ()
    metric: float | None = None
    measured_on: tuple[int, ...] = ()
    largest_component: tuple[str, ...] = ()
    steps: int = 0
    seconds: float = 0.0
    trained_at: str = ""
    format: int = FORMAT


@dataclass(frozen=True)
class TaskModel:
    """A decoder ready to use, with its card and its version number."""

    decoder: FewShotMaskDecoder
    card: ModelCard
    version: int
    notes: list[str] = field(default_factory=list)


def class_slots(card: ModelCard | None, classes: Sequence[str]) -> tuple[str, ...]:
    """Slot order: the classes of ``card`` keep theirs, further ``classes`` follow."""
    before = card.slots if card else ()
    return (*before, *(name for name in classes if name not in before))


def build_decoder(switches: dict[str, Any]) -> FewShotMaskDecoder:
    """A decoder from the switches of a card."""
    return FewShotMaskDecoder(**switches)


class ModelStore:
    """The versions of one task's decoder in ``folder/versions``, and ``folder/current.json``."""

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        self.versions = self.folder / "versions"
        self.pointer = self.folder / "current.json"

    def version(self) -> int:
        """Number of the served version, 0 where nothing is trained yet."""
        try:
            return int(json.loads(self.pointer.read_text(encoding="utf-8"))["version"])
        except FileNotFoundError:
            return 0
        except (ValueError, KeyError, TypeError) as error:
            raise CheckpointError(f"{self.pointer} is damaged ({error}); delete it to serve untrained") from None

    def info(self) -> dict[str, Any]:
        """Version and card of the served decoder, without loading its weights."""
        version = self.version()
        if version == 0:
            return {"version": 0, "trained": False}
        return {"version": version, "trained": True, **asdict(self._card(self._path(version)))}

    def load(self) -> TaskModel | None:
        """The served decoder, or None where nothing is trained yet.

        Raises:
            CheckpointError: the file is missing or damaged, and no earlier version is whole.
        """
        version = self.version()
        if version == 0:
            return None
        problems: list[str] = []
        candidates = sorted(self._numbers() & set(range(1, version + 1)), reverse=True) or [version]
        for number in candidates:
            path = self._path(number)
            try:
                card = self._card(path)
                decoder = build_decoder(card.switches)
                decoder.load_state_dict(load_file(path))
            except (OSError, SafetensorError, CheckpointError, RuntimeError, TypeError) as error:
                problems.append(f"version {number} cannot be read: {error}")
                continue
            return TaskModel(decoder.eval(), card, number, problems)
        raise CheckpointError(f"no trained decoder in {self.versions} can be read ({'; '.join(problems)}); train again")

    def publish(self, state: dict[str, Tensor], card: ModelCard) -> int:
        """Write a new version and point to it; returns its number.

        Raises:
            StorageError: the disk is full or not writable; the served version stays.
        """
        version = max({self.version(), *self._numbers(), 0}) + 1
        body = save(
            {name: value.contiguous() for name, value in state.items()}, metadata={"card": json.dumps(asdict(card))}
        )
        write_atomically(self._path(version), body)
        write_atomically(self.pointer, json.dumps({"version": version}).encode())
        for number in sorted(self._numbers())[:-KEPT_VERSIONS]:
            self._path(number).unlink(missing_ok=True)
        return version

    def _path(self, version: int) -> Path:
        return self.versions / f"decoder-{version:05d}.safetensors"

    def _numbers(self) -> set[int]:
        return {int(path.stem.split("-")[1]) for path in self.versions.glob("decoder-*.safetensors")}

    @staticmethod
    def _card(path: Path) -> ModelCard:
        try:
            with safe_open(path, framework="pt") as file:
                card = json.loads((file.metadata() or {})["card"])
        except (OSError, SafetensorError, KeyError, ValueError) as error:
            raise CheckpointError(f"{path} is no decoder of ours or is damaged ({error})") from None
        if card.get("format") != FORMAT:
            raise CheckpointError(f"{path} has format {card.get('format')}, this version reads {FORMAT}; train again")
        tuples = {key: tuple(card[key]) for key in ("classes", "slots", "shots", "measured_on", "largest_component")}
        return ModelCard(**{**card, **tuples})


def write_atomically(path: Path, body: bytes) -> None:
    """Write and fsync beside ``path``, then replace it: readers see the old or the new, whole.

    Raises:
        StorageError: the disk is full or the folder cannot be written.
    """
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
            temporary = file.name
            file.write(body)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
        reason = "the disk is full" if error.errno == errno.ENOSPC else error.strerror
        raise StorageError(f"cannot write {path}: {reason}; free space or check permissions, then try again") from None
