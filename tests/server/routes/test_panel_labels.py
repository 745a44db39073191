"""The route that takes the panel's label, with another client's label coming at the worst moment."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from fastapi import UploadFile
from fastapi.responses import JSONResponse
from monailabel.endpoints.user.auth import User

from fewsam.core.errors import LabelError, OutdatedError
from fewsam.images.volume import Volume
from fewsam.server.app import FewSAMApp
from fewsam.server.errors import status_of
from fewsam.server.routes import panel, panel_labels
from helpers import tiny_volume as tiny

Z = 5


@pytest.fixture
def app(tiny_app: FewSAMApp, monkeypatch: pytest.MonkeyPatch) -> FewSAMApp:
    monkeypatch.setattr(panel_labels, "current", lambda: tiny_app)
    return tiny_app


def opened(app: FewSAMApp) -> Volume:
    return app.workspace.volume(app.image_path("a"))


def put(app: FewSAMApp, values: np.ndarray, **said: Any) -> dict[str, Any] | JSONResponse:
    """Send a labelmap (Z, H, W) in which slice Z was drawn by hand, over no label."""
    info = [{"name": name, "idx": value} for value, name in enumerate(tiny.CLASSES, 1)]
    params = {"label_info": info, "client_id": "me", "drawn": {Z: 0}, **said}
    body = io.BytesIO(opened(app).geometry.to_native(values).tobytes(order="F"))
    return panel_labels.submit("a", UploadFile(body), json.dumps(params), User(username="me"))


def drawn(app: FewSAMApp, rows: slice, value: int = 1) -> np.ndarray:
    values = np.zeros(opened(app).slices.shape[:3], np.uint8)
    values[Z, rows, 5:15] = value
    return values


def interrupted(app: FewSAMApp, monkeypatch: pytest.MonkeyPatch, labels: list[np.ndarray]) -> list[int]:
    """Let other clients store ``labels``, one each time the panel's has been compared and is about to be stored."""
    plain, calls = app.submit_label, []

    def late(*given: Any) -> Any:
        calls.append(len(labels))
        if labels:
            mask = {"left": labels.pop() == 1}
            app.workspace.collection.submit(opened(app), "a", mask, annotator="slicer", by_hand={Z})
        return plain(*given)

    monkeypatch.setattr(app, "submit_label", late)
    return calls


def grow(app: FewSAMApp) -> None:
    """Put a slice before the image's first one, as in a series of which an instance comes late."""
    path = Path(app.image_path("a"))
    image = nib.load(path)
    before = image.affine @ np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, -1], [0, 0, 0, 1.0]])
    voxels = np.asarray(image.dataobj)
    nib.save(nib.Nifti1Image(np.concatenate([voxels[:, :, :1], voxels], axis=2), before), path)


@pytest.mark.parametrize("overlaps", [False, True])
def test_a_label_of_a_series_that_grows_on_its_way_lands_on_no_other_slice(
    app: FewSAMApp, monkeypatch: pytest.MonkeyPatch, overlaps: bool
) -> None:
    collection, over = app.workspace.collection, 0
    if overlaps:  # such a label is sent on as a file that is placed in space
        masks = {"left": drawn(app, slice(2, 20)) == 1, "right": drawn(app, slice(5, 9)) == 1}
        collection.submit(opened(app), "a", masks, by_hand={Z})
        over = collection.shots("a")[0].submission
    plain, before = app.submit_label, [shot.shot_id for shot in collection.shots("a")]

    def late(*given: Any) -> Any:
        grow(app)
        return plain(*given)

    monkeypatch.setattr(app, "submit_label", late)
    with pytest.raises(LabelError, match="series has changed") as refused:
        put(app, drawn(app, slice(20, 30), 3), drawn={Z: over})
    assert status_of(refused.value) == 409 and "Reload the page" in str(refused.value)
    assert [shot.shot_id for shot in collection.shots("a")] == before


