"""Points, scribbles and boxes from the panel: what they change, on their slices and on those that follow from them.

The server keeps none of it: the panel sends all prompts of a structure each time, and leaves out one to undo it.
"""

from __future__ import annotations

from functools import partial
from typing import Literal

import numpy as np
from fastapi import APIRouter
from fastapi.responses import Response
from monailabel.endpoints.user.auth import User
from pydantic import BaseModel, Field

from fewsam.fewshot.inference.corrections import Corrections
from fewsam.fewshot.inference.prompts import Prompt
from fewsam.images.volume import Volume
from fewsam.server.errors import RequestError
from fewsam.server.routes.numbers import Whole
from fewsam.server.routes.panel_image import open_image, present_name, to_k, voxels
from fewsam.server.routes.roles import ANNOTATOR
from fewsam.server.routes.threads import INFER_THREADS
from fewsam.server.tasks.host import current
from fewsam.server.tasks.shown import shown_labelmap

router = APIRouter(prefix="/fewsam")

MOST = 64  # prompts at once; a person sets one after the other
MOST_POINTS = 2000  # of a scribble


class PanelPrompt(BaseModel):
    """A prompt on a slice; points are (i, j): of a point the one, of a scribble its line, of a box two corners."""

    kind: Literal["point", "scribble", "box"]
    slice: Whole
    include: bool = True
    points: list[tuple[Whole, Whole]] = Field(max_length=MOST_POINTS)


class PromptRequest(BaseModel):
    """All prompts of one structure, in the order in which they were set.

    Attributes:
        label: The structure; ``id`` says which one it is, whatever it is called.
        propagate: Whether the change is propagated to neighbouring slices, for as long as it holds there.
        keep: Slices that must stay as they are, beside those with labels: they are drawn and not submitted.
    """

    image: str
    label: str
    id: str = ""
    prompts: list[PanelPrompt] = Field(max_length=MOST)
    propagate: bool = True
    keep: list[Whole] = []


@router.post("/prompts")
async def prompts(request: PromptRequest, user: User = ANNOTATOR) -> Response:
    """What points, scribbles and boxes change of a structure: for each slice a plane, 1 added and 2 removed.

    The head's ``slices`` names the slices of the planes, ``prompted`` those of them with prompts of their own. The
    change is one of what the server shows, slices as drawn over the answer served last.
    """
    return await INFER_THREADS.run(partial(_prompts, request), user.username)


def _prompts(request: PromptRequest) -> Response:
    app = current()
    volume = open_image(app, request.image)
    collection = app.workspace.collection
    shots = collection.shots(request.image, content_hash=volume.content_hash)
    structures = collection.names
    classes, label = tuple(structures.present.values()), present_name(structures, request.id, request.label)
    labels, _ = shown_labelmap(collection, request.image, volume, classes, shots)
    names = {name.casefold(): value for value, name in enumerate(classes, start=1)}
    value = names.get(label.casefold(), 0)
    asked = [_canonical(volume, one) for one in request.prompts]
    kept = {to_k(volume.geometry, k) for k in request.keep if 0 <= k < volume.depth}
    drawn = kept | {shot.slice for shot in shots}
    with app.workspace.embedder.request():
        changes = Corrections(app.workspace.clicks).correct(
            volume, label, asked, (labels == value) & (value > 0), drawn=drawn, propagate=request.propagate
        )
    slices = sorted((to_k(volume.geometry, z), z) for z, change in changes.items() if change.any)
    full = np.zeros(volume.slices.shape[:3], np.uint8)
    for _, z in slices:
        full[z] = changes[z].added + 2 * changes[z].removed.astype(np.uint8)
    native = volume.geometry.to_native(full)[:, :, [k for k, _ in slices]]
    prompted = {one.z for one in asked}
    head = {
        "label": label,
        "slices": [k for k, _ in slices],
        "prompted": [k for k, z in slices if z in prompted],
    }
    return voxels(head, native)


def _canonical(volume: Volume, prompt: PanelPrompt) -> Prompt:
    """The prompt on its canonical slice, points as (row, col).

    Raises:
        RequestError: outside of the image.
    """
    width, height = volume.geometry.shape[:2]
    outside = [p for p in prompt.points if not (0 <= p[0] < width and 0 <= p[1] < height)]
    if outside or not 0 <= prompt.slice < volume.depth:
        raise RequestError(
            f"a {prompt.kind} on slice {prompt.slice} lies outside of the image of {volume.depth} slices of "
            f"{width} x {height} pixels"
        )
    found = [volume.geometry.canonical_index(i, j, prompt.slice) for i, j in prompt.points]
    points = tuple((row, col) for _, row, col in found)
    return Prompt(prompt.kind, to_k(volume.geometry, prompt.slice), prompt.include, points)
