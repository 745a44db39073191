"""Who has which image open: the names that panels sent lately. It is kept in memory alone, and lost with the server."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

SECONDS = 60.0  # a panel asks for the state every few seconds


class Presence:
    """Names by image; safe for several threads.

    Args:
        clock: Seconds that only grow.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._seen: dict[str, tuple[str, float]] = {}  # name -> the image that it was seen with last, and when

    def note(self, image_id: str, name: str) -> None:
        """Somebody has this image open, and no other any more."""
        with self._lock:
            self._seen[name] = image_id, self._clock()

    def people(self) -> dict[str, list[str]]:
        """Image -> the names of those who have it open."""
        with self._lock:
            since = self._clock() - SECONDS
            self._seen = {name: seen for name, seen in self._seen.items() if seen[1] >= since}
            found: dict[str, list[str]] = {}
            for name, (image_id, _) in sorted(self._seen.items()):
                found.setdefault(image_id, []).append(name)
            return found


PRESENCE = Presence()
