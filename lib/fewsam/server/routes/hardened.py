"""MONAI Label's own routes through which a client's words would reach a path or a process.

In MONAI Label's own routes an image's id becomes part of a path (``../``), a session's archive is unpacked to wherever
it says, a model's file can be overwritten, and ``bundle_path`` of a train request is put on the Python path of a new
process. Apart from that, paths, parameters and answers are MONAI Label's own.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, File, Form, Query, UploadFile
from fastapi.background import BackgroundTasks
from fastapi.responses import FileResponse
from monailabel.config import settings
from monailabel.endpoints import batch_infer, datastore, logs, session
from monailabel.endpoints.user.auth import User
from monailabel.interfaces.tasks.batch_infer import BatchInferImageType
from monailabel.utils.others.generic import remove_file
from monailabel.utils.sessions import Sessions

from fewsam.images.endings import IMAGE_ENDINGS, split_ending
from fewsam.server.errors import NotFoundError, RequestError
from fewsam.server.names import check_answer_tag, is_plain
from fewsam.server.paths import scratch
from fewsam.server.routes.roles import ADMIN, ANNOTATOR, USER
from fewsam.server.routes.uploads import received, unpack
from fewsam.server.storage.pacs_datastore import PacsDatastore
from fewsam.server.tasks.host import current
from fewsam.server.tasks.labels import parse_params
from fewsam.server.tasks.train import TUNABLE, UNLABELLED, requested_settings

router = APIRouter()

_NO_WEIGHTS = "weights are not exchanged here; `fewsam export` and `fewsam import` carry a trained task elsewhere"
MOST_IN_A_BATCH = 1_000_000
_BATCH = ("device", "multi_gpu", "save_label", "label_tag", "max_batch_size")


# -- images


@router.put("/datastore/image")
@router.put("/datastore/", include_in_schema=False)
def add_image(
    file: Annotated[UploadFile, File()],
    image: str | None = None,
    params: Annotated[str, Form()] = "{}",
    user: User = ANNOTATOR,
) -> dict[str, str]:
    """Store an image in the studies folder, under its file's name or ``image``."""
    store = current().datastore()
    if isinstance(store, PacsDatastore):
        raise RequestError("images come from the PACS; store it there")
    info, _ = parse_params(params)
    with scratch(current().workspace.received) as folder:
        path = received(file, Path(folder), "image.nii.gz")
        name, ending = split_ending(path.name, IMAGE_ENDINGS)
        if not ending:
            raise RequestError(
                f"{path.name!r} is not of a kind that is read here; send one of {', '.join(IMAGE_ENDINGS)}"
            )
        return {"image": store.add_image(image or name, str(path), {**info, "user": user.username})}


@router.put("/datastore/image/info")
def put_image_info(image: str, info: Annotated[str, Form()] = "{}", user: User = ANNOTATOR) -> Any:
    """Add to what is known of an image."""
    values, _ = parse_params(info)
    return current().datastore().update_image_info(image, {**values, "user": user.username})


@router.put("/datastore/label/info")
def put_label_info(label: str, tag: str, info: Annotated[str, Form()] = "{}", user: User = ANNOTATOR) -> Any:
    """Add to what is known of a label."""
    values, _ = parse_params(info)
    return current().datastore().update_label_info(label, tag, {**values, "user": user.username})


@router.put("/datastore/updatelabelinfo", include_in_schema=False)
def put_label_info_as_before(
    label: str, tag: str, params: Annotated[str, Form()] = "{}", user: User = ANNOTATOR
) -> Any:
    """The same under its older name."""
    return put_label_info(label, tag, params, user)


@router.head("/datastore/image")
def check_image(image: str, check_sum: str | None = None, user: User = USER) -> Any:
    """Whether the image is there, and has this checksum: ``SHA256:...``, ``SHA512:...`` or ``MD5:...``."""
    if check_sum is not None and ":" in check_sum and check_sum.split(":")[0] not in ("SHA256", "SHA512", "MD5"):
        raise RequestError(f"checksum {check_sum[:20]!r}: use SHA256:..., SHA512:... or MD5:...")
    return datastore.download_image(image, check_only=True, check_sum=check_sum)


@router.get("/datastore/dataset")
def dataset(
    background_tasks: BackgroundTasks,
    limit_cases: Annotated[int | None, Query(ge=0, le=1_000_000)] = None,
    user: User = ANNOTATOR,
) -> FileResponse:
    """All images that have final labels, together with these labels, as one zip file."""
    store = current().datastore()
    if not store.datalist():
        raise NotFoundError("no image has a final label yet; submit one first")
    file = store.get_dataset_archive(limit_cases)
    background_tasks.add_task(remove_file, file)
    return FileResponse(file, media_type="application/zip", filename="dataset.zip")


# -- sessions


@router.put("/session/")
def create_session(
    files: Annotated[list[UploadFile], File()],
    uncompress: bool = False,
    expiry: Annotated[int, Query(ge=0, le=365 * 86_400)] = 0,
    user: User = USER,
) -> dict[str, Any]:
    """Keep an image for a while: one file, the files of a DICOM series, or one archive with them."""
    with scratch(current().workspace.received) as name:
        folder = Path(name) / "files"
        folder.mkdir()
        stored = [received(file, folder, "image.nii.gz") for file in files]
        image = stored[0] if len(stored) == 1 else folder
        if uncompress and len(stored) == 1:
            image = Path(name) / "unpacked"
            image.mkdir()
            unpack(stored[0], image)
        number, info = _sessions().add_session(str(image), expiry)
    return {"session_id": number, "session_info": info.to_json()}


