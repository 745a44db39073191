"""MONAI Label's routes that ask the datastore, in worker threads instead of on its event loop.

A PACS may take a minute to answer. On the event loop everybody would wait for it, whatever they had asked for.
"""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from monailabel.endpoints import datastore
from monailabel.endpoints import info as monai_info
from monailabel.endpoints.user.auth import User

from fewsam.server.routes.roles import ADMIN, USER

router = APIRouter()


@router.get("/info/")
def info(user: User = USER) -> Any:
    """The app: models, strategies, trainers, labels, and what the server is doing."""
    return monai_info.app_info()


@router.get("/datastore/")
def contents(output: datastore.ResultType | None = None, user: User = USER) -> Any:
    """Counts of images and labels; with ``output=all`` all of them, with ``train`` those that have final labels."""
    return datastore.datastore(output)


@router.delete("/datastore/image")
@router.delete("/datastore/", include_in_schema=False)
def remove_image(id: str, user: User = ADMIN) -> Any:
    """Remove an image and the files of its labels."""
    return datastore.remove_image(id, user.username)


@router.get("/datastore/image")
def image(image: str, user: User = USER) -> Any:
    """The file of an image."""
    return datastore.download_image(image)


@router.get("/datastore/image/info")
def image_info(image: str, user: User = USER) -> Any:
    """What is known of an image."""
    return datastore.get_image_info(image)


@router.delete("/datastore/label")
def remove_label(id: str, tag: str, user: User = ADMIN) -> Any:
    """Remove the file of a label."""
    return datastore.remove_label(id, tag, user.username)


@router.head("/datastore/label")
def check_label(image: str, tag: str, user: User = USER) -> Any:
    """Whether there is a label with this tag."""
    return datastore.download_label(image, tag, check_only=True)


@router.get("/datastore/label")
def label(label: str, tag: str, user: User = USER) -> Any:
    """The file of a label."""
    return datastore.download_label(label, tag)


@router.get("/datastore/label/info")
def label_info(label: str, tag: str, user: User = USER) -> Any:
    """What is known of a label."""
    return datastore.get_label_info(label, tag)
