"""One LMDB environment a process and folder: opening, checking, growing, and setting damage aside.

LMDB forbids opening a folder twice in a process and using an environment after a fork; it also maps the file into
memory, so that reading a truncated one ends the process with SIGBUS. All of that is dealt with here, so that callers
see two methods, `read` and `write`, each given a function of a transaction.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import lmdb

from fewsam.core.errors import StorageError
from fewsam.encoders.lmdb_seal import Seal

logger = logging.getLogger(__name__)

T = TypeVar("T")

# What LMDB raises for a file that is not, or no longer, a whole database.
_DAMAGE = (lmdb.CorruptedError, lmdb.PageNotFoundError, lmdb.InvalidError, lmdb.VersionMismatchError, lmdb.PanicError)
_GROWTH = 1.25
_CHECK_SECONDS = 60
_CHECK_BYTES_PER_SECOND = (
    10e6  # beyond that: the check reads the whole file, which takes minutes on a slow or busy disk
)
_READERS = 256
_LOCK_BYTES = 20 << 10  # more than LMDB's file of locks takes for that many readers
_FULL = 8 << 20  # bytes free; a transaction may need this much

# Runs in a process of its own, because a truncated or overwritten file can kill the process that reads it. It visits
# every node of every table, and the last byte of every value if the file is shorter than its header says.
_CHECK = """
import sys
sys.path.insert(0, sys.argv[1])
import lmdb, os
folder = sys.argv[2]
size = os.path.getsize(os.path.join(folder, "data.mdb"))
try:
    env = lmdb.open(folder, readonly=True, max_dbs=8, map_size=4 * size + (1 << 30))  # others may be writing
    short = size < (env.info()["last_pgno"] + 1) * env.stat()["psize"]
    with env.begin(buffers=True) as txn:
        for name in [bytes(name) for name in txn.cursor().iternext(keys=True, values=False)]:
            for key, value in txn.cursor(env.open_db(name, txn, create=False)):
                if short and len(value):
                    value[-1]
except (lmdb.ReadersFullError, lmdb.LockError, lmdb.ReadonlyError, lmdb.MapResizedError, lmdb.MemoryError):
    pass  # no damage: opening it will say the same
except lmdb.Error as error:
    if type(error) is not lmdb.Error:  # the base class stands for errors of the operating system
        sys.exit(str(error))
