"""A PACS over DICOMweb, as the server needs it: series, download, store. Every failure is a :class:`PacsError`."""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

import pydicom
import requests
from dicomweb_client import DICOMwebClient
from dicomweb_client.session_utils import create_session, create_session_from_user_pass
from monailabel.config import settings
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError

from fewsam.server.errors import PacsError, RefusedError, UnreadableError

logger = logging.getLogger(__name__)

T = TypeVar("T")

FRESH_SECONDS = 5.0  # seconds for which a list of series is used again
PARTIAL = ".part-"  # begins the names of folders that are not downloaded whole
TIMEOUT = (5.0, 60.0)  # to connect, and between two bytes
# Series that are no images to label.
NO_IMAGES = {"SEG", "SR", "PR", "KO", "RTSTRUCT", "RTPLAN", "RTDOSE", "REG", "DOC", "ANN", "PLAN", "AU", "ECG", "FID"}
FIELDS = ("StudyInstanceUID", "SeriesInstanceUID", "Modality", "PatientID", "StudyDate", "StudyTime",
           "SeriesDescription", "NumberOfSeriesRelatedInstances")  # fmt: skip


class Pacs:
    """One DICOMweb service.

    Args:
        address: e.g. ``http://127.0.0.1:8042/dicom-web``.
    """

    def __init__(self, address: str) -> None:
        self.address = address.rstrip("/")
        self._local = threading.local()
        self._lock = threading.Lock()
        self._series: tuple[float, dict[str, dict[str, str]]] | None = None
        self._series_of: dict[str, str] = {}  # instance -> series, which never changes
        self._first: dict[str, Dataset] = {}

    @property
    def _client(self) -> DICOMwebClient:
        """A client for this thread: its session is not for several."""
        client: DICOMwebClient | None = getattr(self._local, "client", None)
        if client is None:
            client = self._local.client = DICOMwebClient(
                url=self.address,
                session=_session(),
                qido_url_prefix=settings.MONAI_LABEL_QIDO_PREFIX,
                wado_url_prefix=settings.MONAI_LABEL_WADO_PREFIX,
                stow_url_prefix=settings.MONAI_LABEL_STOW_PREFIX,
            )
            client.set_http_retry_params(retry=False)  # a person waits, so that errors are reported at once
        return client

    def series(self, fresh: bool = False) -> dict[str, dict[str, str]]:
        """All series by UID; a list of the last seconds does unless ``fresh``."""
        with self._lock:
            if self._series is None or fresh or time.monotonic() - self._series[0] >= FRESH_SECONDS:
                found = self._asked(lambda client: client.search_for_series(fields=["SeriesDescription"]))
                self._series = (time.monotonic(), _by_uid(found))
            return self._series[1]

    def known_series(self) -> dict[str, dict[str, str]]:
        """The last list there was, whatever its age."""
        return self._series[1] if self._series is not None else {}

    def download(self, study: str, series: str, folder: Path) -> None:
        """All instances of a series as files in ``folder``, which appears whole or not at all."""
        folder.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=PARTIAL, dir=folder.parent))
        try:
            for number, data in enumerate(self._asked(lambda client: _retrieved(client, study, series))):
                data.save_as(partial / f"{number:05d}.dcm", write_like_original=False)
            if not any(partial.iterdir()):
                raise PacsError(f"the PACS has no instance of series {series}")
            if folder.exists():
                shutil.rmtree(folder)
            os.replace(partial, folder)
        finally:
            shutil.rmtree(partial, ignore_errors=True)

    def instances(self, study: str, series: str) -> list[Dataset]:
        """Headers of a series' instances."""
        return self._asked(
            lambda client: [Dataset.from_json(entry) for entry in client.retrieve_series_metadata(study, series)]
        )

    def series_of(self, instance: str) -> str:
        """Series of an instance; empty where the PACS does not have it."""
        if instance not in self._series_of:
            filters = {"SOPInstanceUID": instance}
            found = self._asked(
                lambda client: client.search_for_instances(search_filters=filters, fields=["SeriesInstanceUID"])
            )
            series = [str(Dataset.from_json(entry).get("SeriesInstanceUID") or "") for entry in found]
            if not series:
                return ""  # it may come later
            self._series_of[instance] = series[0]
        return self._series_of[instance]

    def first_header(self, study: str, series: str) -> Dataset | None:
        """Header of one instance of a series; None where it has none."""
        if series not in self._first:
            found = self._asked(lambda client: client.search_for_instances(study, series, limit=1))
            if not found:
                return None
            uid = str(Dataset.from_json(found[0]).SOPInstanceUID)
            header = self._asked(lambda client: client.retrieve_instance_metadata(study, series, uid))
            self._first[series] = Dataset.from_json(header)
        return self._first[series]

    def instance(self, study: str, series: str, instance: str) -> Dataset:
        """One instance, whole."""
        return self._asked(lambda client: client.retrieve_instance(study, series, instance))

    def store(self, file: Path) -> None:
        """Store a DICOM file."""
        data = pydicom.dcmread(file)
        answer = self._asked(lambda client: client.store_instances([data]))
        if answer is not None and answer.get("FailedSOPSequence"):
            reason = answer.FailedSOPSequence[0].get("FailureReason")
            raise RefusedError(f"the PACS refused to store the segmentation (reason {reason})")
        with self._lock:
            if self._series is not None:  # the list is old from now on; it is still used should the PACS go away
                self._series = (-FRESH_SECONDS, self._series[1])

    def _asked(self, work: Callable[[DICOMwebClient], T]) -> T:
        try:
            return work(self._client)
        except requests.HTTPError as error:
            status = error.response.status_code if error.response is not None else "an error"
            raise RefusedError(f"the PACS at {self.address} answered {status}: see its log") from error
        except (requests.RequestException, OSError) as error:
            raise PacsError(
                f"the PACS at {self.address} does not answer ({type(error).__name__}); start it, or check its address"
            ) from error
        except (KeyError, ValueError, TypeError, AttributeError, InvalidDicomError) as error:
            raise UnreadableError(
                f"what {self.address} answered is not DICOMweb ({error}); check the address"
            ) from error


