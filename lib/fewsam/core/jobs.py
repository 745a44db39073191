"""Many jobs on a pool: a bounded number of them under way, results as they come, failures by name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, wait
from dataclasses import dataclass
from typing import Any

from fewsam.core.errors import FewSAMError
from fewsam.core.pool import Pool

LOOK_SECONDS = 1.0  # between two looks at a pool that may have grown, or be gone


@dataclass(frozen=True)
class Job:
    """``fn(*args)``, to be done by a worker.

    Attributes:
        name: For people.
        about: What the one who asked needs to place the result; it is not sent.
    """

    name: str
    fn: Callable[..., Any]
    args: tuple[Any, ...]
    about: Any = None


@dataclass(frozen=True)
class Done:
    """A job that has ended: with a value, or with why it failed."""

    job: Job
    value: Any
    error: Exception | None

    @property
    def why(self) -> str:
        """The failure in one line, without a traceback."""
        if isinstance(self.error, FewSAMError):
            return str(self.error)
        first = (str(self.error).splitlines() or [""])[0]
        return first if isinstance(self.error, RuntimeError) and first else f"{type(self.error).__name__}: {first}"


def as_finished(pool: Pool, jobs: Iterable[Job]) -> Iterator[Done]:
    """Each job as it ends, in no order.

    Jobs are taken from ``jobs`` when a worker will soon be free, so that what they carry is not all in memory at once.
    A job that fails is handed over with its error, and the others go on.

    Raises:
        FewSAMError: the cluster is gone; what was handed over before stays as it is.
    """
    under_way: dict[Future[Any], Job] = {}
    source = iter(jobs)
    more = True
    try:
        while True:
            while more and len(under_way) < pool.size + 2:  # two wait, so that no worker has to
                job = next(source, None)
                if job is None:
                    more = False
                else:
                    under_way[pool.submit(job.fn, *job.args)] = job
            if not under_way:
                return
            ended, _ = wait(under_way, timeout=LOOK_SECONDS, return_when=FIRST_COMPLETED)
            pool.check()
            for future in ended:
                yield _done(under_way.pop(future), future)
    finally:
        for future in under_way:
            future.cancel()


def _done(job: Job, future: Future[Any]) -> Done:
    try:
        return Done(job, future.result(), None)
    except CancelledError:
        return Done(job, None, FewSAMError("the cluster gave the job up"))
    except Exception as error:
        return Done(job, None, error)
