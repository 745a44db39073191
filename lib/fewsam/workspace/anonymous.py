"""Removes people from an export: never is a patient named, and on request neither annotators nor dates are."""

from __future__ import annotations

import hashlib
import re
import secrets

from fewsam.collection.taskmeta import TaskMeta

_WAYS = re.compile(r"rest:[\w-]*|pacs(?=:)|labels/final(?=/)|(?:fewsam train|import|evaluate|simulate)$")


def kind_of(source: str) -> str:
    """Where a label came from, without the name of its file or its DICOM UID, which may tell the patient.

    Empty for a way that is none of fewsam's: it may be the name of a file or a folder.
    """
    known = _WAYS.match(source)
    return known.group() if known else ""


def anonymous(meta: TaskMeta) -> TaskMeta:
    """The same with new random ids of images, and without annotators, dates and ways of submission.

    Slices of one image still share an id, so that whoever trains can hold images back. Two exports share none.
    """
    salt = secrets.token_bytes(32)

    def neutral(image: str) -> str:
        return hashlib.blake2b(image.encode(), key=salt, digest_size=16).hexdigest()

    silent = {"annotator": "", "time": "", "source": ""}
    shots = tuple(shot.model_copy(update={**silent, "image": neutral(shot.image)}) for shot in meta.shots)
    card = {**meta.card, "trained_at": ""} if meta.card is not None else None
    return meta.model_copy(update={"written": "", "shots": shots, "card": card})


def shuffled(cases: list) -> list:
    """The items in random order, since numbers in the order of file names would reveal something about the names."""
    cases = list(cases)
    secrets.SystemRandom().shuffle(cases)
    return cases
