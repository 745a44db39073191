"""The app against the real MONAI Label server: requests, labels and training on one that stays up."""

from __future__ import annotations

import re
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import nibabel as nib
import nrrd
import numpy as np
import pytest
import requests

import fewsam
from fewsam.evaluation.reliability.studies import make_studies
from helpers.server_harness import MODEL, PATIENCE, QUICK, Server, shots, write_label

A_SLICES = [4, 5]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimpleNamespace]:
    """A running server with small images, one with NaN, one that is long, and two labelled slices of image a.

    ``empty`` is what it answered before there was a label.
    """
    root = tmp_path_factory.mktemp("served")
    studies = root / "studies"
    truth = make_studies(studies, ("a", "b", "c", "d", "e"))
    truth |= make_studies(studies, ("long",), shape=(96, 96, 24))
    voxels = np.zeros((8, 8, 4), np.float32)
    voxels[2, 2, 2] = np.nan
    nib.save(nib.Nifti1Image(voxels, np.eye(4)), studies / "broken.nii.gz")
    with Server(root / "server", studies, conf=QUICK | {"precompute": "false"}) as server:
        empty = server.infer("a")
        first = server.put_label("a", write_label(root / "a.nii.gz", truth["a"], A_SLICES))
        first.raise_for_status()
        assert "not_kept" not in first.json()
        yield SimpleNamespace(server=server, truth=truth, root=root, studies=studies, empty=empty, first=first.json())


def submissions(server: Server) -> int:
    """How many labels the collection's file holds."""
    with sqlite3.connect(next(server.data.glob("collection*.sqlite"))) as db:
        return int(db.execute("SELECT COUNT(*) FROM submissions").fetchone()[0])


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


def test_a_stored_label_is_acknowledged_whatever_becomes_of_its_file(served: SimpleNamespace) -> None:
    """Where the file belongs there is a folder: the collection has the label by the time this shows."""
    (served.studies / "labels" / "final" / "e.nii.gz" / "in the way").mkdir(parents=True)
    try:
        answer = served.server.put_label("e", write_label(served.root / "e.nii.gz", served.truth["e"], [5]))
        assert answer.status_code == 200, answer.text
        assert answer.json()["added"] == [5]
        assert answer.json()["not_kept"].startswith("The label is stored.")
        assert shots(served.server)["e"] == 1
        assert any("label of e" in one["file"] for one in served.server.client.info()["label_problems"])
    finally:
        (served.studies / "labels" / "final" / "e.nii.gz" / "in the way").rmdir()
        (served.studies / "labels" / "final" / "e.nii.gz").rmdir()
    assert served.server.put_label("e", served.root / "e.nii.gz").status_code == 200
    assert (served.studies / "labels" / "final" / "e.nii.gz").is_file()
    assert served.server.client.info()["label_problems"] == []


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
        ('{"save_label": true, "label_tag": "../up"}', "../up"),
        ("not json", "JSON"),
        ("[1]", "object"),
    ],
)
def test_a_wrong_infer_parameter_is_refused(served: SimpleNamespace, params: str, words: str) -> None:
    answer = requests.post(f"{served.server.url}/infer/{MODEL}?image=a", files={"params": (None, params)}, timeout=60)
    assert answer.status_code == 400, answer.text
    assert words in answer.json()["detail"]


def _bad_labels(root: Path, truth: np.ndarray) -> dict[str, Path]:
    folder = root / "bad"
    folder.mkdir(exist_ok=True)
    (folder / "garbage.nii.gz").write_bytes(b"this is no image")
    (folder / "nothing.nii.gz").write_bytes(b"")
    nan = truth.astype(np.float32)
    nan[0, 0, 0] = np.nan
    nib.save(nib.Nifti1Image(nan, np.diag([2.0, 2.0, 5.0, 1.0])), folder / "nan.nii.gz")
    return {
        "garbage": folder / "garbage.nii.gz",
        "no bytes": folder / "nothing.nii.gz",
        "NaN": folder / "nan.nii.gz",
        "empty": write_label(folder / "empty.nii.gz", np.zeros_like(truth)),
        "other grid": write_label(folder / "shape.bin.nii.gz", np.ones((3, 3, 3))),
        "unknown value": write_label(folder / "value.nii.gz", truth * 7),
    }


