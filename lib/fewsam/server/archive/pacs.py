"""A small PACS: a folder of DICOM files served over DICOMweb (QIDO-RS, WADO-RS, STOW-RS).

This module holds the routes only. dicomweb-client's ``DICOMfileClient`` finds, indexes and stores, pydicom reads, and
`dicomweb` forms requests and answers. The index is in memory and is made anew at each start; what is stored goes to
``FOLDER/studies/...`` as files.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import pydicom
import requests
from pydicom.dataset import Dataset
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route

from fewsam.core.errors import StorageError
from fewsam.server.archive.dicomweb import (
    DICOM_JSON,
    NotThere,
    cut_frames,
    listed,
    multipart,
    read_query,
    refused,
    sent_instances,
)
from fewsam.server.archive.index import Index

PREFIX = "/dicom-web"
_PIXEL_DATA = "7FE00010"
T = TypeVar("T")


def build_app(folder: Path) -> Starlette:
    """`open_archive`'s ASGI app."""
    return open_archive(folder).app()


def open_archive(folder: Path) -> Archive:
    """The PACS over ``folder``; its app serves DICOMweb below ``/dicom-web``.

    Raises:
        StorageError: there is no such folder.
    """
    if not folder.is_dir():
        raise StorageError(f"{folder}: no such folder; give one with DICOM files, or make it empty to fill it by STOW")
    if set("#?") & set(str(folder.resolve())):
        raise StorageError(f"{folder}: the path of a PACS must be free of # and ?; rename the folder")
    return Archive(folder)


