"""Labelled slices as training and prediction read them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from fewsam.collection import Collection, one_of_each_place
from helpers import tiny_volume as tiny


def test_one_image_under_two_names_counts_once(tmp_path: Path) -> None:
    volume, masks = tiny.scan(tmp_path)
    other, _ = tiny.scan(tmp_path, "other", seed=5)
    collection = Collection(tmp_path, tiny.CLASSES)
    wrong = {"left": np.roll(masks["left"], 2, axis=1), "right": masks["right"]}
    collection.submit(volume, "scan", tiny.on_slices(wrong, [5, 6]), absent_classes="partial")
    collection.submit(other, "other", tiny.on_slices(masks, [5]), absent_classes="partial")
    collection.submit(volume, "copy", tiny.on_slices({"left": masks["left"]}, [5]), absent_classes="partial")
    shots = collection.shots()
    found = one_of_each_place(shots)
    assert len(shots) == 4 and [shot.place for shot in found] == [shot.place for shot in shots[:3]]
    (twin,) = (shot for shot in found if shot.image_id == "copy")
    assert np.array_equal(twin.masks["left"], masks["left"][5]), "the newer one says what is there"
    assert np.array_equal(twin.masks["right"], masks["right"][5]), "of what it does not know the older one speaks"
    apart = [shot for shot in shots if shot.image_id != "copy"]
    assert one_of_each_place(apart) == apart
