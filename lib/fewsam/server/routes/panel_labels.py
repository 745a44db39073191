"""A label from the panel in OHIF: what was drawn by hand, over which earlier label, without losing anybody's.

The panel sends the whole labelmap and says which slices were drawn on, and which submission each of them showed
before. A slice that somebody else submitted meanwhile is asked about, instead of being overwritten; structures that
overlap, of which a labelmap shows one a pixel, stay where nobody changed anything.
"""

from __future__ import annotations

import math
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, File, Form, UploadFile
from fastapi.responses import JSONResponse
from monailabel.endpoints.user.auth import User

from fewsam.collection import Shot
from fewsam.core.errors import LabelError, OutdatedError
from fewsam.fewshot.inference.prediction import drawn_labelmap
from fewsam.images.labelwrite import write_native_masks
from fewsam.images.volume import Volume
from fewsam.server.guard.person import author
from fewsam.server.paths import scratch
from fewsam.server.routes.panel_image import LABELS_LOCK, open_image, overlapping, submissions, to_k
from fewsam.server.routes.panel_sent import SentLabel, SentSlices, as_numbered, labelmap_of, names_of, slices_of
from fewsam.server.routes.roles import ANNOTATOR
from fewsam.server.tasks.host import Host, current
from fewsam.server.tasks.labels import LabelParams, check_drawn_on, parse_params
from fewsam.server.tasks.shown import shown_labelmap

router = APIRouter(prefix="/fewsam")

TRIES = 3  # to store a label where others of the same slices come at that moment


@router.put("/label", response_model=None)
def submit(
    image: str, label: Annotated[UploadFile, File()], params: Annotated[str, Form()] = "{}", user: User = ANNOTATOR
) -> dict[str, Any] | JSONResponse:
    """Take a labelmap, uint8 with i fastest, on the image's grid.

    ``params`` is ``{"label_info": [{"id", "name", "idx"}], "client_id", "drawn": {slice: submission}, "replace":
    [slice], "beside": [slice], "asked": {slice: submission}, "empty": [slice], "silent": {slice: [id]},
    "content_hash"}``: what the values mean, the slices drawn by hand with the submission each was drawn over (0 for
    none), those whose newer label may be replaced, those whose newer label stays with this one beside it, which newer
    label the person was asked about (without it, any), those of which the person said that nothing is on them,
    structures that came back after a slice was drawn on: it says where they are drawn, and not that they are nowhere
    else; and the image that was drawn on, as ``GET /fewsam/labelmap`` names it. The answer's lists of slices are in
    the order of the stored series. 409 with ``slices`` and their ``submissions`` where others submitted them meanwhile,
    with ``empty`` where labels would go unasked, with ``detail`` alone where the series has changed, such as by more
    slices, since it was drawn on: nothing is stored then.
    """
    app = current()
    raw, ours = parse_params(params, who := author(user))
    if who:
        raw["annotator"] = who  # whatever else the client says
    volume = open_image(app, image)
    check_drawn_on(volume, ours.content_hash)
    slices = slices_of(raw, volume)
    received = labelmap_of(label.file.read(math.prod(volume.geometry.shape) + 1), volume)  # more is never read
    take = partial(_taken, app, image, volume, received, raw, ours, slices)
    for _ in range(TRIES - 1):
        with suppress(OutdatedError):  # a label of another client came in between: it is looked at, and asked about
            return take()
    return take()


def _taken(
    app: Host,
    image: str,
    volume: Volume,
    received: np.ndarray,
    raw: dict[str, Any],
    ours: LabelParams,
    slices: SentSlices,
) -> dict[str, Any] | JSONResponse:
    """Compare what was sent with the labels in force, and store it over these or ask.

    Raises:
        OutdatedError: other labels are in force by now, of another client; nothing is stored.
        ChangedImageError: the series has changed meanwhile; nothing is stored.
    """
    collection = app.workspace.collection
    with LABELS_LOCK, scratch(app.workspace.received) as folder:
        # A value is a structure's place among those present: what was sent and what is shown need one list of them.
        structures = collection.names
        classes, named = tuple(structures.present.values()), names_of(ours.label_info or [], structures)
        values, names = as_numbered(received, named, classes)
        spoken = frozenset(named.values())
        sent = SentLabel(values, names, spoken, slices, structures.present)
        shots = {shot.slice: shot for shot in collection.shots(image, content_hash=volume.content_hash)}
        shown, _ = shown_labelmap(collection, image, volume, classes, list(shots.values()))
        newer, erased = sent.newer(shots, shown), sent.erased(shots, shown)
        if refusal := _refusal(sent, newer, erased, shots, volume):
            return refusal
        file, info = _write(Path(folder), sent.over(shown, shots), sent, classes, shots, shown, volume)
        raw = {**raw, "label_info": info}
        ours = replace(
            ours,
            label_info=info,
            spoken=tuple(spoken),  # a person at the panel sees them all
            # An empty slice usually says nothing; here a person emptied it, of the structures that the client has.
            complete_slices=(erased or None) if sent.knows(classes) else None,
            by_hand=sent.meant(erased),
            beside=frozenset(slices.beside),
            # Other clients take no lock of ours.
            over={z: shots[z].submission if z in shots else 0 for z in slices.drawn},
            content_hash=volume.content_hash,
        )
        answer = app.submit_label(image, file, "final", raw, ours)
        now = collection.shots(image, content_hash=volume.content_hash)
    return _by_stored_slice(answer, newer, now, volume)


