"""The endpoints that MONAI Label runs on its event loop, moved to worker threads, with errors that a client can read.

Paths, parameters and answers are MONAI Label's own, so that Slicer, OHIF and its Python client see no difference
beyond more keys. They stand before MONAI Label's routes, with the same role checks.
"""

from __future__ import annotations

import threading
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, FastAPI, File, Form, UploadFile
from fastapi.background import BackgroundTasks
from fastapi.openapi.utils import get_openapi
from monailabel.config import settings
from monailabel.endpoints import infer as monai_infer
from monailabel.endpoints import train as monai_train
from monailabel.endpoints.user.auth import User
from starlette.middleware import Middleware

from fewsam.server import errors
from fewsam.server.errors import NotFoundError, RequestError
from fewsam.server.guard import access, api_key, origins, person
from fewsam.server.guard.body_limit import BodyLimit
from fewsam.server.guard.person import author
from fewsam.server.guard.request_limit import RequestLimit
from fewsam.server.names import check_tag, is_plain
from fewsam.server.paths import scratch
from fewsam.server.routes import (
    datastore_routes,
    hardened,
    ohif,
    panel,
    panel_history,
    panel_labels,
    panel_prompts,
    panel_readings,
    panel_results,
    panel_state,
    panel_structures,
    panel_worklist,
    proxy,
)
from fewsam.server.routes.roles import ADMIN, ANNOTATOR, USER
from fewsam.server.routes.threads import INFER_THREADS
from fewsam.server.routes.uploads import received
from fewsam.server.tasks.host import current
from fewsam.server.tasks.labels import parse_params
from fewsam.server.tasks.train import UNLABELLED

# Modules with routes of the panel in OHIF, each with a `router`.
PANEL = (
    panel,
    panel_history,
    panel_labels,
    panel_prompts,
    panel_readings,
    panel_results,
    panel_state,
    panel_structures,
    panel_worklist,
)

router = APIRouter()
_reloading = threading.Lock()  # two at once would replace one app by two, and the threads of one would go on


def install(app: FastAPI) -> None:
    """Put our endpoints before MONAI Label's and have errors answered as JSON; calling it again changes nothing."""
    if getattr(app.state, "fewsam", False):
        return
    app.state.fewsam = True
    before = len(app.router.routes)
    app.include_router(access.install(app), prefix=settings.MONAI_LABEL_API_STR, include_in_schema=False)
    person.install(app)
    if key := api_key.configured():
        app.include_router(api_key.routes(key), prefix=settings.MONAI_LABEL_API_STR)
        app.user_middleware.append(Middleware(api_key.KeyCheck, key=key))
    for ours_first in (router, hardened.router, datastore_routes.router, *(part.router for part in PANEL)):
        app.include_router(ours_first, prefix=settings.MONAI_LABEL_API_STR)
    proxy.install(app.router)
    ohif.install(app)
    ours = app.router.routes[before:]
    app.router.routes[:] = [*ours, *app.router.routes[:before]]
    _describe(app)
    app.user_middleware.append(Middleware(BodyLimit))
    origins.install(app)
    app.user_middleware.insert(0, Middleware(RequestLimit))
    errors.install(app)  # this comes last: it has the middleware built anew


def _describe(app: FastAPI) -> None:
    """Let /openapi.json describe the routes that answer: where two have one path, FastAPI describes the last."""

    def description() -> dict[str, Any]:
        if not app.openapi_schema:
            routes = list(reversed(app.routes))
            app.openapi_schema = get_openapi(title=app.title, version=app.version, routes=routes)
        return app.openapi_schema

    app.openapi = description  # type: ignore[method-assign]


@router.post("/infer/{model}")
async def infer(
    background_tasks: BackgroundTasks,
    model: str,
    image: str = "",
    session_id: str = "",
    params: Annotated[str, Form()] = "{}",
    file: Annotated[UploadFile | None, File()] = None,
    label: Annotated[UploadFile | None, File()] = None,  # scribbles, which are of no use here
    output: monai_infer.ResultType | None = None,
    user: User = USER,
) -> Any:
    """Segment an image of the studies, an uploaded file, or the image of a session."""
    work = partial(_infer, background_tasks, model, image, session_id, params, file, output)
    return await INFER_THREADS.run(work, user.username)