"""


class Environment:
    """An LMDB environment with named tables, safe for threads, forks and other processes.

    Args:
        folder: made if missing. Must lie on a local disk: LMDB's locks do not hold on network shares.
        map_bytes: first size of the memory map; it grows by itself, and the file only as far as it is used.
        tables: names of the tables, handed to `read` and `write` functions by `tables[name]`.
    """

    def __init__(self, folder: Path, map_bytes: int, tables: Sequence[str]) -> None:
        self.folder = folder
        self.tables: dict[str, Any] = {}
        self.notices: list[str] = []  # what had to be set aside, for people
        self._names = tuple(tables)
        self._map_bytes = map_bytes
        self._lock = threading.RLock()
        self._env: lmdb.Environment | None = None
        self._seal: Seal | None = None
        self._identity: tuple[int, int, int] | None = None
        self._open()

    def read(self, work: Callable[[lmdb.Transaction], T]) -> T:
        """What ``work`` returns for a read transaction. Buffers handed out do not outlive it."""
        return self._run(work, write=False)

    def write(self, work: Callable[[lmdb.Transaction], T]) -> T:
        """What ``work`` returns for a write transaction, committed; all of it or nothing lands.

        ``work`` may run again, after the map was enlarged. Raises StorageError where the disk does not take it.
        """
        return self._run(work, write=True)

    def close(self) -> None:
        """Close the file; the object must not be used again."""
        with self._lock:
            self._disconnect(whole=self._identity is not None and self._identity == self._data_identity())

    @property
    def is_of_this_process(self) -> bool:
        """Whether this process opened it, and not one that it was forked from."""
        return self._identity is not None and self._identity[0] == os.getpid()

    def _disconnect(self, *, whole: bool) -> None:
        """Close the file, and note whether it is whole for the next one that opens it."""
        if self._env is not None:
            self._env.close()
            self._env = None
        if self._seal is not None:
            self._seal.release(whole=whole)
            self._seal = None

    def _run(self, work: Callable[[lmdb.Transaction], T], write: bool) -> T:
        if self._identity is not None and self._identity[0] != os.getpid():
            self._lock = threading.RLock()  # forked: another thread of the parent may have held it
        with self._lock:
            for attempt in range(4):
                try:
                    self._ensure_current()
                    assert self._env is not None
                    with self._env.begin(write=write, buffers=True) as txn:
                        return work(txn)
                except lmdb.MapFullError:
                    self._grow()
                except lmdb.MapResizedError:  # another process enlarged it
                    self._env.set_mapsize(0)  # type: ignore[union-attr]
                except _DAMAGE as error:
                    if attempt:
                        raise StorageError(self._message("is damaged", error)) from error
                    self._set_aside(str(error))
                    self._disconnect(whole=False)
                    self._open()
                except lmdb.Error as error:
                    raise _storage_error(self.folder, error) from error
        raise StorageError(self._message("could not be enlarged", "MDB_MAP_FULL"))

    def _message(self, what: str, error: object) -> str:
        return f"the store {self.folder} {what} ({error}); it holds nothing unique: delete that folder to start it anew"

    def _data_identity(self) -> tuple[int, int, int] | None:
        try:
            stat = os.stat(self.folder / "data.mdb")
        except OSError:
            return None
        return os.getpid(), stat.st_dev, stat.st_ino

    def _ensure_current(self) -> None:
        """Open again after a fork, or when the file under us was deleted or set aside by another process."""
        if self._env is None or self._identity != self._data_identity():
            self._disconnect(whole=False)
            self._open()

    def _grow(self) -> None:
        assert self._env is not None
        self._env.reader_check()  # slots of killed readers pin pages that could be used again
        self._map_bytes = int(max(self._map_bytes, self._env.info()["map_size"]) * _GROWTH)
        self._env.set_mapsize(self._map_bytes)

    def _open(self) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            _reserve(self.folder / "lock.mdb")
            self._seal = Seal(self.folder)
            damage = "" if self._seal.is_known_whole else _damage(self.folder)
            if damage:
                self._set_aside(damage)
            try:
                self._connect()
            except _DAMAGE as error:
                self._set_aside(str(error))
                self._connect()
            self._seal.share()
        except (lmdb.Error, OSError) as error:
            self._disconnect(whole=False)
            raise _storage_error(self.folder, error) from error

    def _connect(self) -> None:
        # metasync=False: one flush a commit; a power cut may undo the last one, and never breaks the file.
        self._env = lmdb.open(
            str(self.folder), map_size=self._map_bytes, max_dbs=8, max_readers=_READERS, metasync=False
        )
        try:
            self._env.reader_check()
            self.tables = {name: self._env.open_db(name.encode()) for name in self._names}
        except lmdb.Error:
            self._env.close()
            self._env = None
            raise
        self._identity = self._data_identity()

    def _set_aside(self, why: str) -> None:
        if self._env is not None:
            self._env.close()
            self._env = None
        data = self.folder / "data.mdb"
        kept = data.with_suffix(".mdb.damaged")
        self.notices.append(f"the cache's {data.name} was damaged ({why}); kept as {kept.name}, and starts empty")
        logger.warning("%s is damaged (%s): set aside as %s, starting empty", data, why, kept.name)
        with contextlib.suppress(FileNotFoundError):  # another process was faster
            os.replace(data, kept)
        (self.folder / "lock.mdb").unlink(missing_ok=True)  # its counters belong to the old file


_OPEN: dict[Path, tuple[Environment, int]] = {}
_OPEN_LOCK = threading.Lock()


def acquire(folder: Path, map_bytes: int, tables: Sequence[str]) -> Environment:
    """The process's environment of ``folder``, opened if it is not yet. Give it back with `release`."""
    folder = folder.resolve()
    with _OPEN_LOCK:
        environment, users = _OPEN.get(folder, (None, 0))
        if environment is None:
            environment = Environment(folder, map_bytes, tables)
        _OPEN[folder] = (environment, users + 1)
        return environment


def release(environment: Environment) -> None:
    """Give an environment back; the last one to do so closes it."""
    with _OPEN_LOCK:
        _, users = _OPEN[environment.folder]
        if users > 1:
            _OPEN[environment.folder] = (environment, users - 1)
        else:
            del _OPEN[environment.folder]
            environment.close()


@atexit.register
def _close_all() -> None:
    """Close what a process that ends has open, such as a server, so that the next start finds it whole."""
    for environment, _ in list(_OPEN.values()):
        if environment.is_of_this_process:
            environment.close()


def _reserve(lock: Path) -> None:
    """Room for the file of locks. LMDB maps it without: on a full disk the first use would end the process (SIGBUS).

    Raises:
        OSError: there is none.
    """
    if not hasattr(os, "posix_fallocate"):
        return
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        os.posix_fallocate(descriptor, 0, _LOCK_BYTES)
    finally:
        os.close(descriptor)


def _damage(folder: Path) -> str:
    """What is wrong with the data file of ``folder``; empty if it is whole, or not there."""
    data = folder / "data.mdb"
    if not data.exists() or not sys.executable:
        return ""
    seconds = _CHECK_SECONDS + data.stat().st_size / _CHECK_BYTES_PER_SECOND
    packages = str(Path(lmdb.__file__).parents[1])
    command = [sys.executable, "-S", "-c", _CHECK, packages, str(folder)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False)
    except subprocess.TimeoutExpired:
        return f"not read in {seconds:.0f} s"
    if done.returncode == 0:
        return ""
    if done.returncode < 0:
        return f"reading it ends with signal {-done.returncode}"
    return (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]


def _storage_error(folder: Path, error: Exception) -> StorageError:
    try:
        free = shutil.disk_usage(folder).free
    except OSError:
        free = _FULL
    # A full disk can show as an input/output error: LMDB reports a write that was cut short as one.
    if isinstance(error, lmdb.DiskError) or free < _FULL:
        return StorageError(f"no space left on the disk of {folder}; free some, or lower the setting cache_gb")
    return StorageError(f"cannot use the store {folder}: {error}; check its disk and permissions")
