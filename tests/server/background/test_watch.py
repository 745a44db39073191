"""Labels that are put into the folder as files."""

from __future__ import annotations

import os
from pathlib import Path

from fewsam.evaluation.reliability.studies import make_studies
from fewsam.server.background.watch import FolderWatch, SeenFiles
from fewsam.server.storage.datastore import FolderDatastore
from fewsam.server.tasks.labels import LabelIntake
from helpers.server_harness import workspace_of, write_label


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
