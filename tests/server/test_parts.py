"""Parts of the server without a server: what must hold whatever MONAI Label does around them."""

from __future__ import annotations

import errno
import json
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import psutil
import pytest
import torch
from monailabel.interfaces.exception import ImageNotFoundException
from monailabel.utils.others.class_utils import get_class_of_subclass_from_file

import fewsam.encoders.embedder
from fewsam.collection import Submission
from fewsam.core.errors import ConfigError, ImageError, LabelError, StorageError, UnknownClassError
from fewsam.evaluation.reliability.studies import make_studies
from fewsam.images.endings import split_ending
from fewsam.server.app import FewSAMApp
from fewsam.server.background.watch import FolderWatch, SeenFiles
from fewsam.server.errors import NotFoundError, RequestError, hide_folders, message_of, reworded, status_of
from fewsam.server.paths import data_folder
from fewsam.server.storage.datastore import INDEX_FILE, FolderDatastore
from fewsam.server.tasks.labels import LabelIntake, parse_params
from fewsam.server.tasks.opening import settings_for
from fewsam.server.tasks.train import STATS_FILE, DecoderTraining, _view_keys, requested_settings
from fewsam.workspace.workspace import Workspace
from helpers.server_harness import MODEL, REPOSITORY, write_label


@pytest.fixture
def studies(tmp_path: Path) -> Path:
    make_studies(tmp_path / "studies", ("a", "b"))
    return tmp_path / "studies"


def workspace_of(tmp_path: Path, **conf: str) -> Workspace:
    settings, _ = settings_for({"encoder": "compact", "labels": "ball,box", **conf}, "http://nowhere")
    return Workspace(settings, tmp_path / "task")


# -- the app


def test_monai_label_finds_the_app_class() -> None:
    found = get_class_of_subclass_from_file("main", str(REPOSITORY / "apps/fewsam/main.py"), "MONAILabelApp")
    assert found is FewSAMApp


