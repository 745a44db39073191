"""Trained decoders on disk: numbered safetensors files and one pointer, replaced atomically.

A reader sees the previous version or the next, never half of one; a process killed while publishing
leaves at most a file that no pointer names. Each file carries a checksum of its weights, which safetensors lacks.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor

from fewsam.core.atomic import write_atomically
from fewsam.core.errors import CheckpointError, StorageError
from fewsam.core.files import sha256_of
from fewsam.fewshot.model.card import FORMAT, ModelCard, read_card
from fewsam.fewshot.model.decoder import FewShotMaskDecoder

logger = logging.getLogger(__name__)

KEPT_VERSIONS = 3


class DamagedError(CheckpointError):
    """A file is not what was published."""


@dataclass(frozen=True)
class TaskModel:
    """A decoder ready to use, with its card and its version number."""

    decoder: FewShotMaskDecoder
    card: ModelCard
    version: int
    notes: list[str] = field(default_factory=list)

    def to(self, device: torch.device) -> TaskModel:
        """The same on ``device``; it is itself where it is there already."""
        if next(self.decoder.parameters()).device == device:
            return self
        decoder = build_decoder(self.card.switches).to(device)
        decoder.load_state_dict(self.decoder.state_dict())
        return replace(self, decoder=decoder.eval())


def build_decoder(switches: dict[str, Any]) -> FewShotMaskDecoder:
    """A decoder from the switches of a card.

    Raises:
        CheckpointError: a switch that no decoder has, or beyond its bounds: a card comes with its file.
    """
    bounds = {"use_tokens": 1, "use_dense": 1, "use_detail": 1, "use_embedding": 1, "stride": 64, "mlp_dim": 8192}
    for name, value in switches.items():
        if name not in bounds or type(value) not in (bool, int) or not 0 <= value <= bounds[name]:
            raise CheckpointError(f"no decoder has the switch {str(name)[:80]!r} at {str(value)[:80]}; update fewsam")
    return FewShotMaskDecoder(**switches)


class ModelStore:
    """The versions of one task's decoder in ``folder/versions``, and ``folder/current.json``."""

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        self.versions = self.folder / "versions"
        self.pointer = self.folder / "current.json"

    def _pointed(self) -> int:
        """What the pointer names; raises FileNotFoundError or one of ``_NO_POINTER``."""
        return int(json.loads(self.pointer.read_text(encoding="utf-8"))["version"])

    def version(self) -> int:
        """Number of the served version, 0 where nothing is trained yet.

        A pointer that is damaged, or cannot be read now, names the newest file.
        """
        try:
            return self._pointed()
        except FileNotFoundError:
            return 0
        except (OSError, *_NO_POINTER) as error:
            newest = max(self._numbers(), default=0)
            state = "cannot be read now" if isinstance(error, OSError) else "is damaged"
            logger.warning("%s %s (%s): serving version %d, the newest there is", self.pointer, state, error, newest)
            return newest

    def fingerprint(self) -> str:
        """SHA-256 of the file of the served decoder; "" where nothing is trained yet."""
        version = self.version()
        try:
            return sha256_of(self._path(version)) if version else ""
        except OSError:  # an earlier version answers in its place
            return f"in place of version {version}"

    def repair(self) -> list[str]:
        """Make the pointer name a whole file; says what had to be done. Damaged files are kept under another name.

        A file that cannot be read for another reason than its damage (a passing error, a newer fewsam's format) is
        named and left as it is, and the pointer with it: ``load`` serves an earlier version meanwhile.

        Raises:
            StorageError: the disk is full.
        """
        notices: list[str] = []
        if not self.pointer.exists():
            return notices
        try:
            if self.versions.exists():
                os.listdir(self.versions)  # `glob` takes a folder that may not be read for an empty one
            pointed, named = self._pointed(), True
        except OSError as error:
            return [f"{error.filename} cannot be read now ({error.strerror}); left as it is"]
        except _NO_POINTER:
            notices.append(f"{self.pointer.name} was damaged")
            pointed, named = max(self._numbers(), default=0), False
        whole = 0
        for number in sorted((n for n in self._numbers() if n <= pointed), reverse=True):
            path = self._path(number)
            try:
                self._read(path)
            except (SafetensorError, DamagedError) as error:
                path.rename(path.with_name(f"{path.name}.damaged"))
                notices.append(f"model {number} was damaged ({error}); kept as {path.name}.damaged")
                continue
            except _UNREADABLE as error:
                why = " ".join(str(error).split())[:300]
                notices.append(f"model {number} cannot be read now, and is left as it is ({why})")
            whole = number
            break
        if whole == pointed and named:
            return notices
        if whole == 0:
            self.pointer.unlink()
            return [*notices, "no trained model could be read: serving untrained; train again"]
        write_atomically(self.pointer, json.dumps({"version": whole}).encode())
        return [*notices, f"serving model {whole}"]

    def info(self) -> dict[str, Any]:
        """Version and card of the served decoder, without loading its weights."""
        version = self.version()
        if version == 0:
            return {"version": 0, "trained": False}
        return {"version": version, "trained": True, **asdict(self._card(self._path(version)))}

    def load(self, device: torch.device | str = "cpu") -> TaskModel | None:
        """The served decoder on ``device``, or None where nothing is trained yet.

        Raises:
            CheckpointError: the file is missing or damaged, and no earlier version is whole.
        """
        version = self.version()
        if version == 0:
            return None
        problems: list[str] = []
        candidates = sorted((n for n in self._numbers() if 1 <= n <= version), reverse=True) or [version]
        for number in candidates:
            try:
                decoder, card = self._read(self._path(number))
            except _UNREADABLE as error:
                problems.append(f"version {number} cannot be read: {' '.join(str(error).split())[:300]}")
                continue
            return TaskModel(decoder.to(device), card, number, problems)
        raise CheckpointError(f"no trained decoder in {self.versions} can be read ({'; '.join(problems)}); train again")

    def publish(self, state: dict[str, Tensor], card: ModelCard) -> int:
        """Write a new version and point to it; returns its number.

        Raises:
            StorageError: the disk is full or not writable; the served version stays.
        """
        version = max({self.version(), *self._numbers(damaged=True), 0}) + 1
        state = {name: value.cpu().contiguous() for name, value in state.items()}
        body = save(state, metadata={"card": json.dumps(asdict(card)), "checksum": checksum(state)})
        write_atomically(self._path(version), body)
        try:
            write_atomically(self.pointer, json.dumps({"version": version}).encode())
        except StorageError:
            self._path(version).unlink(missing_ok=True)  # nobody would ever read it, and the disk is full as it is
            raise
        for number in sorted(self._numbers())[:-KEPT_VERSIONS]:
            self._path(number).unlink(missing_ok=True)
        return version

    def _path(self, version: int) -> Path:
        return self.versions / f"decoder-{version:05d}.safetensors"

    def _numbers(self, damaged: bool = False) -> set[int]:
        """Versions there are; with ``damaged`` also those set aside, whose numbers are not given again."""
        names = [path.name for path in self.versions.glob(f"decoder-*.safetensors{'*' if damaged else ''}")]
        return {int(number) for name in names if (number := name[8:].split(".")[0]).isdigit()}

    @classmethod
    def _read(cls, path: Path) -> tuple[FewShotMaskDecoder, ModelCard]:
        """A decoder, proved to be as it was published; raises one of ``_UNREADABLE``."""
        card = cls._card(path)
        state = load_file(path)
        with safe_open(path, framework="pt") as file:
            expected = (file.metadata() or {}).get("checksum")
        if expected is not None and expected != checksum(state):  # files of earlier releases have none
            raise DamagedError(f"{path}: its weights are not those that were published")
        decoder = build_decoder(card.switches)
        decoder.load_state_dict(state)
        return decoder.eval(), card

    @staticmethod
    def _card(path: Path) -> ModelCard:
        try:
            with safe_open(path, framework="pt") as file:
                card = json.loads((file.metadata() or {})["card"])
            version = card.get("format")
            if version == FORMAT:
                return read_card(card)
            if not isinstance(version, int) or version < FORMAT:
                raise ValueError(f"format {str(version)[:20]}")
        except OSError as error:
            raise CheckpointError(f"{path} cannot be read ({error})") from None
        except (SafetensorError, KeyError, ValueError, TypeError, AttributeError, RecursionError) as error:
            reason = " ".join(str(error).split())[:300]
            raise DamagedError(f"{path} is no decoder of ours or is damaged ({reason})") from None
        raise CheckpointError(
            f"{path} has format {str(version)[:20]}, this version reads {FORMAT}; update fewsam, or train again"
        )


_NO_POINTER = (ValueError, KeyError, TypeError, OverflowError, RecursionError)
_UNREADABLE = (OSError, SafetensorError, CheckpointError, RuntimeError, TypeError)


def checksum(state: Mapping[str, Tensor]) -> str:
    """Digest of names, types, shapes and values."""
    digest = hashlib.sha256()
    for name, value in sorted(state.items()):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)} ".encode())
        digest.update(value.detach().cpu().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
