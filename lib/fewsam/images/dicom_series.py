"""The frames of one DICOM series in their order in space: which belong together, and which are there twice."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom

from fewsam.core.errors import ImageError
from fewsam.images.dicom_frames import PHASES, Frame, frames_of, read_header
from fewsam.images.imageio import brief

_NO_IMAGES = {"SEG", "RTSTRUCT", "RTDOSE", "RTPLAN", "SR", "PR", "KO", "REG"}
_TURNED = 1e-3  # by which direction cosines may differ: half a pixel at the far side of 500
_SAME_PLACE = 1e-3  # mm
_SAME_SPACING = 1e-3  # of it
_LARGE_PART = 0.5  # of a series that has to lie in one stack


@dataclass(frozen=True)
class Series:
    """Frames in ascending order along the normal of their plane; ``notes`` are sentences for a person."""

    frames: list[Frame]
    notes: tuple[str, ...]

    @property
    def placed(self) -> bool:
        """Whether the frames say where they are."""
        return self.frames[0].position is not None


def find_series(path: Path) -> Series:
    """The series with the most frames in a file or below a folder.

    Raises:
        ImageError: no image inside, several images at one position (a time series), or frames that make no volume.
    """
    notes: list[str] = []
    chosen = largest_stack(path, notes)
    return Series(_ordered(chosen, path, notes), tuple(notes))


def largest_stack(path: Path, notes: list[str]) -> list[Frame]:
    """Frames of one plane and size of the series with the most of them, in no order; ``notes`` get what is left out.

    Raises:
        ImageError: no image inside, or a series of several stacks.
    """
    files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    stacks = _stacks(_all_frames(files, notes))
    if not stacks:
        kinds = "holds no DICOM image" if path.is_dir() else "is no DICOM image (a segmentation, a report or a plan?)"
        reason = f" ({notes[0]})" if notes else ""
        raise ImageError(f"{path}: {kinds}{reason}; give a folder with the files of one series")
    chosen = max(stacks, key=len)
    if len({stack[0].series for stack in stacks}) > 1:
        notes.append(f"holds {len({s[0].series for s in stacks})} series, the one with most slices is read")
    rest = [frame for stack in stacks if stack is not chosen for frame in stack if frame.series == chosen[0].series]
    if rest:
        if len(chosen) < _LARGE_PART * (len(chosen) + len(rest)):
            sizes = sorted((len(stack) for stack in stacks if stack[0].series == chosen[0].series), reverse=True)
            raise ImageError(
                f"{path}: its slices lie in {len(sizes)} stacks of {', '.join(map(str, sizes))}, turned or sized "
                "differently; give the files of one stack in a folder of their own"
            )
        notes.append(f"{len(rest)} of {len(chosen) + len(rest)} slices are left out: turned or sized differently")
    return chosen


def _all_frames(files: Iterable[Path], notes: list[str]) -> list[Frame]:
    frames: list[Frame] = []
    for file in files:
        if not is_dicom(file):
            continue  # a folder may hold other files
        try:
            header = read_header(file)
            if not header.get("Rows") or not header.get("Columns") or header.get("Modality") in _NO_IMAGES:
                continue
            frames += frames_of(file, header)
        except ImageError:  # it would be too large
            raise
        except Exception as error:  # as a value is read: pydicom raises whatever it meets
            notes.append(f"{file.name} is left out, its header cannot be read: {brief(error)}")
    return frames


def is_dicom(path: Path) -> bool:
    """Whether it is a file with DICOM's preamble, or without it and with an element of DICOM at its beginning."""
    if not path.is_file():
        return False
    with path.open("rb") as stream:
        head = stream.read(132)
    if head[128:] == b"DICM":
        return True
    # The first element: of group 2, or of group 8 in files without file meta; then its type, or its length alone.
    explicit = head[4:6] in _FIRST_KINDS and head[6:8] != b"\0\0"
    length = int.from_bytes(head[4:8], "little")
    implicit = head[:2] == b"\x08\0" and 0 < length <= 64 and length % 2 == 0
    return len(head) == 132 and head[:4] in _FIRST_ELEMENTS and (explicit or implicit)


_FIRST_ELEMENTS = {
    bytes((group, 0, element, 0))
    for group, elements in ((2, (0, 2)), (8, (0, 5, 8, 0x12, 0x16, 0x18)))
    for element in elements
}
_FIRST_KINDS = {b"UL", b"UI", b"CS", b"DA", b"SH"}


def _stacks(frames: Sequence[Frame]) -> list[list[Frame]]:
    """Frames grouped by series, size and plane; a clip of frames without a place is a stack of its own."""
    groups: dict[tuple, list[Frame]] = defaultdict(list)
    for frame in frames:
        clip = str(frame.file) if frame.multiframe and frame.position is None else ""
        groups[frame.series, frame.shape, frame.colour, frame.position is None, clip].append(frame)
    return [stack for group in groups.values() for stack in _by_plane(group)]


