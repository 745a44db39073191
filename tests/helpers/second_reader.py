"""Somebody else who labels a slice of a series, without a viewer: what the panel then asks about."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import numpy as np
import requests

from fewsam.server.guard.person import HEADER

Headers = Mapping[str, str]


def label_as(
    who: str,
    url: str,
    series: str,
    liver: np.ndarray,
    k: int,
    more: Headers | None = None,
    structures: Sequence[str] = ("liver",),
) -> None:
    """Submit slice k of a liver, (Z, H, W) bool by stored slice, under a name, as if the slice had no label yet.

    Args:
        url: the server's.
        more: headers beside the name.
        structures: all of the task, in its order: the panel names them all, whatever it sends.
    """
    voxels = np.zeros(liver.shape, np.uint8)
    voxels[k][liver[k]] = 1 + structures.index("liver")
    params = {
        "label_info": [{"name": name, "idx": value} for value, name in enumerate(structures, start=1)],
        "drawn": {k: 0},
    }
    answer = requests.put(
        f"{url}/fewsam/label",
        params={"image": series},
        data={"params": json.dumps(params)},
        files={"label": ("label.bin", voxels.tobytes())},
        headers={HEADER: who, **(more or {})},
        timeout=60,
    )
    assert answer.ok, answer.text
