"""Lossless blobs under their own digest: masks as packed bits, image planes as ``.npy``."""

from __future__ import annotations

import hashlib
import io
import re
import unicodedata
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from fewsam.collection.records import Mask, RawSlice
from fewsam.core.errors import StorageError

# What `np.save` writes before a plane. `np.load` hands this text to Python's parser, which fails now and then
# (SystemError, CPython 3.11's issue 106905) where several threads of a server read labels at once.
_HEADER = re.compile(rb"\{'descr': '([<>|=][a-z]\d+)', 'fortran_order': False, 'shape': \((\d+(?:, \d+)*),?\), \}\s*")
_MAGIC = b"\x93NUMPY\x01\x00"

Marks = list[dict[str, bytes]]  # per slice: class key -> digest of its mask; a class that is empty there is absent


def class_key(name: str) -> str:
    """The key of a class: names that differ in Unicode form, outer blanks or case only are one class."""
    return unicodedata.normalize("NFC", name).strip().casefold()


def digest(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=16).digest()


def pack_mask(mask: Mask) -> bytes:
    return np.packbits(np.ascontiguousarray(mask, dtype=np.bool_), axis=None).tobytes()


def unpack_mask(data: bytes, shape: tuple[int, int]) -> Mask:
    bits = np.unpackbits(np.frombuffer(data, np.uint8), count=shape[0] * shape[1])
    return bits.reshape(shape).astype(np.bool_)


def pack_plane(plane: npt.NDArray[Any]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.ascontiguousarray(plane), allow_pickle=False)
    return buffer.getvalue()


def unpack_plane(data: bytes) -> npt.NDArray[Any]:
    """The plane of `pack_plane`.

    Raises:
        StorageError: the bytes are not from there.
    """
    start = len(_MAGIC) + 2
    end = start + int.from_bytes(data[len(_MAGIC) : start], "little")
    header = _HEADER.fullmatch(data, start, end) if data.startswith(_MAGIC) else None
    if header is None:
        raise StorageError("a plane of the collection is not as fewsam writes it; its file needs a backup")
    shape = [int(side) for side in header[2].split(b", ")]
    return np.frombuffer(data, np.dtype(header[1].decode()), offset=end).reshape(shape).copy()


def open_blob(key: bytes, data: bytes) -> bytes:
    """The bytes of a stored blob, proved against their digest.

    Raises:
        StorageError: the stored bytes are damaged.
    """
    try:
        plain = zlib.decompress(data)
    except zlib.error:
        plain = None
    if plain is None or digest(plain) != key:
        raise StorageError(f"blob {key.hex()} of the collection is damaged; its file needs a repair or a backup")
    return plain


def masks_to_marks(masks: Mapping[str, npt.NDArray[np.bool_]], depth: int) -> Marks:
    """Digests of each slice's masks; ``masks`` are class key -> bool (Z, H, W)."""
    marks: Marks = [{} for _ in range(depth)]
    for key, mask in masks.items():
        for z in np.flatnonzero(mask.any(axis=(1, 2))):
            marks[z][key] = digest(pack_mask(mask[z]))
    return marks


def labelmap_to_marks(labelmap: npt.NDArray[np.uint8], classes: Sequence[str]) -> Marks:
    """The same of a labelmap (Z, H, W) whose value ``i + 1`` means ``classes[i]``."""
    marks: Marks = []
    for plane in labelmap:
        present = np.flatnonzero(np.bincount(plane.ravel(), minlength=1)[1:])
        marks.append({class_key(classes[i]): digest(pack_mask(plane == i + 1)) for i in present if i < len(classes)})
    return marks


class BlobWriter:
    """Blobs of one submission, each compressed once, ahead of the transaction where possible."""

    def __init__(self) -> None:
        self.blobs: dict[bytes, bytes] = {}

    def _add(self, plain: bytes, level: int) -> bytes:
        key = digest(plain)
        if key not in self.blobs:
            self.blobs[key] = zlib.compress(plain, level)
        return key

    def mask(self, mask: Mask) -> bytes:
        return self._add(pack_mask(mask), 6)

    def planes(self, pixels: RawSlice) -> list[bytes]:
        """Digests of the three planes; neighbouring shots share theirs, so a plane is stored once."""
        return [self._add(pack_plane(plane), 1) for plane in pixels]
