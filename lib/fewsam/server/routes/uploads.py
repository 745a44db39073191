"""Files that clients send are stored under plain names, in one folder, within bounds."""

from __future__ import annotations

import os
import re
import shutil
import tarfile
import zipfile
from pathlib import Path, PurePosixPath
from typing import IO

from fastapi import UploadFile

from fewsam.images.imagebounds import max_bytes
from fewsam.server.errors import RequestError

MAX_FILES = 20_000
_LONGEST = 200  # bytes of a file name


def received(upload: UploadFile, folder: Path, default: str) -> Path:
    """Store an upload under the last part of its own name, so that messages name what the client sent.

    Raises:
        RequestError: a name that no file can have.
    """
    path = folder / plain_name(upload.filename or default, default)
    with path.open("wb") as file:
        shutil.copyfileobj(upload.file, file)
    return path


def plain_name(name: str, default: str) -> str:
    """The last part of a path as a client wrote it.

    Raises:
        RequestError: it is no name of a file.
    """
    last = re.split(r"[/\\]", name)[-1] or default
    if last in (".", "..") or not last.isprintable() or len(os.fsencode(last)) > _LONGEST:
        raise RequestError(f"file name {name[:80]!r} cannot be stored; send a plain name such as {default}")
    return last


def unpack(archive: Path, folder: Path) -> None:
    """Unpack a zip or tar archive into ``folder``: no file outside of it, no links, no more bytes than an image has.

    Raises:
        RequestError: the archive holds anything else, or is damaged.
    """
    room = _Room(max_bytes())
    try:
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as opened:
                for member in _counted(opened.infolist()):
                    if not member.is_dir():
                        with opened.open(member) as stream:
                            room.take(stream, folder, member.filename)
        elif tarfile.is_tarfile(archive):
            with tarfile.open(archive) as bundle:
                for number, entry in enumerate(bundle):
                    if number >= MAX_FILES or not (entry.isfile() or entry.isdir()):
                        raise RequestError(f"{archive.name}: {entry.name[:80]!r} is a link, or one file too many")
                    taken = bundle.extractfile(entry)
                    if taken is not None:
                        room.take(taken, folder, entry.name)
        else:
            raise RequestError(f"{archive.name}: is neither zip nor tar; send the files themselves")
    except RequestError:
        raise
    except Exception as error:  # zipfile and tarfile pass on what zlib, lzma, bz2 and struct raise
        raise RequestError(f"{archive.name}: cannot be unpacked ({str(error)[:200]}); pack it again") from None


def _counted(members: list[zipfile.ZipInfo]) -> list[zipfile.ZipInfo]:
    if len(members) > MAX_FILES or sum(member.file_size for member in members) > max_bytes():
        raise RequestError(f"the archive holds {len(members)} files, too many or too large; send an image alone")
    return members


class _Room:
    """Bytes that may still be written. They are counted, since a member may claim a wrong size."""

    def __init__(self, left: int) -> None:
        self.left = left

    def take(self, stream: IO[bytes], folder: Path, name: str) -> None:
        """Write one member to its place."""
        parts = PurePosixPath(name.replace("\\", "/")).parts
        if not parts or any(part in ("/", "..") or ":" in part or not part.isprintable() for part in parts):
            raise RequestError(f"the archive wants to write {name[:80]!r}, outside of its folder; nothing was taken")
        target = folder.joinpath(*parts)
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("xb") as file:
            while block := stream.read(1 << 20):
                self.left -= len(block)
                if self.left < 0:
                    raise RequestError(f"the archive's {name[:80]!r} unfolds beyond all bounds; nothing was taken")
                file.write(block)
