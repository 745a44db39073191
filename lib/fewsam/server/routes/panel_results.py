"""Results to take away: the structures of an image as a file, and volumes of all images as a table."""

from __future__ import annotations

import csv
import io
import re
from functools import partial
from pathlib import Path
from typing import Any

from fastapi import APIRouter
from fastapi.responses import FileResponse, Response
from monailabel.endpoints.user.auth import User
from starlette.background import BackgroundTask

from fewsam.core.errors import FewSAMError
from fewsam.server.errors import message_of
from fewsam.server.routes.roles import USER
from fewsam.server.routes.threads import INFER_THREADS
from fewsam.server.tasks.host import Host, current
from fewsam.server.tasks.results import result_of, volumes_of, write_result_file

router = APIRouter(prefix="/fewsam")

_MEDIA = {"dcm": "application/dicom", "nii.gz": "application/gzip"}
COLUMNS = ("patient", "study", "image", "description", "structure", "ml", "voxels", "slices", "drawn_slices",
           "model_version", "problem")  # fmt: skip


@router.get("/result")
async def result(image: str, format: str = "nii.gz", user: User = USER) -> FileResponse:
    """The structures of an image as a file: slices as drawn, over the answer served last; nothing is computed.

    ``format`` is ``nii.gz``, ``nrrd``, ``seg.nrrd`` (3D Slicer) or ``dcm`` (DICOM SEG).
    """
    return await INFER_THREADS.run(partial(_result, image, format), user.username)


@router.get("/volumes")
async def volumes(image: str, user: User = USER) -> dict[str, Any]:
    """Millilitres and voxels of each structure of an image, and what they rest on."""
    return await INFER_THREADS.run(partial(_volumes, image), user.username)


@router.get("/volumes.csv", response_class=Response)
async def volumes_csv(user: User = USER) -> Response:
    """Volumes of all images of which something is known, as CSV: a line for each image and structure."""
    text = await INFER_THREADS.run(_table)
    headers = {"content-disposition": 'attachment; filename="fewsam-volumes.csv"', "cache-control": "no-store"}
    return Response(text, media_type="text/csv; charset=utf-8", headers=headers)


def _result(image_id: str, form: str) -> FileResponse:
    app = current()
    volume = app.workspace.volume(app.image_path(image_id))
    path = write_result_file(app.workspace.folder / "results", form, app.workspace.collection, image_id, volume)
    name = re.sub(r"[^A-Za-z0-9._-]+", "_", image_id)[:80].strip(".") or "image"
    return FileResponse(
        path,
        media_type=_MEDIA.get(form, "application/octet-stream"),
        filename=f"{name}-fewsam.{form}",
        headers={"cache-control": "no-store"},
        background=BackgroundTask(partial(Path(path).unlink, missing_ok=True)),
    )


def _volumes(image_id: str) -> dict[str, Any]:
    app = current()
    volume = app.workspace.volume(app.image_path(image_id))
    found = result_of(app.workspace.collection, image_id, volume)
    ml = volumes_of(found, volume)
    return {
        "image": image_id,
        "slices": volume.depth,
        "drawn_slices": len(found.drawn),
        "model_version": found.model_version,
        "structures": [
            {
                "name": name,
                "ml": _rounded(ml[name]),
                "voxels": int(mask.sum()),
            }
            for name, mask in found.masks.items()
        ],
    }


def _rounded(ml: float | None) -> float | None:
    return None if ml is None else round(ml, 3)


def _table() -> str:
    app = current()
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, COLUMNS, restval="", lineterminator="\r\n")
    writer.writeheader()
    for image_id in _known_images(app):
        for row in _rows(app, image_id):
            writer.writerow({key: _plain(value) for key, value in row.items()})
    return buffer.getvalue()


def _known_images(app: Host) -> list[str]:
    """Images of the studies with a labelled slice or an answer, in the order of the studies."""
    known = {*app.workspace.collection.labelled_by_image(), *app.workspace.collection.served_images()}
    return [image_id for image_id in app.datastore().list_images() if image_id in known]


def _rows(app: Host, image_id: str) -> list[dict[str, Any]]:
    info = app.datastore().get_image_info(image_id)
    head = {
        "patient": info.get("PatientID", ""),
        "study": info.get("StudyInstanceUID", ""),
        "image": image_id,
        "description": info.get("SeriesDescription", ""),
    }
    try:
        found = _volumes(image_id)
    except FewSAMError as error:  # one image that cannot be read must not keep the others from the table
        return [{**head, "problem": message_of(error)}]
    shared = {key: found[key] for key in ("slices", "drawn_slices", "model_version")}
    return [
        {**head, **shared, "structure": one["name"], "ml": one["ml"], "voxels": one["voxels"]}
        for one in found["structures"]
    ]


def _plain(value: Any) -> Any:
    """A cell that no spreadsheet takes for a formula."""
    return f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")) else value
