"""A thread that looks for work again and again until it is stopped: the shell of every background thread here."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

logger = logging.getLogger(__name__)

JOIN_SECONDS = 10.0


class Worker:
    """One daemon thread that takes turns. An exception in a turn is logged, and the next turn follows.

    Args:
        name: Of the thread, in logs and debuggers.
        turn: One look for work. True where there may be more: the next turn follows at once.
        pause: Seconds between two turns otherwise; :meth:`wake` ends a pause.
        wait_first: Pause before the first turn too.
        prepare: Called once in the thread, before the first turn.
    """

    def __init__(
        self,
        name: str,
        turn: Callable[[], bool | None],
        pause: float,
        *,
        wait_first: bool = False,
        prepare: Callable[[], object] | None = None,
    ) -> None:
        self._turn, self._pause, self._wait_first, self._prepare = turn, pause, wait_first, prepare
        self._stop, self._wake = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Have the thread end after its turn, and wait for it for a while."""
        self._stop.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(timeout=JOIN_SECONDS)

    def wake(self) -> None:
        """End the pause between two turns: there is something to do."""
        self._wake.set()

    @property
    def stopping(self) -> bool:
        """Whether a turn should end early."""
        return self._stop.is_set()

    def hold_back(self, seconds: float) -> None:
        """Wait within a turn, whatever there is to do; only :meth:`stop` ends it early."""
        self._stop.wait(seconds)

    def _run(self) -> None:
        if self._prepare is not None:
            self._prepare()
        if self._wait_first:
            self._wake.wait(self._pause)
        while not self._stop.is_set():
            self._wake.clear()
            try:
                more = self._turn()
            except Exception:
                logger.exception("a turn of the thread %s failed; it goes on", self._thread.name)
                more = False
            if not more and not self._stop.is_set():
                self._wake.wait(self._pause)
