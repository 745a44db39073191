"""What the panel in OHIF asks for, in the voxel order of the stored series: slice k, row j, column i, all from 0.

Slices count upwards along (row direction x column direction), as ITK orders a DICOM series. Answers with voxels are a
32-bit little-endian length, that many bytes of JSON, and the voxels as uint8, i fastest.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pydicom
from fastapi import APIRouter
from fastapi.responses import JSONResponse, Response
from monailabel.endpoints.user.auth import User
from pydantic import BaseModel

from fewsam.collection.structures import steadily
from fewsam.collection.worklist import is_finished
from fewsam.images.volume import Volume
from fewsam.server.errors import RequestError
from fewsam.server.routes.numbers import Whole
from fewsam.server.routes.panel_image import (
    instances_of,
    looks_at,
    open_image,
    overlapping,
    present_name,
    structures_of,
    submissions,
    to_k,
    voxels,
)
from fewsam.server.routes.roles import ANNOTATOR, USER
from fewsam.server.routes.threads import INFER_THREADS
from fewsam.server.tasks.host import Host, current
from fewsam.server.tasks.shown import renumbered, shown_labelmap

T = TypeVar("T")

router = APIRouter(prefix="/fewsam")


class ClickRequest(BaseModel):
    """Clicks on one slice, for one class; points are (i, j). ``id`` says which class it is, whatever it is called."""

    image: str
    slice: Whole
    label: str
    id: str = ""
    include: list[tuple[Whole, Whole]] = []
    exclude: list[tuple[Whole, Whole]] = []


class NextRequest(BaseModel):
    """Who asks for the next slice.

    Attributes:
        image: The image that is open: slices of others are offered only with ``leave``.
        skip: Slices of the open image that are not wanted now.
        unshown: Images that the viewer cannot show.
    """

    client_id: str = ""
    strategy: str = "informative"
    image: str = ""
    skip: list[Whole] = []
    leave: bool = False
    unshown: list[str] = []


async def _threaded(work: Callable[[], T], user: User) -> T:
    return await INFER_THREADS.run(work, user.username)


@router.get("/labelmap")
async def labelmap(image: str, user: User = USER) -> Response:
    """What is known of an image without computing: slices as drawn and, elsewhere, what was served last."""
    return await _threaded(partial(_labelmap, image), user)


@router.post("/segment")
async def segment(image: str, slice: Whole | None = None, user: User = USER) -> Response:
    """Segment an image of the studies; slices that are not encoded in time are ``unencoded``, and will be better.

    ``slice``, the stored slice that is looked at, is encoded before the others.
    """
    return await _threaded(partial(_segment, image, slice), user)


@router.post("/clicks")
async def clicks(request: ClickRequest, user: User = ANNOTATOR) -> Response:
    """One class on one slice, corrected by clicks: two planes of 0 and 1, with the clicks and without."""
    return await _threaded(partial(_clicks, request), user)


@router.post("/next")
def next_slice(request: NextRequest, user: User = USER) -> Any:
    """Image, study and slice to label next; without an id where there is none left that is worth asking for.

    ``left`` then says how many slices of the open image are not labelled.
    """
    app = current()
    asked: dict[str, Any] = {"client_id": request.client_id or user.username, "strategy": request.strategy}
    if request.image:
        opened = open_image(app, request.image)
        skip = [to_k(opened.geometry, k) for k in request.skip if 0 <= k < opened.depth]
        asked |= {"image": request.image, "skip": skip, "leave": request.leave,
                  "exclude": [*request.unshown, *_finished(app)]}  # fmt: skip
    offer = app.offer(asked)
    if not offer:
        done = app.workspace.collection.labelled_slices(request.image, opened.content_hash) if request.image else []
        return {"left": opened.depth - len(done)} if request.image else {}
    path = app.image_path(offer["id"])
    volume = app.workspace.volume(path)
    info = app.datastore().get_image_info(offer["id"])
    return JSONResponse(
        {
            "id": offer["id"],
            "study": info.get("StudyInstanceUID", ""),
            "slice": to_k(volume.geometry, int(offer["slice"])),
            "score": offer.get("score"),
            "labelled": offer.get("labelled_slices"),
            "sop_class": _sop_class(Path(path)),
        }
    )


def _finished(app: Host) -> list[str]:
    """Images that nobody is to be sent to any more: they are marked as done, or accepted, and have not grown since."""
    marks, datastore = app.workspace.collection.worklist.marks(), app.datastore()
    here = [image_id for image_id in datastore.list_images() if image_id in marks]
    return [one for one in here if is_finished(marks[one], instances_of(datastore.get_image_info(one)))]


def _sop_class(path: Path) -> str:
    """Kind of the DICOM objects of an image, by which a viewer says whether it can show them; empty for others."""
    file = next(iter(sorted(path.glob("*.dcm"))), None) if path.is_dir() else None
    if file is None:
        return ""
    return str(pydicom.dcmread(file, stop_before_pixels=True, specific_tags=["SOPClassUID"]).get("SOPClassUID", ""))


def _labelmap(image_id: str) -> Response:
    app = current()
    volume = open_image(app, image_id)
    collection = app.workspace.collection
    # Read once, for the voxels and for what is said of them.
    names, shots = steadily(
        lambda: collection.names, lambda: collection.shots(image_id, content_hash=volume.content_hash)
    )
    labels, version = shown_labelmap(app.workspace.collection, image_id, volume, tuple(names.present.values()), shots)
    drawn = submissions(volume.geometry, shots)
    head = {
        "content_hash": volume.content_hash,
        "structures": structures_of(names),
        "drawn": sorted(map(int, drawn)),
        "submissions": drawn,
        "overlaps": sorted(to_k(volume.geometry, shot.slice) for shot in shots if overlapping(shot)),
        "served": version is not None,
        "model_version": version or 0,
    }
    return voxels(head, volume.geometry.to_native(labels))


def _segment(image_id: str, k: int | None) -> Response:
    app = current()
    volume = open_image(app, image_id)
    looks_at(app, image_id, volume, k)
    before = app.workspace.collection.names.present
    shots = app.workspace.collection.shots(image_id, content_hash=volume.content_hash)
    labels, answer = app.segment(image_id)
    for kind in ("pasted", "remaining", "unencoded"):
        answer[kind] = sorted(to_k(volume.geometry, z) for z in answer[kind])
    answer["submissions"] = submissions(volume.geometry, shots)
    answer["content_hash"] = volume.content_hash
    # Numbered by the structures of when the computation began; what was deleted since is left out, as in what is shown.
    # What came back since is not in it, and the panel must not take it for a structure of which there is nothing.
    names = app.workspace.collection.names
    names = replace(names, present={key: name for key, name in names.present.items() if key in before})
    computed = [names.distinct(key) for key in answer["keys"]]
    answer["structures"] = structures_of(names)
    return voxels(answer, volume.geometry.to_native(renumbered(labels, computed, tuple(names.present.values()))))


def _clicks(request: ClickRequest) -> Response:
    app = current()
    volume = open_image(app, request.image)
    geometry = volume.geometry
    if not 0 <= request.slice < volume.depth:
        raise RequestError(f"slice {request.slice} is not among the image's slices 0..{volume.depth - 1}")
    sides = [_inside(volume, points, request.slice) for points in (request.include, request.exclude)]
    z, name = to_k(geometry, request.slice), present_name(app.workspace.collection.names, request.id, request.label)
    with app.workspace.embedder.request():
        app.somebody_works()
        result = app.workspace.clicks.correct(volume, z, name, *sides)
    planes = []
    for mask in (result.mask, result.before):
        full = np.zeros(volume.slices.shape[:3], np.uint8)
        full[z] = mask
        planes.append(geometry.to_native(full)[:, :, request.slice])
    return voxels({"label": name, "slice": request.slice}, np.stack(planes, axis=2))


def _inside(volume: Volume, points: list[tuple[int, int]], k: int) -> list[tuple[int, int]]:
    """(row, col) of native (i, j).

    Raises:
        RequestError: outside of the image.
    """
    width, height = volume.geometry.shape[:2]
    outside = [p for p in points if not (0 <= p[0] < width and 0 <= p[1] < height)]
    if outside:
        raise RequestError(f"points {outside} are outside of the image of {width} x {height} pixels")
    found = [volume.geometry.canonical_index(i, j, k) for i, j in points]
    return [(row, col) for _, row, col in found]
