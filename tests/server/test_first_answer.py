"""The first answer does not wait for the encoder: against a server whose encoder goes no further than it is let."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import requests

from fewsam.core.app_folder import MAIN
from fewsam.evaluation.reliability.studies import make_studies
from helpers.server_harness import PATIENCE, QUICK, Server, write_label

DEPTH = 24
SHOWN = 5  # slice on the screen
DRAWN = [4, 5, 6]
# The encoder is the real one; it only waits until it may encode as many slices as the file says.
WAITING_ENCODER = """
import time
from pathlib import Path
from fewsam.encoders.registry import Encoder

embed, done = Encoder.embed, 0

def waiting(self, slices):
    global done
    while done >= int(Path(__file__).with_name("allowed").read_text() or 0):
        time.sleep(0.05)
    done += 1
    return embed(self, slices)

Encoder.embed = waiting
"""


def segment(server: Server, **params: object) -> tuple[dict[str, Any], np.ndarray]:
    answer = requests.post(f"{server.url}/fewsam/segment", params={"image": "long", **params}, timeout=PATIENCE)
    assert answer.status_code == 200, answer.text
    length = struct.unpack("<I", answer.content[:4])[0]
    voxels = np.frombuffer(answer.content[4 + length :], np.uint8)
    return json.loads(answer.content[4 : 4 + length]), voxels.reshape(96, 96, DEPTH, order="F")


def state(server: Server, **params: object) -> dict[str, Any]:
    found = requests.get(f"{server.url}/fewsam/state", params={"image": "long", **params}, timeout=PATIENCE)
    return dict(found.json())


def test_the_first_answer_comes_from_what_is_there_and_a_better_one_when_all_is_encoded(tmp_path: Path) -> None:
    studies, app = tmp_path / "studies", tmp_path / "app"
    truth = make_studies(studies, ("long",), shape=(96, 96, DEPTH))["long"]
    app.mkdir()
    (app / "main.py").write_text(MAIN + WAITING_ENCODER, encoding="utf-8")
    allowed = app / "allowed"
    allowed.write_text("0")
    with Server(tmp_path / "server", studies, QUICK | {"axis": "2", "encode_wait": 0.001}, app=app) as server:
        server.wait(lambda: server.client.info()["encoding"]["state"] == "encoding", "encoding")
        assert not state(server, slice=SHOWN)["image"]["encoded"]
        allowed.write_text("4")
        done = server.wait(lambda: state(server)["encoding"].get("slices_done", 0) >= 4, "four slices")
        assert done
        server.put_label("long", write_label(tmp_path / "label.nii.gz", truth, DRAWN)).raise_for_status()

        first, labels = segment(server, slice=SHOWN)
        # Encoded are the slice on the screen and its neighbours; the fourth may have been begun before anybody looked.
        assert len(first["unencoded"]) == DEPTH - 4 and not {*DRAWN} & {*first["unencoded"]}
        assert "20 of 24 slices are not encoded yet" in " ".join(first["notes"])
        assert iou(labels[..., 8:12], truth[..., 8:12]) > 0.5  # by registration of the labelled slices beside them
        _, rest = server.infer("long", encode_wait=0.001)  # the same for any client that asks for it
        assert rest["unencoded"] == first["unencoded"]
        assert not state(server)["image"]["encoded"]

        allowed.write_text("1000000")
        _, full = server.infer("long")  # whoever does not say how long to wait gets the whole answer
        assert full["unencoded"] == []
        server.wait(lambda: state(server)["image"]["encoded"], "all slices to be encoded")
        second, labels = segment(server, slice=SHOWN)
        assert second["unencoded"] == [] and "not encoded" not in " ".join(second["notes"])
        assert second["voxels"] == full["voxels"]
        assert iou(labels, truth) > 0.5


def iou(labels: np.ndarray, truth: np.ndarray) -> float:
    return float(((labels == truth) & (truth > 0)).sum() / ((labels > 0) | (truth > 0)).sum())
