"""A reading that is put in force says what its reader said: no answer of the model, and nothing of other structures."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from fastapi.responses import JSONResponse

from fewsam.collection import Shot
from fewsam.images.volume import Volume
from fewsam.server.routes import panel_readings
from fewsam.server.routes.panel_readings import Adopted, _adopt
from fewsam.server.tasks.labels import LabelIntake, LabelParams
from fewsam.workspace.workspace import Workspace, open_task
from helpers import tiny_volume as tiny

LEFT, RIGHT, SMALL = tiny.CLASSES
Z = 5


class Readers:
    """Nora's label of a slice, Olaf's beside it, and a server's answer for the series."""

    def __init__(self, workspace: Workspace, path: Path, volume: Volume, masks: dict[str, np.ndarray]) -> None:
        self.workspace, self.path, self.volume = workspace, path, volume
        one = tiny.on_slices(masks, [Z])
        self.nora = {LEFT: one[LEFT], SMALL: one[SMALL]}
        self.olaf = {LEFT: np.roll(one[LEFT], 2, axis=2)}
        self.submit(self.nora, "nora")
        self.submit(self.olaf, "olaf", by_hand={Z}, beside={Z})
        served = np.zeros(volume.slices.shape, np.uint8)
        served[Z], served[7] = masks[RIGHT][Z] * 2, masks[RIGHT][7] * 2
        workspace.collection.remember_served("scan", served, workspace.collection.classes, model_version=1)
        (self.reading,) = workspace.collection.readings("scan", volume.content_hash)
        self.meanwhile: Callable[[], object] = lambda: None

    def submit(self, masks: dict[str, np.ndarray], who: str, **more: Any) -> None:
        self.workspace.collection.submit(
            self.volume, "scan", masks, annotator=who, **{"absent_classes": "partial", **more}
        )

    def submit_label(self, image_id: str, file: Path, tag: str, raw: dict[str, Any], params: LabelParams) -> None:
        self.meanwhile()
        LabelIntake(self.workspace).submit(image_id, str(self.path), file, params, source=params.source)

    def image_path(self, image_id: str) -> str:
        return str(self.path)

    @property
    def force(self) -> Shot:
        (shot,) = self.workspace.collection.shots("scan")
        return shot


@pytest.fixture
def readers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Readers]:
    path, _ = tiny.write_scan(tmp_path)
    volume, masks = tiny.scan(tmp_path)
    with open_task(tmp_path / "task", None, {"encoder": "compact", "labels": ",".join(tiny.CLASSES)}, create=True) as w:
        found = Readers(w, path, volume, masks)
        app = SimpleNamespace(workspace=w, image_path=found.image_path, submit_label=found.submit_label)
        monkeypatch.setattr(panel_readings, "current", lambda: app)
        yield found


def test_what_the_reader_drew_is_in_force_and_nothing_is_said_of_other_structures(readers: Readers) -> None:
    seen = readers.force.submission
    _adopt(Adopted(image="scan", reading=readers.reading.shot_id, seen=seen), "rita")
    now = readers.force
    assert (now.annotator, now.submission > seen) == ("olaf", True)
    assert np.array_equal(now.masks[LEFT], readers.olaf[LEFT][Z])
    assert np.array_equal(now.masks[SMALL], readers.nora[SMALL][Z]), "Nora draws it, and Olaf says nothing of it"
    assert RIGHT not in now.known and RIGHT not in now.masks, "it is the model's answer: nobody said yes or no"


def test_what_the_reader_said_is_not_there_is_absent(readers: Readers) -> None:
    nothing = np.zeros(readers.volume.slices.shape[:3], bool)
    readers.submit({SMALL: nothing}, "olaf", absent_classes="spoken", by_hand={Z}, beside={Z})
    last = readers.workspace.collection.readings("scan", readers.volume.content_hash)[-1]
    assert SMALL in last.known and SMALL not in last.masks
    _adopt(Adopted(image="scan", reading=last.shot_id, seen=readers.force.submission), "rita")
    now = readers.force
    assert SMALL not in now.masks and SMALL in now.known
    assert np.array_equal(now.masks[LEFT], last.masks[LEFT])
    assert RIGHT not in now.known


@pytest.mark.parametrize("when", ["before", "meanwhile"])
def test_a_label_that_came_in_between_stays_in_force(readers: Readers, when: str) -> None:
    seen = readers.force.submission

    def another() -> None:
        readers.submit({LEFT: np.roll(readers.nora[LEFT], -3, axis=2)}, "paula")

    if when == "before":
        another()
    else:
        readers.meanwhile = another  # another client takes no lock of the server's
    answer = _adopt(Adopted(image="scan", reading=readers.reading.shot_id, seen=seen), "rita")
    assert isinstance(answer, JSONResponse) and answer.status_code == 409
    assert readers.force.annotator == "paula"
