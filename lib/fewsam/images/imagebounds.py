"""What an image file claims to hold, checked before anything is allocated or any other file is opened.

A header of a few bytes may claim terabytes, a compressed file may unfold to a thousand times its size, and NRRD and
MetaImage headers may name any file of this machine as the place of their voxels.
"""

from __future__ import annotations

import bz2
import gzip
import io
import math
import os
import re
import struct
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
from nibabel.nifti1 import data_type_codes

from fewsam.core.errors import ImageError

LIMIT = "FEWSAM_MAX_IMAGE_GB"
DEFAULT_GB = 4.0  # of voxels as stored: 1,000 slices of 1,024 x 1,024 pixels of 4 bytes
DEFLATE = 1100  # zlib compresses at most 1032 to 1
MAX_HEADER = 16 << 20  # bytes
MAX_LAYERS = 1024


def max_bytes() -> int:
    """Bytes that the voxels of one image may take; FEWSAM_MAX_IMAGE_GB changes it."""
    try:
        chosen = float(os.environ.get(LIMIT, DEFAULT_GB))
    except ValueError:
        chosen = DEFAULT_GB
    return int(chosen * 1e9) if 0 < chosen < 1e6 else int(DEFAULT_GB * 1e9)


def check_size(path: Path, shape: Iterable[int], itemsize: int, limit: int | None = None, room: int = 0) -> int:
    """Bytes of an array, if they are within bounds.

    Args:
        limit: bytes at most; None: :func:`max_bytes`.
        room: bytes that the file can hold at most, compressed data unfolded; 0: not known.

    Raises:
        ImageError: more than that, or a negative size.
    """
    sizes = [int(n) for n in shape]
    if any(n < 0 for n in sizes):
        raise ImageError(f"{path}: cannot be read (sizes {sizes} in its header); check that the file is whole")
    need, limit = math.prod(sizes) * itemsize, max_bytes() if limit is None else limit
    if need > limit:
        raise ImageError(
            f"{path}: its header claims {need / 1e9:.3g} GB of voxels, {limit / 1e9:.3g} GB are taken at most; crop or "
            f"resample it, or raise {LIMIT}"
        )
    if room and need > room:
        raise ImageError(
            f"{path}: cannot be read (its header claims {need} bytes of voxels, which a file of this size cannot "
            "hold); check that the file is whole"
        )
    return need


# -- NIfTI


def check_nifti(path: Path, limit: int | None = None) -> int:
    """Refuse a NIfTI file whose header claims too much; returns the size of its header, 348 or 540.

    Raises:
        ImageError: that, or no NIfTI header.
    """
    packed = path.name.lower().endswith(".gz")
    with gzip.open(path) if packed else path.open("rb") as stream:
        head = stream.read(544)
        size, order = _nifti_order(path, head)
        if size == 540:
            rank, *dims = struct.unpack_from(f"{order}8q", head, 16)
            code, offset = struct.unpack_from(f"{order}h", head, 12)[0], struct.unpack_from(f"{order}q", head, 168)[0]
        else:
            rank, *dims = struct.unpack_from(f"{order}8h", head, 40)
            code, offset = struct.unpack_from(f"{order}h", head, 70)[0], struct.unpack_from(f"{order}f", head, 108)[0]
        if not 0 <= rank <= 7 or code not in data_type_codes.dtype or not 0 <= offset <= MAX_HEADER:
            raise ImageError(f"{path}: cannot be read (no whole NIfTI header); check that the file is whole")
        room = (DEFLATE if packed else 1) * path.stat().st_size
        check_size(path, dims[:rank], data_type_codes.dtype[code].itemsize, limit, room)
        _check_extensions(path, (head + stream.read(max(0, int(offset) - len(head))))[size : int(offset)], order)
    return size


def _nifti_order(path: Path, head: bytes) -> tuple[int, str]:
    for order in "<>":
        size = struct.unpack_from(f"{order}i", head)[0] if len(head) >= 348 else 0
        if size == 348 or (size == 540 and len(head) >= 540):
            return size, order
    raise ImageError(f"{path}: cannot be read (no NIfTI header); check that the file is whole")


