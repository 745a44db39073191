"""A reading that is put in force stores what its reader drew, and no answer of the model."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from fewsam.images.labelfile import read_label
from fewsam.server.routes.panel_readings import _with_reading
from helpers import tiny_volume as tiny


def test_what_was_answered_on_the_slice_of_a_reading_is_no_drawing(tmp_path: Path) -> None:
    volume, masks = tiny.scan(tmp_path)
    collection = tiny.Collection(tmp_path, tiny.CLASSES)
    left, right, small = tiny.CLASSES
    one = tiny.on_slices(masks, [5])
    collection.submit(volume, "scan", {left: one[left], small: one[small]}, annotator="nora", absent_classes="partial")
    shifted = {left: np.roll(one[left], 2, axis=2)}
    collection.submit(volume, "scan", shifted, annotator="olaf", absent_classes="partial", by_hand={5}, beside={5})
    served = np.zeros(volume.slices.shape, np.uint8)
    served[5], served[7] = masks[right][5] * 2, masks[right][7] * 2
    collection.remember_served("scan", served, collection.classes, model_version=1)
    (reading,) = collection.readings("scan", volume.content_hash)
    (force,) = collection.shots("scan")
    app: Any = SimpleNamespace(workspace=SimpleNamespace(collection=collection))
    file = _with_reading(tmp_path, app, "scan", volume, reading, force)
    found = read_label(file, volume.geometry, dict(enumerate(tiny.CLASSES, 1)))
    assert np.array_equal(found[left][5], shifted[left][5])
    assert np.array_equal(found[small][5], one[small][5]), "the label in force draws it, and the reading says nothing"
    assert not found[right][5].any() and found[right][7].any(), "the answer stays beside the slice alone"
