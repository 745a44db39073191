"""What a run over many images has made, image by image, in a file that the next run goes on from.

``manifest.jsonl`` has a line for each image as it ends, its last line counts: the hashes of the image and of the
labelmap, the model and labels that it was made with, volumes in millilitres and uncertainty; or why there is none.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from fewsam.core.class_values import names_by_value
from fewsam.core.errors import ImageError, StorageError
from fewsam.core.files import sha256_of
from fewsam.core.version import __version__
from fewsam.fewshot.inference.prediction import Prediction
from fewsam.fewshot.inference.uncertainty import by_slice
from fewsam.images.image_files import image_files
from fewsam.images.measure import volumes_ml
from fewsam.images.volume import Volume
from fewsam.workspace.workspace import Workspace

NAME = "manifest.jsonl"


class Manifest:
    """The manifest of a folder of labelmaps.

    Args:
        workspace: The task that segments; what was made with other labels, another model or other settings is not
            taken for done.

    Attributes:
        task: The state of the task, as one hash.
    """

    def __init__(self, folder: Path, workspace: Workspace) -> None:
        self.path = folder / NAME
        self.task, self._sequences = _state(workspace), workspace.settings.sequences
        self._lines: dict[str, dict[str, Any]] = {}
        text = self.path.read_text(encoding="utf-8") if self.path.is_file() else ""
        for line in text.splitlines():
            try:
                entry = json.loads(line)
                self._lines[entry["image"]] = entry
            except (ValueError, KeyError, TypeError):
                continue  # half written by a run that was killed: its image is done again
        self._ends_whole = not text or text.endswith("\n")

    def made(self, image: str) -> dict[str, Any] | None:
        """What is noted of an image that this task segmented as it is now; None where it failed, or is not there.

        An answer that a time limit has ended before the last slice is none.
        """
        entry = self._lines.get(image)
        if entry is None or entry.get("error") or entry.get("remaining") or entry.get("task") != self.task:
            return None
        return entry

    def is_done(self, image: Path, result: Path) -> bool:
        """Whether the file ``result`` is what this task makes of ``image``, both as they are now."""
        entry = self.made(str(image))
        if entry is None or not is_result(entry, result):
            return False
        now = self._hash_of(image)
        return now is not None and entry.get("image_sha256") == now

    def add(self, image: Path, file: Path, result: Path, volume: Volume, prediction: Prediction) -> None:
        """Note an image file or folder, and put its labelmap where it belongs; as `put`."""
        self.put(str(image), {"image_sha256": self._hash_of(image)}, file, result, volume, prediction)

    def put(
        self, image: str, about: Mapping[str, Any], file: Path, result: Path, volume: Volume, prediction: Prediction
    ) -> None:
        """Note an image whose labelmap is written to ``file``, and put that in the place of ``result``.

        The line comes first: a file that no line speaks of, as after a kill in between, is somebody else's to the next
        run.
        """
        self.note(image, {**about, "result": result.name, "sha256": sha256_of(file)}, volume, prediction)
        file.replace(result)

    def note(self, image: str, about: Mapping[str, Any], volume: Volume, prediction: Prediction) -> None:
        """Note an image whose labelmap is where it belongs.

        Args:
            about: What says which image and which labelmap it is.
        """
        masks = {name: prediction.labelmap == value for value, name in names_by_value(prediction.classes).items()}
        uncertainty = by_slice(prediction.uncertainty, prediction.foreground)
        self._write(
            {
                "image": image,
                **about,
                "task": self.task,
                "model_version": prediction.model_version,
                "trained": prediction.trained,
                "shots": prediction.shots,
                "encoder": prediction.encoder.get("fingerprint"),
                "volumes_ml": {name: round(ml, 4) for name, ml in volumes_ml(masks, volume.geometry).items()},
                "uncertainty": round(float(sum(uncertainty)) / max(1, len(uncertainty)), 4),
                "remaining": prediction.remaining,
                "notes": prediction.notes,
                "seconds": round(prediction.latencies.get("total", 0.0), 2),
            }
        )

    def _hash_of(self, image: Path) -> str | None:
        """SHA-256 of the files of an image in the order of their names; None where one is missing."""
        try:
            return sha256_of(*image_files(image, self._sequences))
        except (ImageError, OSError):
            return None

    def fail(self, image: Path | str, why: str) -> None:
        """Note an image that has no labelmap."""
        self._write({"image": str(image), "error": why, "task": self.task})

    def _write(self, entry: dict[str, Any]) -> None:
        entry |= {"fewsam": __version__, "time": datetime.now(timezone.utc).isoformat(timespec="seconds")}
        self._lines[entry["image"]] = entry
        whole, self._ends_whole = self._ends_whole, False
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a", encoding="utf-8") as file:
                file.write(("" if whole else "\n") + json.dumps(entry) + "\n")
        except OSError as error:
            raise StorageError(
                f"cannot write {self.path}: {error.strerror or error}; free space and run again"
            ) from error
        self._ends_whole = True


def draft_of(result: Path) -> Path:
    """Where a labelmap is written before it is put in the place of ``result``."""
    return result.with_name(f".{result.name}")


def is_result(entry: Mapping[str, Any], result: Path) -> bool:
    """Whether the file is there as the line says."""
    wanted = (entry.get("result"), entry.get("sha256"))
    return result.is_file() and wanted == (result.name, sha256_of(result))


def _state(workspace: Workspace) -> str:
    """What of the task an answer depends on, as one hash."""
    parts = [
        workspace.settings.model_dump(mode="json", exclude={"workers", "cache_gb"}),
        workspace.embedder.info.fingerprint,
        workspace.collection.fingerprint(),
        workspace.store.fingerprint(),
    ]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]
