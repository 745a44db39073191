"""Taking a label back: the files for other programs say what is in force."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from monailabel.endpoints.user.auth import User

from fewsam.images.labelfile import read_label
from fewsam.server.app import FewSAMApp
from fewsam.server.routes import panel_history
from fewsam.server.routes.panel_image import to_k
from fewsam.server.tasks.labels import LabelParams
from helpers import tiny_volume as tiny

ME = User(username="me")


@pytest.fixture
def app(tiny_app: FewSAMApp, monkeypatch: pytest.MonkeyPatch) -> FewSAMApp:
    monkeypatch.setattr(panel_history, "current", lambda: tiny_app)
    return tiny_app


def test_what_is_taken_back_is_not_in_the_file_for_other_programs(app: FewSAMApp, tmp_path: Path) -> None:
    volume = app.workspace.volume(app.image_path("a"))
    values = np.zeros(volume.slices.shape[:3], np.uint8)
    values[3, 4:12, 5:15] = values[6, 8:16, 5:15] = 1
    file = tmp_path / "label.bin"
    file.write_bytes(volume.geometry.to_native(values).tobytes(order="F"))
    info = [{"name": name, "idx": value} for value, name in enumerate(tiny.CLASSES, 1)]
    app.submit_label("a", file, "final", {"label_info": info}, LabelParams(label_info=info))
    final = tmp_path / "studies" / "labels" / "final"

    def take_back(z: int) -> None:
        (shot,) = (shot for shot in app.workspace.collection.shots("a") if shot.slice == z)
        request = panel_history.Unlabelled(image="a", slice=to_k(volume.geometry, z), seen=shot.shot_id)
        assert panel_history.unlabel(request, ME) == {}

    take_back(6)
    (label,) = final.iterdir()
    masks = read_label(label, volume.geometry)
    assert list(masks) == ["left"] and np.array_equal(
        masks["left"], (values == 1) & (np.arange(len(values)) == 3)[:, None, None]
    )
    theirs = final / "a.nii"  # another program's, that was not looked at yet
    theirs.write_bytes(b"not ours")
    take_back(3)
    assert not label.exists() and theirs.read_bytes() == b"not ours", "it is for the watch to take in"
