"""Worker threads that the routes share, with a bounded queue before them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from fewsam.server.errors import QueueFullError

T = TypeVar("T")

# Two at once: a click is answered while a volume is segmented; more would only share the same cores.
WORKERS = 2
WAITING = 32  # an annotator waits for one answer at a time: more requests come from a broken client


class BoundedPool:
    """Worker threads. Where too much work waits already, more is refused.

    Args:
        workers: How many run at once.
        waiting: How many may wait for one of them.
    """

    def __init__(self, workers: int = WORKERS, waiting: int = WAITING) -> None:
        self._threads = ThreadPoolExecutor(max_workers=workers, thread_name_prefix="infer")
        self._limit = workers + waiting
        self._waiting = waiting
        self._held = 0
        self._lock = threading.Lock()

    @property
    def held(self) -> int:
        """How many run or wait."""
        return self._held

    async def run(self, work: Callable[[], T]) -> T:
        """``work()`` in one of the threads.

        Raises:
            QueueFullError: too many wait already.
        """
        with self._lock:
            if self._held >= self._limit:
                raise QueueFullError(
                    f"the server is busy: {self._waiting} requests wait for an answer already; try again in a minute"
                )
            self._held += 1
        # A client that hangs up no longer waits here, but its work goes on, and is counted until it ends.
        future = self._threads.submit(work)
        future.add_done_callback(lambda _: self._release())
        return await asyncio.wrap_future(future)

    def _release(self) -> None:
        with self._lock:
            self._held -= 1


INFER_THREADS = BoundedPool()
