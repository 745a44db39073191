"""What is known of each image without opening it: its number of slices, and a descriptor of each once it is encoded."""

from __future__ import annotations

import hashlib
import logging
import os
import threading
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from fewsam.core.config import Settings
from fewsam.core.errors import ImageError
from fewsam.images.image_files import image_files

logger = logging.getLogger(__name__)

# The settings that decide the pixels that the encoder sees; another value makes another embedding.
_PIXEL_SETTINGS = (
    "axis", "intensity", "window", "percentiles", "channels", "sequences", "encoder", "checkpoint", "untrained",
    "whiten", "precision", "input_size",
)  # fmt: skip
_ENDING = ".safetensors"


@dataclass(frozen=True)
class IndexEntry:
    """One image.

    Attributes:
        signature: File and settings it was made from.
        depth: Number of slices Z.
        descriptors: (Z, 256) float32, mean embedding of each slice; None until the image is encoded.
        content_hash: Of its pixels; empty in entries of before this was kept.
    """

    signature: str
    depth: int
    descriptors: np.ndarray | None = None
    content_hash: str = ""


def signature(path: str, settings: Settings) -> str:
    """Changes when the file or the settings that decide its pixels change."""
    try:
        files = image_files(Path(path), settings.sequences)
    except ImageError:  # whoever opens it is told
        files = [Path(path)]
    parts: list[object] = [path]
    for stat in [file.stat() for file in files]:
        parts += [stat.st_mtime_ns, stat.st_size]
    parts += [getattr(settings, name) for name in _PIXEL_SETTINGS]
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:32]


class ImageIndex:
    """One small file for each image; safe for several threads. What it holds can always be computed again."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._entries: dict[str, IndexEntry | None] = {}
        self._lock = threading.Lock()

    def get(self, image_id: str) -> IndexEntry | None:
        with self._lock:
            if image_id not in self._entries:
                self._entries[image_id] = self._read(self._path(image_id))
            return self._entries[image_id]

    def is_encoded(self, image_id: str) -> bool:
        """Whether all slices of an image have been encoded."""
        entry = self.get(image_id)
        return entry is not None and entry.descriptors is not None

    def put(self, image_id: str, entry: IndexEntry) -> None:
        path = self._path(image_id)
        temporary = path.with_suffix(f".{os.getpid()}.tmp")
        descriptors = entry.descriptors if entry.descriptors is not None else np.zeros((0, 256), np.float32)
        with self._lock:
            self._entries[image_id] = entry
            self._folder.mkdir(parents=True, exist_ok=True)
            with temporary.open("wb") as file:
                facts = {"signature": entry.signature, "depth": str(entry.depth), "content_hash": entry.content_hash}
                file.write(save({"descriptors": descriptors.astype(np.float16)}, facts))
            os.replace(temporary, path)

    def clear(self) -> None:
        """Forget everything: the embeddings it rests on are gone."""
        with self._lock:
            self._entries.clear()
            for path in self._folder.glob(f"*{_ENDING}"):
                path.unlink(missing_ok=True)

    def _path(self, image_id: str) -> Path:
        return self._folder / f"{hashlib.sha256(image_id.encode()).hexdigest()[:32]}{_ENDING}"

    @staticmethod
    def _read(path: Path) -> IndexEntry | None:
        try:
            with safe_open(path, "numpy") as file:
                facts, descriptors = file.metadata() or {}, file.get_tensor("descriptors").astype(np.float32)
                found, content = descriptors if len(descriptors) else None, facts.get("content_hash", "")
                return IndexEntry(facts["signature"], int(facts["depth"]), found, content)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, SafetensorError):
            logger.warning("%s is damaged and will be made anew", path)
            return None
