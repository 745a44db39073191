"""A run on unlabelled images through the real server: it makes way for people, goes on, and changes no label."""

from pathlib import Path

import numpy as np
import pytest
import requests

from fewsam.evaluation.reliability.studies import make_studies
from helpers.server_harness import MODEL, QUICK, Server, shots, write_label

pytestmark = pytest.mark.timeout(300)

GIVEN = {**QUICK, "decoder_reads": "embedding"}  # of slices as small as these it would read the image alone


def start(server: Server, **params: object) -> requests.Response:
    return requests.post(f"{server.url}/train/{MODEL}", json=params, timeout=60)


def stats(server: Server) -> dict:
    return dict(server.client.info()["train_stats"][MODEL])


def trained(server: Server, label: Path) -> int:
    """The version of the model that learnt from this label of image a."""
    server.put_label("a", label).raise_for_status()
    server.train()
    return int(server.client.info()["model_version"])


def begun(server: Server) -> bool:
    now = stats(server)
    return now.get("kind") == "unlabelled" and now.get("step", 0) > 0


@pytest.mark.slow
def test_it_makes_way_goes_on_and_leaves_the_labels_alone(tmp_path: Path) -> None:
    truth = make_studies(tmp_path / "studies", ("a", "b"))
    with Server(tmp_path, tmp_path / "studies", GIVEN) as server:
        refused = start(server, unlabelled=True)
        assert refused.status_code == 422 and "train once" in refused.text
        assert start(server, unlabelled="yes").status_code == 400

        server.client.save_label("a", str(write_label(tmp_path / "a.nii.gz", truth["a"], [3, 4, 5, 6, 7])), "final", {})
        server.train()
        kept = (shots(server), server.client.info()["model_version"])
        server.wait(lambda: server.client.info()["encoding"]["state"] == "done", "all images encoded")

        assert start(server, unlabelled=True).status_code == 200
        server.wait(lambda: begun(server), "the first step")
        panel = requests.get(f"{server.url}/fewsam/state", timeout=60).json()
        assert panel["training"]["kind"] == "unlabelled"
        server.infer("b")  # somebody asks
        server.wait_for_training()
        assert stats(server)["state"] == "stopped"

        assert start(server, unlabelled=True).status_code == 200
        server.wait(lambda: begun(server), "a step of the run that goes on")
        assert start(server).status_code == 200  # a training that somebody waits for takes its place
        assert server.wait_for_training()["kind"] == "labelled"
        assert (shots(server), server.client.info()["model_version"]) == (kept[0], kept[1] + 1)
        assert "going on from step" in server.log.read_text()


@pytest.mark.slow
def test_a_label_a_stop_and_a_kill_in_the_middle_of_it_lose_nothing(tmp_path: Path) -> None:
    truth = make_studies(tmp_path / "studies", ("a", "b"))
    with Server(tmp_path, tmp_path / "studies", GIVEN) as server:
        version = trained(server, write_label(tmp_path / "a.nii.gz", truth["a"], [3, 4, 5, 6, 7]))
        server.wait(lambda: server.client.info()["encoding"]["state"] == "done", "all images encoded")

        assert start(server, unlabelled=True).status_code == 200
        server.wait(lambda: begun(server), "the first step")
        server.put_label("b", write_label(tmp_path / "b.nii.gz", truth["b"], [4])).raise_for_status()
        server.wait_for_training()
        assert stats(server)["state"] == "stopped" and shots(server) == {"a": 5, "b": 1}

        assert start(server, unlabelled=True).status_code == 200
        server.wait(lambda: begun(server), "the first step after the label")
        assert server.client.train_stop()["status"] == "STOPPED"
        assert not server.client.info()["training"]["running"]

        assert start(server, unlabelled=True).status_code == 200
        server.wait(lambda: begun(server), "a step")
        server.kill()
        server.start()
        assert shots(server) == {"a": 5, "b": 1} and server.client.info()["model_version"] == version
        assert set(np.unique(server.infer("b")[0])) <= {0, 1, 2}  # it is still served
        server.wait(lambda: server.client.info()["encoding"]["state"] == "done", "all images encoded")
        all_of_them = requests.post(f"{server.url}/train/", json={"unlabelled": True}, timeout=60)
        assert all_of_them.status_code == 200
        server.wait(lambda: begun(server), "a step of the run that goes on")
        assert server.client.train_stop()["status"] == "STOPPED"


@pytest.mark.slow
def test_a_decoder_that_reads_images_alone_stays_as_it_is(tmp_path: Path) -> None:
    truth = make_studies(tmp_path / "studies", ("a", "b"))
    with Server(tmp_path, tmp_path / "studies", QUICK) as server:
        version = trained(server, write_label(tmp_path / "a.nii.gz", truth["a"], [3, 4, 5, 6, 7]))
        refused = start(server, unlabelled=True)
        assert refused.status_code == 422 and "reads the images alone" in refused.text
        assert server.client.info()["model_version"] == version and stats(server)["kind"] == "labelled"
