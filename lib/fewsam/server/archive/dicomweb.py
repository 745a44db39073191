"""DICOMweb's messages: it reads requests and forms answers (DICOM PS3.18)."""

from __future__ import annotations

import io
import logging
import re
import uuid
from collections.abc import Iterable
from typing import Any

import pydicom
from pydicom.dataset import Dataset
from pydicom.encaps import generate_pixel_data_frame
from requests_toolbelt.multipart import decoder
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

logger = logging.getLogger(__name__)

DICOM_JSON = "application/dicom+json"
# What a query may match on; any other key is ignored, as the standard allows.
_MATCHED = {
    "StudyDate", "StudyTime", "AccessionNumber", "PatientName", "PatientID", "StudyInstanceUID", "StudyID",
    "Modality", "SeriesInstanceUID", "SeriesNumber", "SOPInstanceUID", "SOPClassUID", "InstanceNumber",
}  # fmt: skip


class NotThere(Exception):
    """The address names something that is not stored."""


# -- requests


def read_query(request: Request) -> dict[str, Any]:
    """The arguments of dicomweb-client's searches: search_filters by keyword, limit and offset; None where not given.

    Raises:
        ValueError: a value that should be a number is none.
    """
    filters: dict[str, Any] = {}
    for key, value in request.query_params.multi_items():
        keyword = pydicom.datadict.keyword_for_tag(key) if len(key) == 8 and key[:4].isdigit() else key
        if keyword in _MATCHED and value:
            filters[keyword] = int(value) if keyword in ("SeriesNumber", "InstanceNumber") else value
    numbers = {key: request.query_params.get(key) for key in ("limit", "offset")}
    return {
        "search_filters": filters or None,
        "limit": int(numbers["limit"]) if numbers["limit"] else None,
        "offset": int(numbers["offset"]) if numbers["offset"] else None,
    }


def sent_instances(body: bytes, kind: str) -> list[Dataset]:
    """The instances of a request to store them.

    Raises:
        ValueError: a part is no DICOM, or one of its UIDs is invalid. UIDs become names of files.
    """
    try:
        parts = [part.content for part in decoder.MultipartDecoder(body, kind).parts]
        datasets: list[Dataset] = [pydicom.dcmread(io.BytesIO(part)) for part in parts]
        uids = [
            str(data.get(name) or "")
            for data in datasets
            for name in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")
        ]
    except Exception as error:  # pydicom raises exceptions of many kinds for a damaged file
        raise ValueError(f"not DICOM: {str(error)[:200]}") from error
    if not all(re.fullmatch(r"[0-9][0-9.]{0,63}", uid) for uid in uids):
        raise ValueError("an instance lacks its study, series or instance UID, or it is none")
    return datasets


# -- answers


def listed(found: list[dict[str, Any]]) -> Response:
    """What a search found, as DICOM JSON."""
    return JSONResponse(found, media_type=DICOM_JSON)


def multipart(parts: Iterable[tuple[bytes, str]], kind: str, syntax: str | None = None) -> Response:
    """Parts (content, content type) as ``multipart/related`` of ``kind``, in this transfer syntax where given."""
    boundary = uuid.uuid4().hex
    body = b"".join(
        b"--%s\r\nContent-Type: %s\r\n\r\n%s\r\n" % (boundary.encode(), part_kind.encode(), content)
        for content, part_kind in parts
    )
    media = f'multipart/related; type="{kind}"; boundary={boundary}'
    media += f"; transfer-syntax={syntax}" if syntax else ""
    return Response(body + b"--%s--\r\n" % boundary.encode(), headers={"content-type": media})


def cut_frames(data: Dataset, numbers: list[int]) -> list[bytes]:
    """Frames as they are stored; ``numbers`` begin at 1.

    Raises:
        NotThere: no such frame, or it does not begin at a whole byte.
    """
    count = int(data.get("NumberOfFrames") or 1)
    if not numbers or min(numbers) < 1 or max(numbers) > count:
        raise NotThere(f"frames {numbers} are not among 1 to {count}")
    if data.file_meta.TransferSyntaxUID.is_compressed:
        frames = list(generate_pixel_data_frame(data.PixelData, count))
        return [frames[number - 1] for number in numbers]
    bits = data.Rows * data.Columns * data.get("SamplesPerPixel", 1) * data.BitsAllocated
    if bits % 8:
        raise NotThere("frames of this instance do not end at whole bytes; retrieve the instance")
    return [data.PixelData[(number - 1) * bits // 8 : number * bits // 8] for number in numbers]


async def refused(request: Request, error: Exception) -> Response:
    """A request that cannot be answered: 404 where nothing is stored, else what dicomweb-client says, or 400."""
    response = getattr(error, "response", None)
    status = 404 if isinstance(error, NotThere) else getattr(response, "status_code", None) or 400
    reason = str(getattr(response, "reason", "") or error)
    if "could not be found" in reason or "Could not find" in reason:
        status = 404
    logger.warning("%s %s -> %s: %s", request.method, request.url.path, status, reason)
    return JSONResponse({"detail": reason}, status_code=status)
