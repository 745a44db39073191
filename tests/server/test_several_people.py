"""Four people at once on a real server with a worker: all are answered in turn, and the queue says its length."""

from __future__ import annotations

import threading
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import requests

from fewsam.core.processes import MODEL, PATIENCE
from fewsam.server.guard.person import HEADER
from helpers import tiny_volume as tiny
from helpers.server_harness import QUICK, Server, shots, write_label

GREEDY, OTHERS = "ann", ("ben", "cem", "dot")
ASKED = 6  # requests of the first person, who asks before the others
pytestmark = pytest.mark.timeout(600)


class Desk:
    """Requests of people, in the order in which they were answered."""

    def __init__(self, server: Server, folder: Path) -> None:
        self.server, self.folder = server, folder
        self.answered: list[str] = []
        self._lock = threading.Lock()

    def segment(self, person: str, image: str) -> np.ndarray:
        """The labelmap of an image, as MONAI Label's clients ask for it."""
        answer = requests.post(
            f"{self.server.url}/infer/{MODEL}",
            params={"image": image, "output": "image"},
            headers={HEADER: person},
            timeout=PATIENCE,
        )
        assert answer.status_code == 200, answer.text
        with self._lock:
            self.answered.append(person)
        file = self.folder / f"{person}-{image}.nii.gz"
        file.write_bytes(answer.content)
        return np.asarray(nib.load(file).dataobj)

    def queue(self) -> dict[str, Any]:
        return dict(self.server.info()["queue"])


@pytest.mark.slow
@pytest.mark.usefixtures("cold_starts")  # a forked server of the tests may have no children of its own
def test_people_take_turns_and_all_are_answered(tmp_path: Path) -> None:
    studies = tmp_path / "studies"
    for number in range(ASKED + len(OTHERS)):
        _, truth = tiny.write_scan(studies, f"scan{number}", seed=number)
        write_label(tmp_path / "labels" / f"scan{number}.nii.gz", truth, [4, 6], studies / f"scan{number}.nii.gz")
    conf = {**QUICK, "labels": tiny.CLASSES, "workers": 1, "precompute": "false", "input_size": 128}
    with Server(tmp_path / "server", studies, conf) as server, ThreadPoolExecutor(ASKED + len(OTHERS)) as clients:
        info = [{"name": name, "idx": value} for value, name in enumerate(tiny.CLASSES, 1)]
        label = tmp_path / "labels" / "scan0.nii.gz"
        assert server.put_label("scan0", label, {"label_info": info}).status_code == 200
        assert shots(server) == {"scan0": 2}
        desk = Desk(server, tmp_path)
        assert desk.queue() == {"running": 0, "waiting": 0, "people_waiting": 0, "workers": 2, "may_wait": 32}
        first = [clients.submit(desk.segment, GREEDY, f"scan{n}") for n in range(ASKED)]
        server.wait(lambda: desk.queue()["waiting"] == ASKED - 2, "the first person's requests in the queue")
        others: list[Future[np.ndarray]] = [
            clients.submit(desk.segment, person, f"scan{ASKED + n}") for n, person in enumerate(OTHERS)
        ]
        server.wait(lambda: desk.queue()["people_waiting"] == 1 + len(OTHERS), "the others' requests in the queue")
        assert desk.queue()["waiting"] > len(OTHERS)
        found = [future.result() for future in (*first, *others)]
        assert desk.queue()["waiting"] == 0
    assert all(labelmap.shape == tiny.SHAPE and labelmap.any() for labelmap in found)
    last = max(desk.answered.index(person) for person in OTHERS)
    assert desk.answered[last + 1 :].count(GREEDY) >= 2, f"who asked for much waits for it alone: {desk.answered}"
