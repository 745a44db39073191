"""Two annotators' labels of one slice, side by side: the one in force, and those that were kept beside it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from fastapi import APIRouter
from fastapi.responses import Response
from monailabel.endpoints.user.auth import User

from fewsam.collection import Shot
from fewsam.core.metrics import dice
from fewsam.fewshot.inference.prediction import drawn_labelmap
from fewsam.server.errors import NotFoundError
from fewsam.server.routes.panel_image import open_image, structures_of, to_k, voxels
from fewsam.server.routes.roles import USER
from fewsam.server.routes.threads import INFER_THREADS
from fewsam.server.tasks.host import current

router = APIRouter(prefix="/fewsam")


@router.get("/readings")
async def readings(image: str, user: User = USER) -> list[dict[str, Any]]:
    """Slices with labels beside the one in force: who drew each of them, and their Dice by structure.

    The Dice compares each reading with the label in force; null where neither draws the structure. The readings are
    the last ones of each annotator.
    """
    return await INFER_THREADS.run(partial(_readings, image), user.username)


@router.get("/reading")
async def reading(image: str, reading: int, user: User = USER) -> Response:
    """One slice as a second reader labelled it."""
    return await INFER_THREADS.run(partial(_reading, image, reading), user.username)


def _readings(image_id: str) -> list[dict[str, Any]]:
    app = current()
    volume = open_image(app, image_id)
    collection = app.workspace.collection
    force = {shot.slice: shot for shot in collection.shots(image_id, content_hash=volume.content_hash)}
    beside: dict[int, dict[str, Shot]] = {}
    for one in collection.readings(image_id, volume.content_hash):
        beside.setdefault(one.slice, {})[one.annotator] = one
    return [
        {
            "slice": to_k(volume.geometry, z),
            "in_force": _described(force[z]) if z in force else None,
            "readings": [
                {**_described(one), "reading": one.shot_id, "dice": _agreement(force.get(z), one, collection.classes)}
                for one in found.values()
            ],
        }
        for z, found in sorted(beside.items(), key=lambda item: to_k(volume.geometry, item[0]))
    ]


def _described(shot: Shot) -> dict[str, Any]:
    return {"annotator": shot.annotator, "time": shot.time, "structures": sorted(shot.masks)}


def _agreement(one: Shot | None, other: Shot, classes: Sequence[str]) -> dict[str, float]:
    """Dice of two labels of a slice by structure, for those that either draws."""
    if one is None:
        return {}
    blank = np.zeros(other.image.shape[1:], bool)
    drawn = [name for name in classes if name in one.masks or name in other.masks]
    return {name: round(dice(one.masks.get(name, blank), other.masks.get(name, blank)), 4) for name in drawn}


def _reading(image_id: str, number: int) -> Response:
    app = current()
    volume = open_image(app, image_id)
    collection = app.workspace.collection
    of_image = collection.readings(image_id, volume.content_hash)
    found = next((one for one in of_image if one.shot_id == number), None)
    if found is None:
        raise NotFoundError(f"there is no reading {number} of this image; look at its readings again")
    full = np.zeros(volume.slices.shape[:3], np.uint8)
    full[found.slice] = drawn_labelmap(found, collection.classes, full[found.slice])
    k = to_k(volume.geometry, found.slice)
    head = {"structures": structures_of(collection), "slice": k, "submissions": {}, **_described(found)}
    return voxels(head, volume.geometry.to_native(full)[:, :, k : k + 1])
