"""What the server makes of its files after a kill, a full disk or damage, part by part."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from fewsam.core.atomic import write_atomically
from fewsam.core.errors import StorageError
from fewsam.evaluation.reliability.studies import make_studies
from fewsam.server.background.autotrain import STATE_FILE, AutoTrain
from fewsam.server.background.watch import FolderWatch, SeenFiles
from fewsam.server.storage.datastore import INDEX_FILE, FolderDatastore
from fewsam.server.tasks.labels import LabelIntake
from fewsam.server.tasks.train import SERVER_PROCESS, server_gone
from helpers.server_harness import workspace_of, write_label

OTHER_ORDER = {"label_info": [{"name": "box", "idx": 1}, {"name": "ball", "idx": 2}]}


@pytest.fixture
def studies(tmp_path: Path) -> Path:
    make_studies(tmp_path / "studies", ("a", "b"))
    return tmp_path / "studies"


def watch_of(tmp_path: Path, studies: Path) -> FolderWatch:
    datastore = FolderDatastore(str(studies), watch=False, read_only=False)
    return FolderWatch(datastore, LabelIntake(workspace_of(tmp_path)), SeenFiles(tmp_path / "seen.sqlite"))


def look(watch: FolderWatch) -> int:
    """Submissions after two looks, between which no file grew."""
    watch.scan()
    watch.scan()
    return watch.intake.workspace.collection.version


# -- label files


def test_killed_between_storing_a_label_and_noting_it_the_label_is_not_taken_again(
    tmp_path: Path, studies: Path
) -> None:
    """Read again it would be read without the client's names: value 1 would be another class."""
    watch = watch_of(tmp_path, studies)
    label = write_label(tmp_path / "a.nii.gz", np.ones((40, 36, 10)), [4])
    target = watch.datastore.label_file("a", "final", label)
    killed = watch.seen.own(target, label, "taken")
    killed.__enter__()
    watch.datastore.save_label("a", str(label), "final", OTHER_ORDER)
    assert target.exists()
    again = watch_of(tmp_path, studies)
    assert look(again) == 0
    assert again.seen.outcome(target) == "taken"
    write_label(target, np.ones((40, 36, 10)), [5])  # what a person puts there is new
    assert look(again) == 1


def test_killed_before_the_file_was_there_the_old_one_stays_as_it_was(tmp_path: Path, studies: Path) -> None:
    watch = watch_of(tmp_path, studies)
    old = write_label(studies / "labels" / "final" / "a.nii.gz", np.ones((40, 36, 10)), [4])
    assert look(watch) == 1
    watch.seen.own(old, write_label(tmp_path / "a.nii.gz", np.ones((40, 36, 10)), [7]), "taken").__enter__()
    assert look(watch_of(tmp_path, studies)) == 1


def test_a_damaged_record_is_set_aside_and_the_servers_own_files_are_known_again(tmp_path: Path, studies: Path) -> None:
    watch = watch_of(tmp_path, studies)
    label = write_label(tmp_path / "a.nii.gz", np.ones((40, 36, 10)), [4])
    watch.datastore.save_label("a", str(label), "final", OTHER_ORDER)
    write_label(studies / "labels" / "final" / "b.nii.gz", np.ones((40, 36, 10)), [5])  # a person's
    (tmp_path / "seen.sqlite").write_bytes(b"no database, whatever its name says" * 100)
    again = watch_of(tmp_path, studies)
    assert "damaged" in again.seen.notices[0]
    again.start()
    try:
        assert look(again) == 1
    finally:
        again.stop()
    assert again.intake.workspace.collection.labelled_by_image() == {"b": [5]}
    assert list(tmp_path.glob("seen.sqlite.damaged-*"))


def test_a_record_that_cannot_be_written_is_said_once_and_takes_nothing_back(
    tmp_path: Path, studies: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch = watch_of(tmp_path, studies)
    label = write_label(tmp_path / "a.nii.gz", np.ones((40, 36, 10)), [4])

    def full(*_: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(watch.seen, "record", full)
    target = watch.datastore.label_file("a", "final", label)
    with watch.seen.own(target, label, "taken"):
        watch.datastore.save_label("a", str(label), "final", {})
    write_label(studies / "labels" / "final" / "b.nii.gz", np.ones((40, 36, 10)), [5])
    assert look(watch) == look(watch) == 1
    assert sorted(problem["file"] for problem in watch.problems) == ["a.nii.gz", "b.nii.gz"]


@pytest.mark.parametrize("content", ['{"objects": {"a"', '{"objects": 7}', "\udcff"])
def test_a_damaged_index_is_set_aside(studies: Path, content: str) -> None:
    (studies / INDEX_FILE).write_bytes(content.encode(errors="surrogateescape"))
    datastore = FolderDatastore(str(studies), watch=False, read_only=False)
    assert sorted(datastore.list_images()) == ["a", "b"]
    assert "rebuilt" in datastore.notices[0]


# -- the task folder


def test_what_a_kill_left_is_swept_once(tmp_path: Path) -> None:
    workspace = workspace_of(tmp_path)
    folder = workspace.folder
    write_atomically(folder / "versions" / "x", b"")
    (folder / "versions" / f".decoder.{os.getpid()}-abcdefgh").write_bytes(b"half")
    (folder / "received").mkdir()
    (folder / "received" / "image.nii.gz").write_bytes(b"a patient")
    assert workspace.repaired == ("1 half-written files of a killed process were deleted",)
    assert not (folder / "received").exists() and [path.name for path in (folder / "versions").iterdir()] == ["x"]


def test_a_full_disk_stops_no_counting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / STATE_FILE).write_text('{"labels_since_training": "many"}')

    def full(*_: object) -> None:
        raise StorageError("the disk is full")

    monkeypatch.setattr("fewsam.server.background.autotrain.write_atomically", full)
    rule = AutoTrain("every:2", tmp_path, lambda: False, lambda: None)
    rule.label_stored()
    assert (rule.waiting, rule.due()) == (1, False)


def test_a_training_process_notices_that_its_server_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(SERVER_PROCESS, raising=False)
    assert not server_gone()()
    monkeypatch.setenv(SERVER_PROCESS, str(os.getppid()))
    assert not server_gone()()
    with subprocess.Popen([sys.executable, "-c", "pass"]) as ended:
        ended.wait()
    monkeypatch.setenv(SERVER_PROCESS, str(ended.pid))
    assert server_gone()()
