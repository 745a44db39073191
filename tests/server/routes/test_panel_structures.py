"""Structures that go or come back while a label, or a labelmap, is on its way: values and names stay together.

The value of a structure is its place among those present, so that each one that goes or comes back moves others.
"""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from fastapi import UploadFile
from fastapi.responses import Response
from monailabel.endpoints.user.auth import DEFAULT_USER

from fewsam.collection import Collection
from fewsam.core.errors import LabelError
from fewsam.images.volume import Volume
from fewsam.server.routes import panel, panel_labels, panel_structures
from fewsam.server.routes.panel_image import LABELS_LOCK
from fewsam.server.tasks.labels import LabelIntake, LabelParams, as_answer
from fewsam.server.tasks.opening import settings_for
from fewsam.workspace.workspace import Workspace
from helpers import tiny_task

NAMES = ("liver", "spleen", "kidney")
PLACES = {"liver": slice(0, 6), "spleen": slice(8, 14), "kidney": slice(16, 22)}  # rows of each in what is drawn


class Site:
    """A task without a server around it: routes are called as functions."""

    def __init__(self, folder: Path) -> None:
        image, _ = tiny_task.write_case(folder, "a")
        conf = {**tiny_task.QUICK, "labels": ",".join(NAMES), "axis": "2", "new_labels": "true"}
        settings, _ = settings_for(conf, str(folder / "images"))
        self.workspace = Workspace(settings, folder / "model")
        self.collection: Collection = self.workspace.collection
        self.volume: Volume = self.workspace.volume(str(image))
        self.host = SimpleNamespace(
            workspace=self.workspace, image_path=lambda image_id: str(image), submit_label=self._submit_label, shown={}
        )

    def _submit_label(self, image_id: str, file: Path, tag: str, raw: Any, params: LabelParams) -> dict[str, Any]:
        intake = LabelIntake(self.workspace)
        return as_answer(intake.submit(image_id, self.host.image_path(image_id), file, params, source=tag))

    def delete(self, name: str) -> None:
        key = self.collection.names.called(name)
        assert key is not None
        self.collection.delete_structure(key)

    def masks(self, *names: str, slices: tuple[int, ...]) -> dict[str, np.ndarray]:
        """Each structure in its own rows, (Z, H, W) bool."""
        found = {name: np.zeros(self.volume.slices.shape[:3], bool) for name in names}
        for name, mask in found.items():
            mask[list(slices), PLACES[name], 5:15] = True
        return found

    def put(self, slices: tuple[int, ...], *names: str) -> dict[str, Any]:
        """Submit as the panel does, where these structures alone are known; they are drawn on ``slices``."""
        values = np.zeros(self.volume.slices.shape[:3], np.uint8)
        info = []
        for value, (name, mask) in enumerate(self.masks(*names, slices=slices).items(), start=1):
            values[mask] = value
            info.append({"id": self.collection.names.called(name), "name": name, "idx": value})
        stored = [panel_labels.to_k(self.volume.geometry, z) for z in slices]
        upload = UploadFile(io.BytesIO(self.volume.geometry.to_native(values).tobytes(order="F")))
        params = json.dumps({"label_info": info, "drawn": dict.fromkeys(stored, 0), "client_id": "second"})
        answer = panel_labels.submit("a", upload, params, DEFAULT_USER)
        assert isinstance(answer, dict), answer
        return answer

    def stored(self, z: int) -> dict[str, np.ndarray]:
        """Masks of a labelled slice by name."""
        return next(shot.masks for shot in self.collection.shots("a") if shot.slice == z)

    def is_drawn(self, z: int, *names: str) -> bool:
        """Whether just these structures are on a labelled slice, each in its own rows."""
        wanted, found = self.masks(*names, slices=(z,)), self.stored(z)
        return set(found) == set(names) and all(np.array_equal(found[name], wanted[name][z]) for name in names)

    def sent(self, answer: Response) -> tuple[list[dict[str, str]], np.ndarray]:
        """The structures that go along with voxels, and the voxels, (Z, H, W)."""
        body = bytes(answer.body)
        length = 4 + int.from_bytes(body[:4], "little")
        voxels = np.frombuffer(body[length:], np.uint8).reshape(self.volume.geometry.shape, order="F")
        return json.loads(body[4:length])["structures"], self.volume.geometry.to_slices(voxels)

    def means(self, answer: Response) -> dict[str, np.ndarray]:
        """What voxels that were sent show, by the names that went along; those of nothing are left out."""
        structures, voxels = self.sent(answer)
        found = {one["name"]: voxels == value for value, one in enumerate(structures, start=1)}
        assert voxels.max() <= len(structures)
        return {name: mask for name, mask in found.items() if mask.any()}


class Meanwhile:
    """In place of the lock: others do something while a request waits for it."""

    def __init__(self, others: Callable[[], object]) -> None:
        self._others = others

    def __enter__(self) -> None:
        self._others()

    def __exit__(self, *error: object) -> None: ...


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    site = Site(tmp_path)
    app = SimpleNamespace(app_instance=lambda: site.host)
    monkeypatch.setattr("fewsam.server.tasks.host.monai_apps", app)
    site.collection.submit(site.volume, "a", site.masks(*NAMES, slices=(4,)), annotator="first")
    yield site
    site.workspace.close()


