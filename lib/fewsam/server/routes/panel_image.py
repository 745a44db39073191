"""An image as the panel in OHIF sees it: by its stored slices, with what is drawn and served on them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fewsam.collection import Shot
from fewsam.fewshot.inference.prediction import drawn_labelmap
from fewsam.images.volume import Geometry, Volume
from fewsam.server.errors import NotFoundError, RequestError

if TYPE_CHECKING:
    from fewsam.server.app import FewSAMApp


def open_image(app: FewSAMApp, image_id: str) -> Volume:
    """The image of a series that is open in the viewer.

    Raises:
        NotFoundError: the server has no such series.
        RequestError: it is not cut along its stored slices.
    """
    try:
        volume = app.context.volume(app.image_path(image_id))
    except NotFoundError:
        raise NotFoundError(
            f"The server knows no image series {image_id}. It may be gone from the PACS, or be left out by "
            "MONAI_LABEL_DICOMWEB_SEARCH_FILTER. What is drawn on it stays in this browser."
        ) from None
    if volume.geometry.permutation[0] != 2:
        raise RequestError("this image is cut across its stored slices; start the server with --conf axis 2")
    return volume


def submissions(geometry: Geometry, shots: list[Shot]) -> dict[str, int]:
    """Labelled slice, by its stored number, -> the submission it is of."""
    return {str(to_k(geometry, shot.slice)): shot.submission for shot in shots}


def shown_labelmap(app: FewSAMApp, image_id: str, volume: Volume, shots: list[Shot]) -> tuple[np.ndarray, int | None]:
    """What a viewer shows of an image: (Z, H, W) uint8, and the version of the model whose answer is below."""
    collection = app.context.collection
    classes, served = collection.classes, collection.served(image_id)
    labels = np.zeros(volume.slices.shape[:3], np.uint8)
    version = served[2] if served is not None else None
    if served is not None and served[0].shape == labels.shape and tuple(classes[: len(served[1])]) == served[1]:
        labels = served[0].copy()
    for shot in shots:
        labels[shot.slice] = drawn_labelmap(shot, classes, labels[shot.slice])
    return labels, version


def overlapping(shot: Shot) -> bool:
    """Whether two structures share a pixel, which a labelmap cannot show."""
    return bool((np.sum(list(shot.masks.values()), axis=0) > 1).any()) if shot.masks else False


def to_k(geometry: Geometry, z: int) -> int:
    """Stored slice of a canonical one; the way back is the same."""
    return geometry.shape[2] - 1 - z if geometry.flips[0] else z
