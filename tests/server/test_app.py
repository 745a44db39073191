"""The app against the real MONAI Label server: requests and training on one that stays up."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import nrrd
import numpy as np
import pytest
import requests

import fewsam
from helpers.served_studies import A_SLICES, serve_studies
from helpers.server_harness import MODEL, PATIENCE, shots, write_label


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimpleNamespace]:
    with serve_studies(tmp_path_factory.mktemp("served")) as served:
        yield served


# -- what the viewers read


def test_info_is_what_both_viewers_expect(served: SimpleNamespace) -> None:
    info = served.server.client.info()
    assert info["labels"] == ["ball", "box"]  # a dict would crash OHIF
    assert info["version"] == fewsam.__version__
    assert "config" not in info  # Slicer would refuse
    model = info["models"][MODEL]
    assert (model["type"], model["dimension"]) == ("segmentation", 3)
    assert model["labels"] == {"ball": 1, "box": 2}
    assert all(isinstance(value, str | int | float | bool | list) for value in model["config"].values())
    assert {"random", "informative", "foreground_random", "interval", "first"} == set(info["strategies"])
    assert info["trainers"][MODEL]["description"]
    assert info["encoder"]["name"] == "compact"
    assert info["encoder"]["licence"]


def test_without_labels_the_answer_is_empty_and_says_why(served: SimpleNamespace) -> None:
    voxels, answer = served.empty
    assert voxels.shape == served.truth["a"].shape
    assert not voxels.any()
    assert answer["shots"] == 0
    assert any("no labelled slice" in note for note in answer["notes"])


# -- errors


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        (f"/infer/{MODEL}?image=nobody", 404, "nobody"),
        (f"/infer/{MODEL}?image=/etc/hostname", 404, "hostname"),
        ("/infer/other?image=a", 404, "other"),
        (f"/infer/{MODEL}?session_id=gone", 404, "gone"),
        (f"/infer/{MODEL}", 400, "name an image"),
        (f"/infer/{MODEL}?image=broken", 422, "NaN"),
        ("/train/other", 404, "other"),
        ("/activelearning/other", 404, "other"),
        ("/infer/wsi_v2/other?image=a", 404, "whole-slide"),
    ],
)
def test_what_does_not_exist_is_named(served: SimpleNamespace, path: str, status: int, words: str) -> None:
    answer = requests.post(served.server.url + path, timeout=60)
    assert answer.status_code == status, answer.text
    assert words in answer.json()["detail"]


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ('{"slices": [99]}', "99"),
        ('{"slices": "all"}', "list"),
        ('{"result_extension": ".exe"}', ".exe"),
        ('{"result_dtype": "object"}', "object"),
        ('{"time_limit": "soon"}', "soon"),
        ('{"time_limit": 1' + "0" * 400 + "}", "number of seconds"),
        ('{"save_label": true, "label_tag": "../up"}', "../up"),
        ("not json", "JSON"),
        ("[1]", "object"),
    ],
)
def test_a_wrong_infer_parameter_is_refused(served: SimpleNamespace, params: str, words: str) -> None:
    answer = requests.post(f"{served.server.url}/infer/{MODEL}?image=a", files={"params": (None, params)}, timeout=60)
    assert answer.status_code == 400, answer.text
    assert words in answer.json()["detail"]


# -- answers


def test_every_output_of_the_infer_endpoint(served: SimpleNamespace) -> None:
    url = f"{served.server.url}/infer/{MODEL}?image=a"
    ohif = (
        '{"result_extension": ".nrrd", "result_dtype": "uint8", "result_compress": false, "restore_label_idx": false}'
    )
    image = requests.post(f"{url}&output=image", files={"params": (None, ohif)}, timeout=60)
    assert image.headers["content-type"] == "application/octet-stream" or "nrrd" in image.headers["content-type"]
    file = served.root / "ohif.nrrd"
    file.write_bytes(image.content)
    values, header = nrrd.read(str(file))
    assert header["encoding"] == "raw"
    assert values.dtype == np.uint8
    assert values.shape == served.truth["a"].shape
    body = requests.post(f"{url}&output=json", timeout=60).json()
    assert {"model_version", "trained", "shots", "latencies", "voxels", "uncertainty", "encoder", "notes"} <= set(body)
    both = requests.post(url, timeout=60)
    assert both.headers["content-type"].startswith("multipart/form-data")
    with (served.studies / "a.nii.gz").open("rb") as upload:
        own = requests.post(f"{served.server.url}/infer/{MODEL}?output=json", files={"file": upload}, timeout=60)
    assert own.json()["pasted"] == []  # an upload is no image of the studies
    results = served.server.data / "results"
    served.server.wait(lambda: not list(results.iterdir()), "deleting what was sent", timeout=10)


def test_asked_for_one_slice_the_others_stay_as_served(served: SimpleNamespace) -> None:
    whole, _ = served.server.infer("c")
    again, body = served.server.infer("c", slices=[2])
    np.testing.assert_array_equal(np.delete(again, 2, axis=2), np.delete(whole, 2, axis=2))
    assert body["remaining"] == []
    hasty, body = served.server.infer("c", time_limit=1e-6)
    assert body["remaining"]
    np.testing.assert_array_equal(hasty[:, :, body["remaining"]], again[:, :, body["remaining"]])


def test_next_samples_never_meet(served: SimpleNamespace) -> None:
    url = served.server.url
    offered = {}
    for client in ("eve", "adam"):
        for strategy in ("random", "first"):
            sample = requests.post(f"{url}/activelearning/{strategy}", json={"client_id": client}, timeout=60).json()
            assert Path(sample["path"]).is_file()
            info = requests.get(f"{url}/datastore/image/info?image={sample['id']}", timeout=60).json()
            assert info["slice"] == sample["slice"]
        offered[client] = (sample["id"], sample["slice"])
    assert offered["eve"] != offered["adam"]
    assert offered["eve"][0] == "a"  # it has labelled slices, and is offered all the same


def test_the_event_loop_is_free_while_a_volume_is_segmented(served: SimpleNamespace) -> None:
    server = served.server
    done = threading.Event()

    def segment() -> None:
        try:
            server.infer("long", client_id="slow")
        finally:
            done.set()

    thread = threading.Thread(target=segment)
    thread.start()
    answered = 0
    while not done.is_set():
        assert requests.get(f"{server.url}/info/", timeout=60).status_code == 200
        answered += not done.is_set()
        done.wait(0.1)
    thread.join()
    assert answered > 3


def test_reload_loses_nothing(served: SimpleNamespace) -> None:
    server = served.server
    before = shots(server)
    assert requests.post(f"{server.url}/reload", timeout=60).status_code == 200
    assert shots(server) == before
    assert server.infer("a")[1]["pasted"] == A_SLICES
    drawn = served.truth["a"].copy()
    drawn[:, :, 7] = np.roll(drawn[:, :, 7], 3, axis=0)  # unlike any answer, or it would pass for an edit of it
    answer = server.put_label("a", write_label(served.root / "a7.nii.gz", drawn, [*A_SLICES, 7]))
    assert answer.json()["added"] == [7]
    assert server.put_label("a", write_label(served.root / "small.nii.gz", np.zeros((2, 2, 2)))).status_code == 422


# -- training


def test_training_is_served_without_a_restart_and_its_end_changes_nothing(served: SimpleNamespace) -> None:
    server = served.server
    server.client.train_start(MODEL, {})
    assert requests.post(f"{server.url}/train/{MODEL}", timeout=60).status_code == 429
    stats = server.wait_for_training()
    assert stats["state"] == "done", server.tail()
    assert stats["epoch"] == stats["total_epochs"]
    assert stats["total_time"]
    first = server.infer("a")[1]
    assert (first["model_version"], first["trained"]) == (1, True)

    server.client.train_start(MODEL, {"steps": 100000, "train_seconds": 600})
    server.wait(lambda: server.client.info()["train_stats"][MODEL].get("step"), "the first training step")
    for child in server.children():
        child.kill()
    stats = server.wait_for_training()
    assert stats["state"] == "stopped"
    assert stats["total_time"]  # so that progress bars end
    assert server.infer("a")[1]["model_version"] == 1


def test_a_client_may_wait_for_the_result_of_its_run(served: SimpleNamespace) -> None:
    server = served.server

    def wait_for(**params: object) -> requests.Response:
        return requests.post(f"{server.url}/train/{MODEL}", params={"run_sync": True}, json=params, timeout=PATIENCE)

    before = server.client.info()["model_version"]
    answer = wait_for(steps=2)
    assert answer.status_code == 200, answer.text
    assert answer.json() == server.client.info()["train_stats"][MODEL]
    assert (answer.json()["state"], answer.json()["model_version"]) == ("done", before + 1)
    assert not server.client.info()["training"]["running"]

    def second_run_steps() -> bool:
        """Not before it runs: until then the stats are those of the first one."""
        info = server.client.info()
        stats = info["train_stats"][MODEL]
        return bool(info["training"]["running"] and stats["state"] == "running" and stats.get("step"))

    answers: list[requests.Response] = []
    waiting = threading.Thread(target=lambda: answers.append(wait_for(steps=100000, train_seconds=600)))
    waiting.start()
    server.wait(second_run_steps, "the first training step")
    assert not answers
    for child in server.children():
        child.kill()
    waiting.join()
    assert answers[0].status_code == 422 and "ended early" in answers[0].json()["detail"]