def test_a_structure_deleted_while_a_label_waits_refuses_it(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(panel_labels, "LABELS_LOCK", Meanwhile(lambda: site.delete("liver")))
    with pytest.raises(LabelError, match="liver was deleted since you drew it"):
        site.put((7,), *NAMES)
    assert site.collection.labelled_slices("a") == [4] and site.is_drawn(4, "spleen", "kidney")


@pytest.mark.parametrize("back", [False, True])
def test_a_structure_that_moves_others_while_a_label_waits_renames_none(
    site: Site, monkeypatch: pytest.MonkeyPatch, back: bool
) -> None:
    """One that the label does not speak of: others delete it, or bring it back."""
    if back:
        site.delete("liver")

    def others() -> None:
        site.collection.add_structure("liver") if back else site.delete("liver")

    monkeypatch.setattr(panel_labels, "LABELS_LOCK", Meanwhile(others))
    answer = site.put((7,), "spleen", "kidney")
    assert answer["superseded"] == [] and len(answer["added"]) == 1
    assert site.is_drawn(7, "spleen", "kidney")
    assert site.is_drawn(4, *(NAMES if back else NAMES[1:]))
    assert ("liver" in site.collection.classes) == back


@pytest.mark.parametrize(
    "change",
    [
        lambda key: panel_structures.add(panel_structures.NewStructure(name="aorta"), DEFAULT_USER),
        lambda key: panel_structures.rename(panel_structures.Renamed(id=key, name="hepar"), DEFAULT_USER),
        lambda key: panel_structures.delete(panel_structures.Deleted(id=key), DEFAULT_USER),
    ],
    ids=["add", "rename", "delete"],
)
def test_structures_change_when_no_label_is_being_stored(site: Site, change: Callable[[str], object]) -> None:
    key = site.collection.names.called("liver")
    with LABELS_LOCK:
        changing = threading.Thread(target=change, args=(key,))
        changing.start()
        changing.join(0.5)
        assert site.collection.classes == NAMES
    changing.join(60)
    assert site.collection.classes != NAMES


@pytest.mark.parametrize("back", [False, True])
def test_the_labelmap_names_the_structures_that_it_was_numbered_by(
    site: Site, monkeypatch: pytest.MonkeyPatch, back: bool
) -> None:
    if back:
        site.delete("liver")
    shown_labelmap = panel.shown_labelmap

    def and_then(*args: Any) -> Any:
        found = shown_labelmap(*args)
        site.collection.add_structure("liver") if back else site.delete("liver")
        return found

    monkeypatch.setattr(panel, "shown_labelmap", and_then)
    found, names = site.means(panel._labelmap("a")), NAMES[1:] if back else NAMES
    wanted = site.masks(*names, slices=(4,))
    assert found.keys() == wanted.keys() and all(np.array_equal(found[name], wanted[name]) for name in names)


@pytest.mark.parametrize("back", [False, True])
def test_an_answer_names_the_structures_that_it_was_computed_for(site: Site, back: bool) -> None:
    """What was deleted meanwhile is left out of it."""
    if back:
        site.delete("liver")
    classes, keys = site.collection.classes, list(site.collection.names.present)

    def segment(image_id: str) -> tuple[np.ndarray, dict[str, Any]]:
        labels = np.zeros(site.volume.slices.shape[:3], np.uint8)
        for value, mask in enumerate(site.masks(*classes, slices=(6,)).values(), start=1):
            labels[mask] = value
        site.collection.add_structure("liver") if back else site.delete("liver")
        return labels, {"classes": list(classes), "keys": keys, "pasted": [], "remaining": [], "unencoded": []}

    site.host.segment = segment
    found, wanted = site.means(panel._segment("a", None)), site.masks("spleen", "kidney", slices=(6,))
    assert found.keys() == wanted.keys() and all(np.array_equal(found[name], wanted[name]) for name in wanted)


def test_an_answer_does_not_list_a_structure_that_came_back_meanwhile(site: Site) -> None:
    """The panel would take it for one of which there is nothing."""
    site.delete("liver")
    classes, keys = site.collection.classes, list(site.collection.names.present)

    def segment(image_id: str) -> tuple[np.ndarray, dict[str, Any]]:
        site.collection.add_structure("liver")
        nothing = np.zeros(site.volume.slices.shape[:3], np.uint8)
        return nothing, {"classes": list(classes), "keys": keys, "pasted": [], "remaining": [], "unencoded": []}

    site.host.segment = segment
    structures, _ = site.sent(panel._segment("a", None))
    assert [one["name"] for one in structures] == list(classes)


def test_a_structure_keeps_its_colour_when_another_one_is_deleted_or_comes_back(site: Site) -> None:
    def colours() -> dict[str, Any]:
        return {one["name"]: one["color"] for one in panel_structures.listed(site.collection)}

    before = colours()
    assert len(set(before.values())) == len(before)
    site.delete("liver")
    assert colours() == {name: colour for name, colour in before.items() if name != "liver"}
    site.collection.add_structure("new")
    assert colours()["new"] not in before.values()
    site.collection.add_structure("liver")
    assert colours().items() >= before.items()
