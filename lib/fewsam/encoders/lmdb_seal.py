"""Whether an LMDB file has to be read as a whole before it is used.

The check takes the longer, the more the file holds. It is left out where the file is as a process of ours left it when
it closed it, and where another process, which has checked it, has it open.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from pathlib import Path

try:
    import fcntl
except ImportError:  # a system without: the file is checked each time
    fcntl = None  # type: ignore[assignment]

SEAL, _USERS = "closed.json", "users.lock"


class Seal:
    """One process's use of the LMDB file in a folder, from before it is opened until `release`."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._seal = folder, folder / SEAL
        self._users: int | None = None
        with contextlib.suppress(OSError):  # on a full disk there may be no room for it
            self._users = os.open(folder / _USERS, os.O_RDWR | os.O_CREAT, 0o644)
        self._alone = self._try_lock()

    @property
    def is_known_whole(self) -> bool:
        """Whether the file needs no check."""
        if not self._alone:
            return True
        try:
            return json.loads(self._seal.read_text()) == self._state()
        except (OSError, ValueError):
            return False

    def share(self) -> None:
        """Let others use the file without a check of their own: it is whole and open here."""
        if fcntl is not None and self._users is not None and self._alone:
            with contextlib.suppress(OSError):
                fcntl.flock(self._users, fcntl.LOCK_SH)
        self._alone = False

    def release(self, *, whole: bool) -> None:
        """Give the file up, after it is closed.

        Args:
            whole: Note that it is whole as it is now, for the next one that opens it.
        """
        with contextlib.suppress(OSError):
            if whole:
                # A time that no write leaves behind, so that a change in the same tick of the clock is seen too.
                now = time.time_ns() // 1000 * 1000 + 1 + os.getpid() % 997
                os.utime(self._folder / "data.mdb", ns=(now, now))
                self._seal.write_text(json.dumps(self._state()))
        if self._users is not None:
            os.close(self._users)  # with the lock, unless a fork of this process holds it too
            self._users = None

    def _state(self) -> list[int]:
        stat = os.stat(self._folder / "data.mdb")
        return [stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns]

    def _try_lock(self) -> bool:
        """Whether nobody else uses the file. While somebody checks it, this waits."""
        if fcntl is None or self._users is None:
            return True
        try:
            fcntl.flock(self._users, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            fcntl.flock(self._users, fcntl.LOCK_SH)
            return False
        except OSError:  # a file system without such locks
            return True
