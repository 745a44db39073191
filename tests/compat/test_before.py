"""Folders and files that an earlier version wrote (`make_fixtures`) open with all that they hold.

``expected.json`` says what that version found in them.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from fewsam.collection import Collection, Shot
from fewsam.core.errors import FewSAMError
from fewsam.fewshot.training.episodes import prepare_views
from fewsam.images.volume import load_volume
from fewsam.server.paths import data_folder
from fewsam.workspace.import_task import import_task
from fewsam.workspace.workspace import Workspace, open_task
from helpers.server_harness import Server

from .drawn_content import NAMES, truth, voxels, write_scan

HERE = Path(__file__).parent
EXPECTED = json.loads((HERE / "expected.json").read_text(encoding="utf-8"))


def unpacked(part: str, folder: Path) -> Path:
    """The kept folder ``part`` below ``folder``."""
    with zipfile.ZipFile(HERE / f"{part}.zip") as archive:
        archive.extractall(folder / part)
    return folder / part


def described(shot: Shot) -> dict[str, Any]:
    """A shot in the words of ``expected.json``."""
    return {
        "shot_id": shot.shot_id,
        "image_id": shot.image_id,
        "slice": shot.slice,
        "pixels": hashlib.sha256(np.ascontiguousarray(shot.pixels).tobytes()).hexdigest(),
        "masks": {
            name: hashlib.sha256(np.packbits(mask).tobytes()).hexdigest() for name, mask in sorted(shot.masks.items())
        },
        "voxels": {name: int(mask.sum()) for name, mask in sorted(shot.masks.items())},
        "known": sorted(shot.known),
        "annotator": shot.annotator,
        "time": shot.time,
        "source": shot.source,
        "split": shot.split,
        "spacing": list(shot.image.spacing),
    }


def check_collection(collection: Collection, expected: dict[str, Any]) -> None:
    """Every label is there: in force and in the history, with its pixels, author and time."""
    assert list(collection.classes) == expected["classes"]
    assert collection.counts() == expected["counts"]
    own = [shot for shot in collection.shots() if shot.shot_id > 0]
    assert [described(shot) for shot in own] == expected["shots"]
    histories = {
        f"{image.image_id}/{z}": collection.history(image.image_id, z)
        for image in collection.images()
        for z in range(image.shape[0])
    }
    assert {key: entries for key, entries in histories.items() if entries} == expected["history"]
    for shot_id, drawing in expected["drawings"].items():
        assert described(collection.shot(int(shot_id))) == drawing
    assert collection.learning_curve() == expected["learning_curve"]
    for image_id, served in expected["served"].items():
        found = collection.served(image_id)
        assert found is not None
        assert hashlib.sha256(found[0].tobytes()).hexdigest() == served["labelmap"]
        assert [list(found[1]), found[2]] == [served["classes"], served["version"]]
    assert not collection.notices  # nothing had to be repaired


def check_settings(task: Workspace, expected: dict[str, Any]) -> None:
    """Each setting that the task keeps has the value it had, under the name that it has now; others are defaults."""
    now = task.settings.model_dump(mode="json")
    kept = yaml.safe_load((task.folder / "task.yaml").read_text(encoding="utf-8"))
    assert {"labels", "untrained", "steps"} <= set(kept)
    for name in kept.keys() & expected["settings"].keys():
        current = "absent_classes" if name == "labelled_slices" else name
        assert now[current] == expected["settings"][name], name


def check_decoder(task: Workspace, expected: dict[str, Any]) -> None:
    """The decoder that was served is served, with what was said of it."""
    card, now = dict(expected["card"]), task.store.info()
    undertrained, slots = card.pop("newness", 0.0), card.pop("slots", None)
    assert {name: json.loads(json.dumps(now[name])) for name in card} == card
    model = task.store.load()
    assert (model is not None) == card["trained"]
    if model is not None:
        assert not model.notes
        assert now.get("undertrained", now.get("newness")) == undertrained > 0
        assert list(now.get("class_ids", now.get("slots"))) == slots


def finds_the_drawn_slice(task: Workspace, folder: Path) -> None:
    """The image that slices are drawn on is segmented, with the drawing on slice 5 in it."""
    volume = load_volume(write_scan(folder / "again.nii.gz", 0))
    prediction = task.predictor.predict(volume, "scan-1")
    assert prediction.trained
    drawn = [shot for shot in task.collection.shots("scan-1") if shot.slice == 5]
    for value, name in enumerate(prediction.classes, 1):
        assert np.array_equal(prediction.labelmap[5] == value, drawn[0].masks[name] & ~_later(drawn[0], name))


def _later(shot: Shot, name: str) -> np.ndarray:
    """Pixels of the classes after ``name``, which lie above it in a labelmap."""
    after = NAMES[NAMES.index(name) + 1 :]
    return np.any([shot.masks[other] for other in after if other in shot.masks], axis=0) if after else np.array(False)


def absence_of(task: Workspace, folder: Path) -> set[str]:
    """Classes known to be absent from a slice on which the first class alone is drawn."""
    volume = load_volume(write_scan(folder / "new.nii.gz", 7))
    drawn = {NAMES[0]: np.zeros(volume.geometry.slices_shape, bool)}
    drawn[NAMES[0]][4] = volume.geometry.to_slices(truth(7, 0))[4]
    task.collection.submit(volume, "new", drawn)
    (shot,) = task.collection.shots("new")
    return set(shot.known) - set(shot.masks)


def test_pixels_of_the_kept_scans_are_those_of_the_formula(tmp_path: Path) -> None:
    with open_task(unpacked("task_folder", tmp_path)) as task:
        for shot in task.collection.shots():
            seed = int(shot.image_id.removeprefix("scan-")) - 1 if shot.shot_id > 0 else 2
            volume = load_volume(write_scan(tmp_path / f"{seed}.nii.gz", seed))
            assert np.array_equal(shot.pixels, volume.raw_slice(shot.slice))
            assert np.array_equal(volume.geometry.to_slices(voxels(seed))[shot.slice], shot.pixels[1])


def test_a_task_folder_opens_with_its_labels_decoder_and_settings(tmp_path: Path) -> None:
    folder, expected = unpacked("task_folder", tmp_path), EXPECTED["task_folder"]
    with open_task(folder) as task:
        check_settings(task, expected)
        check_collection(task.collection, expected)
        check_decoder(task, expected)
        assert [file.name for file in task.collection.imported_files()] == expected["imported"]
        assert [len(file.meta.shots) for file in task.collection.supports()] == [2]
        finds_the_drawn_slice(task, tmp_path)
        assert absence_of(task, tmp_path) == {NAMES[1]}  # "complete", kept under the setting's old name


def test_a_server_folder_is_served_again(tmp_path: Path) -> None:
    expected, studies, app = EXPECTED["server_folder"], tmp_path / "studies", tmp_path / "app"
    write_scan(studies / "scan-1.nii.gz", 0)
    folder = data_folder(app, None, str(studies))
    folder.parent.mkdir(parents=True)
    shutil.move(unpacked("server_folder", tmp_path), folder)
    with open_task(folder) as task:
        check_settings(task, expected)
        check_collection(task.collection, expected)
        check_decoder(task, expected)
    with Server(tmp_path / "server", studies, conf=expected["conf"], app=app) as server:
        assert server.data == folder
        info = server.client.info()
        assert info["labelled_slices"] == expected["labelled_slices"]
        labelmap, answer = server.infer("scan-1")
        assert answer["model_version"] == expected["card"]["version"]
        assert [int((labelmap[:, :, 3] == value).sum()) for value in (1, 2)] == [
            expected["shots"][0]["voxels"][name] for name in NAMES
        ]


@pytest.mark.parametrize("file", ["with_pixels", "without_pixels"])
def test_a_task_file_is_imported(file: str, tmp_path: Path) -> None:
    expected = EXPECTED["task_file"]
    path = unpacked("task_file", tmp_path) / f"{file}.fewsam"
    done = import_task(path, tmp_path / "task")
    assert list(done.classes) == expected["classes"]
    assert (done.shots, done.with_pixels, done.version) == (2, 2 if file == "with_pixels" else 0, 1)
    with open_task(tmp_path / "task") as task:
        for shot, drawn in zip(task.collection.shots(), expected["shots"], strict=False):
            now = described(shot)
            for name in ("slice", "pixels", "masks", "known", "annotator", "time", "spacing"):
                assert now[name] == drawn[name], name
        assert [meta.annotator for meta in task.collection.supports()[0].meta.shots] == ["Dr. Export"] * 2
        prediction = task.predictor.predict(load_volume(write_scan(tmp_path / "other.nii.gz", 4)))
        assert prediction.trained and prediction.labelmap.any()
        assert absence_of(task, tmp_path) == {NAMES[1]}


def test_an_unfinished_training_is_begun_afresh(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Its file lacks the optimiser's state, which a run needs to publish what it would have published."""
    folder, expected = unpacked("unfinished_training", tmp_path), EXPECTED["unfinished_training"]
    with open_task(folder) as task, caplog.at_level("INFO", logger="fewsam"):
        check_settings(task, expected)
        check_collection(task.collection, expected)
        prepare_views(task.settings, task.collection.shots(), task.embedder, priority=True)
        result = task.train()
        assert "is of another version of fewsam; starting afresh" in caplog.text
        assert result.steps == task.settings.steps
        assert not (folder / "training" / "run.safetensors").exists()
        check_collection(task.collection, expected)


def test_damage_is_noticed(tmp_path: Path) -> None:
    """The checks above would tell: a damaged copy of the task file is refused."""
    path = unpacked("task_file", tmp_path) / "without_pixels.fewsam"
    body = bytearray(path.read_bytes())
    body[len(body) // 2] ^= 1
    path.write_bytes(body)
    with pytest.raises(FewSAMError):
        import_task(path, tmp_path / "task")
