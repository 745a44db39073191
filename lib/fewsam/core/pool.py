"""Worker processes of this machine behind the interface of `concurrent.futures.Executor`.

Whoever computes is given a `Pool` and cannot tell these processes from a cluster (`fewsam.core.cluster`). Each worker
has a pipe of its own, so that a worker that dies takes exactly one job with it, and that job is tried again.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import pickle
import queue
import signal
import tempfile
import threading
import traceback
from abc import abstractmethod
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from fewsam.core.errors import FewSAMError

T = TypeVar("T")

ATTEMPTS = 3  # workers that one job may kill, as in Dask
SHARED_KEPT = 16  # shared values that jobs may still ask for: the last ones
_IN_MEMORY = 2  # shared values that a worker keeps in memory


class WorkerLostError(FewSAMError):
    """A job ended the worker process it ran in, each time that it was tried."""


class Pool(Executor):
    """Workers that take jobs. As a context manager it waits for nothing: what still runs at the end is given up.

    Attributes:
        is_here: Whether workers see this machine's files and memory limits, so that paths mean the same there.
    """

    is_here: bool

    @property
    @abstractmethod
    def size(self) -> int:
        """How many jobs can run at once now; 0 while a cluster has no workers yet."""

    @abstractmethod
    def share(self, value: T) -> T:
        """A stand-in for ``value`` among the arguments of many jobs: it is sent to each worker once.

        The jobs get the value itself. It must not be changed there.
        """

    def check(self) -> None:
        """Raise a FewSAMError where no job can be done any more."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.shutdown(wait=False, cancel_futures=True)


class ProcessPool(Pool):
    """Processes of this machine.

    Args:
        workers: How many. They share the cores: each computes with its part of them, unless the variable
            OMP_NUM_THREADS says otherwise.
    """

    is_here = True

    def __init__(self, workers: int) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="fewsam-shared-", ignore_cleanup_errors=True)
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._sharing = threading.Lock()
        self._closed = False
        cores = _cores()
        self._workers = [_Worker(max(1, cores // workers)) for _ in range(workers)]
        self._threads = [threading.Thread(target=self._serve, args=(one,), daemon=True) for one in self._workers]
        for thread in self._threads:
            thread.start()

    @property
    def size(self) -> int:
        return len(self._workers)

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        if self._closed:
            raise RuntimeError("the pool is closed")
        future: Future[T] = Future()
        self._jobs.put(_Job(future, fn, args, kwargs))
        return future

    def share(self, value: T) -> T:
        body = pickle.dumps(value, pickle.HIGHEST_PROTOCOL)
        path = Path(self._folder.name) / hashlib.blake2b(body, digest_size=20).hexdigest()
        with self._sharing:
            if not path.exists():
                path.write_bytes(body)
                for old in sorted(path.parent.iterdir(), key=lambda file: file.stat().st_mtime_ns)[:-SHARED_KEPT]:
                    old.unlink()
        return _Shared(str(path))  # type: ignore[return-value]  # a stand-in, as the interface says

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the workers: at once, or with ``wait`` when all jobs are done."""
        self._closed = True
        if cancel_futures:
            with suppress(queue.Empty):
                while True:
                    if (job := self._jobs.get_nowait()) is not None:
                        job.future.cancel()
                        job.future.set_running_or_notify_cancel()
        for _ in self._threads:
            self._jobs.put(None)
        if not wait:
            for worker in self._workers:
                worker.kill()
        for thread in self._threads:
            thread.join()
        self._folder.cleanup()

    def _serve(self, worker: _Worker) -> None:
        """Hand jobs to one worker, one after the other."""
        while (job := self._jobs.get()) is not None:
            if not job.future.set_running_or_notify_cancel():
                continue
            for _ in range(ATTEMPTS):
                try:
                    is_value, found = worker.ask((job.fn, job.args, job.kwargs))
                except (EOFError, OSError):  # the process is gone
                    worker.kill()
                    if self._closed:
                        break
                    continue
                except Exception as error:  # such as arguments that cannot be sent
                    job.future.set_exception(error)
                    break
                if is_value:
                    job.future.set_result(found)
                else:
                    job.future.set_exception(found)
                break
            if not job.future.done():
                told = f"the worker process ended {ATTEMPTS} times at this; it may need more memory than there is"
                job.future.set_exception(WorkerLostError("the work was given up" if self._closed else told))
        worker.kill()


@dataclass(frozen=True)
class _Job:
    future: Future[Any]
    fn: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]


@dataclass(frozen=True)
class _Shared:
    """Stands for a value that lies in a file of the pool."""

    path: str


class _Worker:
    """One process, started when there is work for it."""

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._lock = threading.Lock()
        self._process: BaseProcess | None = None
        self._pipe: Connection | None = None
        self._ended = False

    def ask(self, what: tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]) -> tuple[bool, Any]:
        """Whether the call gave a value, and that value or the exception.

        Raises:
            EOFError, OSError: the process has ended.
        """
        with self._lock:
            if self._process is None:
                context = multiprocessing.get_context("spawn")  # a fork of a process with threads may hang
                ours, theirs = context.Pipe()
                process = context.Process(target=_work, args=(theirs, self._threads), daemon=True)
                try:
                    with _interrupts_held():
                        process.start()
                except BaseException:
                    ours.close()  # half a worker would let the next job wait for ever
                    raise
                finally:
                    theirs.close()
                self._process, self._pipe = process, ours
            pipe = self._pipe
        assert pipe is not None
        pipe.send(what)
        answer: tuple[bool, Any] = pipe.recv()
        return answer

    def kill(self) -> None:
        """End the process; the next `ask` starts another one."""
        with self._lock:
            process, pipe, self._process, self._pipe = self._process, self._pipe, None, None
        if process is not None and pipe is not None:
            process.kill()
            process.join()
            pipe.close()


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Have a process that is started here never see Ctrl-C, also not while it loads its libraries."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _work(pipe: Connection, threads: int) -> None:
    """What a worker process does until the other end of its pipe is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that has the pool, and it ends this one
    os.environ.setdefault("OMP_NUM_THREADS", str(threads))
    shared: dict[str, Any] = {}
    while True:
        try:
            fn, args, kwargs = pipe.recv()
        except (EOFError, OSError):
            return
        except Exception as error:  # what was sent cannot be read here
            answer: tuple[bool, Any] = False, error
        else:
            try:
                args = tuple(_value(arg, shared) for arg in args)
                answer = True, fn(*args, **kwargs)
            except Exception as error:
                answer = False, _sendable(error)
        try:
            pipe.send(answer)
        except OSError:
            return
        except Exception as error:
            pipe.send((False, RuntimeError(f"a worker's result cannot be sent: {error}")))


def _value(given: Any, shared: dict[str, Any]) -> Any:
    if not isinstance(given, _Shared):
        return given
    if given.path not in shared:
        while len(shared) >= _IN_MEMORY:
            del shared[next(iter(shared))]
        shared[given.path] = pickle.loads(Path(given.path).read_bytes())
    return shared[given.path]


def _sendable(error: Exception) -> Exception:
    """The error as it can be sent; one that is not fewsam's own takes its traceback along, which would be lost."""
    if isinstance(error, FewSAMError):
        return error
    return RuntimeError(f"{type(error).__name__}: {error}\n{''.join(traceback.format_exception(error))}")


def _cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
