"""The series of a PACS segmented by one task: each downloaded, and its answer written to a folder or stored back."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pydicom
from monailabel.interfaces.exception import ImageNotFoundException
from pydicom.uid import generate_uid

from fewsam.core.class_values import names_by_value
from fewsam.core.errors import EmptyLabelError, FewSAMError, ImageError, StorageError
from fewsam.fewshot.inference.prediction import Prediction
from fewsam.images.dicomseg import write_seg
from fewsam.images.volume import Volume, save_labelmap
from fewsam.server.errors import PacsError, RefusedError, RequestError
from fewsam.server.storage.pacs import FIELDS, Pacs
from fewsam.server.storage.pacs_datastore import PacsDatastore
from fewsam.server.storage.palette import Colour, colours_of
from fewsam.workspace.manifest import Manifest, draft_of, is_result
from fewsam.workspace.segment import Segmented
from fewsam.workspace.workspace import Workspace

_ABOUT = {"study": "StudyInstanceUID", "patient": "PatientID", "date": "StudyDate", "modality": "Modality",
          "description": "SeriesDescription", "instances": "NumberOfSeriesRelatedInstances"}  # fmt: skip
AUTOMATIC = "AUTOMATIC"  # the type of a segment that no person made


class PacsSeries:
    """The series of a PACS as images of a run that goes on where it was stopped. As a context manager it removes what
    it downloaded.

    Args:
        workspace: The task that segments.
        address: Of DICOMweb. Its query chooses series: ``?Modality=CT&SeriesDescription=*portal*``.
        output: The folder for the manifest, and for the labelmaps if they are not stored.
        store: Store the answers in the PACS, as DICOM SEG, instead of writing labelmaps.

    Attributes:
        failed: Series, as a person knows it -> why it has no answer.

    Raises:
        RequestError: the address asks for something that series are not chosen by.
    """

    def __init__(self, workspace: Workspace, address: str, output: Path, *, store: bool = False) -> None:
        parts = urlsplit(address)
        self._wanted = dict(parse_qsl(parts.query, keep_blank_values=True))
        if unknown := self._wanted.keys() - set(FIELDS):
            raise RequestError(f"{address}: series are not chosen by {sorted(unknown)[0]}; use {', '.join(FIELDS)}")
        self._workspace = workspace
        self.address, self.output, self.store = parts._replace(query="", fragment="").geturl(), output, store
        self.failed: dict[str, str] = {}
        self._folder = tempfile.TemporaryDirectory(prefix="fewsam-pacs-", ignore_cleanup_errors=True)
        self._pacs = Pacs(self.address)
        self._datastore = PacsDatastore(self._pacs, Path(self._folder.name), workspace.settings.sequences)
        self._manifest = Manifest(output, workspace)
        self._entries: dict[str, dict[str, str]] = {}  # as they are when the run begins
        self._listed: set[str] = set()

    def find(self) -> list[str]:
        """The UIDs of all image series that the address names.

        Raises:
            PacsError: the PACS does not answer.
            ImageError: it has no such series.
        """
        self._entries = self._pacs.series(fresh=True)
        listed = [uid for uid in self._datastore.list_images() if self._is_wanted(self._entries[uid])]
        if not listed:
            raise ImageError(f"{self.address}: the PACS has no image series that was asked for")
        self._listed = set(listed)
        return sorted(listed)

    def target(self, uid: str) -> Path:
        """The labelmap of a series, where it is written to the folder."""
        return self.output / f"{uid}.nii.gz"

    def is_done(self, uid: str) -> bool:
        """Whether the answer of this task for a series is where it belongs.

        What has a UID never changes in DICOM, so that a series with as many instances as before is the same.
        """
        entry = self._manifest.made(uid)
        if entry is None or entry.get("instances") != self._about(uid)["instances"]:
            return False
        if not self.store:
            return is_result(entry, self.target(uid))
        return "seg" in entry and (entry["seg"] is None or entry.get("seg_series") in self._entries)

    def folders(self, uids: list[str], failed: Callable[[], None]) -> Iterator[Path]:
        """A folder with the files of each series, downloaded as it is asked for.

        Args:
            failed: Called where a series cannot be had; `failed` says why.

        Raises:
            PacsError: the PACS does not answer any more.
            StorageError: the disk is full.
        """
        for uid in uids:
            try:
                yield self._datastore.image_folder(uid)
            except (RefusedError, ImageNotFoundException) as error:  # this series alone
                self._fail(uid, str(error) or "the PACS does not have it any more")
                failed()
            except OSError as error:
                raise StorageError(
                    f"a series cannot be kept in {self._folder.name} meanwhile ({error.strerror}); free space, or name "
                    "another folder in the variable TMPDIR"
                ) from error

    def take(self, one: Segmented) -> None:
        """Write or store an answer, and note it, or why there is none. Its series is no longer needed here.

        Raises:
            PacsError: the PACS does not answer any more.
            StorageError: the disk is full.
        """
        uid = one.path.name
        if one.prediction is None or one.volume is None:
            self._fail(uid, _about_the_series(one.error, one.path))
        else:
            try:
                if self.store:
                    place = self._stored(one.path, one.volume, one.prediction)
                    self._manifest.note(uid, {**self._about(uid), **place}, one.volume, one.prediction)
                else:
                    self._write(uid, one.volume, one.prediction)
            except PacsError as error:
                if not isinstance(error, RefusedError):
                    raise
                self._fail(uid, str(error))
            except FewSAMError as error:
                self._fail(uid, _about_the_series(str(error), one.path))
        self._remove(uid)

    def _write(self, uid: str, volume: Volume, prediction: Prediction) -> None:
        draft = draft_of(self.target(uid))
        save_labelmap(draft, prediction.labelmap, volume.geometry, names_by_value(prediction.classes))
        self._manifest.put(uid, self._about(uid), draft, self.target(uid), volume, prediction)

    def _stored(self, folder: Path, volume: Volume, prediction: Prediction) -> dict[str, str | None]:
        """Store an answer, and say what it is called there. What is empty has no form as DICOM SEG."""
        file = Path(self._folder.name) / f"{folder.name}.seg.dcm"
        try:
            colours = colours_of(self._workspace.collection.names)
            seg = write_prediction_seg(file, volume, prediction, folder, self._manifest.task, colours)
        except EmptyLabelError:
            return {"seg": None}
        self._pacs.store(file)
        file.unlink()
        return {"seg": str(seg.SOPInstanceUID), "seg_series": str(seg.SeriesInstanceUID)}

    def _remove(self, uid: str) -> None:
        """Remove the files of a series, and of those that were downloaded as its further sequences."""
        study = self._entries.get(uid, {}).get("StudyInstanceUID")
        for folder in (self._datastore.folder / "images").iterdir():
            beside = self._entries.get(folder.name, {}).get("StudyInstanceUID") == study
            if folder.name == uid or (beside and folder.name not in self._listed):
                shutil.rmtree(folder, ignore_errors=True)

    def _is_wanted(self, entry: dict[str, str]) -> bool:
        return all(fnmatchcase(entry.get(name, ""), pattern) for name, pattern in self._wanted.items())

    def _about(self, uid: str) -> dict[str, str]:
        entry = self._entries.get(uid, {})
        return {name: entry.get(keyword, "") for name, keyword in _ABOUT.items()}

    def _fail(self, uid: str, why: str) -> None:
        self._manifest.fail(uid, why)
        about = self._about(uid)
        self.failed[" ".join(filter(None, (about["modality"], about["description"], uid)))] = why

    def __enter__(self) -> PacsSeries:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._folder.cleanup()


def _about_the_series(why: str, folder: Path) -> str:
    """A message without the folder of this run, which says nothing to a person."""
    return why.replace(f"{folder}/", "").replace(str(folder), "the series")


def write_prediction_seg(
    path: Path, volume: Volume, prediction: Prediction, images: Path, task: str, colours: Mapping[str, Colour]
) -> Any:
    """Write an answer as DICOM SEG that says that no person made it, and return the object.

    The same answer gets the same UIDs, so that a run which is killed before it has noted what it stored stores it once.

    Args:
        images: The folder with the series.
        task: The state of the task that answers, as one hash.
        colours: Of the structures, by name.

    Raises:
        EmptyLabelError: nothing was found.
        LabelError: no DICOM SEG can be written for this series.
    """
    classes = prediction.classes
    masks = {name: prediction.labelmap == value for value, name in names_by_value(classes).items()}
    told = f"fewsam prediction, model {prediction.model_version}"
    write_seg(path, masks, volume.geometry, images, colours=colours, annotator="fewsam", description=told)
    seg: Any = pydicom.dcmread(path)
    for segment in seg.SegmentSequence:
        segment.SegmentAlgorithmType = AUTOMATIC
    seg.ContentDescription = "predicted by fewsam, seen by nobody yet"
    source = [images.name, task, hashlib.sha256(prediction.labelmap.tobytes()).hexdigest()]
    seg.SeriesInstanceUID = generate_uid(entropy_srcs=["series", *source])
    seg.SOPInstanceUID = seg.file_meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=source)
    seg.save_as(path, write_like_original=False)
    return seg


def is_prediction(header: Any) -> bool:
    """Whether a DICOM SEG is an answer of fewsam that nobody has looked at: it teaches nothing."""
    segments = header.get("SegmentSequence") or []
    kinds = {segment.get("SegmentAlgorithmType") for segment in segments}
    return str(header.get("Manufacturer")) == "fewsam" and kinds == {AUTOMATIC}
