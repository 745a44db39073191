"""Worker threads that the routes share, with a bounded queue before them that is fair by person."""

from __future__ import annotations

import asyncio
import threading
from collections import OrderedDict, deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from fewsam.server.errors import QueueFullError

T = TypeVar("T")

# Two at once: a click is answered while a volume is segmented; more would only share the same cores.
WORKERS = 2
CLUSTER_REQUESTS = 16  # at once, where a cluster segments
WAITING = 32  # an annotator waits for one answer at a time: more requests come from a broken client


class BoundedPool:
    """Worker threads. Where too much work waits already, more is refused.

    People take turns: whoever asks for much waits for it alone, and somebody else's next request comes before the
    second one that waits of theirs.

    Args:
        workers: How many run at once.
        waiting: How many may wait for one of them.
    """

    def __init__(self, workers: int = WORKERS, waiting: int = WAITING) -> None:
        self._waiting = waiting
        self._lock = threading.Lock()
        self._queues: OrderedDict[str, deque[tuple[Future[Any], Callable[[], Any]]]] = OrderedDict()
        self._held = 0
        self.use(workers)

    def use(self, workers: int) -> None:
        """Run this many at once from now on; what runs already goes on."""
        self._workers = workers
        self._threads = ThreadPoolExecutor(max_workers=workers, thread_name_prefix="infer")

    @property
    def held(self) -> int:
        """How many run or wait."""
        return self._held

    def status(self) -> dict[str, int]:
        """For people: how many requests run and wait, how many may, and of how many persons those are that wait."""
        with self._lock:
            waiting = sum(map(len, self._queues.values()))
            counts = {"running": self._held - waiting, "waiting": waiting, "people_waiting": len(self._queues)}
        return {**counts, "workers": self._workers, "may_wait": self._waiting}

    async def run(self, work: Callable[[], T], person: str = "") -> T:
        """``work()`` in one of the threads.

        Args:
            person: Who asks. All that name nobody are one person.

        Raises:
            QueueFullError: too many wait already.
        """
        future: Future[T] = Future()
        with self._lock:
            if self._held >= self._workers + self._waiting:
                raise QueueFullError(
                    f"the server is busy: {self._waiting} requests wait for an answer already; try again in a minute"
                )
            self._held += 1
            self._queues.setdefault(person, deque()).append((future, work))
        # A client that hangs up no longer waits here, but its work goes on, and is counted until it ends.
        self._threads.submit(self._next)
        return await asyncio.shield(asyncio.wrap_future(future))

    def _next(self) -> None:
        """Do one piece of work: the oldest of the person whose turn it is."""
        with self._lock:
            person, queue = next(iter(self._queues.items()))
            future, work = queue.popleft()
            if queue:
                self._queues.move_to_end(person)
            else:
                del self._queues[person]
        try:
            result = work()
        except BaseException as error:
            self._release()
            future.set_exception(error)
        else:
            self._release()
            future.set_result(result)

    def _release(self) -> None:
        with self._lock:
            self._held -= 1


INFER_THREADS = BoundedPool()


def for_workers(workers: str | None) -> None:
    """Take on as many requests at once as the setting ``workers`` can do, and one more, which may be a click."""
    if workers is not None:
        INFER_THREADS.use(1 + (int(workers) if workers.isdigit() else CLUSTER_REQUESTS))
