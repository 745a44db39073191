"""What lies in a studies folder and is not in its list of images: a list that is shorter than the folder says why."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence, Set
from itertools import islice
from pathlib import Path

from fewsam.images.endings import IMAGE_ENDINGS, split_ending
from fewsam.images.nifti_place import header_note
from fewsam.images.sequences import are_numbers, missing, sequence_of_file

FOLLOW_LINKS = "FEWSAM_FOLLOW_LINKS"
SHOWN = 20  # entries at most
LOOKED_INTO = 2000  # files of a folder at most
# Images that are not read from a folder of studies.
OTHER_ENDINGS = (".dcm", ".ima", ".mgz", ".mgh", ".img", ".hdr", ".nhdr", ".npy", ".npz", ".zip")
DICOM_ENDINGS = (".dcm", ".ima")
LABELS = "labels"  # MONAI Label's own folder


class HeaderNotes:
    """What is to be known of listed files by their headers; each file is looked at once."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, int, int], str] = {}

    def of(self, folder: Path, names: Iterable[str]) -> list[dict[str, str]]:
        """An entry for each file of which there is something to know, of the first ones of a long list."""
        found = []
        for name in sorted(names)[:LOOKED_INTO]:
            try:
                stat = (folder / name).stat()
            except OSError:  # it is gone meanwhile
                continue
            key = (name, stat.st_mtime_ns, stat.st_size)
            if key not in self._known:
                self._known[key] = header_note(folder / name)
            if self._known[key]:
                found.append({"file": name, "problem": self._known[key]})
        return found[:SHOWN]


def left_out(folder: Path, listed: Set[str], sequences: Sequence[str] = ()) -> list[dict[str, str]]:
    """An entry for each file and subfolder that looks like images and is not ``listed``, with the way out.

    Args:
        listed: Names of the files that are images of the list.
        sequences: As in the settings. Listed is the first of them; one that lacks another has an entry too.
    """
    ids = {split_ending(name, IMAGE_ENDINGS)[0]: name for name in listed}
    found = []
    lacking = missing((entry.name for entry in os.scandir(folder)), sequences) if sequences else {}
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        if entry.name in lacking:
            found.append({"file": entry.name, "problem": f"cannot be opened: {lacking[entry.name]}"})
        if entry.name.startswith(".") or entry.name in listed or entry.name == LABELS:
            continue
        why = _of_folder(Path(entry.path)) if entry.is_dir() else _of_file(entry, ids, sequences)
        if why:
            found.append({"file": entry.name, "problem": f"is not listed: {why}"})
    if len(found) > SHOWN:
        rest = f"{len(found) - SHOWN} more files and folders are not listed"
        found = [*found[:SHOWN], {"file": "...", "problem": rest}]
    return found


def _of_file(entry: os.DirEntry[str], ids: dict[str, str], sequences: Sequence[str]) -> str:
    own_id, ending = split_ending(entry.name, IMAGE_ENDINGS)
    if ending and sequences and not are_numbers(sequences):
        if sequence_of_file(own_id, sequences) is None:
            return f"its name ends with none of {', '.join(sequences)}, as the setting sequences asks; rename it"
        if sequence_of_file(own_id, sequences) != sequences[0]:
            return ""  # it is a channel of another image
    if ending and own_id in ids:
        return f"{ids[own_id]} has the same name without its ending; rename one of them"
    if ending and entry.is_symlink():
        return f"it is a link out of the studies folder; start the server with {FOLLOW_LINKS}=true if it is wanted"
    if entry.name.lower().endswith(DICOM_ENDINGS):
        return "DICOM comes from a PACS; `fewsam pacs FOLDER` serves a folder of it as one"
    if entry.name.lower().endswith(OTHER_ENDINGS):
        return f"it is not of a kind that is read here; convert it to one of {', '.join(IMAGE_ENDINGS)}"
    return ""


def _of_folder(folder: Path) -> str:
    """Why a subfolder is no list entry; empty where it holds nothing that looks like an image."""
    names = [name for _, _, files in islice(os.walk(folder), LOOKED_INTO) for name in files]
    names = [name.lower() for name in names[:LOOKED_INTO] if not name.startswith(".")]
    images = sum(bool(split_ending(name, IMAGE_ENDINGS)[1]) for name in names)
    if images:
        return f"it is a subfolder with {images} images; move them up, or start the server with it as --studies"
    if any(name.endswith(DICOM_ENDINGS) for name in names):
        return "it is a subfolder of DICOM, which comes from a PACS; `fewsam pacs FOLDER` serves it as one"
    return ""
