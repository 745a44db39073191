"""A PACS that goes away in the middle: of a download, before a label, and over a restart of the server."""

from __future__ import annotations

import json
import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import requests
from dicomweb_client import DICOMwebClient

from fewsam.collection import Collection
from fewsam.core.errors import FewSAMError
from fewsam.core.processes import MODEL, PacsProcess, ServerProcess
from fewsam.evaluation.reliability.studies import TINY
from fewsam.images.volume import Volume, load_volume

NAMES = ("liver", "spleen")
SHAPE = (64, 50, 20)


@dataclass
class Step:
    """One thing tried, and what was found wrong."""

    name: str
    problems: list[str] = field(default_factory=list)


class PacsGone:
    """``fewsam pacs`` over generated scans, killed while the server works on it.

    Args:
        folder: Emptied, for scans and the server's files.
    """

    def __init__(self, folder: Path) -> None:
        from fewsam.synthetic.phantom import write_dataset

        shutil.rmtree(folder, ignore_errors=True)
        write_dataset(folder / "samples", patients=2, shape=SHAPE)
        self.folder, self.scans = folder, folder / "samples" / "dicom"
        self.image: Volume = load_volume(self.scans / "ct-patient01", axis="2")
        self.truth = load_volume(folder / "samples" / "truth" / "ct" / "patient01.nii.gz").slices
        self.pacs = PacsProcess(self.scans).start()
        conf = {**TINY, "labels": ",".join(NAMES), "precompute": "false"}
        self.site = ServerProcess(folder, self.pacs.dicomweb, conf)
        self.done: list[Step] = []
        self.drawn: set[int] = set()

    def run(self, progress: Callable[[Step], None] | None = None) -> None:
        try:
            self.site.start()
            for work in (self._download, self._label, self._restart, self._back):
                step = Step(work.__doc__ or "")
                try:
                    work(step)
                except (requests.RequestException, FewSAMError, OSError, KeyError) as error:
                    step.problems.append(f"{type(error).__name__}: {error}")
                self.done.append(step)
                if progress:
                    progress(step)
        finally:
            self.site.stop()
            self.pacs.kill()

    def summary(self) -> dict[str, Any]:
        return {
            "steps": len(self.done),
            "slices_labelled": len(self.drawn),
            "problems": [f"{step.name}: {problem}" for step in self.done for problem in step.problems],
            "each": [asdict(step) for step in self.done],
        }

    def _listed(self) -> list[str]:
        listed = requests.get(f"{self.site.url}/datastore/", params={"output": "all"}, timeout=120).json()
        return sorted(listed["objects"])

    def _ct(self) -> str:
        return _series_of(self.scans / "ct-patient01")

    def _download(self, step: Step) -> None:
        """killed while images are downloaded"""
        answers: list[requests.Response] = []

        def ask(uid: str) -> None:
            query = {"image": uid, "output": "image"}
            answers.append(requests.post(f"{self.site.url}/infer/{MODEL}", params=query, timeout=300))

        for delay in (0.02, 0.2):
            people = [threading.Thread(target=ask, args=(uid,)) for uid in self._listed()]
            for person in people:
                person.start()
            time.sleep(delay)
            self.pacs.kill()
            for person in people:
                person.join()
            odd = [f"{a.status_code}: {a.text[:200]}" for a in answers if a.status_code not in (200, 502)]
            step.problems += [f"an answer without the PACS was {answer}" for answer in odd]
            self.pacs.start()
        halves = list((self.site.data / "pacs" / "images").glob(".part-*"))
        step.problems += [f"half a download stays: {half.name}" for half in halves]
        for uid in self._listed():
            ask(uid)
            if answers[-1].status_code != 200:
                step.problems.append(f"with the PACS back {uid} gave {answers[-1].status_code}")

    def _label(self, step: Step) -> None:
        """killed before a label"""
        self._submit(step, 8, waiting=0)
        self.pacs.kill()
        self._submit(step, 11, waiting=1)

    def _restart(self, step: Step) -> None:
        """the server restarted without it"""
        for process in self.site.kill():
            process.kill()
        self.site.start()
        if self._ct() not in self._listed():
            step.problems.append("the server does not know its images")
        self._check(step)
        self._submit(step, 13, waiting=2)

    def _back(self, step: Step) -> None:
        """back again"""
        self.pacs.start()

        def sent() -> bool:
            state = requests.get(f"{self.site.url}/fewsam/state", timeout=60).json()["pacs"]
            return state["problem"] == "" and state["waiting"] == 0

        self.site.wait(sent, "the labels in the PACS")
        client = DICOMwebClient(str(self.site.studies))
        segs = len(client.search_for_series(search_filters={"Modality": "SEG"}))
        if segs != len(self.drawn):
            step.problems.append(f"the PACS has {segs} segmentations of {len(self.drawn)} that were submitted")
        self._check(step)

    def _submit(self, step: Step, z: int, waiting: int) -> None:
        """One more slice, as the panel sends it; all earlier ones along."""
        slices = {*self.drawn, z}
        chosen = np.isin(np.arange(SHAPE[2]), sorted(slices))[:, None, None]
        voxels = np.where(chosen & np.isin(self.truth, (1, 2)), self.truth, 0).astype(np.uint8)
        info = [{"name": name, "idx": value} for value, name in enumerate(NAMES, 1)]
        answer = requests.put(
            f"{self.site.url}/datastore/label",
            params={"image": self._ct()},
            data={"params": json.dumps({"label_info": info, "absent_classes": "complete"})},
            files={"label": ("label.bin", self.image.geometry.to_native(voxels).tobytes(order="F"))},
            timeout=300,
        )
        if answer.status_code != 200:
            step.problems.append(f"a label was answered with {answer.status_code}: {answer.text[:200]}")
            return
        self.drawn = slices
        if answer.json()["waiting_for_pacs"] != waiting:
            step.problems.append(f"{answer.json()['waiting_for_pacs']} labels wait for the PACS, not {waiting}")
        self._check(step)

    def _check(self, step: Step) -> None:
        shots = {shot.slice: shot for shot in Collection(self.site.data, NAMES).shots()}
        for z in self.drawn:
            for value, name in enumerate(NAMES, 1):
                nothing = np.zeros(self.truth.shape[1:], bool)
                mask = shots[z].masks.get(name, nothing) if z in shots else None
                if mask is None or not np.array_equal(mask, self.truth[z] == value):
                    step.problems.append(f"slice {z}: {name} is not as it was drawn")


def _series_of(folder: Path) -> str:
    import pydicom

    return str(pydicom.dcmread(sorted(folder.glob("*.dcm"))[0], stop_before_pixels=True).SeriesInstanceUID)
