"""How long a person waits for the server: clicks, Segment and Next slice, through HTTP and from a warm cache.

The server is a real one, with the encoder of its settings, on a folder of images. It is asked as the panel in OHIF asks
it, after a few slices were submitted and a short training has published a decoder.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import requests

from fewsam.core.processes import PATIENCE, ProcessError, ServerProcess
from fewsam.images.volume import Volume

SHOTS = 3
CONF = {"precompute": "false", "steps": 20, "keep_better": "false"}  # how long an answer takes does not hang on them


@dataclass(frozen=True)
class Response:
    """A request, and the seconds until each of its answers was there."""

    request: str
    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        return float(np.median(self.seconds))

    @property
    def slowest(self) -> float:
        return max(self.seconds)


def measure_responses(
    image: Path,
    volume: Volume,
    masks: Mapping[str, np.ndarray],
    repeats: int = 5,
    conf: Mapping[str, object] | None = None,
) -> list[Response]:
    """Start a server on an image and ask it.

    Args:
        image: its file.
        volume: the same, read.
        masks: the truth by structure, bool (Z, H, W); slices of it are submitted, and prompts are set in it.
        repeats: of each request.
        conf: settings of the server beside `CONF`.

    Raises:
        ProcessError: the server did not start, or refused a request.
    """
    with tempfile.TemporaryDirectory(prefix="fewsam-responses-", ignore_cleanup_errors=True) as name:
        studies = Path(name) / "studies"
        studies.mkdir()
        shutil.copy(image, studies)
        shutil.copy(image, studies / f"another-{image.name}")  # for Next slice, which looks at all images
        server = ServerProcess(Path(name), studies, {"labels": tuple(masks), **CONF, **(conf or {})})
        server.start()
        try:
            return _Panel(server, image.name.removesuffix(".gz").removesuffix(".nii"), volume, masks).measure(repeats)
        finally:
            server.stop()


class _Panel:
    """Asks as the panel does; slices and points are those of the stored image."""

    def __init__(self, server: ServerProcess, image: str, volume: Volume, masks: Mapping[str, np.ndarray]) -> None:
        self._server, self._image = server, image
        self._native = {key: volume.geometry.to_native(mask) for key, mask in masks.items()}
        self._name, self._mask = max(self._native.items(), key=lambda item: int(item[1].sum()))
        shows = np.flatnonzero(self._mask.any(axis=(0, 1)))
        self._drawn = [int(shows[round(at * (len(shows) - 1))]) for at in np.linspace(0.2, 0.8, SHOTS)]
        self._k = (self._drawn[0] + self._drawn[1]) // 2  # a slice that nobody drew

    def measure(self, repeats: int) -> list[Response]:
        self._submit()
        cold = self._timed("Segment, which encodes the slices first", 1, lambda n: self._segment())
        self._train()
        asked: list[tuple[str, Callable[[int], Any]]] = [
            ("Segment, from a warm cache", lambda n: self._segment()),
            ("a click", self._click),
            ("a scribble, propagated to other slices", self._scribble),
            ("Next slice", lambda n: self._ask("POST", "/fewsam/next", json={"image": self._image, "skip": [n]})),
        ]
        found = [cold]
        for title, ask in asked:
            ask(0)  # what the first one prepares is there for those that follow
            found.append(self._timed(title, repeats, ask))
        return found

    def _timed(self, title: str, repeats: int, ask: Callable[[int], Any]) -> Response:
        seconds = []
        for n in range(1, repeats + 1):
            began = time.perf_counter()
            ask(n)
            seconds.append(time.perf_counter() - began)
        return Response(title, tuple(seconds))

    def _submit(self) -> None:
        labels = np.zeros(self._mask.shape, np.uint8)
        for value, mask in enumerate(self._native.values(), start=1):
            labels[mask] = value
        names = [{"name": name, "idx": value} for value, name in enumerate(self._native, start=1)]
        params = json.dumps({"label_info": names, "drawn": dict.fromkeys(self._drawn, 0)})
        label = ("label.bin", labels.tobytes(order="F"))
        query = {"image": self._image}
        self._ask("PUT", "/fewsam/label", params=query, data={"params": params}, files={"label": label})

    def _segment(self) -> None:
        self._ask("POST", "/fewsam/segment", params={"image": self._image})

    def _train(self) -> None:
        self._ask("POST", "/train/segmentation", json={})
        self._server.wait(lambda: not self._server.info()["training"]["running"], "the end of training", PATIENCE)

    def _click(self, n: int) -> None:
        body = {
            "image": self._image,
            "slice": self._k,
            "label": self._name,
            "include": [self._place(n)],
            "exclude": [],
        }
        self._ask("POST", "/fewsam/clicks", json=body)

    def _scribble(self, n: int) -> None:
        """It excludes what is shown as the structure, so that there is a change to propagate."""
        i, j = self._place(n)
        line = [(i, min(max(j + step, 0), self._mask.shape[1] - 1)) for step in (-2, 0, 2)]
        prompt = {"kind": "scribble", "slice": self._k, "include": False, "points": line}
        body = {"image": self._image, "label": self._name, "prompts": [prompt], "propagate": True, "keep": []}
        self._ask("POST", "/fewsam/prompts", json=body)

    def _place(self, n: int) -> tuple[int, int]:
        """Another place of the structure each time."""
        places = np.argwhere(self._mask[:, :, self._k])
        i, j = places[(n * 37) % len(places)]
        return int(i), int(j)

    def _ask(self, method: str, path: str, **more: Any) -> requests.Response:
        answer = requests.request(method, f"{self._server.url}{path}", timeout=PATIENCE, **more)
        if not answer.ok:
            raise ProcessError(f"{method} {path} was answered with {answer.status_code}: {answer.text[:500]}")
        return answer
