"""Parts of the server without a server: what must hold whatever MONAI Label does around them."""

from __future__ import annotations

import errno
import os
import sys
import threading
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from monailabel.interfaces.exception import ImageNotFoundException
from monailabel.utils.others.class_utils import get_class_of_subclass_from_file

import fewsam.encoders.embedder
from fewsam.collection import Submission
from fewsam.core.errors import ConfigError, ImageError, LabelError, StorageError, UnknownClassError
from fewsam.evaluation.reliability.studies import make_studies
from fewsam.images.endings import split_ending
from fewsam.server.app import FewSAMApp
from fewsam.server.errors import NotFoundError, RequestError, hide_folders, message_of, reworded, status_of
from fewsam.server.paths import data_folder
from fewsam.server.tasks.labels import LabelIntake, parse_params
from fewsam.server.tasks.opening import settings_for
from helpers.server_harness import MODEL, REPOSITORY, workspace_of, write_label

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


# -- labels and images


def test_follow_up_work_cannot_take_an_acknowledgement_back(tmp_path: Path, studies: Path) -> None:
    def fails(submission: Submission, image_id: str) -> None:
        raise StorageError("full")

    intake = LabelIntake(workspace_of(tmp_path), fails)
    truth = make_studies(tmp_path / "again", ("a",))["a"]
    file = write_label(tmp_path / "a.nii.gz", truth, [4])
    assert intake.submit("a", str(studies / "a.nii.gz"), file, source="test").added == (4,)


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
