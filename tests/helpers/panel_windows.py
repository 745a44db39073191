"""Windows of the panel in Node, and beside them a model of what must be kept: what the fuzz of the panel compares.

Pixels are named by the identity of their structure ("" for none), never by a number: a number means something in one
window alone.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

DRIVER = Path(__file__).parents[1] / "server" / "viewer" / "driver.mjs"
DEPTH, SIZE = 3, 4
Pixels = tuple[str, ...]  # of one slice
EMPTY: Pixels = ("",) * SIZE


class Driver:
    """The panel's modules in a process of Node."""

    def __init__(self) -> None:
        node = shutil.which("node")
        if node is None:
            pytest.skip("no Node.js here (18 or newer): the panel's logic is not tested")
        self._process = subprocess.Popen([node, str(DRIVER)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __call__(self, op: str, **arguments: Any) -> Any:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps({"op": op, **arguments}) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return answer["ok"]

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()


@dataclass
class Label:
    """What the server has of a slice."""

    submission: int
    pixels: Pixels


@dataclass
class ServerModel:
    """Structures by identity, and the labels in force; below them what the model answered last."""

    structures: dict[str, str] = field(default_factory=dict)  # id -> name
    deleted: dict[str, str] = field(default_factory=dict)
    labels: dict[int, Label] = field(default_factory=dict)
    answer: list[Pixels] = field(default_factory=lambda: [EMPTY] * DEPTH)
    count: int = 0  # submissions

    def add(self, name: str) -> str:
        for one, shown in self.structures.items():
            if shown == name:
                return one
        for one, shown in self.deleted.items():
            if shown == name:
                self.structures[one] = self.deleted.pop(one)
                return one
        new, number = name, 2
        while new in self.structures or new in self.deleted:
            new, number = f"{name}~{number}", number + 1
        self.structures[new] = name
        return new

    def listed(self) -> list[dict[str, Any]]:
        return [{"id": one, "name": name, "color": [1, 2, 3], "slices": 0} for one, name in self.structures.items()]

    def shown(self, k: int) -> Pixels:
        pixels = self.labels[k].pixels if k in self.labels else self.answer[k]
        return tuple(one if one in self.structures else "" for one in pixels)

    def submissions(self) -> dict[str, int]:
        return {str(k): label.submission for k, label in self.labels.items()}

    def labelmap(self) -> dict[str, Any]:
        """As `GET /fewsam/labelmap` answers."""
        order = list(self.structures)
        values = [order.index(one) + 1 if one else 0 for k in range(DEPTH) for one in self.shown(k)]
        named = [{"id": one, "name": name} for one, name in self.structures.items()]
        return {"voxels": values, "head": {"structures": named, "submissions": self.submissions()}}

    def put(self, sent: dict[str, Any], replace: set[int], empty: set[int]) -> dict[str, Any]:
        """As `PUT /fewsam/label` answers: stored, refused, or a question."""
        meaning = {}
        for item in sent["label_info"]:
            if item["id"] not in self.structures:
                return {"refused": item["id"]}
            meaning[item["idx"]] = item["id"]
        new = {}
        for k, seen in ((int(k), seen) for k, seen in sent["drawn"].items()):
            pixels = tuple(meaning[v] if v else "" for v in sent["voxels"][k * SIZE : (k + 1) * SIZE])
            if k in self.labels and self.labels[k].submission != seen and pixels != self.shown(k) and k not in replace:
                return {"conflict": k}
            if k in self.labels and any(self.shown(k)) and not any(pixels) and k not in empty:
                return {"empty": k}
            new[k] = pixels
        self.count += 1
        for k, pixels in new.items():
            # A structure that was deleted stays in the history of the slice; here that is all the same as gone.
            self.labels[k] = Label(self.count, pixels)
        return {"stored": new, "submissions": self.submissions()}


Hand = Pixels | None  # of a slice: None where nothing is drawn on it


@dataclass
class WindowModel:
    """What one window must show: what the server has, over it what was drawn by hand, and the way back."""

    page: str
    base: list[Pixels]
    hand: dict[int, Pixels] = field(default_factory=dict)
    done: list[list[tuple[int, Hand, Hand]]] = field(default_factory=list)
    undone: list[list[tuple[int, Hand, Hand]]] = field(default_factory=list)
    names: set[str] = field(default_factory=set)  # structures that it knows

    def shown(self, k: int) -> Pixels:
        return self.hand.get(k, self.base[k])

    def put(self, k: int, state: Hand) -> None:
        self.hand.pop(k, None)
        if state is not None and state != self.base[k]:
            self.hand[k] = state

    def draw(self, k: int, pixels: Pixels) -> None:
        if pixels == self.shown(k):
            return
        before = self.hand.get(k)
        self.put(k, pixels)
        self.done.append([(k, before, self.hand.get(k))])
        self.undone.clear()

    def discard(self, slices: list[int]) -> None:
        step = [(k, self.hand[k], None) for k in slices if k in self.hand]
        for k, _, _ in step:
            self.put(k, None)
        if step:
            self.done.append(step)  # type: ignore[arg-type]
            self.undone.clear()

    def undo(self) -> None:
        if self.done:
            step = self.done.pop()
            self.undone.append(step)
            for k, before, _ in step:
                self.put(k, before)

    def redo(self) -> None:
        if self.undone:
            step = self.undone.pop()
            self.done.append(step)
            for k, _, after in step:
                self.put(k, after)

    def receive(self, server: ServerModel) -> None:
        self.base = [server.shown(k) for k in range(DEPTH)]

    def stored(self, new: dict[int, Pixels]) -> None:
        """Its drawing is the label now: what undo goes back to differs from it, and is a new drawing."""
        for k, pixels in new.items():
            former, self.base[k] = self.base[k], pixels
            for steps in (self.done, self.undone):
                steps[:] = [[_behind(k, former, change) for change in step] for step in steps]
            self.hand.pop(k, None)


def _behind(k: int, former: Pixels, change: tuple[int, Hand, Hand]) -> tuple[int, Hand, Hand]:
    n, before, after = change
    return (n, before or former, after or former) if n == k else change
