"""Dask's workers, here or on other machines, behind the same interface as the processes of this machine.

What goes to a Dask worker is unpickled there, and what it answers is unpickled here: whoever can speak to the scheduler
can run any program on all of these machines. So connections to other machines should be encrypted and authenticated by
certificates (``tls://``); without, a warning says so.
"""

from __future__ import annotations

import hashlib
import logging
import pickle
import time
import warnings
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from fewsam.core.errors import ConfigError, FewSAMError
from fewsam.core.loopback import is_loopback
from fewsam.core.pool import SHARED_KEPT, Pool, ProcessPool
from fewsam.core.version import __version__
from fewsam.core.yamlfile import read_yaml

logger = logging.getLogger(__name__)

T = TypeVar("T")

INSTALL = "pip install --no-deps -r requirements-cluster.txt"
SYSTEMS = {"slurm": "SLURMCluster", "pbs": "PBSCluster", "lsf": "LSFCluster", "sge": "SGECluster"}
WAYS = f"tcp://HOST:PORT, tls://HOST:PORT, or {', '.join(f'{name}:FILE.yaml' for name in SYSTEMS)}"
CONNECT_SECONDS = 10
LOOK_SECONDS = 1.0  # between two questions how many workers there are


class ClusterLostError(FewSAMError):
    """The scheduler no longer answers."""


def open_pool(workers: int, cluster: str | None = None) -> Pool:
    """The workers that a person asked for.

    Args:
        workers: Processes of this machine, if ``cluster`` is not given.
        cluster: A scheduler's address, or ``slurm:FILE.yaml``, which asks that queueing system for workers.

    Raises:
        ConfigError: there is no such cluster, or Dask is not installed.
    """
    if not cluster:
        return ProcessPool(workers)
    try:
        import distributed  # noqa: F401
    except ImportError:
        raise ConfigError(f"the cluster {cluster}: Dask is not installed; install it with `{INSTALL}`") from None
    kind, _, rest = cluster.partition(":")
    if kind in SYSTEMS and rest:
        return _queueing_system(kind, Path(rest))
    if kind in ("tcp", "tls") and urlsplit(cluster).hostname:
        return _scheduler(cluster)
    raise ConfigError(f"{cluster!r} is no cluster; give {WAYS}")


class DaskPool(Pool):
    """The workers of a Dask scheduler.

    Args:
        client: A ``distributed.Client``, which this pool closes.
        cluster: What started the workers, and ends them; None where others did.
    """

    is_here = False

    def __init__(self, client: Any, cluster: Any = None) -> None:
        self._client, self._cluster = client, cluster
        self._address = str(client.scheduler.address) if client.scheduler else "?"
        self._executor = client.get_executor(pure=False)
        self._shared: dict[str, Any] = {}
        self._size, self._looked = 0, -LOOK_SECONDS
        # What the jobs carry goes through the scheduler, since its copy is what survives a worker's death.
        warnings.filterwarnings("ignore", message="Sending large graph", category=UserWarning)

    @property
    def size(self) -> int:
        if time.monotonic() - self._looked >= LOOK_SECONDS and self._client.status == "running":
            with suppress(OSError):  # `check` says what that means
                self._size = sum(self._client.nthreads().values())
            self._looked = time.monotonic()
        return self._size

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        future: Future[T] = self._executor.submit(fn, *args, **kwargs)
        return future

    def share(self, value: T) -> T:
        body = pickle.dumps(value, pickle.HIGHEST_PROTOCOL)
        key = f"fewsam-shared-{hashlib.blake2b(body, digest_size=20).hexdigest()}"
        if key not in self._shared:
            # A task, not scattered data: Dask can do it again where the worker that held the value has died.
            self._shared[key] = self._client.submit(pickle.loads, body, key=key)
            while len(self._shared) > SHARED_KEPT:
                del self._shared[next(iter(self._shared))]
        stand_in: T = self._shared[key]
        return stand_in

    def check(self) -> None:
        if self._client.status != "running":
            raise ClusterLostError(
                f"the scheduler {self._address} does not answer any more; what is done is kept. Start the cluster "
                "again, then give the same command: it goes on from there"
            )

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Give the workers back; those that a queueing system started for this pool end."""
        with suppress(Exception):  # a cluster that is gone already
            self._executor.shutdown(wait=wait and not cancel_futures)
        self._shared.clear()
        with suppress(Exception):
            self._client.close(timeout=CONNECT_SECONDS)
        if self._cluster is not None:
            self._cluster.close()


def _scheduler(address: str) -> DaskPool:
    from distributed import Client
    from distributed.security import Security

    host = urlsplit(address).hostname or ""
    security = Security()  # takes the certificates that Dask's own configuration names
    if address.startswith("tls:") and not getattr(security, "tls_ca_file", None):
        raise ConfigError(
            f"the cluster {address}: no certificates are configured; name them in Dask's configuration "
            "(distributed.comm.tls), see docs/guides/cluster.md"
        )
    if not address.startswith("tls:") and not is_loopback(host):
        logger.warning(
            "WARNING: the connection to %s is neither encrypted nor authenticated: whoever reaches that port can read "
            "the images and run programs on all workers. Use tls://, see docs/guides/cluster.md.",
            address,
        )
    try:
        client = Client(address, security=security, timeout=CONNECT_SECONDS, set_as_default=False)
    except (OSError, TimeoutError) as error:
        raise ConfigError(
            f"the cluster {address}: no scheduler answers there ({type(error).__name__}); start one with `dask "
            "scheduler`, and workers with `dask worker`"
        ) from None
    _check_workers(client)
    return DaskPool(client)


def _queueing_system(kind: str, file: Path) -> DaskPool:
    """Workers that a queueing system is asked for: ``jobs`` of them, each as the file's other keys say."""
    import dask_jobqueue
    from distributed import Client

    values = read_yaml(file, "cluster")
    if not isinstance(values, dict) or not {"cores", "memory"} <= set(values):
        raise ConfigError(f"{file}: a cluster's file must name cores and memory of a job, see docs/guides/cluster.md")
    jobs = values.pop("jobs", 1)
    if values.get("shared_temp_directory") and "security" not in values:
        values |= {"security": True, "protocol": "tls://"}  # certificates made for this run alone
    elif not values.get("security"):
        logger.warning(
            "WARNING: the workers' connections are neither encrypted nor authenticated. Name a folder that all nodes "
            "see and only you can read as shared_temp_directory in %s, see docs/guides/cluster.md.",
            file,
        )
    try:
        cluster = getattr(dask_jobqueue, SYSTEMS[kind])(**values)
        cluster.scale(jobs=int(jobs))
        client = Client(cluster, set_as_default=False, timeout=CONNECT_SECONDS)
    except (OSError, TypeError, ValueError, RuntimeError) as error:
        raise ConfigError(f"{file}: {SYSTEMS[kind]} cannot be started with this ({error})") from None
    return DaskPool(client, cluster)


def _check_workers(client: Any) -> None:
    """Refuse workers of another fewsam: their results could not stand beside each other.

    Raises:
        ConfigError: naming the worker.
    """
    try:
        versions: dict[str, str] = client.run(installed_version)
    except Exception as error:
        client.close(timeout=CONNECT_SECONDS)
        raise ConfigError(f"a worker of the cluster cannot load fewsam ({error}); install it there too") from None
    for worker, version in versions.items():
        if version != __version__:
            client.close(timeout=CONNECT_SECONDS)
            raise ConfigError(f"the worker {worker} has fewsam {version}, here it is {__version__}; install the same")


def installed_version() -> str:
    """The version of fewsam where this is called."""
    return __version__