def _check_extensions(path: Path, body: bytes, order: str) -> None:
    """A negative size would be read as "all there is"."""
    if len(body) < 4 or body[0] == 0:
        return
    place = 4
    while place + 16 <= len(body):
        size = struct.unpack_from(f"{order}i", body, place)[0]
        if not 8 <= size <= len(body) - place:
            raise ImageError(f"{path}: cannot be read (a header extension of {size} bytes); check that it is whole")
        place += size


# -- NRRD


def nrrd_stream(path: Path, header: dict[str, Any], stream: IO[bytes], limit: int | None) -> tuple[dict[str, Any], IO]:
    """What pynrrd may read: header and stream, with compressed data unfolded within bounds.

    Raises:
        ImageError: too much is claimed, or data of another folder.
    """
    sizes = [int(n) for n in np.atleast_1d(header.get("sizes", []))]
    if not sizes or len(sizes) > 16:
        raise ImageError(f"{path}: cannot be read ({len(sizes)} sizes in its header); check that the file is whole")
    named = header.get("datafile", header.get("data file"))
    source = nrrd_voxels(path, header)
    line_skip, byte_skip = (int(header.get(f"{what}skip", header.get(f"{what} skip", 0))) for what in ("line", "byte"))
    if not (0 <= line_skip <= 1000 and -1 <= byte_skip <= MAX_HEADER):
        raise ImageError(f"{path}: cannot be read (it skips {line_skip} lines, {byte_skip} bytes); write it again")
    encoding = str(header.get("encoding", "")).lower()
    width, size = _NRRD_BYTES.get(str(header.get("type", "")).lower(), 8), source.stat().st_size
    if encoding == "raw":
        check_size(path, sizes, width, limit, size)
        return header, stream
    need = check_size(path, sizes, width, limit)
    if encoding in ("ascii", "text", "txt"):
        check_size(path, sizes, 1, limit, size)
        return header, stream
    if encoding not in ("gzip", "gz", "bzip2", "bz2"):
        raise ImageError(f"{path}: encoding {encoding[:20]!r} is not read; save it as raw or gzip")
    with stream if named is None else source.open("rb") as data:
        for _ in range(line_skip):
            data.readline()
        body = data.read()
    unpacker = zlib.decompressobj(zlib.MAX_WBITS | 16) if encoding in ("gzip", "gz") else bz2.BZ2Decompressor()
    most = need + (MAX_HEADER if byte_skip < 0 else byte_skip)
    whole = unpacker.decompress(body, most + 1)
    if len(whole) > most:
        raise ImageError(f"{path}: cannot be read (more voxels than its header says); check that the file is whole")
    plain = {
        key: value for key, value in header.items() if key not in ("datafile", "data file", "lineskip", "line skip")
    }
    return {**plain, "encoding": "raw"}, io.BytesIO(whole)


def nrrd_voxels(path: Path, header: Mapping[str, Any]) -> Path:
    """The file that holds the voxels of an NRRD image.

    Raises:
        ImageError: it is missing, or lies elsewhere.
    """
    named = header.get("datafile", header.get("data file"))
    return path if named is None else beside(path, str(named))


_NRRD_BYTES = {
    **dict.fromkeys(("signed char", "int8", "int8_t", "uchar", "unsigned char", "uint8", "uint8_t"), 1),
    **dict.fromkeys(("short", "short int", "signed short", "signed short int", "int16", "int16_t"), 2),
    **dict.fromkeys(("ushort", "unsigned short", "unsigned short int", "uint16", "uint16_t"), 2),
    **dict.fromkeys(
        ("int", "signed int", "int32", "int32_t", "uint", "unsigned int", "uint32", "uint32_t", "float"), 4
    ),
}  # all others: 8


def beside(path: Path, name: str) -> Path:
    """The data file that a header names, which must lie beside it.

    Raises:
        ImageError: it is missing, or lies elsewhere.
    """
    plain = name not in ("", ".", "..") and not re.search(r"[/\\%\0]", name) and not name.upper().startswith("LIST")
    file = path.with_name(name) if plain else path
    if not plain or not file.is_file() or file.resolve().parent != path.resolve().parent:
        raise ImageError(
            f"{path}: its voxels should be in {name[:80]!r}; put one file of voxels beside the header, or save the "
            "image as one file"
        )
    return file


