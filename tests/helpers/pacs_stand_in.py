"""What stands in for a PACS where a test needs none that listens."""

from __future__ import annotations

from pathlib import Path

import pydicom

from fewsam.server.storage.pacs import Pacs

NOWHERE = "http://127.0.0.1:9/dicom-web"


class Taking(Pacs):
    """A PACS that takes everything; ``sent`` names it."""

    def __init__(self) -> None:
        super().__init__(NOWHERE)
        self.sent: list[str] = []

    def store(self, file: Path) -> None:
        self.sent.append(file.name.partition("_")[2])


def write_dicom(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    whole = pydicom.Dataset()
    whole.SOPClassUID, whole.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.66.4", "1.2.3"
    whole.file_meta = pydicom.dataset.FileMetaDataset()
    whole.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    whole.save_as(path, write_like_original=False)
