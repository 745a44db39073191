"""Decoded images kept in memory, while their files stay as they are."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

from fewsam.core.errors import ImageError
from fewsam.images.image_files import image_files
from fewsam.images.sequences import load_image
from fewsam.images.volume import Volume

KEPT_BYTES = 1 << 30


class Volumes:
    """Images by path, those used last; safe for several threads.

    Args:
        axis: As in the settings: the native axis cut into slices.
        sequences: As in the settings: the names of an image's channels.
        kept_bytes: Of decoded images at most; one image is kept in any case.
    """

    def __init__(self, axis: str, sequences: Sequence[str] = (), kept_bytes: int = KEPT_BYTES) -> None:
        self._axis, self._sequences, self._kept_bytes = axis, tuple(sequences), kept_bytes
        self._volumes: OrderedDict[tuple[str, tuple[int, ...]], Volume] = OrderedDict()
        self._lock = threading.Lock()

    def open(self, path: str | os.PathLike[str]) -> Volume:
        """The image at ``path``, from memory where the file has not changed since.

        Raises:
            ImageError: the file is missing or unreadable.
        """
        path = os.fspath(path)
        try:
            os.stat(path)
            stats = [file.stat() for file in image_files(Path(path), self._sequences)]
        except OSError:
            raise ImageError(f"image file {Path(path).name} is missing from the studies folder") from None
        key = (path, tuple(number for stat in stats for number in (stat.st_mtime_ns, stat.st_size)))
        with self._lock:
            if key in self._volumes:
                self._volumes.move_to_end(key)
                return self._volumes[key]
        volume = load_image(path, self._axis, self._sequences)
        with self._lock:
            for old in [other for other in self._volumes if other[0] == path]:
                del self._volumes[old]
            self._volumes[key] = volume
            while len(self._volumes) > 1 and sum(v.slices.nbytes for v in self._volumes.values()) > self._kept_bytes:
                self._volumes.popitem(last=False)
        return volume