@router.get("/session/{session_id}")
def get_session(session_id: str, update_ts: bool = False, image: bool = False, user: User = USER) -> Any:
    """What is known of a session, or its image."""
    info = _sessions().get_session(_plain_session(session_id), update_ts=update_ts)
    if image and info is not None and not Path(info.image).is_file():
        raise RequestError("this session holds a folder of files; only single files are sent back")
    return session.get_session(session_id, update_ts, image)


@router.delete("/session/{session_id}")
def remove_session(session_id: str, user: User = USER) -> Any:
    """Forget a session."""
    return session.remove_session(_plain_session(session_id))


def _sessions() -> Sessions:
    sessions = current().sessions()
    if sessions is None:
        raise NotFoundError("sessions are switched off (MONAI_LABEL_SESSIONS)")
    return sessions


def _plain_session(session_id: str) -> str:
    if not is_plain(session_id):
        raise NotFoundError(f"no session is called {session_id[:80]!r}; it may have expired: create it again")
    return session_id


# -- what would start a process, or replace a file of ours


def plain_training(params: Mapping[str, Any] | None, model: str | None = None) -> dict[str, Any]:
    """Those parameters of a train request that fewsam knows, checked before a process is started.

    Raises:
        ConfigError: a value that does not fit.
    """
    given = dict(params or {})
    inner = given.get(model) if model is not None else None
    merged = {**given, **inner} if isinstance(inner, dict) else given
    known = {key: merged[key] for key in TUNABLE if key in merged}
    requested_settings(current().workspace.settings, known)
    if UNLABELLED in merged:
        if type(merged[UNLABELLED]) is not bool:
            raise RequestError(f"{UNLABELLED} must be true or false, got {str(merged[UNLABELLED])[:40]!r}")
        known[UNLABELLED] = merged[UNLABELLED]
    return known


@router.post("/batch/infer/{model}")
def batch(
    model: str,
    images: BatchInferImageType = BatchInferImageType.IMAGES_ALL,
    params: dict[str, Any] | None = None,
    run_sync: bool = False,
    user: User = ADMIN,
) -> Any:
    """Segment all images, in a process of its own."""
    known = {key: value for key, value in (params or {}).items() if key in _BATCH}
    check_answer_tag(known.get("label_tag", "original"))
    for key, kinds in {"device": str, "multi_gpu": bool, "save_label": bool, "max_batch_size": int}.items():
        value = known.get(key)
        if value is not None and (type(value) is not kinds or len(str(value)) > 40):
            raise RequestError(f"params[{key!r}] must be of type {kinds.__name__}, got {str(value)[:40]!r}")
    if not 0 <= (known.get("max_batch_size") or 0) <= MOST_IN_A_BATCH:
        raise RequestError(f"params['max_batch_size'] is 0 for all images, or a number up to {MOST_IN_A_BATCH}")
    if model not in current().info()["models"]:
        raise NotFoundError(f"no model is called {model[:80]!r}")
    return batch_infer.run(model, images, known, run_sync)


@router.post("/scoring/", include_in_schema=False)
def score_all(user: User = ANNOTATOR) -> dict[str, Any]:
    """There is no scoring method: slices are scored where they are segmented."""
    return {}


@router.post("/scoring/{method}")
def score(method: str, user: User = ANNOTATOR) -> Any:
    """Refuse: there is no scoring method."""
    raise NotFoundError(f"no scoring method is called {method[:80]!r}; slices are scored where they are segmented")


@router.get("/model/{model}")
@router.get("/model/info/{model}")
@router.put("/model/{model}")
@router.delete("/model/{model}")
def no_weights(model: str, user: User = ADMIN) -> Any:
    """Refuse: weights do not leave or enter this way."""
    raise NotFoundError(_NO_WEIGHTS)


@router.post("/infer/wsi/{model}", include_in_schema=False)
@router.post("/infer/wsi_v2/{model}")
def whole_slide(model: str, user: User = USER) -> Any:
    """Refuse: there are no models of whole slides."""
    raise NotFoundError("whole-slide images are not supported; use POST /infer/segmentation")


# -- logs


@router.get("/logs/")
def read_logs(
    lines: Annotated[int, Query(ge=0, le=100_000)] = 300,
    html: bool = True,
    text: bool = False,
    refresh: Annotated[int, Query(ge=0, le=86_400)] = 0,
    user: User = ADMIN,
) -> Any:
    """The end of the server's log."""
    return logs.get_logs(str(Path(settings.MONAI_LABEL_APP_DIR) / "logs" / "app.log"), lines, html, text, refresh)


@router.get("/logs/gpu")
async def gpu(user: User = ADMIN) -> Any:
    """What nvidia-smi says."""
    if shutil.which("nvidia-smi") is None:
        raise NotFoundError("nvidia-smi is not installed on the server")
    return await logs.gpu_info(user)