class Archive:
    """The folder, its index, and the one thread that may use the index."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        # SQLite's in-memory database belongs to the thread that opened it.
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="pacs")
        logging.getLogger("dicomweb_client").setLevel(logging.ERROR)  # it would write a line for each instance
        self.index: Index = self._thread.submit(lambda: Index(self.folder)).result()
        self._client = self.index.client

    def report(self) -> list[str]:
        """Sentences for a person: how many files are served, which are not and why, and whether more can be stored."""
        lines = self.index.report()
        if not os.access(self.folder, os.W_OK):
            lines.append(f"{self.folder} is read-only: what is sent to this PACS is refused, labels too")
        return lines

    def count(self) -> int:
        """How many studies there are."""
        return len(self._thread.submit(lambda: self._client.search_for_studies()).result())

    def app(self) -> Starlette:
        study, series = "/studies/{study}", "/studies/{study}/series/{series}"
        instance = series + "/instances/{instance}"
        routes = [
            Route("/studies", self.studies, methods=["GET"]),
            Route("/studies", self.store, methods=["POST"]),
            Route("/series", self.series),
            Route("/instances", self.instances),
            Route(study + "/series", self.series),
            Route(study + "/instances", self.instances),
            Route(series + "/instances", self.instances),
            Route(instance + "/frames/{frames}", self.frames),
            Route(instance + "/bulkdata/{tag}", self.bulkdata),
            Route(study + "/series/{series}/rendered", self.rendered),
            Route(instance + "/rendered", self.rendered),
            Route(series + "/thumbnail", self.rendered),
            Route(instance + "/thumbnail", self.rendered),
        ]
        for path in (study, series, instance):
            routes += [Route(path + "/metadata", self.metadata), Route(path, self.retrieve, methods=["GET"])]
        routes.append(Route(study, self.store, methods=["POST"]))
        return Starlette(
            routes=[Mount(PREFIX, routes=routes)],
            exception_handlers={requests.HTTPError: refused, NotThere: refused, ValueError: refused},
        )

    # -- QIDO-RS

    async def studies(self, request: Request) -> Response:
        query = read_query(request)
        modality = request.query_params.get("ModalitiesInStudy") or request.query_params.get("00080061")
        if modality:  # the index cannot search by modality
            limit, offset = query.pop("limit"), query.pop("offset") or 0
            found = await self._run(lambda: self._client.search_for_studies(**query))
            wanted = set(modality.replace("\\", ",").split(","))
            found = [s for s in found if wanted & set(s.get("00080061", {}).get("Value", ()))]
            return listed(found[offset:][:limit])
        return listed(await self._run(lambda: self._client.search_for_studies(**query)))

    async def series(self, request: Request) -> Response:
        study = request.path_params.get("study")
        query = read_query(request)

        def work() -> list[dict[str, Any]]:
            found = self._client.search_for_series(study, **query)
            for entry in found:
                self._complete(entry, study)
            return found

        return listed(await self._run(work))

    async def instances(self, request: Request) -> Response:
        where = (request.path_params.get("study"), request.path_params.get("series"))
        query = read_query(request)
        return listed(await self._run(lambda: self._client.search_for_instances(*where, **query)))

    def _complete(self, entry: dict[str, Any], study: str | None) -> None:
        """Add what the index does not hold of a series, from its first file."""
        series = entry["0020000E"]["Value"][0]
        study = study or entry["0020000D"]["Value"][0]
        first = self._identifiers(study, series)[:1]
        if not first:
            return
        header = pydicom.dcmread(self._path(*first[0]), stop_before_pixels=True, specific_tags=["SeriesDescription"])
        entry["0020000D"] = {"vr": "UI", "Value": [first[0][0]]}
        if header.get("SeriesDescription"):
            entry["0008103E"] = {"vr": "LO", "Value": [str(header.SeriesDescription)]}

    # -- WADO-RS

    async def metadata(self, request: Request) -> Response:
        root = _root(request)

        def work() -> list[dict[str, Any]]:
            found = []
            for uids in self._wanted(request):
                header = pydicom.dcmread(self._path(*uids), stop_before_pixels=True)
                entry = header.to_json_dict(suppress_invalid_tags=True)  # one odd value hides no image
                address = "{}/studies/{}/series/{}/instances/{}/bulkdata/{}".format(root, *uids, _PIXEL_DATA)
                if "00280010" in entry:
                    entry[_PIXEL_DATA] = {"vr": "OW", "BulkDataURI": address}
                found.append(entry)
            return found

        return listed(await self._run(work))

    async def retrieve(self, request: Request) -> Response:
        files = await self._run(lambda: [self._path(*uids).read_bytes() for uids in self._wanted(request)])
        return multipart(((file, "application/dicom") for file in files), "application/dicom")

    async def frames(self, request: Request) -> Response:
        numbers = [int(part) for part in request.path_params["frames"].split(",")]

        def work() -> tuple[list[bytes], str]:
            data = pydicom.dcmread(self._path(*self._wanted(request)[0]))
            return cut_frames(data, numbers), str(data.file_meta.TransferSyntaxUID)

        frames, syntax = await self._run(work)
        part = f"application/octet-stream;transfer-syntax={syntax}"
        return multipart(((frame, part) for frame in frames), "application/octet-stream", syntax)

    async def bulkdata(self, request: Request) -> Response:
        def work() -> bytes:
            data = pydicom.dcmread(self._path(*self._wanted(request)[0]))
            tag = pydicom.tag.Tag(int(request.path_params["tag"], 16))
            if tag not in data:
                raise NotThere(f"the instance has no element {tag}")
            return bytes(data[tag].value)

        return multipart([(await self._run(work), "application/octet-stream")], "application/octet-stream")

    async def rendered(self, request: Request) -> Response:
        """The middle instance as PNG: for thumbnails."""

        def work() -> bytes:
            wanted = self._wanted(request)
            return bytes(self._client.retrieve_instance_rendered(*wanted[len(wanted) // 2], media_types=("image/png",)))

        return Response(await self._run(work), media_type="image/png")

    # -- STOW-RS

    async def store(self, request: Request) -> Response:
        body, kind = await request.body(), request.headers.get("content-type", "")
        if "multipart" not in kind:
            raise ValueError("send multipart/related with application/dicom parts")
        if not os.access(self.folder, os.W_OK):
            raise ValueError(f"this PACS serves {self.folder.name!r}, which is read-only: nothing can be stored there")
        root = _root(request)

        def work() -> Dataset:
            datasets = sent_instances(body, kind)
            answer = self._client.store_instances(datasets, request.path_params.get("study"))
            uids = {data.SOPInstanceUID: (data.StudyInstanceUID, data.SeriesInstanceUID) for data in datasets}
            for item in answer.get("ReferencedSOPSequence", ()):
                place = uids[item.ReferencedSOPInstanceUID]
                item.RetrieveURL = "{}/studies/{}/series/{}/instances/{}".format(
                    root, *place, item.ReferencedSOPInstanceUID
                )
            return answer

        answer = await self._run(work)
        status = 202 if "FailedSOPSequence" in answer else 200
        return Response(answer.to_json(), media_type=DICOM_JSON, status_code=status)

    # -- below

    async def _run(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def _identifiers(self, study: str | None, series: str | None) -> list[tuple[str, str, str]]:
        found: list[tuple[str, str, str]] = self._client._db_manager.get_instance_identifiers(study, series)
        return found

    def _path(self, study: str, series: str, instance: str) -> Path:
        return Path(self._client._db_manager.get_instance_file_path(study, series, instance))

    def _wanted(self, request: Request) -> list[tuple[str, str, str]]:
        uids = request.path_params
        found = self._identifiers(uids["study"], uids.get("series"))
        found = [one for one in found if uids.get("instance") in (None, one[2])]
        if not found:
            raise NotThere(f"nothing is stored under {request.url.path}")
        return found


def _root(request: Request) -> str:
    """The address of this service, not from the Host header: dicomweb-client leaves the port out of it."""
    host, port = request.scope["server"]
    return f"http://{host}:{port}{PREFIX}"