# -- MetaImage

_META_LINE = re.compile(r"([\w|.,;/()\[\]-]+(?: [\w|.,;/()\[\]-]+)*) *= *(.*)")
# MetaIO's MET_LONG has 4 bytes whatever a long has on this machine.
_META_BYTES = {"CHAR": 1, "SHORT": 2, "INT": 4, "LONG": 4, "FLOAT": 4, "DOUBLE": 8, "LONG_LONG": 8}
_PER_AXIS = ("DimSize", "ElementSpacing", "ElementSize", "Offset", "Position", "Origin", "CenterOfRotation")
_PER_MATRIX = ("TransformMatrix", "Rotation", "Orientation")


def check_metaimage(path: Path, limit: int | None = None) -> None:
    """Refuse a MetaImage that claims too much, names data elsewhere, or could be read in two ways.

    ITK's reader takes what is missing on a line from the next one, and any file on this machine as voxels.

    Raises:
        ImageError: that.
    """
    fields = _meta_fields(path)
    try:
        rank, channels = int(fields["NDims"]), int(fields.get("ElementNumberOfChannels", 1))
        if not (2 <= rank <= 4 and 1 <= channels <= 4):
            raise ImageError(f"{path}: has {rank} dimensions and {channels} values a voxel; give a 2D or 3D image")
        for key, count in (*dict.fromkeys(_PER_AXIS, rank).items(), *dict.fromkeys(_PER_MATRIX, rank**2).items()):
            if key in fields and len([float(part) for part in fields[key].split()]) != count:
                raise ValueError(f"{key} = {fields[key][:80]}")
        sizes = [int(part) for part in fields["DimSize"].split()]
        kind = fields["ElementType"].removeprefix("MET_").removeprefix("U")
        width = _META_BYTES[kind]
        packed = fields.get("CompressedData", "False").lower() in ("true", "1")
        skip = int(fields.get("HeaderSize", 0))
    except (KeyError, ValueError, OverflowError) as error:
        raise ImageError(f"{path}: cannot be read (its header: {error}); check that the file is whole") from None
    local = _is_local(fields)
    if not -1 <= skip <= MAX_HEADER or (local and skip != 0):
        raise ImageError(f"{path}: cannot be read (HeaderSize = {skip}); write it again")
    source = path if local else beside(path, fields["ElementDataFile"])
    room = (DEFLATE if packed else 1) * source.stat().st_size
    if min(sizes) < 1:
        raise ImageError(f"{path}: the image has no voxels, its size is {sizes}; export it again")
    check_size(path, [*sizes, channels], width, limit, room)


def metaimage_voxels(path: Path) -> Path:
    """The file that holds the voxels of a MetaImage.

    Raises:
        ImageError: the header cannot be read, or the file is missing, or lies elsewhere.
    """
    fields = _meta_fields(path)
    return path if _is_local(fields) else beside(path, fields["ElementDataFile"])


def _is_local(fields: Mapping[str, str]) -> bool:
    return fields["ElementDataFile"].upper() == "LOCAL"


def _text(line: bytes) -> str:
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError:
        return line.decode("latin-1")


def _meta_fields(path: Path) -> Mapping[str, str]:
    fields: dict[str, str] = {}
    with path.open("rb") as stream:
        left = 1 << 20
        while "ElementDataFile" not in fields:
            line = stream.readline(left)
            left -= len(line)
            if line.isspace() and left > 0:
                continue
            # The last line of a header with its voxels elsewhere may lack its end, and names may have umlauts.
            match = _META_LINE.fullmatch(_text(line).rstrip("\r\n ")) if line.endswith(b"\n") or left > 0 else None
            if match is None or left <= 0 or match[1] in fields:
                shown = line[:40].decode("latin-1")
                raise ImageError(f"{path}: cannot be read (its header: {shown!r}); check that the file is whole")
            fields[match[1]] = match[2].strip()
    return fields
