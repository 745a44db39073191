"""The structures of the task, as the panel in OHIF adds, renames and deletes them: at once, for every window.

A structure has an identity, which a change of name keeps; panels send it beside the name with whatever they draw. None
is changed here while a label of a panel is being stored: values of labelmaps are places in the list of structures.
"""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from monailabel.endpoints.user.auth import User
from pydantic import BaseModel

from fewsam.collection.store import Collection
from fewsam.server.errors import RequestError
from fewsam.server.guard.person import author
from fewsam.server.routes.panel_image import LABELS_LOCK
from fewsam.server.routes.roles import ANNOTATOR
from fewsam.server.storage.palette import colours_of
from fewsam.server.tasks.host import current

router = APIRouter(prefix="/fewsam")


class NewStructure(BaseModel):
    """A structure by name."""

    name: str
    client_id: str = ""


class Renamed(BaseModel):
    """Another name for a structure."""

    id: str
    name: str
    client_id: str = ""


class Deleted(BaseModel):
    """A structure to be taken out of the task."""

    id: str
    client_id: str = ""


def listed(collection: Collection) -> list[dict[str, Any]]:
    """The structures in the order of their labelmap values, each with the number of its labelled slices."""
    counts, names = collection.counts(), collection.names
    colours = colours_of(names)
    return [
        {"id": key, "name": name, "color": colours[name], "slices": counts.get(name, 0)}
        for key, name in names.present.items()
    ]


@router.post("/structures")
def add(request: NewStructure, user: User = ANNOTATOR) -> list[dict[str, Any]]:
    """Make a structure, or bring back a deleted one of this name; all structures."""
    collection = _changeable()
    with LABELS_LOCK:
        collection.add_structure(request.name, author(user, request.client_id))
    return listed(collection)


@router.post("/structures/rename")
def rename(request: Renamed, user: User = ANNOTATOR) -> list[dict[str, Any]]:
    """Give a structure another name; its labels stay its own. All structures."""
    collection = _changeable()
    with LABELS_LOCK:
        collection.rename_structure(request.id, request.name, author(user, request.client_id))
    return listed(collection)


@router.post("/structures/delete")
def delete(request: Deleted, user: User = ANNOTATOR) -> list[dict[str, Any]]:
    """Take a structure out of the task; its labels stay in the history. All structures left."""
    collection = _changeable()
    with LABELS_LOCK:
        collection.delete_structure(request.id, author(user, request.client_id))
    return listed(collection)


def _changeable() -> Collection:
    workspace = current().workspace
    if workspace.settings.new_labels is not True:
        raise RequestError(
            "The structures of this task are fixed. Whoever runs the server can allow changes (its setting new_labels)."
        )
    return workspace.collection
