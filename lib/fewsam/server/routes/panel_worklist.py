"""The worklist: where each series of each study stands, who is on it, and what annotators and reviewers say of it."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from fastapi.responses import JSONResponse
from monailabel.config import settings
from monailabel.endpoints.user.auth import User
from pydantic import BaseModel

from fewsam.collection.worklist import (
    ACCEPTED,
    DONE,
    OPEN,
    SENT_BACK,
    UNSURE,
    OutdatedMarkError,
    SeenLabels,
    counts,
    state_of,
)
from fewsam.server.errors import RequestError
from fewsam.server.guard.person import author
from fewsam.server.routes.numbers import Whole
from fewsam.server.routes.panel_image import instances_of, open_image, to_k
from fewsam.server.routes.roles import ANNOTATOR, REVIEWER, USER
from fewsam.server.storage.pacs_datastore import PacsDatastore
from fewsam.server.tasks.host import Host, current
from fewsam.server.tasks.presence import PRESENCE

router = APIRouter(prefix="/fewsam")


class Marked(BaseModel):
    """What somebody says of an image.

    Attributes:
        state: An annotator says ``done``, ``unsure`` or ``open``; a reviewer says ``accepted`` or ``sent back``.
        seen: Number of the mark that the person saw, 0 for none; without it whatever there is counts as seen.
        labels: The labels that the person saw, as `GET /fewsam/state` gives them under `submissions`: labelled slice,
            by its stored number, and the submission that it is of. Without it whatever there are count as seen.
    """

    image: str
    state: str
    note: str = ""
    seen: Whole | None = None
    labels: dict[Whole, Whole] | None = None
    client_id: str = ""


@router.get("/worklist")
def worklist(user: User = USER) -> dict[str, Any]:
    """Studies with their series: not started, in progress, unsure, sent back, done or accepted, and who is on it."""
    app = current()
    collection, datastore = app.workspace.collection, app.datastore()
    marks, last = collection.worklist.marks(), collection.worklist.last_labels()
    labelled, people = collection.labelled_by_image(), PRESENCE.people()
    studies: dict[str, dict[str, Any]] = {}
    states: dict[str, str] = {}
    for image_id in datastore.list_images():
        info, mark = datastore.get_image_info(image_id), marks.get(image_id)
        number, who, when = last.get(image_id, (0, "", ""))
        instances = instances_of(info)
        states[image_id], changed = state_of(mark, bool(labelled.get(image_id)), number, instances)
        study = str(info.get("StudyInstanceUID") or image_id)
        entry = studies.setdefault(study, {"study": study, "patient": str(info.get("PatientID") or ""),
                                           "date": str(info.get("StudyDate") or ""), "series": []})  # fmt: skip
        index = app.index.get(image_id)
        entry["series"].append(
            {
                "image": image_id,
                "description": str(info.get("SeriesDescription") or ""),
                "modality": str(info.get("Modality") or ""),
                "state": states[image_id],
                "labelled_slices": len(labelled.get(image_id, ())),
                "slices": index.depth if index is not None else None,
                "labelled_by": who,
                "labelled_at": when,
                "people": people.get(image_id, []),
                "mark": mark.number if mark else 0,
                "marked_by": mark.annotator if mark else "",
                "marked_at": mark.time if mark else "",
                "note": mark.note if mark else "",
                "changed_since": changed,
                "grown_since": mark is not None and mark.is_of_another(instances),
            }
        )
    problem = datastore.problem if isinstance(datastore, PacsDatastore) else ""
    return {"studies": list(studies.values()), "counts": counts(states), "can_review": _may_review(user),
            "problem": problem}  # fmt: skip


@router.post("/worklist/mark", response_model=None)
def mark(request: Marked, user: User = ANNOTATOR) -> dict[str, Any] | JSONResponse:
    """Mark an image as done, as unsure, or as open again. 409 where it was marked or labelled meanwhile."""
    return _mark(request, user, (DONE, UNSURE, OPEN), "an annotator marks an image as done, unsure or open")


@router.post("/worklist/review", response_model=None)
def review(request: Marked, user: User = REVIEWER) -> dict[str, Any] | JSONResponse:
    """Accept an image that is done, or send it back with a note. 409 where it was marked or labelled meanwhile."""
    return _mark(request, user, (ACCEPTED, SENT_BACK), "a reviewer marks an image as accepted or sent back")


@router.get("/worklist/history")
def history(image: str, user: User = USER) -> list[dict[str, Any]]:
    """Everything that was said of an image, the newest first."""
    found = current().workspace.collection.worklist.history(image)
    return [
        {"mark": one.number, "state": one.state, "note": one.note, "by": one.annotator, "time": one.time}
        for one in reversed(found)
    ]


def _mark(request: Marked, user: User, allowed: tuple[str, ...], rule: str) -> dict[str, Any] | JSONResponse:
    app = current()
    if request.state not in allowed:
        raise RequestError(f"{rule}, not as {request.state[:40]!r}")
    app.image_path(request.image)  # nothing is said of an image that there is not
    # Before its labels are looked at: what comes later was not seen.
    instances = instances_of(app.datastore().get_image_info(request.image))
    who = author(user, request.client_id)
    try:
        marked = app.workspace.collection.worklist.mark(
            request.image, request.state, who, request.note, request.seen, _seen_labels(app, request), instances
        )
    except OutdatedMarkError as error:
        return JSONResponse({"detail": str(error)}, 409)
    return {"mark": marked.number, "state": marked.state}


def _seen_labels(app: Host, request: Marked) -> SeenLabels | None:
    if request.labels is None:
        return None
    volume = open_image(app, request.image)
    labels = {to_k(volume.geometry, k): submission for k, submission in request.labels.items()}
    return SeenLabels(volume.content_hash, labels)


def _may_review(user: User) -> bool:
    return not settings.MONAI_LABEL_AUTH_ENABLE or settings.MONAI_LABEL_AUTH_ROLE_REVIEWER in user.roles
