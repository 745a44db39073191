"""What the panel sends is read by identities and stored slices; what is none of these is named."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fewsam.collection import Collection
from fewsam.core.errors import LabelError
from fewsam.server.errors import RequestError
from fewsam.server.routes.panel_sent import as_numbered, labelmap_of, names_of, slices_of
from helpers import tiny_volume as tiny


@pytest.mark.parametrize(
    "said",
    [
        {"drawn": {"1": math.inf}},  # Python's JSON takes Infinity for a number
        {"replace": [math.inf]},
        {"silent": {"1": 5}},
        {"silent": [1]},
    ],
)
def test_slices_that_are_none_are_the_clients_fault(tmp_path: Path, said: dict[str, Any]) -> None:
    volume, _ = tiny.scan(tmp_path)
    with pytest.raises(RequestError, match="drawn"):
        slices_of(said, volume)
    with pytest.raises(RequestError, match=r"\[99\]"):
        slices_of({"silent": {"99": ["left"]}}, volume)


def test_values_mean_structures_by_identity_or_else_by_name(tmp_path: Path) -> None:
    collection = Collection(tmp_path, ("liver", "spleen", "kidney"))
    collection.rename_structure("liver", "hepar")
    collection.rename_structure("spleen", "liver")
    names = collection.names
    sent = [{"id": "liver", "name": "liver", "idx": 4}, {"name": "liver", "idx": 5}, {"name": "Spleen", "idx": 6}]
    assert names_of(sent, names) == {4: "hepar", 5: "liver", 6: "liver"}  # the last one by its former name
    collection.delete_structure("kidney")
    with pytest.raises(LabelError, match="kidney was deleted"):
        names_of([{"id": "kidney", "name": "kidney", "idx": 1}], collection.names)
    collection.rename_structure("spleen", "kidney")
    with pytest.raises(LabelError, match="Rename the structure that has its name now"):
        names_of([{"id": "kidney", "name": "kidney", "idx": 1}], collection.names)
    for wrong in ({"idx": math.inf, "name": "x"}, {"idx": 0, "name": "x"}, {"name": "x"}):
        with pytest.raises(RequestError, match="label_info"):
            names_of([wrong], names)


def test_values_become_those_of_the_collection() -> None:
    sent = np.array([[[0, 4, 5]]], np.uint8)
    values, names = as_numbered(sent, {4: "Spleen", 5: "new"}, ("liver", "spleen"))
    assert values.tolist() == [[[0, 2, 3]]] and names == {1: "liver", 2: "spleen", 3: "new"}
    with pytest.raises(LabelError, match="values 5 have no name"):
        as_numbered(sent, {4: "spleen"}, ("liver", "spleen"))


def test_a_labelmap_of_another_grid_is_refused(tmp_path: Path) -> None:
    volume, _ = tiny.scan(tmp_path)
    assert labelmap_of(bytes(volume.slices.shape[0] * volume.slices.shape[1] * volume.slices.shape[2]), volume).shape
    with pytest.raises(LabelError, match="do not fit"):
        labelmap_of(bytes(7), volume)
