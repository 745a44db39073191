"""The app over kills and restarts of the real MONAI Label server, and a start that is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import requests

from fewsam.core.processes import ProcessError
from fewsam.evaluation.reliability.studies import make_studies
from helpers.server_harness import MODEL, QUICK, Server, shots, write_label

pytestmark = pytest.mark.usefixtures("cold_starts")


@pytest.mark.slow
def test_kills_and_restarts_lose_nothing(tmp_path: Path) -> None:
    studies = tmp_path / "studies"
    truth = make_studies(studies, ("a", "b"))
    write_label(studies / "labels" / "final" / "a.nii.gz", truth["a"], [4])  # lies there at the start
    server = Server(tmp_path / "server", studies, conf=QUICK)
    try:
        server.start()
        server.wait(lambda: shots(server) == {"a": 1}, "taking the label that lay there")
        server.client.train_start(MODEL, {"steps": 100000, "train_seconds": 600})
        server.wait(server.children, "the training process")
        assert server.client.train_stop()["status"] == "STOPPED"
        assert not server.client.info()["training"]["running"]
        server.client.train_start(MODEL, {"steps": 100000, "train_seconds": 600})
        server.put_label("b", write_label(tmp_path / "b.nii.gz", truth["b"], [3, 5])).raise_for_status()
        server.kill()  # at once: what was acknowledged is on the disk

        # Half a write of the datastore's own index must not stop the start.
        index = studies / "datastore_v2.json"
        index.write_text(index.read_text()[:40])
        server.conf["auto_train"] = "every:2"
        server.start()
        assert shots(server) == {"a": 1, "b": 2}
        server.put_label("b", write_label(tmp_path / "b.nii.gz", truth["b"], [3, 5, 6])).raise_for_status()
        server.wait(lambda: server.client.info()["model_version"], "training by itself", timeout=240)
        assert len(requests.get(f"{server.url}/train/?all=true", timeout=60).json()) == 1
        assert server.infer("b")[1]["model_version"] == 1
    finally:
        server.stop()


def test_an_unknown_setting_stops_the_start_with_one_line(tmp_path: Path) -> None:
    make_studies(tmp_path / "studies", ("a",))
    server = Server(tmp_path / "server", tmp_path / "studies", conf={"lables": "ball"})
    with pytest.raises(ProcessError, match="unknown setting 'lables'; did you mean 'labels'"):
        server.start()
    assert "Traceback" not in server.log.read_text()
