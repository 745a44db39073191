"""The numbering of classes in labelmaps: a class's value is its position in the list of classes plus 1.

Value 0 is background.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def names_by_value(classes: Sequence[str]) -> dict[int, str]:
    """The classes by their values: ``{1: classes[0], 2: classes[1], ...}``."""
    return dict(enumerate(classes, 1))


def values_by_name(classes: Sequence[str]) -> dict[str, int]:
    """The values by their classes: ``{classes[0]: 1, classes[1]: 2, ...}``."""
    return {name: value for value, name in enumerate(classes, 1)}


def lookup_values(names: Sequence[str], classes: Sequence[str]) -> np.ndarray:
    """Table (1 + N,) uint8 from an index among ``names``, background first, to the value among ``classes``."""
    values = values_by_name(classes)
    return np.array([0, *(values[name] for name in names)], np.uint8)


def masks_by_class(labelmap: np.ndarray, classes: Sequence[str]) -> dict[str, np.ndarray]:
    """One bool mask of the labelmap's shape for each class."""
    return {name: labelmap == value for value, name in enumerate(classes, 1)}
