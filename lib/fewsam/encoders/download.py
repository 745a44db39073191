"""Checkpoints on this machine: where they lie, what their hash is, and how the official ones are fetched."""

from __future__ import annotations

import http
import http.client
import json
import logging
import os
import threading
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import IO

from filelock import FileLock

from fewsam.core.errors import CheckpointError, StorageError
from fewsam.core.files import sha256_of

logger = logging.getLogger(__name__)

Progress = Callable[[int, int], None]

_BLOCK = 1 << 20
_TIMEOUT = 30  # seconds without a byte
_memo_lock = threading.Lock()
_memo: dict[str, list] = {}


def home_folder() -> Path:
    """Where downloads lie: ``FEWSAM_HOME``, else ``~/.cache/fewsam``. Not made here."""
    chosen = os.environ.get("FEWSAM_HOME")
    return Path(chosen).expanduser() if chosen else Path.home() / ".cache" / "fewsam"


def known_folders() -> list[Path]:
    """Where a checkpoint that is named, and not given as a path, is looked for, in this order."""
    shared = os.environ.get("FEWSAM_CHECKPOINTS")
    return [*([Path(shared).expanduser()] if shared else []), Path("checkpoints"), home_folder()]


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, remembered by path, size and time: a checkpoint takes seconds to read.

    Raises:
        CheckpointError: the file is missing or unreadable.
    """
    path = path.expanduser().absolute()
    try:
        stat = path.stat()
        signature = [stat.st_size, stat.st_mtime_ns]
        memo = home_folder() / "hashes.json"
        with _memo_lock:
            known = _memo.get(str(path)) or _read_memo(memo).get(str(path))
        if isinstance(known, list) and known[:2] == signature:
            return str(known[2])
        found = sha256_of(path)
    except OSError as error:
        reason = error.strerror or error
        raise CheckpointError(f"cannot read {path}: {reason}; correct the setting 'checkpoint'") from error
    with _memo_lock:
        _memo[str(path)] = [*signature, found]  # in memory too, for a home folder that is not writable
        _write_memo(memo, {**_read_memo(memo), str(path): _memo[str(path)]})
    return found


def download(url: str, target: Path, sha256: str, progress: Progress | None = None) -> Path:
    """Fetch ``url`` to ``target`` unless it is there; an interrupted download goes on where it stopped.

    ``target`` appears only whole and with the right hash; until then the bytes lie in ``target`` + ``.part``.

    Args:
        progress: called with bytes done and bytes in all.

    Raises:
        CheckpointError: unreachable, interrupted, or not the file with this hash; says how to fetch it by hand.
        StorageError: the disk is full or not writable.
    """
    if target.is_file():
        return target
    part = target.with_name(target.name + ".part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(target.with_name(f".{target.name}.lock")):
            if target.is_file():  # another process fetched it while this one waited
                return target
            with part.open("ab") as file:
                _receive(url, file, progress)
            if (found := sha256_of(part)) == sha256:
                os.replace(part, target)
            else:
                part.unlink()
    except (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError) as error:
        reason = getattr(error, "reason", None) or error
        raise CheckpointError(
            f"cannot download {url}: {reason}. Try again (it resumes), or fetch it by hand to {target}, "
            "or name a local file in the setting 'checkpoint'; the encoder 'compact' needs no download"
        ) from error
    except OSError as error:
        raise StorageError(f"cannot write {part}: {error.strerror or error}; free space, or set FEWSAM_HOME") from error
    if found != sha256:
        raise CheckpointError(
            f"{url} has SHA-256 {found}, expected {sha256}: the file was damaged or replaced on its way; "
            "it was deleted, try again"
        )
    logger.info("downloaded %s", target)
    return target


def _receive(url: str, file: IO[bytes], progress: Progress | None) -> None:
    """Append what is missing of ``url`` to ``file``."""
    have = file.tell()
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        response = urllib.request.urlopen(request, timeout=_TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            return  # all of it is here; the hash will tell
        raise
    with response:
        if have and response.status != http.HTTPStatus.PARTIAL_CONTENT:
            file.truncate(0)
            have = 0
        length = response.headers.get("Content-Length")
        total = have + int(length) if length else 0
        while block := response.read(_BLOCK):
            file.write(block)
            have += len(block)
            if progress:
                progress(have, max(total, have))
    if have < total:
        raise ConnectionError(f"the connection broke after {have} of {total} bytes")


def _read_memo(memo: Path) -> dict[str, list]:
    try:
        known = json.loads(memo.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}


def _write_memo(memo: Path, known: dict[str, list]) -> None:
    try:
        memo.parent.mkdir(parents=True, exist_ok=True)
        scratch = memo.with_suffix(f".{os.getpid()}.tmp")
        scratch.write_text(json.dumps(known, indent=1), encoding="utf-8")
        os.replace(scratch, memo)
    except OSError:
        logger.debug("checkpoint hashes are not remembered: %s is not writable", memo)