def _infer(
    background_tasks: BackgroundTasks,
    model: str,
    image: str,
    session_id: str,
    params: str,
    file: UploadFile | None,
    output: monai_infer.ResultType | None,
) -> Any:
    instance = current()
    if not (file or image or session_id):
        raise RequestError("name an image: ?image=ID, ?session_id=ID or an uploaded file")
    raw, _ = parse_params(params)
    if output == monai_infer.ResultType.dicom_seg:
        raise RequestError(
            "answers are not made as DICOM SEG; use output=image or output=all (submitted labels become SEG in a PACS)"
        )
    # What the client sends as params must not stand in for what the server decides.
    request: dict[str, Any] = {**raw, "model": model, "image": image, "image_file": None}
    with scratch(instance.workspace.received) as folder:
        if session_id:
            sessions = instance.sessions()
            session = sessions.get_session(session_id) if sessions is not None and is_plain(session_id) else None
            if session is None:
                raise NotFoundError(f"no session is called {session_id!r}; it may have expired: create it again")
            request["image_file"] = session.image
        elif file:
            request["image_file"] = str(received(file, Path(folder), "image.nii.gz"))
        result = instance.infer(request)
    return monai_infer.send_response(instance.datastore(), result, output, background_tasks)


@router.put("/datastore/label")
def save_label(
    image: str,
    label: Annotated[UploadFile, File()],
    params: Annotated[str, Form()] = "{}",
    tag: str = "final",
    user: User = ANNOTATOR,
) -> dict[str, Any]:
    """Store a label. The answer comes when the collection has it; a refused label leaves nothing behind."""
    tag = check_tag(tag or "final")
    raw, ours = parse_params(params, who := author(user))
    if who:
        raw["annotator"] = who  # whatever else the client says
    instance = current()
    with scratch(instance.workspace.received) as folder:
        return instance.submit_label(image, received(label, Path(folder), "label.nii.gz"), tag, raw, ours)


@router.post("/activelearning/{strategy}")
def next_sample(strategy: str, params: dict[str, Any] | None = None, user: User = USER) -> dict[str, Any]:
    """The image and slice to label next, reserved for this client for a while."""
    request = {"client_id": user.username, **{k: v for k, v in (params or {}).items() if v is not None}}
    return current().offer({**request, "strategy": strategy})


@router.post("/train/")
def train_all(params: dict[str, Any] | None = None, run_sync: bool = False, user: User = ADMIN) -> Any:
    """Start every trainer; with ``run_sync`` the answer is each run's result, at its end."""
    known = {name: hardened.plain_training(params, name) for name in current().info()["trainers"]}
    unlabelled = any(one.get(UNLABELLED, False) for one in known.values())
    current().before_training(None, enqueue=True, unlabelled=unlabelled)
    started = monai_train.run(known)
    if not run_sync:
        return started
    return {name: {**one, "result": current().training_result(one["result"])} for name, one in started.items()}


@router.post("/train/{model}")
def train(
    model: str, params: dict[str, Any] | None = None, run_sync: bool = False, enqueue: bool = False, user: User = ADMIN
) -> Any:
    """Start one trainer; 429 while one runs, unless it may wait in the queue.

    The parameter ``unlabelled`` has the served decoder learn from the encoded images that nobody labelled, for some
    minutes; such a run makes way as soon as somebody asks for anything, and goes on when it is started again. With
    ``run_sync`` the answer comes at the end of the run and is its result: what ``GET /info/`` shows of it as
    ``train_stats``. The run goes on where the client does not wait.
    """
    known = hardened.plain_training(params)
    current().before_training(model, enqueue, known.get(UNLABELLED, False))
    started = monai_train.run_model(model, known, enqueue=enqueue)
    return current().training_result(started) if run_sync else started


@router.post("/reload")
def reload(user: User = ADMIN) -> dict[str, Any]:
    """Read the studies folder anew. The collection, the cache and the served model stay open."""
    with _reloading:
        current().reload()
    return {}
