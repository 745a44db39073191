"""A PACS with three scans, and the server on it: what tests of SEG files and of the panel's routes start."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import requests
from dicomweb_client import DICOMwebClient

from fewsam.core.processes import PacsProcess
from fewsam.images.volume import Volume, load_volume
from fewsam.synthetic.phantom import write_dataset
from helpers.browser import start_pacs
from helpers.server_harness import Server

NAMES = ("liver", "spleen")
SHAPE = (64, 50, 20)


class Site:
    """A PACS with three scans and the server on it; ``ct`` and ``mr`` are patient 1, ``other`` is patient 2."""

    def __init__(self, folder: Path) -> None:
        write_dataset(folder / "samples", patients=2, shape=SHAPE)
        self.scans = folder / "samples" / "dicom"
        self.pacs: PacsProcess = start_pacs("embedded", folder, self.scans)
        self.uids = {
            name: str(pydicom.dcmread(self.scans / scan / "slice001.dcm").SeriesInstanceUID)
            for name, scan in (("ct", "ct-patient01"), ("mr", "mr-patient01"), ("other", "ct-patient02"))
        }
        self.image: Volume = load_volume(self.scans / "ct-patient01", axis="2")
        self.truth = {
            "ct": load_volume(folder / "samples" / "truth" / "ct" / "patient01.nii.gz").slices,
            "other": load_volume(folder / "samples" / "truth" / "ct" / "patient02.nii.gz").slices,
        }
        self.server = Server(folder, self.pacs.dicomweb, {"labels": ",".join(NAMES), "precompute": "false"})

    def put(self, name: str, voxels: np.ndarray, info: list[dict[str, Any]] | None = None) -> requests.Response:
        """Submit (Z, H, W) values as the panel does."""
        sent = self.image.geometry.to_native(voxels.astype(np.uint8)).tobytes(order="F")
        info = info or [{"name": label, "idx": value} for value, label in enumerate(NAMES, 1)]
        return requests.put(
            f"{self.server.url}/datastore/label",
            params={"image": self.uids.get(name, name)},
            data={"params": json.dumps({"label_info": info, "annotator": "ann"})},
            files={"label": ("label.bin", sent)},
            timeout=60,
        )

    def drawn(self, slices: tuple[int, ...], name: str = "ct") -> np.ndarray:
        chosen = np.isin(np.arange(SHAPE[2]), slices)[:, None, None]
        return np.where(chosen & np.isin(self.truth[name], (1, 2)), self.truth[name], 0)

    def state(self, name: str = "") -> dict[str, Any]:
        query = {"image": self.uids[name]} if name else {}
        return dict(requests.get(f"{self.server.url}/fewsam/state", params=query, timeout=30).json())

    def segs(self) -> list[pydicom.Dataset]:
        client = DICOMwebClient(self.pacs.dicomweb)
        return [
            data
            for entry in client.search_for_series(search_filters={"Modality": "SEG"})
            for data in client.retrieve_series(entry["0020000D"]["Value"][0], entry["0020000E"]["Value"][0])
        ]

    def counts(self) -> dict[str, int]:
        return {one["name"]: one["slices"] for one in self.state()["structures"]}


@contextmanager
def open_site(folder: Path) -> Iterator[Site]:
    """A site that runs, and stops at the end."""
    site = Site(folder)
    try:
        with site.server:
            yield site
    finally:
        site.pacs.stop()


def framed(answer: requests.Response) -> tuple[dict[str, Any], np.ndarray]:
    """The JSON and the voxels of an answer to the panel."""
    assert answer.status_code == 200, answer.text
    length = struct.unpack("<I", answer.content[:4])[0]
    return json.loads(answer.content[4 : 4 + length]), np.frombuffer(answer.content[4 + length :], np.uint8)
