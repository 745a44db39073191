"""Files that are replaced whole, and what a kill in the middle leaves of them."""

from __future__ import annotations

import errno
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import psutil

from fewsam.core.errors import StorageError

# ".<name>.<process>-<random>": says whose it is, so that a leftover can be told from a write that goes on.
_DRAFT = re.compile(r"\.(?P<name>.+)\.(?P<process>\d+)-[a-z0-9_]{8}")


@contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """A file to write to, which replaces ``path`` when the block ends well: readers see the old or the new, whole.

    Raises:
        StorageError: the disk is full or the folder cannot be written; ``path`` is as it was.
    """
    draft: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        prefix = f".{path.name}.{os.getpid()}-"
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=prefix, delete=False) as file:
            draft = Path(file.name)
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, path)
    except OSError as error:
        reason = "the disk is full" if error.errno == errno.ENOSPC else error.strerror
        raise StorageError(f"cannot write {path}: {reason}; free space or check permissions, then try again") from None
    finally:
        if draft is not None:
            draft.unlink(missing_ok=True)  # gone already where all went well


def write_atomically(path: Path, body: bytes) -> None:
    """Write and fsync beside ``path``, then replace it.

    Raises:
        StorageError: the disk is full or the folder cannot be written.
    """
    with replacing(path) as file:
        file.write(body)


def sweep(folders: Iterable[Path], *, name: str = "", own: bool = False) -> list[Path]:
    """Delete drafts of processes that are gone; returns those that were there.

    Args:
        name: Those of this file only.
        own: Also those under this process's number, which are another's as long as it has written nothing itself.
    """
    gone = []
    for folder in folders:
        for path in folder.glob(".*") if folder.is_dir() else ():
            draft = _DRAFT.fullmatch(path.name)
            if draft is None or (name and draft["name"] != name) or not path.is_file():
                continue
            process = int(draft["process"])
            if (own and process == os.getpid()) or not psutil.pid_exists(process):
                path.unlink(missing_ok=True)
                gone.append(path)
    return gone


def copy_at_once(source: str, target: str) -> None:
    """Copy a file so that the copy is whole and on the disk once it is there."""
    temporary = os.path.join(os.path.dirname(target), f".{os.path.basename(target)}.new")
    try:
        shutil.copy(source, temporary)
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, target)
    finally:
        if os.path.exists(temporary):
            os.unlink(temporary)
