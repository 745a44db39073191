"""The requests that MONAI Label's own client sends, a connection each, without the library."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import requests

from fewsam.core.errors import FewSAMError
from fewsam.core.processes import MODEL, PATIENCE


class AnnotatorClient:
    """One person's requests to a server.

    Args:
        url: The server's address.
        person: Who asks, sent as ``client_id``.
    """

    def __init__(self, url: str, person: str) -> None:
        self.url, self.person = url, person

    def next_sample(self, strategy: str) -> dict[str, Any]:
        """The image and slice to label next; empty where there is none."""
        return dict(self._ask("POST", f"activelearning/{strategy}", json={"client_id": self.person}).json())

    def infer(self, image: str) -> bytes:
        """Segment an image: the labelmap and the JSON, as one multipart body."""
        return self._ask("POST", f"infer/{MODEL}", params={"image": image}, files=self._form({})).content

    def save_label(self, image: str, label: Path, params: dict[str, Any]) -> dict[str, Any]:
        """Submit a label file; what became of its slices."""
        with label.open("rb") as file:
            files = {**self._form(params), "label": (label.name, file)}
            query = {"image": image, "tag": "final"}
            return dict(self._ask("PUT", "datastore/label", params=query, files=files).json())

    def _form(self, params: dict[str, Any]) -> dict[str, Any]:
        return {"params": (None, json.dumps({**params, "client_id": self.person}))}

    def _ask(self, method: str, path: str, **options: Any) -> requests.Response:
        answer = requests.request(method, f"{self.url}/{path}", timeout=PATIENCE, **options)
        if answer.status_code != 200:
            raise FewSAMError(f"{method} {path} was answered with {answer.status_code}: {answer.text[:300]}")
        return answer
