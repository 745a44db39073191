"""Which files of a folder a PACS can serve, and why it leaves out the others.

dicomweb-client's own index leaves files out without a word, lists series that it then does not have, and lets one
file with a UID of another one replace it. Its database and its reading of attributes are kept.
"""

from __future__ import annotations

import io
import tempfile
import warnings
from collections import defaultdict
from pathlib import Path
from typing import Any, cast

import numpy as np
import pydicom
from dicomweb_client.api import DICOMfileClient
from dicomweb_client.file import _get_frame_offsets
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from fewsam.images.dicomio import is_dicom

_SHOWN = 4  # names in a sentence


class Index:
    """What is served of a folder.

    Args:
        folder: with DICOM files in any arrangement.

    Attributes:
        client: dicomweb-client over what is served.
        found: number of files in the folder.
        left_out: name of each file that is not served -> why.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.left_out: dict[str, str] = {}
        self.found = 0
        # Files that lack what the client needs are served from copies that have it.
        self._repaired = tempfile.TemporaryDirectory(prefix="fewsam-pacs-")
        self._files: dict[tuple[str, str, str], Path] = {}
        self._studies: dict[str, str] = {}
        # Opened over nothing, because it would read the folder in its own way.
        with tempfile.TemporaryDirectory(prefix="fewsam-pacs-") as nothing:
            self.client = DICOMfileClient(url=f"file://{nothing}", in_memory=True, update_db=False)
        self.client._db_manager.base_dir = folder
        for file in sorted(p for p in folder.rglob("*") if p.is_file()):
            self.found += 1
            if (reason := self._add(file)) is not None:
                self.left_out[str(file.relative_to(folder))] = reason

    @property
    def served(self) -> int:
        """Number of files that are served."""
        return self.found - len(self.left_out)

    def report(self) -> list[str]:
        """Sentences for a person: how many files are served, and which are not and why."""
        by_reason: dict[str, list[str]] = defaultdict(list)
        for name, reason in self.left_out.items():
            by_reason[reason].append(name)
        lines = [f"{self.served} of {self.found} files served"]
        for reason, names in by_reason.items():
            more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
            lines.append(f"left out, {reason}: {', '.join(names[:_SHOWN])}{more}")
        return lines

    def _add(self, file: Path) -> str | None:
        """Serve a file; else why not."""
        if file.name.upper() == "DICOMDIR" or not is_dicom(file):
            return "no DICOM object"
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return self._read(file)
        except Exception as error:  # pydicom raises whatever it meets
            return f"its header cannot be read ({' '.join(str(error).split())[:120] or type(error).__name__})"

    def _read(self, file: Path) -> str | None:
        manager = self.client._db_manager
        with file.open("rb") as stream:
            header: Dataset = manager._read_selected_metadata(cast(Any, stream))
            meta = getattr(header, "file_meta", None) or FileMetaDataset()
            if not header.get("SOPClassUID") and not meta.get("MediaStorageSOPClassUID"):
                return "it does not say what kind of object it is (SOPClassUID)"
            if header.get("SOPClassUID") and header.SOPClassUID.is_private and not header.get("Rows"):
                return "its kind is a vendor's own and holds no pixels"
            if not header.get("StudyInstanceUID") or not header.get("SeriesInstanceUID"):
                return "it has no study or series UID; give it one (dcmodify -gst -gse)"
            syntax = meta.get("TransferSyntaxUID")
            if syntax is not None and not syntax.is_transfer_syntax:
                return f"its pixels are compressed as {syntax.name}, which is not read here; decompress it"
            whole = bool(header.get("SOPInstanceUID") and header.get("SOPClassUID") and syntax and header.preamble)
            if not whole:
                header, file = self._mended(file)
                return self._insert(header, file, -1, np.zeros(0, np.uint32))
            return self._insert(header, file, *self._offsets(header, stream))

    def _mended(self, file: Path) -> tuple[Dataset, Path]:
        """A copy with preamble, file meta and UIDs, from what is there of them."""
        data = pydicom.dcmread(file, force=True)
        meta = data.file_meta = getattr(data, "file_meta", None) or FileMetaDataset()
        for keyword in ("SOPClassUID", "SOPInstanceUID"):
            there = data.get(keyword) or meta.get(f"MediaStorage{keyword}")
            if not there:
                raise ValueError(f"it has no {keyword}, not in its file meta either")
            setattr(data, keyword, there)
            setattr(meta, f"MediaStorage{keyword}", there)
        if "TransferSyntaxUID" not in meta:
            meta.TransferSyntaxUID = ImplicitVRLittleEndian if data.is_implicit_VR else ExplicitVRLittleEndian
        copy = Path(self._repaired.name) / f"{len(self._files):06d}.dcm"
        data.save_as(copy, write_like_original=False)
        return pydicom.dcmread(copy, stop_before_pixels=True), copy

    def _offsets(self, header: Dataset, stream: io.BufferedReader) -> tuple[int, np.ndarray]:
        """Where the first frame begins, and the offsets of the others."""
        if "Rows" not in header or "Columns" not in header:
            return -1, np.zeros(0, np.uint32)
        syntax = str(header.file_meta.TransferSyntaxUID)
        try:
            first, others = _get_frame_offsets(
                fp=self.client._db_manager._get_file_pointer(stream, transfer_syntax_uid=syntax),
                number_of_frames=int(header.get("NumberOfFrames") or 1),
                number_of_pixels_per_frame=int(header.Rows) * int(header.Columns) * int(header.SamplesPerPixel),
                transfer_syntax_uid=syntax,
                bits_allocated=int(header.BitsAllocated),
            )
        except (AttributeError, ValueError, OSError):  # for thumbnails alone
            return -1, np.zeros(0, np.uint32)
        return int(first), others

    def _insert(self, header: Dataset, file: Path, first: int, offsets: np.ndarray) -> str | None:
        uids = (str(header.StudyInstanceUID), str(header.SeriesInstanceUID), str(header.SOPInstanceUID))
        study, series, _ = uids
        if known := self._files.get(uids):
            same = known.read_bytes() == file.read_bytes()
            name = known.relative_to(self.folder) if known.is_relative_to(self.folder) else known.name
            return f"it is {name} once more" if same else f"it is another image with the UID of {name}"
        if self._studies.setdefault(series, study) != study:
            return "its series UID is that of another study's series"
        manager = self.client._db_manager
        manager._insert_into_db(
            [manager._extract_study_metadata(header)],
            [manager._extract_series_metadata(header)],
            [
                (
                    *manager._extract_instance_metadata(header),
                    str(header.file_meta.TransferSyntaxUID),
                    str(file),
                    first,
                    offsets,
                )
            ],
        )
        self._files[uids] = file
        return None