def test_constructing_the_app_opens_and_starts_nothing(
    tmp_path: Path, studies: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A training request constructs it anew in a process of its own."""

    def forbidden(*_: object, **__: object) -> None:
        raise AssertionError("the constructor built an encoder")

    monkeypatch.setattr(fewsam.encoders.embedder, "build_encoder", forbidden)
    monkeypatch.delitem(sys.modules, "monailabel.app", raising=False)  # by which the app knows the server itself
    before = set(threading.enumerate())  # of earlier tests; those may end meanwhile
    app = FewSAMApp(str(tmp_path / "app"), str(studies), {"labels": "ball,box"})
    assert set(threading.enumerate()) <= before
    assert not (tmp_path / "app" / "model").exists()
    assert set(app._infers) == {MODEL, "points"}
    assert set(app._trainers) == {MODEL}
    assert "random" in app._strategies


def test_tasks_do_not_share_a_folder(tmp_path: Path) -> None:
    folders = {
        data_folder(tmp_path, preset, studies)
        for preset in (None, "ct-abdomen", "/elsewhere/own.yaml")
        for studies in ("/data/one", "/data/two", "http://pacs/dicom-web")
    }
    assert len(folders) == 9
    assert data_folder(tmp_path, None, "http://pacs/") == data_folder(tmp_path, None, "http://pacs")
    assert all(folder.parent == tmp_path / "model" for folder in folders)


def test_settings_come_from_conf_and_from_a_preset_beside_the_images(tmp_path: Path) -> None:
    settings, preset = settings_for({"labels": "x,y", "server_mode": "true", "steps": "7"}, str(tmp_path))
    assert (settings.labels, settings.steps, preset) == (("x", "y"), 7, None)
    with pytest.raises(ConfigError, match="unknown setting 'lables'"):
        settings_for({"lables": "x"}, str(tmp_path))
    assert settings_for({}, str(tmp_path))[0].new_labels  # with no names at all, the first labels bring them
    (tmp_path / "fewsam.yaml").write_text("labels: [left, right]\n")
    assert settings_for({}, str(tmp_path))[0].labels == ("left", "right")


# -- errors and parameters


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (NotFoundError("no image"), 404),
        (RequestError("bad"), 400),
        (UnknownClassError("kidney"), 422),
        (ImageError("NaN"), 422),
        (StorageError("full"), 507),
        (OSError(errno.ENOSPC, "No space left on device", "/data/x"), 507),
        (ImageNotFoundException("Image x not found"), 404),
        (ZeroDivisionError("secret"), 500),
    ],
)
def test_errors_have_a_status_and_one_line(error: Exception, status: int) -> None:
    assert status_of(error) == status
    assert "\n" not in message_of(error)
    assert "secret" not in message_of(error)


def test_messages_name_files_and_not_the_servers_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fewsam.server.errors._folders", [])
    hide_folders(tmp_path / "a task", tmp_path / "studies")
    for told, said in (
        (f"{tmp_path}/a task/received/tmp8s/label.bin: is empty", "label.bin: is empty"),
        (f"image {tmp_path}/studies/b.nii.gz and '{tmp_path}/studies/c.nii'", "image b.nii.gz and 'c.nii'"),
        ("GET /datastore/?output=all lists them", "GET /datastore/?output=all lists them"),
    ):
        assert message_of(LabelError(told)) == said


def test_refusals_are_said_in_the_words_of_their_readers() -> None:
    title = {"'1.2.3'": "CT Abdomen"}
    with pytest.raises(UnknownClassError, match="^label of CT Abdomen draws 'x'$"), reworded(title):
        raise UnknownClassError("label of '1.2.3' draws 'x'")
    with pytest.raises(ZeroDivisionError), reworded({"a": "b"}):
        raise ZeroDivisionError("a")


def test_label_params() -> None:
    text = '{"label_info": [{"name": "ball", "idx": 3}], "client_id": "eve", "complete_slices": [1, 2], "x": 1}'
    raw, ours = parse_params(text)
    assert raw["x"] == 1
    assert ours.label_info == [{"name": "ball", "idx": 3}]
    assert (ours.annotator, ours.complete_slices) == ("eve", frozenset({1, 2}))
    assert parse_params(text, "who the token says")[1].annotator == "who the token says"
    assert parse_params("")[1] == parse_params("null")[1]
    for text in ("{", "[]", '{"label_info": [1]}', '{"complete_slices": [true]}', '{"absent_classes": 1}'):
        with pytest.raises(RequestError):
            parse_params(text)


def test_the_earlier_name_of_a_label_parameter_works_and_the_new_one_is_named(caplog: pytest.LogCaptureFixture) -> None:
    assert parse_params('{"absent_classes": "complete"}')[1].absent_classes == "complete"
    assert not caplog.text
    assert parse_params('{"policy": "partial"}')[1].absent_classes == "partial"
    assert '"policy"' in caplog.text and '"absent_classes"' in caplog.text
    assert parse_params('{"policy": "partial", "absent_classes": "complete"}')[1].absent_classes == "complete"
    with pytest.raises(RequestError, match="policy"):
        parse_params('{"policy": "perhaps"}')


def test_endings() -> None:
    assert split_ending("p.1.seg.nrrd") == ("p.1", ".seg.nrrd")
    assert split_ending("A.NII.GZ") == ("A", ".NII.GZ")
    assert split_ending("notes.txt") == ("notes.txt", "")


# -- the folder


def watch_of(tmp_path: Path, studies: Path) -> FolderWatch:
    datastore = FolderDatastore(str(studies), watch=False, read_only=False)
    return FolderWatch(datastore, LabelIntake(workspace_of(tmp_path)), SeenFiles(tmp_path / "seen.sqlite"))


def test_a_growing_file_is_left_alone_until_it_is_whole(tmp_path: Path, studies: Path) -> None:
    watch = watch_of(tmp_path, studies)
    collection = watch.intake.workspace.collection
    truth = make_studies(tmp_path / "again", ("a",))["a"]
    whole = write_label(tmp_path / "a.nii.gz", truth, [4]).read_bytes()
    file = studies / "labels" / "final" / "a.nii.gz"
    for size in (10, len(whole) // 2, len(whole)):
        file.write_bytes(whole[:size])
        watch.scan()
        assert collection.version == 0
    watch.scan()
    assert (collection.version, list(watch.problems)) == (1, [])
    watch.scan()
    assert collection.version == 1
    os.utime(file, (1, 1))
    watch_of(tmp_path, studies).scan()  # after a restart
    assert collection.version == 1


def test_a_refused_file_is_said_once_and_tried_again_when_it_changes(tmp_path: Path, studies: Path) -> None:
    watch = watch_of(tmp_path, studies)
    truth = make_studies(tmp_path / "again", ("a",))["a"]
    file = studies / "labels" / "final" / "a.nii.gz"
    write_label(file, truth * 9, [4])
    for _ in range(4):
        watch.scan()
    assert [problem["file"] for problem in watch.problems] == ["a.nii.gz"]
    assert watch.intake.workspace.collection.version == 0
    write_label(file, truth, [4])
    for _ in range(2):
        watch.scan()
    assert watch.intake.workspace.collection.version == 1


def test_follow_up_work_cannot_take_an_acknowledgement_back(tmp_path: Path, studies: Path) -> None:
    def fails(submission: Submission, image_id: str) -> None:
        raise StorageError("full")

    intake = LabelIntake(workspace_of(tmp_path), fails)
    truth = make_studies(tmp_path / "again", ("a",))["a"]
    file = write_label(tmp_path / "a.nii.gz", truth, [4])
    assert intake.submit("a", str(studies / "a.nii.gz"), file, source="test").added == (4,)


def test_the_datastore_index_survives_threads_and_a_failing_write(
    tmp_path: Path, studies: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    datastore = FolderDatastore(str(studies), watch=False, read_only=False)
    label = write_label(tmp_path / "x.nii.gz", np.ones((40, 36, 10)))
    threads = [
        threading.Thread(target=datastore.save_label, args=(image, str(label), tag, {"n": n}))
        for n in range(5)
        for image in ("a", "b")
        for tag in ("final", "original", f"t{n}")
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    index = json.loads((studies / INDEX_FILE).read_text())
    assert {tag for image in index["objects"].values() for tag in image["labels"]} >= {"final", "t0", "t4"}

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("fewsam.server.storage.datastore.json.dump", full)
        with pytest.raises(OSError, match="No space"):
            datastore.save_label("a", str(label), "late", {})
    assert json.loads((studies / INDEX_FILE).read_text()) == index
    (studies / INDEX_FILE).write_text('{"objects": {"a"')
    again = FolderDatastore(str(studies), watch=False, read_only=False)
    assert sorted(again.list_images()) == ["a", "b"]  # in the order of the disk
    assert again.get_label_uri("a", "final")
    assert list(studies.glob(f"{INDEX_FILE}.broken-*"))


def test_two_processes_lose_no_entry_of_the_index(tmp_path: Path, studies: Path) -> None:
    """Batch inference writes from a process of its own, with an index in memory that is as old as the process."""
    server, batch = (FolderDatastore(str(studies), watch=False, read_only=False) for _ in range(2))
    label = write_label(tmp_path / "x.nii.gz", np.ones((40, 36, 10)))
    server.save_label("a", str(label), "final", {})
    batch.save_label("b", str(label), "original", {})
    server.update_image_info("b", {"slice": 3})
    objects = json.loads((studies / INDEX_FILE).read_text())["objects"]
    assert list(objects["a"]["labels"]) == ["final"]
    assert list(objects["b"]["labels"]) == ["original"]
    assert objects["b"]["image"]["info"]["slice"] == 3


# -- the training process


def test_stats_of_a_killed_run_end(tmp_path: Path) -> None:
    task = DecoderTraining(workspace_of(tmp_path))
    assert task.stats() == {}
    file = tmp_path / "task" / STATS_FILE
    file.parent.mkdir(parents=True)
    me = {"pid": os.getpid(), "pid_started": psutil.Process().create_time(), "seconds": 61}
    file.write_text(json.dumps({"state": "running", **me}))
    assert "total_time" not in task.stats()
    file.write_text(json.dumps({"state": "running", **me, "pid_started": 12345.0}))  # the number was given out anew
    assert (task.stats()["state"], task.stats()["total_time"]) == ("stopped", "00:01:01")
    task.announce()
    assert task.stats()["state"] == "stopped"  # announced, but no run is on


def test_a_train_request_may_change_a_few_settings(tmp_path: Path) -> None:
    settings = workspace_of(tmp_path).settings
    assert requested_settings(settings, {"steps": "12", "model": "x", "encoder": "vit_h"}) == settings.model_copy(
        update={"steps": 12}
    )
    with pytest.raises(ConfigError, match="steps"):
        requested_settings(settings, {"steps": 0})


def test_training_with_a_sam_checkpoint_builds_no_encoder(
    tmp_path: Path, studies: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(*_: object, **__: object) -> None:
        raise AssertionError("the training process built the encoder")

    monkeypatch.setattr(fewsam.encoders.embedder, "build_encoder", forbidden)
    checkpoint = tmp_path / "sam.pth"
    torch.save({"mask_decoder.mask_tokens.weight": torch.randn(4, 256)}, checkpoint)
    quick = {"views": "1", "steps": "2", "batch": "1", "prototypes": "1", "input_size": "64", "detail_size": "64"}
    workspace = workspace_of(tmp_path, encoder="vit_b", checkpoint=str(checkpoint), **quick)
    truth = make_studies(tmp_path / "again", ("a",))["a"]
    label = write_label(tmp_path / "a.nii.gz", truth, [4, 6])
    LabelIntake(workspace).submit("a", str(studies / "a.nii.gz"), label, source="test")
    keys = _view_keys(workspace)
    assert len(keys) == 4
    task = DecoderTraining(workspace)

    pinned: list[int] = []

    def server() -> None:
        """Encodes while the training process already waits."""
        while task.stats().get("state") != "waiting":
            time.sleep(0.05)
        pinned.append(workspace.cache.stats()["pinned"])
        rng = np.random.default_rng(0)
        for key in keys:
            workspace.cache.put(key, rng.normal(size=(256, 64, 64)).astype(np.float16))

    thread = threading.Thread(target=server)
    thread.start()
    stats: dict[str, Any] = task({"model": MODEL}, None)
    thread.join()
    assert (stats["state"], stats["model_version"]) == ("done", 1)
    assert pinned == [4], "what the run reads stays in the cache, whatever is redrawn meanwhile"
    assert workspace.cache.stats()["pinned"] == 0


def test_training_without_labels_says_why(tmp_path: Path) -> None:
    task = DecoderTraining(workspace_of(tmp_path))
    with pytest.raises(SystemExit):
        task({"model": MODEL}, None)
    assert task.stats()["state"] == "failed"
    assert "submit a label" in task.stats()["error"]


def test_images_are_read_anew_when_they_change(tmp_path: Path, studies: Path) -> None:
    workspace = workspace_of(tmp_path)
    path = studies / "a.nii.gz"
    first = workspace.volume(str(path))
    assert workspace.volume(str(path)) is first
    image = nib.load(path)
    nib.save(nib.Nifti1Image(np.asarray(image.dataobj) + np.int16(1), image.affine), path)
    os.utime(path, (5, 5))
    assert workspace.volume(str(path)).content_hash != first.content_hash
    path.unlink()
    with pytest.raises(ImageError, match="missing"):
        workspace.volume(str(path))