def test_a_label_names_the_version_of_the_series_that_it_was_drawn_on(
    app: FewSAMApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(panel, "current", lambda: app)
    told = bytes(panel._labelmap("a").body)
    version = json.loads(told[4 : 4 + int.from_bytes(told[:4], "little")])["content_hash"]
    values = drawn(app, slice(2, 12))
    assert isinstance(put(app, values, content_hash=version), dict)
    file = Path(app.image_path("a"))
    image = nib.load(file)  # as many slices as before, and others
    nib.save(nib.Nifti1Image(np.asarray(image.dataobj)[:, :, ::-1], image.affine), file)
    with pytest.raises(LabelError, match="series has changed") as refused:
        put(app, values, content_hash=version)
    assert status_of(refused.value) == 409
    assert app.workspace.collection.shots("a", content_hash=opened(app).content_hash) == []


def test_a_label_that_comes_in_between_is_asked_about(app: FewSAMApp, monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = drawn(app, slice(20, 30))
    interrupted(app, monkeypatch, [theirs])
    answer = put(app, drawn(app, slice(2, 12)))
    assert isinstance(answer, JSONResponse) and answer.status_code == 409
    assert json.loads(bytes(answer.body))["slices"] == [Z]
    (shot,) = app.workspace.collection.shots("a")
    assert shot.annotator == "slicer" and np.array_equal(shot.masks["left"], theirs[Z] == 1)


@pytest.mark.parametrize("answer", ["replace", "beside"])
def test_what_a_person_said_of_one_label_does_not_hold_for_a_later_one(app: FewSAMApp, answer: str) -> None:
    collection, mine = app.workspace.collection, drawn(app, slice(2, 12))
    for rows in (slice(20, 30), slice(22, 32)):  # the second one comes while the person reads the question
        collection.submit(opened(app), "a", {"left": drawn(app, rows) == 1}, annotator="slicer", by_hand={Z})
    (now,) = collection.shots("a")
    asked = put(app, mine, **{answer: [Z], "asked": {Z: now.submission - 1}})
    assert isinstance(asked, JSONResponse) and asked.status_code == 409
    assert json.loads(bytes(asked.body))["submissions"] == {str(Z): now.submission}
    assert [shot.submission for shot in collection.shots("a")] == [now.submission]
    taken = put(app, mine, **{answer: [Z], "asked": {Z: now.submission}})
    assert isinstance(taken, dict) and taken["replaced" if answer == "replace" else "beside"] == [Z]


def test_a_client_that_names_slices_alone_agrees_to_whatever_is_there(app: FewSAMApp) -> None:
    theirs = {"left": drawn(app, slice(20, 30)) == 1}
    app.workspace.collection.submit(opened(app), "a", theirs, annotator="slicer", by_hand={Z})
    taken = put(app, drawn(app, slice(2, 12)), replace=[Z])
    assert isinstance(taken, dict) and taken["replaced"] == [Z]


def test_a_structure_that_came_back_stays_on_a_slice_that_was_drawn_on_before(app: FewSAMApp) -> None:
    collection = app.workspace.collection
    both = drawn(app, slice(2, 12)) + drawn(app, slice(20, 30), 2)
    first = put(app, both)
    assert isinstance(first, dict)
    over = {Z: collection.shots("a")[0].submission}
    right = drawn(app, slice(20, 32), 2)  # by a window in which left was deleted meanwhile
    assert isinstance(put(app, right, drawn=over, silent={Z: ["left", "unknown"]}), dict)
    (shot,) = collection.shots("a")
    assert np.array_equal(shot.masks["left"], both[Z] == 1) and np.array_equal(shot.masks["right"], right[Z] == 2)
    over = {Z: shot.submission}
    assert isinstance(put(app, right, drawn=over), dict)  # who sees it and leaves it out has erased it
    (shot,) = collection.shots("a")
    assert "left" not in shot.masks and "left" in shot.known


def test_an_answer_of_a_structure_that_came_back_is_no_label(app: FewSAMApp) -> None:
    collection = app.workspace.collection
    answer = drawn(app, slice(20, 30), 2)
    collection.remember_served("a", answer, collection.classes, 1)
    assert isinstance(put(app, drawn(app, slice(2, 12)), silent={Z: ["right"]}), dict)
    (shot,) = collection.shots("a")
    assert set(shot.masks) == {"left"}


def test_a_structure_that_came_back_stays_within_another_one(app: FewSAMApp) -> None:
    collection, volume = app.workspace.collection, opened(app)
    left, right = drawn(app, slice(2, 20)) == 1, drawn(app, slice(5, 9)) == 1  # right lies within left
    collection.submit(volume, "a", {"left": left, "right": right}, by_hand={Z})
    over = {Z: collection.shots("a")[0].submission}
    values = drawn(app, slice(2, 20)) + drawn(app, slice(25, 30), 3)
    assert isinstance(put(app, values, drawn=over, silent={Z: ["right"]}), dict)
    (shot,) = collection.shots("a")
    assert np.array_equal(shot.masks["right"], right[Z]) and np.array_equal(shot.masks["left"], left[Z])
    assert np.array_equal(shot.masks["small"], values[Z] == 3)


def test_a_slice_emptied_of_what_it_knew_asks_for_nothing_of_what_came_back(app: FewSAMApp) -> None:
    collection = app.workspace.collection
    assert isinstance(put(app, drawn(app, slice(2, 12), 2)), dict)
    over = {Z: collection.shots("a")[0].submission}
    emptied = put(app, drawn(app, slice(0, 0)), drawn=over, silent={Z: ["right"]})
    assert isinstance(emptied, dict)
    (shot,) = collection.shots("a")
    assert shot.masks["right"].sum() == 100


def test_the_same_label_from_elsewhere_is_no_question(app: FewSAMApp, monkeypatch: pytest.MonkeyPatch) -> None:
    same = drawn(app, slice(2, 12))
    calls = interrupted(app, monkeypatch, [same])
    answer = put(app, same)
    assert isinstance(answer, dict) and answer["unchanged"] == [Z] and calls == [1, 0]


def test_a_slice_that_is_labelled_again_and_again_ends_in_an_error(
    app: FewSAMApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    def always(*_: Any) -> Any:
        raise OutdatedError("slice 5 of 'a' was labelled from elsewhere meanwhile")

    monkeypatch.setattr(app, "submit_label", always)
    with pytest.raises(OutdatedError, match="meanwhile"):
        put(app, drawn(app, slice(2, 12)))
    assert app.workspace.collection.shots("a") == []
