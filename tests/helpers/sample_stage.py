"""A server on the sample scans of the repository, with a browser and with the truth of the first CT: for the pictures
and studies of the panel in tools/."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.uid import generate_uid

from fewsam.images.volume import load_volume
from helpers.browser import open_browser, start_pacs
from helpers.person import Person
from helpers.server_harness import REPOSITORY, Server
from helpers.strokes import lasso

SAMPLES = REPOSITORY / "sample-data"
EIGHT = ("liver", "spleen", "kidney_right", "kidney_left", "stomach", "aorta", "vertebrae", "lungs")


class Stage:
    """A server on the sample scans, with the truth of the first CT."""

    def __init__(
        self, folder: Path, structures: tuple[str, ...], more: int = 0, conf: Mapping[str, object] | None = None
    ) -> None:
        if not (SAMPLES / "dicom" / "ct-patient01").is_dir():
            sys.exit(f"{SAMPLES / 'dicom'} is missing: make sample-data")
        scans = folder / "scans"
        shutil.copytree(SAMPLES / "dicom", scans)
        for number in range(more):
            small_copy(SAMPLES / "dicom" / "ct-patient01", scans / f"more{number:02}", number)
        self.pacs = start_pacs("embedded", folder, scans)
        head = pydicom.dcmread(scans / "ct-patient01" / "slice001.dcm")
        self.study, self.series = str(head.StudyInstanceUID), str(head.SeriesInstanceUID)
        self.ct = load_volume(scans / "ct-patient01")
        labels = load_volume(SAMPLES / "truth" / "ct" / "patient01.nii.gz").slices
        self.truth = {name: labels == value for value, name in enumerate(EIGHT, start=1)}
        shared = {"labels": ",".join(structures), "precompute": "false", "new_labels": "true", "steps": 100}
        self.server = Server(folder, self.pacs.dicomweb, {**shared, **(conf or {})})

    def draw(self, me: Person, k: int, *names: str) -> None:
        me.go_to(k)
        me.tool("lasso")
        for name in names:
            me.structure(name)
            lasso(me, self.truth[name][k], k)

    @property
    def drawn(self) -> list[int]:
        """Three slices with liver."""
        shows = np.flatnonzero(self.truth["liver"].sum(axis=(1, 2)) > 300)
        return [int(shows[round(at * (len(shows) - 1))]) for at in (0.2, 0.5, 0.8)]


def small_copy(source: Path, target: Path, number: int) -> None:
    """A series of a few slices of another patient."""
    target.mkdir()
    study, series = generate_uid(), generate_uid()
    for n, file in enumerate(sorted(source.glob("*.dcm"))[::9]):
        data = pydicom.dcmread(file)
        data.PatientID, data.PatientName = f"P{number:03}", f"Phantom^Number {number}"
        data.StudyInstanceUID, data.SeriesInstanceUID, data.SOPInstanceUID = study, series, generate_uid()
        data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
        data.SeriesDescription = "Abdomen" if number % 3 else "Abdomen, portal venous phase, thin slices"
        data.save_as(target / f"slice{n:03}.dcm")


@contextmanager
def staged(
    structures: tuple[str, ...], more: int = 0, conf: Mapping[str, object] | None = None
) -> Iterator[tuple[Stage, Any]]:
    """The stage, and a browser context, while its server runs."""
    with tempfile.TemporaryDirectory(prefix="fewsam-pictures-", ignore_cleanup_errors=True) as name:
        stage = Stage(Path(name), structures, more, conf)
        try:
            with stage.server, open_browser() as context:
                yield stage, context
        finally:
            stage.server.stop()
            stage.pacs.stop()
