"""What the panel in OHIF shows beside the image: classes, the model, training, and the labels of the open series."""

from __future__ import annotations

from typing import Any

import numpy as np
from fastapi import APIRouter
from monailabel.endpoints.user.auth import User

from fewsam.fewshot.inference.uncertainty import by_slice
from fewsam.server.guard.person import author
from fewsam.server.routes.numbers import Whole
from fewsam.server.routes.panel_image import looks_at, open_image, submissions, to_k
from fewsam.server.routes.panel_structures import listed
from fewsam.server.routes.roles import USER
from fewsam.server.storage.pacs_datastore import PacsDatastore
from fewsam.server.tasks.host import Host, current
from fewsam.server.tasks.presence import PRESENCE

router = APIRouter(prefix="/fewsam")


@router.get("/state")
def state(image: str = "", slice: Whole | None = None, user: User = USER) -> dict[str, Any]:
    """Structures with counts, the model, training, the learning curve; of ``image`` its labelled slices and doubt.

    ``slice``, the stored slice that is looked at, is encoded before the others.
    """
    app = current()
    info = app.background_status()
    collection, datastore = app.workspace.collection, app.datastore()
    stats = app.trainer.stats()
    answer: dict[str, Any] = {
        "person": author(user),
        "ask_name": not author(user),
        "structures": listed(collection),
        "new_labels": app.workspace.settings.new_labels is True,
        "model_version": info.get("model_version", 0),
        "trained": info.get("trained", False),
        "training": {**info.get("training", {}), **_plain(stats), "limits": app.trainer.config()},
        "curve": info.get("learning_curve", []),
        "problems": list(info.get("label_problems", ())),
        "encoder": info.get("encoder", {}),
        "encoding": info.get("encoding", {}),
    }
    if isinstance(datastore, PacsDatastore):
        datastore.list_images()
        answer["pacs"] = {"problem": datastore.problem, "waiting": len(datastore.outbox.waiting())}
    if image:
        answer["image"] = _image_state(app, image, slice)
        if who := author(user):
            PRESENCE.note(image, who)
    return answer


def _image_state(app: Host, image_id: str, k: int | None) -> dict[str, Any]:
    volume = open_image(app, image_id)
    looks_at(app, image_id, volume, k)
    collection = app.workspace.collection
    shots = collection.shots(image_id, content_hash=volume.content_hash)
    by_class: dict[str, int] = {}
    for shot in shots:
        for name in shot.masks:
            by_class[name] = by_class.get(name, 0) + 1
    scores, _ = collection.scores(image_id) or ([], 0)
    along: list[float] = []
    if len(scores) == volume.depth:
        along = [_of_slice(score) for score in scores]
    order = [to_k(volume.geometry, z) for z in range(volume.depth)]
    return {
        "id": image_id,
        "slices": volume.depth,
        "notes": list(volume.notes),
        "encoded": app.index.is_encoded(image_id),
        "labelled": sorted(order[shot.slice] for shot in shots),
        "submissions": submissions(volume.geometry, shots),
        "counts": by_class,
        "uncertainty": [round(float(along[order[k]]), 4) for k in range(volume.depth)] if along else [],
    }


def _of_slice(score: dict[str, list[float]]) -> float:
    """What is shown of a slice; 0 where it was not segmented yet."""
    return float(by_slice(*(np.array([score[key]]) for key in ("uncertainty", "foreground")))[0])


def _plain(stats: dict[str, Any]) -> dict[str, Any]:
    wanted = ("state", "kind", "epoch", "total_epochs", "step", "steps", "best_metric", "previous_metric",
              "measured_on", "published", "model_version", "error", "waiting_for", "seconds", "notes")  # fmt: skip
    return {key: stats[key] for key in wanted if key in stats}
