"""What a slice was labelled as, by whom and when: looked up, shown again, and taken back, from the panel in OHIF."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from fastapi import APIRouter
from fastapi.responses import JSONResponse, Response
from monailabel.endpoints.user.auth import User
from pydantic import BaseModel

from fewsam.collection import Shot
from fewsam.fewshot.inference.prediction import drawn_labelmap
from fewsam.images.volume import Volume
from fewsam.server.errors import NotFoundError, RequestError
from fewsam.server.guard.person import author
from fewsam.server.routes.numbers import Whole
from fewsam.server.routes.panel_image import LABELS_LOCK, open_image, structures_of, to_k, voxels
from fewsam.server.routes.roles import ANNOTATOR, USER
from fewsam.server.routes.threads import INFER_THREADS
from fewsam.server.tasks.host import Host, current

router = APIRouter(prefix="/fewsam")


class Unlabelled(BaseModel):
    """A slice whose label is taken back; ``seen``: the shot that the person saw in force."""

    image: str
    slice: Whole
    seen: Whole
    client_id: str = ""


@router.get("/history")
def history(image: str, slice: Whole, user: User = USER) -> list[dict[str, Any]]:
    """Every label that a slice of an image has had, the newest first."""
    app = current()
    volume = open_image(app, image)
    entries = app.workspace.collection.history(image, _canonical(volume, slice))
    mine = [entry for entry in entries if entry["content_hash"] == volume.content_hash]
    return [
        {
            "shot": entry["shot_id"],
            "time": entry["time"],
            "annotator": entry["annotator"],
            "source": entry["source"],
            "structures": entry["drawn"],
            "withdrawn": not entry["drawn"] and not entry["known"],
            "current": entry is mine[-1],
        }
        for entry in reversed(mine)
    ]


@router.get("/shot")
async def shot(image: str, shot: Whole, user: User = USER) -> Response:
    """One slice as it was labelled once."""
    return await INFER_THREADS.run(partial(_shot, image, shot), user.username)


@router.post("/unlabel", response_model=None)
def unlabel(request: Unlabelled, user: User = ANNOTATOR) -> dict[str, Any] | JSONResponse:
    """Take back what was said of a slice; its label stays in the history. 409 where it has a newer one by now."""
    app = current()
    volume = open_image(app, request.image)
    who = author(user, request.client_id)
    with LABELS_LOCK:
        done = app.workspace.collection.withdraw(request.image, _canonical(volume, request.slice), request.seen, who)
        if not done:
            return JSONResponse({"detail": "This slice has a newer label by now; look at its history again."}, 409)
        return app.renew_label(request.image, who)


def _shot(image_id: str, number: int) -> Response:
    app = current()
    volume = open_image(app, image_id)
    found, names = _known_shot(app, image_id, number, volume), app.workspace.collection.names
    full = np.zeros(volume.slices.shape[:3], np.uint8)
    full[found.slice] = drawn_labelmap(found, tuple(names.present.values()), full[found.slice])
    k = to_k(volume.geometry, found.slice)
    head = {"structures": structures_of(names), "slice": k, "submissions": {}}
    return voxels(head, volume.geometry.to_native(full)[:, :, k : k + 1])


def _known_shot(app: Host, image_id: str, number: int, volume: Volume) -> Shot:
    try:
        found = app.workspace.collection.shot(number)
    except KeyError:
        raise NotFoundError(f"there is no label {number}; look at the slice's history again") from None
    if found.image_id != image_id or found.image.content_hash != volume.content_hash:
        raise RequestError("this label is of another image")
    return found


def _canonical(volume: Volume, k: int) -> int:
    if not 0 <= k < volume.depth:
        raise RequestError(f"slice {k} is not among the image's slices 0..{volume.depth - 1}")
    return to_k(volume.geometry, k)