def _by_plane(frames: list[Frame]) -> list[list[Frame]]:
    """A tolerance instead of rounding: two numbers on either side of a rounding step are not far apart."""
    if frames[0].orientation is None:
        return [frames]
    stacks: list[list[Frame]] = []
    for frame in frames:
        for stack in stacks:
            if np.abs(np.subtract(stack[0].orientation, frame.orientation)).max() <= _TURNED:  # type: ignore[arg-type]
                stack.append(frame)
                break
        else:
            stacks.append([frame])
    return stacks


def _ordered(frames: list[Frame], path: Path, notes: list[str]) -> list[Frame]:
    if frames[0].position is None:
        if len(frames) > 1:
            apart = "" if frames[0].multiframe else ", 1 mm apart"
            notes.append(f"slices without a position are in the order of their numbers{apart}")
        return sorted(frames, key=lambda frame: (frame.order, frame.file.name, frame.number))
    spacings = np.array([frame.spacing or (0.0, 0.0) for frame in frames])
    if len(frames) > 1 and (np.ptp(spacings, axis=0) > _SAME_SPACING * spacings.max(axis=0)).any():
        odd, _ = Counter(map(tuple, spacings.round(6))).most_common()[-1]
        raise ImageError(
            f"{path}: its slices have pixels of {len(np.unique(spacings.round(6), axis=0))} sizes, such as "
            f"{odd[0]:g} x {odd[1]:g} mm; leave out the files that do not belong to the series"
        )
    positions, normal = _places(frames, path)
    depth = positions @ normal
    order = np.argsort(depth, kind="stable")
    again = np.diff(depth[order]) < _SAME_PLACE
    if again.any():
        frames = _without_copies([frames[k] for k in order], path, notes)
        positions, normal = _places(frames, path)
        depth = positions @ normal
        order = np.argsort(depth, kind="stable")
        if (again := np.diff(depth[order]) < _SAME_PLACE).any():
            raise ImageError(_several_at_once([frames[k] for k in order], again, path))
    return [frames[k] for k in order]


def _places(frames: Sequence[Frame], path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Positions ``(n, 3)`` and the normal of the plane."""
    positions = np.array([frame.position for frame in frames], dtype=float)
    turned = np.array(frames[0].orientation, dtype=float)
    normal = np.cross(turned[:3], turned[3:])
    if not np.isfinite(positions).all() or not 0.9 < np.linalg.norm(normal) < 1.1:
        raise ImageError(
            f"{path}: its headers place no slice in space (ImagePositionPatient {positions[0].tolist()}, "
            f"ImageOrientationPatient {turned.tolist()}); export the series again"
        )
    return positions, normal / np.linalg.norm(normal)


def _without_copies(frames: list[Frame], path: Path, notes: list[str]) -> list[Frame]:
    """The frames without those whose place, UID and pixels are another one's."""

    def about(frame: Frame) -> tuple:
        assert frame.position is not None
        return (tuple(np.round(frame.position, 3)), frame.instance, frame.number)

    times = Counter(about(frame) for frame in frames)
    seen: set[tuple] = set()
    kept = []
    for frame in frames:
        key = about(frame)
        if times[key] > 1:  # pixels are read where they decide, which those of a file with many frames never do
            key = (*key, _digest(frame.file))
        if key not in seen:
            kept.append(frame)
        seen.add(key)
    if len(kept) < len(frames):
        notes.append(f"{len(frames) - len(kept)} of {len(frames)} slices are there twice; each is read once")
    return kept


def _digest(file: Path) -> bytes:
    try:
        data = pydicom.dcmread(file, force=True)
        return hashlib.blake2b(data.get("PixelData", b""), digest_size=16).digest()
    except Exception:  # what is wrong with it is said when its pixels are read
        return str(file).encode()


def splitting_keyword(frames: Sequence[Frame]) -> str | None:
    """The first attribute by which frames at one position differ so that each image has one frame a position."""
    places = [tuple(round(v, 3) for v in frame.position or ()) for frame in frames]
    for keyword in PHASES:
        values = [dict(frame.phase).get(keyword) for frame in frames]
        kinds = set(values)
        if None in kinds or not 1 < len(kinds) < len(frames):
            continue
        if len(set(zip(places, values, strict=True))) == len(frames):
            return keyword
    return None


def _several_at_once(frames: Sequence[Frame], again: np.ndarray, path: Path) -> str:
    told, way = "", "give a folder with the files of one of them"
    if keyword := splitting_keyword(frames):
        kinds = list(dict.fromkeys(dict(frame.phase)[keyword] for frame in frames))
        told = f", told apart by {keyword} ({', '.join(kinds[:4])}{', ...' if len(kinds) > 4 else ''})"
        way = f"`fewsam split {path.name} OUTPUT` writes a series for each, for a folder or a PACS"
    return (
        f"{path}: {int(again.sum())} of {len(frames)} slices lie at the position of another one (a time series or "
        f"several echoes{told}); {way}"
    )