def test_a_refused_label_leaves_nothing_behind(served: SimpleNamespace) -> None:
    server = served.server
    before = (submissions(server), shots(server), sorted((served.studies / "labels" / "final").iterdir()))
    for what, file in _bad_labels(served.root, served.truth["b"]).items():
        if what == "other grid":  # 3 mm beside the image: nothing of it lies on the image
            nib.save(nib.Nifti1Image(np.ones((3, 3, 3), np.uint8), np.diag([1, 1, 1, 1]) + 0.0), file)
            moved = np.eye(4)
            moved[:3, 3] = 5000
            nib.save(nib.Nifti1Image(np.ones((3, 3, 3), np.uint8), moved), file)
        answer = server.put_label("b", file)
        assert answer.status_code == 422, f"{what}: {answer.status_code} {answer.text}"
        assert answer.json()["detail"], what
    good = write_label(served.root / "good.nii.gz", served.truth["b"])
    for params, status in (
        ({"label_info": [{"name": "kidney", "idx": 1}, {"name": "box", "idx": 2}]}, 422),
        ("{broken", 400),
        ({"label_info": "ball"}, 400),
        ({"absent_classes": "perhaps"}, 400),
        ({"complete_slices": [400]}, 422),
    ):
        assert server.put_label("b", good, params).status_code == status, params
    assert server.put_label("nobody", good).status_code == 404
    assert server.put_label("b", good, tag="../../up").status_code == 400
    assert before == (submissions(server), shots(server), sorted((served.studies / "labels" / "final").iterdir()))
    assert server.client.info()["name"] == "fewsam"  # it lives


# -- labels become shots


def test_a_submitted_label_is_stored_when_it_is_acknowledged(served: SimpleNamespace) -> None:
    assert served.first["added"] == A_SLICES
    voxels, body = served.server.infer("a")
    assert body["pasted"] == A_SLICES
    np.testing.assert_array_equal(voxels[:, :, 4:6], served.truth["a"][:, :, 4:6])  # as drawn
    count = submissions(served.server)
    assert served.server.put_label("a", served.root / "a.nii.gz").json()["duplicate"]
    assert submissions(served.server) == count


def test_labels_map_by_name(served: SimpleNamespace) -> None:
    truth = served.truth["e"]
    swapped = np.where(truth == 1, 2, np.where(truth == 2, 1, 0))
    file = write_label(served.root / "e.nii.gz", swapped, [5])
    info = [{"name": "BOX", "idx": 1}, {"name": "Ball", "idx": 2}]  # another order and another case
    answer = served.server.put_label("e", file, {"label_info": info, "client_id": "eve"})
    assert answer.status_code == 200, answer.text
    voxels, body = served.server.infer("e")
    assert body["label_names"] == {"ball": 1, "box": 2}
    np.testing.assert_array_equal(voxels[:, :, 5], truth[:, :, 5])


def test_a_file_in_labels_final_is_taken_once(served: SimpleNamespace) -> None:
    server, final = served.server, served.studies / "labels" / "final"
    write_label(final / "c.nii.gz", served.truth["c"], [5])
    server.wait(lambda: shots(server).get("c") == 1, "taking the dropped file")
    count = submissions(server)
    (final / "c.nii.gz").touch()
    write_label(final / "orphan.nii.gz", served.truth["c"], [5])
    problems = server.wait(lambda: server.client.info()["label_problems"], "saying that a label has no image")
    assert "orphan" in problems[0]["problem"]
    time.sleep(5)  # two looks of the folder watch
    assert submissions(server) == count
    write_label(final / "c.nii.gz", served.truth["c"], [5, 6])
    server.wait(lambda: shots(server).get("c") == 2, "taking the changed file")


def test_slices_that_nobody_touched_are_no_shots(served: SimpleNamespace) -> None:
    server = served.server
    voxels, _ = server.infer("b")
    assert sum(bool(voxels[:, :, z].any()) for z in range(voxels.shape[2])) > 2
    edited = voxels.copy()
    edited[:, :, 4] = served.truth["b"][:, :, 4]
    edited[0:3, 0:3, 4] = 1
    answer = server.put_label("b", write_label(served.root / "edited.nii.gz", edited)).json()
    assert answer["added"] == [4]
    assert len(answer["untouched"]) > 1
    assert shots(server)["b"] == 1


def test_a_saved_prediction_is_no_label(served: SimpleNamespace) -> None:
    server = served.server
    before = submissions(server)
    server.infer("d", save_label=True, label_tag="final")
    assert (served.studies / "labels" / "final" / "d.nii.gz").exists()
    time.sleep(5)  # two looks of the folder watch
    assert submissions(server) == before
    assert "d" not in shots(server)


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


def test_a_refusal_speaks_of_the_image_and_the_structure_alone(served: SimpleNamespace) -> None:
    strange = write_label(served.root / "strange.nii.gz", served.truth["b"] * 9, [5])
    said = served.server.put_label("b", strange)
    assert said.status_code == 422
    assert re.fullmatch(
        r"the label: values 9, 18 have no name in .*; give each structure a name, or save .*", said.json()["detail"]
    )
    named = {"label_info": [{"name": "cyst", "idx": 1}, {"name": "box", "idx": 2}]}
    label = write_label(served.root / "b.nii.gz", served.truth["b"], [5])
    other = served.server.put_label("b", label, params=named)
    assert other.status_code == 422
    for detail in (said.json()["detail"], other.json()["detail"]):
        assert not [word for word in (str(served.root), "received", "label_info", "--conf") if word in detail], detail
    assert "label of 'b' draws 'cyst'" in other.json()["detail"]


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
