"""Points of MONAI Label's own clients: DeepEdit requests (a list for each class, and ``background``) and DeepGrow's."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import numpy as np
from monailabel.interfaces.tasks.infer_v2 import InferTask, InferType

from fewsam.core.class_values import names_by_value, values_by_name
from fewsam.fewshot.inference.clicks import ClickError
from fewsam.images.volume import Volume
from fewsam.server.errors import RequestError
from fewsam.server.tasks.infer import ResultForm, write_labelmap
from fewsam.server.tasks.shown import shown_labelmap
from fewsam.workspace.workspace import Workspace

Clicked = dict[tuple[int, str], tuple[list[tuple[int, int]], list[tuple[int, int]]]]


class PointsTask(InferTask):
    """Corrects the slices that were clicked on; all others come back as they were drawn or served last."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        super().__init__(
            type=InferType.DEEPEDIT,
            labels={},
            dimension=3,
            description="Few-shot SAM: corrects slices by points, from labelled slices and the points together",
            config={},
        )

    def info(self) -> dict[str, Any]:
        names = ["background", *self.workspace.collection.classes]
        self.labels = {name: value for value, name in enumerate(names)}
        return dict(super().info())

    def is_valid(self) -> bool:
        return True

    def __call__(self, request: Mapping[str, Any]) -> tuple[str | None, dict[str, Any]]:
        """Correct ``request["image"]`` by its points, native (i, j, k).

        Raises:
            FewSAMError: the points or the image are at fault.
        """
        started = time.monotonic()
        workspace = self.workspace
        volume = workspace.volume(request["image"])
        form = ResultForm.of(request, volume)
        classes = workspace.collection.classes
        clicked = points_of(request, classes, volume)
        labels, _ = shown_labelmap(workspace.collection, request.get("image_id"), volume, classes)
        with workspace.embedder.request():
            for (z, name), (include, exclude) in clicked.items():
                result = workspace.clicks.correct(volume, z, name, include, exclude)
                value = values_by_name(classes)[name]
                shown = (labels[z] == value).any()
                changed = result.mask != result.before if shown else np.ones_like(result.mask)
                labels[z][changed & ~result.mask & (labels[z] == value)] = 0
                labels[z][changed & result.mask] = value
        names = names_by_value(classes)
        file = write_labelmap(workspace.folder / "results", volume, labels, names, form)
        slices = sorted({z for z, _ in clicked})
        answer = {"slices": slices, "label_names": {name: value for value, name in names.items()},
                  "latencies": {"total": round(time.monotonic() - started, 4)}}  # fmt: skip
        return str(file), answer


def points_of(request: Mapping[str, Any], classes: tuple[str, ...], volume: Volume) -> Clicked:
    """(slice, class) -> points (row, col) inside and outside, of a DeepEdit or DeepGrow request.

    Raises:
        RequestError: a value is no point, lies outside of the image, or is of no known class.
        ClickError: there is no point at all.
    """
    lists = {str(key).casefold(): value for key, value in request.items()}
    given = {name: _indices(name, lists[name.casefold()], volume) for name in classes if lists.get(name.casefold())}
    if lists.get("foreground"):  # DeepGrow sends the points of one structure, without its name
        name = _structure_of(request, classes)
        given[name] = given.get(name, []) + _indices("foreground", lists["foreground"], volume)
    if not given:
        raise ClickError("there is no point; set one inside a structure, under the structure's name")
    clicked: Clicked = {}
    for name, inside in given.items():
        for z, row, col in inside:
            clicked.setdefault((z, name), ([], []))[0].append((row, col))
    for z, row, col in _indices("background", lists.get("background") or [], volume):
        for (k, _), (_, exclude) in clicked.items():  # it lies outside of every structure clicked on this slice
            if k == z:
                exclude.append((row, col))
    return clicked


def _structure_of(request: Mapping[str, Any], classes: tuple[str, ...]) -> str:
    """The class that a DeepGrow request names, or the only one there is."""
    asked = str(request.get("label") or (classes[0] if len(classes) == 1 else ""))
    known = next((name for name in classes if name.casefold() == asked.casefold()), None)
    if known is None:
        raise RequestError(f'say which structure the points are for: "label", one of {", ".join(classes)}')
    return known


def _indices(name: str, value: Any, volume: Volume) -> list[tuple[int, int, int]]:
    try:
        points = [tuple(int(v) for v in point) for point in value]
    except (TypeError, ValueError, OverflowError):  # JSON, as Python reads it, knows Infinity
        raise RequestError(f"{name}: points are lists of three whole numbers [i, j, k], got {value!r}") from None
    shape = volume.geometry.shape
    for point in points:
        if len(point) != 3 or not all(0 <= v < n for v, n in zip(point, shape, strict=True)):
            raise RequestError(f"{name}: point {list(point)} is outside of the image of {shape} voxels")
    return [volume.geometry.canonical_index(i, j, k) for i, j, k in points]
