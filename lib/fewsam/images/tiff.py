"""Whether a TIFF file is whole.

Neither ITK nor Pillow says so: both read the pages before the place where a stack was cut, and of a compressed page the
part that is there.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import BinaryIO

from fewsam.core.errors import ImageError

_PLACES = {273: 279, 324: 325}  # the tags of offsets and of lengths: of strips, of tiles
_WIDTHS = {3: "H", 4: "I", 16: "Q"}  # the types that these may have


def check_tiff(path: Path) -> None:
    """Refuse a TIFF, of either version, that ends before its pages do.

    Raises:
        ImageError: that.
    """
    with path.open("rb") as stream:
        head, size = stream.read(16), path.stat().st_size
        order = {b"II": "<", b"MM": ">"}.get(head[:2])
        if order is None or len(head) < 16:
            return  # no TIFF: whoever reads it says so
        big = struct.unpack_from(f"{order}H", head, 2)[0] == 43
        page = struct.unpack_from(f"{order}Q" if big else f"{order}I", head, 8 if big else 4)[0]
        seen: set[int] = set()
        while page and page not in seen:
            seen.add(page)
            page = _next_page(path, stream, page, order, big, size)


def _next_page(path: Path, stream: BinaryIO, page: int, order: str, big: bool, size: int) -> int:
    """The offset of the next page's directory; 0 after the last."""
    counts, offsets, entry = ("Q", "Q", 20) if big else ("H", "I", 12)
    count = _numbers(path, stream, page, f"{order}{counts}", size)[0]
    start = page + struct.calcsize(counts)
    if count * entry > size:
        raise _cut(path)
    after = _numbers(path, stream, start + count * entry, f"{order}{offsets}", size)[0]
    tags: dict[int, list[int]] = {}
    for place in range(start, start + count * entry, entry):
        tag, kind, length = _numbers(path, stream, place, f"{order}HH{offsets}", size)
        if kind not in _WIDTHS or tag not in {*_PLACES, *_PLACES.values()}:
            continue
        form = f"{order}{length}{_WIDTHS[kind]}"
        held = place + struct.calcsize(f"<HH{offsets}")
        if length > size:
            raise _cut(path)
        if struct.calcsize(form) > struct.calcsize(offsets):
            held = _numbers(path, stream, held, f"{order}{offsets}", size)[0]
        tags[tag] = _numbers(path, stream, held, form, size)
    for first, lengths in _PLACES.items():
        ends = (offset + length for offset, length in zip(tags.get(first, ()), tags.get(lengths, ()), strict=False))
        if any(end > size for end in ends):
            raise _cut(path)
    return after


def _numbers(path: Path, stream: BinaryIO, place: int, form: str, size: int) -> list[int]:
    need = struct.calcsize(form)
    if place + need > size:
        raise _cut(path)
    stream.seek(place)
    return list(struct.unpack(form, stream.read(need)))


def _cut(path: Path) -> ImageError:
    return ImageError(f"{path}: the file ends before its last page does; copy it again from where it came")