def _refusal(
    sent: SentLabel, newer: list[int], erased: frozenset[int], shots: dict[int, Shot], volume: Volume
) -> JSONResponse | None:
    """A question to ask before anything is stored, if there is one.

    Raises:
        LabelError: nothing is drawn.
    """
    if asked := [z for z in newer if not sent.agreed(z, shots[z])]:
        return _conflict([shots[z] for z in asked], volume)
    losing = [
        z
        for z in erased - sent.slices.emptied
        if z in shots and (sent.spoken - sent.unsaid(z)).intersection(shots[z].masks)
    ]
    if gone := sorted(to_k(volume.geometry, z) for z in losing):
        detail = f"{_which(gone)} had a label, and would be empty: say that nothing is there, or leave them out."
        return JSONResponse({"detail": detail, "empty": gone}, status_code=409)
    if not erased and not any(sent.values[z].any() for z in sent.slices.drawn):
        raise LabelError("Nothing is drawn in this series. Paint a structure on a slice, then submit.")
    return None


def _write(
    folder: Path,
    values: np.ndarray,
    sent: SentLabel,
    classes: tuple[str, ...],
    shots: dict[int, Shot],
    shown: np.ndarray,
    volume: Volume,
) -> tuple[Path, list[dict[str, Any]] | None]:
    """The label as a file in ``folder``, and the ``label_info`` of its values; None where the file holds names."""
    if merged := _with_overlaps(values, sent, classes, shots, shown):
        file = folder / "label.seg.nrrd"
        native = {name: volume.geometry.to_native(mask) for name, mask in merged.items()}
        write_native_masks(file, native, volume.geometry.affine)
        return file, None
    file = folder / "label.bin"
    file.write_bytes(volume.geometry.to_native(values).tobytes(order="F"))
    return file, [{"idx": value, "name": name} for value, name in sent.names.items()]


def _by_stored_slice(answer: dict[str, Any], newer: list[int], now: list[Shot], volume: Volume) -> dict[str, Any]:
    """The answer with its slices in the order of the stored series, and with the labels in force now."""
    for fate in ("added", "superseded", "cleared", "unchanged", "kept", "untouched"):
        answer[fate] = sorted(to_k(volume.geometry, z) for z in answer[fate])
    answer["replaced"] = sorted(to_k(volume.geometry, z) for z in newer if z not in answer["beside"])
    answer["beside"] = sorted(to_k(volume.geometry, z) for z in answer["beside"])
    answer["overlaps"] = sorted(to_k(volume.geometry, shot.slice) for shot in now if overlapping(shot))
    answer["submissions"] = submissions(volume.geometry, now)
    return answer


def _conflict(shots: list[Shot], volume: Volume) -> JSONResponse:
    slices = sorted(to_k(volume.geometry, shot.slice) for shot in shots)
    who = ", ".join(sorted({shot.annotator for shot in shots if shot.annotator}))
    detail = (
        f"{_which(slices)}: submitted from elsewhere{f' by {who}' if who else ''} since you drew on it. Nothing of "
        "yours was sent, and it stays here."
    )
    body = {"detail": detail, "slices": slices, "submissions": submissions(volume.geometry, shots), "who": who}
    return JSONResponse(body, status_code=409)


def _which(slices: list[int]) -> str:
    return f"Slice{'s' * (len(slices) > 1)} {', '.join(str(k + 1) for k in slices)}"


def _with_overlaps(
    values: np.ndarray,
    sent: SentLabel,
    classes: tuple[str, ...],
    shots: dict[int, Shot],
    shown: np.ndarray,
) -> dict[str, np.ndarray]:
    """Masks (Z, H, W) of the labelmap and of what lies below it where it is as it was shown; {} without overlaps."""
    hidden = {z: shot for z, shot in shots.items() if overlapping(shot)}
    if not hidden:
        return {}
    spelled = {name.casefold(): name for name in classes}
    masks = {spelled.get(name.casefold(), name): values == value for value, name in sent.names.items()}
    for z, shot in hidden.items():
        unsaid = sent.unsaid(z) if z in sent.slices.drawn else set()
        # What the client saw of an overlap was drawn without what it does not know.
        said = shot.called_as({name: name for name in shot.masks if name not in unsaid})
        as_seen = sent.values[z] == drawn_labelmap(said, classes, np.zeros(values.shape[1:], np.uint8))
        for name, mask in shot.masks.items():
            untouched = as_seen | (sent.values[z] == 0) if name in unsaid else values[z] == shown[z]
            whole = masks.setdefault(name, np.zeros(values.shape, bool))
            whole[z] |= mask & untouched
    return {name: mask for name, mask in masks.items() if mask.any()}
