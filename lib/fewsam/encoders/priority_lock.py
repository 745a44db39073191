"""Who may use the encoder now: people who wait come before background work."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class PriorityLock:
    """A lock that waiting requests take before background work.

    `request` marks the whole of a request, also before it needs the lock: from then on no background work *begins*.
    `hold` is the lock itself. So a request waits for one step of the background at most, and background work waits
    for all requests.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._requests = 0
        self._busy = False

    @contextmanager
    def request(self) -> Iterator[None]:
        """Keep the background waiting meanwhile."""
        with self._changed:
            self._requests += 1
        try:
            yield
        finally:
            with self._changed:
                self._requests -= 1
                self._changed.notify_all()

    @contextmanager
    def hold(self, priority: bool) -> Iterator[None]:
        """Hold the lock; background callers get it only while no request is on."""
        with self._changed:
            self._changed.wait_for(lambda: not self._busy and (priority or not self._requests))
            self._busy = True
        try:
            yield
        finally:
            with self._changed:
                self._busy = False
                self._changed.notify_all()
