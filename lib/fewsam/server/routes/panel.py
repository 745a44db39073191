"""What the panel in OHIF asks for, in the voxel order of the stored series: slice k, row j, column i, all from 0.

Slices count upwards along (row direction x column direction), as ITK orders a DICOM series. Answers with voxels are a
32-bit little-endian length, that many bytes of JSON, and the voxels as uint8, i fastest.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from fastapi import APIRouter, Depends
from fastapi.responses import JSONResponse, Response
from monailabel.config import settings
from monailabel.endpoints.user.auth import RBAC, User
from monailabel.interfaces.utils import app as monai_apps
from pydantic import BaseModel

from fewsam.fewshot.inference.uncertainty import by_slice
from fewsam.images.volume import Volume
from fewsam.server.errors import RequestError
from fewsam.server.routes.panel_image import open_image, overlapping, shown_labelmap, submissions, to_k
from fewsam.server.routes.threads import INFER_THREADS
from fewsam.server.storage.pacs_datastore import PacsDatastore
from fewsam.server.storage.palette import COLOURS, colour_of

if TYPE_CHECKING:
    from fewsam.server.app import FewSAMApp

T = TypeVar("T")

router = APIRouter(prefix="/fewsam")
_user = Depends(RBAC(settings.MONAI_LABEL_AUTH_ROLE_USER))
_annotator = Depends(RBAC(settings.MONAI_LABEL_AUTH_ROLE_ANNOTATOR))


class ClickRequest(BaseModel):
    """Clicks on one slice, for one class; points are (i, j)."""

    image: str
    slice: int
    label: str
    include: list[tuple[int, int]] = []
    exclude: list[tuple[int, int]] = []


class NextRequest(BaseModel):
    """Who asks for the next slice, and which image is open."""

    client_id: str = ""
    strategy: str = "informative"


def _instance() -> FewSAMApp:
    instance: FewSAMApp = monai_apps.app_instance()
    return instance


async def _threaded(work: Callable[[], T]) -> T:
    return await INFER_THREADS.run(work)


@router.get("/state")
def state(image: str = "", user: User = _user) -> dict[str, Any]:
    """Classes with counts, the model, training, the learning curve; of ``image`` its labelled slices and doubt."""
    app = _instance()
    info = app.background.status() if app.background is not None else {}
    collection, datastore = app.context.collection, app.datastore()
    counts = collection.counts()
    stats = app.trainer.stats()
    answer: dict[str, Any] = {
        "classes": [
            {"name": name, "value": place + 1, "color": colour_of(name, place), "slices": counts.get(name, 0)}
            for place, name in enumerate(collection.classes)
        ],
        "palette": list(COLOURS),
        "new_labels": app.context.settings.new_labels,
        "model_version": info.get("model_version", 0),
        "trained": info.get("trained", False),
        "training": {**info.get("training", {}), **_plain(stats)},
        "curve": info.get("learning_curve", []),
        "problems": list(info.get("label_problems", ())),
        "encoder": info.get("encoder", {}),
        "encoding": info.get("encoding", {}),
    }
    if isinstance(datastore, PacsDatastore):
        datastore.list_images()
        answer["pacs"] = {"problem": datastore.problem, "waiting": len(datastore.outbox.waiting())}
    if image:
        answer["image"] = _image_state(app, image)
    return answer


@router.get("/labelmap")
async def labelmap(image: str, user: User = _user) -> Response:
    """What is known of an image without computing: slices as drawn and, elsewhere, what was served last."""
    return await _threaded(partial(_labelmap, image))


@router.post("/segment")
async def segment(image: str, user: User = _user) -> Response:
    """Segment an image of the studies."""
    return await _threaded(partial(_segment, image))


@router.post("/clicks")
async def clicks(request: ClickRequest, user: User = _annotator) -> Response:
    """One class on one slice, corrected by clicks: two planes of 0 and 1, with the clicks and without."""
    return await _threaded(partial(_clicks, request))


@router.post("/next")
def next_slice(request: NextRequest, user: User = _user) -> Any:
    """Image, study and slice to label next; ``{}`` where there is none left."""
    app = _instance()
    offer = app.offer({"client_id": request.client_id or user.username, "strategy": request.strategy})
    if not offer:
        return {}
    volume = app.context.volume(app.image_path(offer["id"]))
    info = app.datastore().get_image_info(offer["id"])
    return JSONResponse(
        {
            "id": offer["id"],
            "study": info.get("StudyInstanceUID", ""),
            "slice": to_k(volume.geometry, int(offer["slice"])),
            "score": offer.get("score"),
            "labelled": offer.get("labelled_slices"),
        }
    )


def _image_state(app: FewSAMApp, image_id: str) -> dict[str, Any]:
    volume = open_image(app, image_id)
    collection = app.context.collection
    shots = collection.shots(image_id, content_hash=volume.content_hash)
    by_class: dict[str, int] = {}
    for shot in shots:
        for name in shot.masks:
            by_class[name] = by_class.get(name, 0) + 1
    scores, _ = collection.scores(image_id) or ([], 0)
    along: list[float] = []
    if scores and len(scores) == volume.depth:
        along = by_slice(
            *(np.array([score[key] for score in scores]) for key in ("uncertainty", "foreground"))
        ).tolist()
    order = [to_k(volume.geometry, z) for z in range(volume.depth)]
    return {
        "id": image_id,
        "slices": volume.depth,
        "labelled": sorted(order[shot.slice] for shot in shots),
        "submissions": submissions(volume.geometry, shots),
        "counts": by_class,
        "uncertainty": [round(float(along[order[k]]), 4) for k in range(volume.depth)] if along else [],
    }


def _labelmap(image_id: str) -> Response:
    app = _instance()
    volume = open_image(app, image_id)
    shots = app.context.collection.shots(image_id, content_hash=volume.content_hash)
    labels, version = shown_labelmap(app, image_id, volume, shots)
    drawn = submissions(volume.geometry, shots)
    head = {
        "classes": list(app.context.collection.classes),
        "drawn": sorted(map(int, drawn)),
        "submissions": drawn,
        "overlaps": sorted(to_k(volume.geometry, shot.slice) for shot in shots if overlapping(shot)),
        "served": version is not None,
        "model_version": version or 0,
    }
    return _voxels(head, volume.geometry.to_native(labels))


def _segment(image_id: str) -> Response:
    app = _instance()
    volume = open_image(app, image_id)
    shots = app.context.collection.shots(image_id, content_hash=volume.content_hash)
    labels, answer = app.segment(image_id)
    answer["pasted"] = sorted(to_k(volume.geometry, z) for z in answer["pasted"])
    answer["submissions"] = submissions(volume.geometry, shots)
    return _voxels(answer, volume.geometry.to_native(labels))


def _clicks(request: ClickRequest) -> Response:
    app = _instance()
    volume = open_image(app, request.image)
    geometry = volume.geometry
    if not 0 <= request.slice < volume.depth:
        raise RequestError(f"slice {request.slice} is not among the image's slices 0..{volume.depth - 1}")
    sides = [_inside(volume, points, request.slice) for points in (request.include, request.exclude)]
    z = to_k(geometry, request.slice)
    with app.context.embedder.request():
        result = app.context.clicks.correct(volume, z, request.label, *sides)
    planes = []
    for mask in (result.mask, result.before):
        full = np.zeros(volume.slices.shape[:3], np.uint8)
        full[z] = mask
        planes.append(geometry.to_native(full)[:, :, request.slice])
    return _voxels({"label": request.label, "slice": request.slice}, np.stack(planes, axis=2))


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


def _voxels(head: dict[str, Any], native: np.ndarray) -> Response:
    text = json.dumps(head).encode()
    body = struct.pack("<I", len(text)) + text + native.astype(np.uint8).tobytes(order="F")
    return Response(body, media_type="application/octet-stream", headers={"cache-control": "no-store"})


def _plain(stats: dict[str, Any]) -> dict[str, Any]:
    wanted = ("state", "epoch", "total_epochs", "best_metric", "previous_metric", "published", "model_version",
              "error", "waiting_for", "seconds", "notes")  # fmt: skip
    return {key: stats[key] for key in wanted if key in stats}
