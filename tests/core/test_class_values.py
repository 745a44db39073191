"""The numbering of classes in labelmaps, by hand."""

from __future__ import annotations

import numpy as np

from fewsam.core.class_values import lookup_values, masks_by_class, names_by_value, values_by_name

CLASSES = ("liver", "spleen", "aorta")


def test_values_count_from_one_in_the_order_of_the_classes() -> None:
    assert names_by_value(CLASSES) == {1: "liver", 2: "spleen", 3: "aorta"}
    assert values_by_name(CLASSES) == {"liver": 1, "spleen": 2, "aorta": 3}


def test_a_table_takes_the_indices_of_some_classes_to_their_values() -> None:
    table = lookup_values(("spleen", "aorta", "liver"), CLASSES)
    assert table.dtype == np.uint8 and table.tolist() == [0, 2, 3, 1]
    assert table[np.array([[0, 1], [2, 3]])].tolist() == [[0, 2], [3, 1]]


def test_masks_of_a_labelmap() -> None:
    masks = masks_by_class(np.array([[0, 2], [2, 1]], np.uint8), CLASSES)
    assert {name: mask.tolist() for name, mask in masks.items()} == {
        "liver": [[False, False], [False, True]],
        "spleen": [[False, True], [True, False]],
        "aorta": [[False, False], [False, False]],
    }