def is_image(entry: dict[str, str]) -> bool:
    """Whether a series can be labelled; ``MONAI_LABEL_DICOMWEB_SEARCH_FILTER`` narrows it down."""
    if entry.get("Modality") in NO_IMAGES:
        return False
    wanted = settings.MONAI_LABEL_DICOMWEB_SEARCH_FILTER
    if wanted == {"Modality": "CT"}:  # MONAI Label's default, which would leave MR and all others out
        return True
    return all(entry.get(key) == str(value) for key, value in wanted.items() if key in FIELDS)


def _by_uid(found: Iterable[dict[str, Any]]) -> dict[str, dict[str, str]]:
    """What a PACS lists, without entries that name no series: one of them hides no other."""
    series = {}
    for listed in found:
        try:
            entry = _plain(listed)
        except Exception as error:  # pydicom raises whatever it meets
            logger.debug("a series is left out, its entry cannot be read: %s", error)
            continue
        if entry["SeriesInstanceUID"] and entry["StudyInstanceUID"]:
            series[entry["SeriesInstanceUID"]] = entry
    return series


def _plain(entry: dict[str, Any]) -> dict[str, str]:
    data = Dataset.from_json(entry)
    return {name: str(data.get(name) or "") for name in FIELDS}


def _retrieved(client: DICOMwebClient, study: str, series: str) -> list[Dataset]:
    return list(client.iter_series(study, series))


def _session() -> requests.Session:
    user, password = settings.MONAI_LABEL_DICOMWEB_USERNAME, settings.MONAI_LABEL_DICOMWEB_PASSWORD
    session = create_session_from_user_pass(user, password) if user and password else create_session()
    for scheme in ("http://", "https://"):
        session.mount(scheme, _Timed())
    return session


class _Timed(requests.adapters.HTTPAdapter):
    """Requests never wait for ever."""

    def send(self, *args: Any, **kwargs: Any) -> requests.Response:
        kwargs["timeout"] = kwargs.get("timeout") or TIMEOUT
        return super().send(*args, **kwargs)
