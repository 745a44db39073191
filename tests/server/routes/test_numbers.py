"""Numbers that no slice, label or second has are the client's fault, and the answer says so."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from monailabel.interfaces.utils import app as monai_apps

from fewsam.server.app import FewSAMApp
from fewsam.server.routes import routes
from helpers import tiny_volume as tiny

HUGE = int("9" * 30)
LONG = int("9" * 400)
PROMPTS = {"image": "a", "label": "left", "prompts": [{"kind": "point", "slice": 5, "points": [[5, 5]]}]}
CLICKS = {"image": "a", "label": "left", "slice": 5, "include": [[5, 5]]}
FAR = {"kind": "point", "slice": HUGE, "points": [[5, 5]]}
DONE = {"image": "a", "state": "done"}
BODIES: list[tuple[str, dict[str, Any]]] = [
    ("/fewsam/clicks", {**CLICKS, "slice": HUGE}),
    ("/fewsam/clicks", {**CLICKS, "include": [[HUGE, 1]]}),
    ("/fewsam/clicks", {**CLICKS, "exclude": [[1, HUGE]]}),
    ("/fewsam/prompts", {**PROMPTS, "keep": [HUGE]}),
    ("/fewsam/prompts", {**PROMPTS, "prompts": [FAR]}),
    ("/fewsam/next", {"image": "a", "skip": [HUGE]}),
    ("/fewsam/unlabel", {"image": "a", "slice": 5, "seen": HUGE}),
    ("/fewsam/unlabel", {"image": "a", "slice": HUGE, "seen": 1}),
    ("/fewsam/reading/adopt", {"image": "a", "reading": HUGE, "seen": 1}),
    ("/fewsam/reading/adopt", {"image": "a", "reading": 1, "seen": HUGE}),
    ("/fewsam/worklist/mark", {**DONE, "labels": {str(HUGE): 1}}),
    ("/fewsam/worklist/mark", {**DONE, "seen": HUGE}),
    ("/train/segmentation", {"steps": HUGE}),
    ("/train/segmentation", {"steps": LONG}),
    ("/train/segmentation", {"train_seconds": LONG}),
    ("/train/segmentation", {"seed": HUGE}),
    ("/batch/infer/segmentation", {"max_batch_size": HUGE}),
    ("/batch/infer/segmentation", {"max_batch_size": -1}),
]
ASKED = [
    f"/fewsam/shot?image=a&shot={HUGE}",
    f"/fewsam/history?image=a&slice={HUGE}",
    f"/fewsam/reading?image=a&reading={HUGE}",
    f"/fewsam/state?image=a&slice={HUGE}",
]
PARAMS = [
    {"time_limit": LONG},
    {"time_limit": "nan"},
    {"slices": [HUGE]},
    {"slices": [LONG]},
]


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    folder = tmp_path_factory.mktemp("numbers")
    tiny.write_scan(folder / "studies", "a")
    conf = {"labels": ",".join(tiny.CLASSES), "encoder": "compact", "axis": "2", "precompute": "false"}
    served = FewSAMApp(str(folder / "app"), str(folder / "studies"), conf)
    served.start_background()
    app = FastAPI()
    routes.install(app)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(monai_apps, "app_instance", lambda *_: served)
        yield TestClient(app, base_url="http://127.0.0.1:8000", raise_server_exceptions=False)
    served.stop_background()


def refused(answer: Any) -> None:
    assert answer.status_code in (400, 404, 422), answer.text[:300]
    assert answer.json()["detail"]


@pytest.mark.parametrize(("path", "body"), BODIES)
def test_odd_numbers_in_a_body(web: TestClient, path: str, body: dict[str, Any]) -> None:
    refused(web.post(path, json=body))


@pytest.mark.parametrize("path", ASKED)
def test_odd_numbers_in_a_query(web: TestClient, path: str) -> None:
    refused(web.get(path))


@pytest.mark.parametrize("params", PARAMS, ids=lambda params: next(iter(params)))
def test_odd_numbers_of_an_inference(web: TestClient, params: dict[str, Any]) -> None:
    refused(web.post("/infer/segmentation?image=a", data={"params": json.dumps(params)}))


@pytest.mark.parametrize("number", ["Infinity", "NaN", "1e999", "9" * 5000])
def test_what_json_takes_for_a_number(web: TestClient, number: str) -> None:
    body = f'{{"image": "a", "label": "left", "slice": {number}}}'
    refused(web.post("/fewsam/clicks", content=body, headers={"content-type": "application/json"}))


@pytest.mark.parametrize("name", ["beside", "complete_slices"])
def test_odd_numbers_of_a_label(web: TestClient, name: str) -> None:
    params = {"label_info": [{"name": "left", "idx": 1}], name: [HUGE]}
    label = bytes([1]) + bytes(48 * 40 * 12 - 1)
    answer = web.put("/datastore/label?image=a", data={"params": json.dumps(params)}, files={"label": ("l.bin", label)})
    refused(answer)
