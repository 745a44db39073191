"""What becomes of a label that is sent to a real server: stored, mapped by name, refused, taken from the folder."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pytest
import requests

from helpers.served_studies import A_SLICES, serve_studies, submissions
from helpers.server_harness import MODEL, shots, write_label


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimpleNamespace]:
    with serve_studies(tmp_path_factory.mktemp("served")) as served:
        yield served


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
    server.infer("d", save_label=True, label_tag="checked")
    assert (served.studies / "labels" / "checked" / "d.nii.gz").exists()
    final = served.studies / "labels" / "final"
    files = {file.name: file.read_bytes() for file in final.iterdir()}
    params = json.dumps({"save_label": True, "label_tag": "final"})
    answer = requests.post(f"{server.url}/infer/{MODEL}?image=a", data={"params": params}, timeout=60)
    assert answer.status_code == 400 and "not a final label" in answer.text
    answer = requests.post(f"{server.url}/batch/infer/{MODEL}", json={"label_tag": "final"}, timeout=60)
    assert answer.status_code == 400 and "not a final label" in answer.text
    assert {file.name: file.read_bytes() for file in final.iterdir()} == files  # what people drew
    time.sleep(5)  # two looks of the folder watch
    assert submissions(server) == before
    assert "d" not in shots(server)


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
