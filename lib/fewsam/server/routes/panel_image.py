"""An image as the panel in OHIF sees it: by its stored slices, with what is drawn and served on them."""

from __future__ import annotations

import json
import struct
import threading
from collections.abc import Mapping
from typing import Any

import numpy as np
from fastapi.responses import Response

from fewsam.collection import Shot
from fewsam.collection.structures import Names
from fewsam.images.volume import Geometry, Volume
from fewsam.server.errors import NotFoundError, RequestError
from fewsam.server.tasks.host import Host

# Held between looking for newer labels and storing one: nobody else may store one in between, or change the structures,
# whose places are what the values of a labelmap mean.
LABELS_LOCK = threading.Lock()


def open_image(app: Host, image_id: str) -> Volume:
    """The image of a series that is open in the viewer.

    Raises:
        NotFoundError: the server has no such series.
        RequestError: it is not cut along its stored slices.
    """
    try:
        volume = app.workspace.volume(app.image_path(image_id))
    except NotFoundError:
        raise NotFoundError(
            f"The server knows no image series {image_id}. It may be gone from the PACS, or be left out by "
            "the server's filter of series. What is drawn on it stays in this browser."
        ) from None
    if volume.geometry.permutation[0] != 2:
        raise RequestError(
            "The server cuts this image across its stored slices, and the viewer shows those. Whoever runs the server "
            "can set axis to 2; until then the image cannot be labelled here."
        )
    return volume


def looks_at(app: Host, image_id: str, volume: Volume, k: int | None) -> None:
    """Note that somebody looks at stored slice ``k``: it is encoded first, and then its neighbours.

    A slice that the image does not have says nothing: the viewer may know files that the server leaves out.
    """
    if k is not None and 0 <= k < volume.depth:
        app.shown[image_id] = to_k(volume.geometry, k)


def instances_of(info: Mapping[str, Any]) -> str:
    """How many instances a series has in the PACS, by its image info; empty where that is not known, as of a file."""
    count = str(info.get("NumberOfSeriesRelatedInstances") or "")
    return count if count != "0" else ""


def submissions(geometry: Geometry, shots: list[Shot]) -> dict[str, int]:
    """Labelled slice, by its stored number, -> the submission it is of."""
    return {str(to_k(geometry, shot.slice)): shot.submission for shot in shots}


def structures_of(names: Names) -> list[dict[str, str]]:
    """What the values of a labelmap mean that was numbered by ``names``, from 1 on: identity and name."""
    return [{"id": key, "name": name} for key, name in names.present.items()]


def present_name(names: Names, key: str, name: str) -> str:
    """What the structure that a client calls ``name`` is called now; ``key`` is its identity, "" where none is said.

    Raises:
        RequestError: it was deleted since.
    """
    if not key or key in names.present:
        return names.present.get(key, name)
    raise RequestError(f"{name} was deleted since: choose another structure")


def overlapping(shot: Shot) -> bool:
    """Whether two structures share a pixel, which a labelmap cannot show."""
    return bool((np.sum(list(shot.masks.values()), axis=0) > 1).any()) if shot.masks else False


def to_k(geometry: Geometry, z: int) -> int:
    """Stored slice of a canonical one; the way back is the same."""
    return geometry.shape[2] - 1 - z if geometry.flips[0] else z


def voxels(head: dict[str, Any], native: np.ndarray) -> Response:
    """An answer with voxels: the length of the JSON ``head``, the JSON, and the voxels (i, j, k), i fastest."""
    text = json.dumps(head).encode()
    body = struct.pack("<I", len(text)) + text + native.astype(np.uint8).tobytes(order="F")
    return Response(body, media_type="application/octet-stream", headers={"cache-control": "no-store"})
