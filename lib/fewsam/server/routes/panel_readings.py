"""Two annotators' labels of one slice, side by side: the one in force, and those that were kept beside it.

A reviewer may put one of the others in force. The label that gives way stays in the history of the slice.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from fastapi import APIRouter
from fastapi.responses import JSONResponse, Response
from monailabel.endpoints.user.auth import User
from pydantic import BaseModel

from fewsam.collection import Shot
from fewsam.collection.decide import SPOKEN
from fewsam.core.errors import OutdatedError
from fewsam.core.metrics import dice
from fewsam.fewshot.inference.prediction import drawn_labelmap
from fewsam.images.labelwrite import write_native_masks
from fewsam.images.volume import Volume
from fewsam.server.errors import NotFoundError
from fewsam.server.guard.person import author
from fewsam.server.paths import scratch
from fewsam.server.routes.numbers import Whole
from fewsam.server.routes.panel_image import LABELS_LOCK, open_image, structures_of, submissions, to_k, voxels
from fewsam.server.routes.roles import REVIEWER, USER
from fewsam.server.routes.threads import INFER_THREADS
from fewsam.server.tasks.host import Host, current
from fewsam.server.tasks.labels import LabelParams

NEWER = "This slice has a newer label by now; look at its readings again."
router = APIRouter(prefix="/fewsam")


class Adopted(BaseModel):
    """A reading that is to be the label; ``seen``: the submission that the reviewer saw in force, 0 for none."""

    image: str
    reading: Whole
    seen: Whole
    client_id: str = ""


@router.get("/readings")
async def readings(image: str, user: User = USER) -> list[dict[str, Any]]:
    """Slices with labels beside the one in force: who drew each of them, and their Dice by structure.

    The Dice compares each reading with the label in force; null where neither draws the structure. The readings are
    the last ones of each annotator; one that is in force by now is left out.
    """
    return await INFER_THREADS.run(partial(_readings, image), user.username)


@router.get("/reading")
async def reading(image: str, reading: Whole, user: User = USER) -> Response:
    """One slice as a second reader labelled it."""
    return await INFER_THREADS.run(partial(_reading, image, reading), user.username)


@router.post("/reading/adopt", response_model=None)
async def adopt(request: Adopted, user: User = REVIEWER) -> dict[str, Any] | JSONResponse:
    """Put a reading in force, under the name of who drew it. 409 where the slice has a newer label by now."""
    return await INFER_THREADS.run(partial(_adopt, request, author(user, request.client_id)), user.username)


def _readings(image_id: str) -> list[dict[str, Any]]:
    app = current()
    volume = open_image(app, image_id)
    collection = app.workspace.collection
    force = {shot.slice: shot for shot in collection.shots(image_id, content_hash=volume.content_hash)}
    beside: dict[int, dict[str, Shot]] = {}
    for one in collection.readings(image_id, volume.content_hash):
        beside.setdefault(one.slice, {})[one.annotator] = one
    other = {
        z: [one for one in found.values() if z not in force or not _same(one, force[z])] for z, found in beside.items()
    }
    return [
        {
            "slice": to_k(volume.geometry, z),
            "in_force": _described(force[z]) if z in force else None,
            "readings": [
                {**_described(one), "reading": one.shot_id, "dice": _agreement(force.get(z), one, collection.classes)}
                for one in found
            ],
        }
        for z, found in sorted(other.items(), key=lambda item: to_k(volume.geometry, item[0]))
        if found
    ]


def _described(shot: Shot) -> dict[str, Any]:
    return {
        "annotator": shot.annotator,
        "time": shot.time,
        "structures": sorted(shot.masks),
        "submission": shot.submission,
    }


def _agreement(one: Shot | None, other: Shot, classes: Sequence[str]) -> dict[str, float]:
    """Dice of two labels of a slice by structure, for those that either draws."""
    if one is None:
        return {}
    blank = np.zeros(other.image.shape[1:], bool)
    drawn = [name for name in classes if name in one.masks or name in other.masks]
    return {name: round(dice(one.masks.get(name, blank), other.masks.get(name, blank)), 4) for name in drawn}


def _same(one: Shot, other: Shot) -> bool:
    """Whether two labels of a slice draw the same structures on the same pixels."""
    return one.masks.keys() == other.masks.keys() and all(
        np.array_equal(mask, other.masks[name]) for name, mask in one.masks.items()
    )


def _reading(image_id: str, number: int) -> Response:
    app = current()
    volume = open_image(app, image_id)
    found, names = _found(app, image_id, volume, number), app.workspace.collection.names
    full = np.zeros(volume.slices.shape[:3], np.uint8)
    full[found.slice] = drawn_labelmap(found, tuple(names.present.values()), full[found.slice])
    k = to_k(volume.geometry, found.slice)
    values = structures_of(names)  # what the voxels mean, in place of the names of those drawn
    head = {**_described(found), "structures": values, "slice": k, "submissions": {}}
    return voxels(head, volume.geometry.to_native(full)[:, :, k : k + 1])


def _adopt(request: Adopted, who: str) -> dict[str, Any] | JSONResponse:
    app = current()
    image_id, collection = request.image, app.workspace.collection
    volume = open_image(app, image_id)
    with LABELS_LOCK, scratch(app.workspace.received) as folder:
        reading = _found(app, image_id, volume, request.reading)
        force = {shot.slice: shot for shot in collection.shots(image_id, content_hash=volume.content_hash)}
        if (force[reading.slice].submission if reading.slice in force else 0) != request.seen:
            return JSONResponse({"detail": NEWER}, 409)
        file = _written(Path(folder), volume, reading)
        said = LabelParams(
            annotator=reading.annotator,
            source=f"rest:reviewed by {who}" if who else "rest:reviewed",
            absent_classes=SPOKEN,
            spoken=tuple(reading.known | reading.masks.keys()),
            by_hand=frozenset({reading.slice}),
            one_slice=True,
            over={reading.slice: request.seen},
            content_hash=volume.content_hash,
        )
        try:
            app.submit_label(image_id, file, "final", {"annotator": reading.annotator}, said)
        except OutdatedError:  # other clients take no lock of ours
            return JSONResponse({"detail": NEWER}, 409)
        now = collection.shots(image_id, content_hash=volume.content_hash)
    return {"slice": to_k(volume.geometry, reading.slice), "submissions": submissions(volume.geometry, now)}


def _written(folder: Path, volume: Volume, reading: Shot) -> Path:
    """A reading as a file that names its structures: what nobody drew on its slice is not in it."""
    native = {}
    for name, mask in reading.masks.items():
        full = np.zeros(volume.geometry.slices_shape, bool)
        full[reading.slice] = mask
        native[name] = volume.geometry.to_native(full)
    file = folder / "label.seg.nrrd"
    write_native_masks(file, native, volume.geometry.affine)
    return file


def _found(app: Host, image_id: str, volume: Volume, number: int) -> Shot:
    of_image = app.workspace.collection.readings(image_id, volume.content_hash)
    found = next((one for one in of_image if one.shot_id == number), None)
    if found is None:
        raise NotFoundError(f"there is no reading {number} of this image; look at its readings again")
    return found
