"""Labels that are put into the folder as files."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

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


def test_a_file_that_is_saved_again_while_it_is_stored_is_taken_again(
    tmp_path: Path, studies: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch = watch_of(tmp_path, studies)
    collection, truth = watch.intake.workspace.collection, make_studies(tmp_path / "again", ("a",))["a"]
    file = studies / "labels" / "final" / "a.nii.gz"
    write_label(file, truth, [4])
    submit = watch.intake.submit

    def saved_meanwhile(*given: object, **more: object) -> object:
        done = submit(*given, **more)  # type: ignore[arg-type]
        write_label(file, truth, [4, 5])
        return done

    monkeypatch.setattr(watch.intake, "submit", saved_meanwhile)
    for _ in range(2):
        watch.scan()
    assert {shot.slice for shot in collection.shots()} == {4}
    monkeypatch.setattr(watch.intake, "submit", submit)
    for _ in range(3):
        watch.scan()
    assert {shot.slice for shot in collection.shots()} == {4, 5}


def test_of_two_labels_of_an_image_the_newer_counts(tmp_path: Path, studies: Path) -> None:
    """As in the folder of another task, whose labels a new one takes in."""
    watch, truth = watch_of(tmp_path, studies), make_studies(tmp_path / "again", ("a",))["a"]
    final = studies / "labels" / "final"
    smaller = truth.copy()
    smaller[:, : truth.shape[1] // 2] = 0
    for name, drawn, age in (("a.nii", truth, 0), ("a.nii.gz", smaller, 100)):
        write_label(final / name, drawn, [4])
        os.utime(final / name, (1.7e9 - age, 1.7e9 - age))
    for _ in range(3):
        watch.scan()
    (shot,) = watch.intake.workspace.collection.shots()
    assert sum(mask.sum() for mask in shot.masks.values()) == np.count_nonzero(truth[:, :, 4])


def test_a_label_that_was_not_taken_in_is_kept_where_the_server_writes_another_one(
    tmp_path: Path, studies: Path
) -> None:
    watch, truth = watch_of(tmp_path, studies), make_studies(tmp_path / "again", ("a",))["a"]
    file = studies / "labels" / "final" / "a.nii.gz"
    drawn = write_label(file, truth, [4]).read_bytes()  # a program has just saved it
    watch.set_aside(file)
    (kept,) = file.parent.glob("a.nii.gz.replaced-*")
    assert kept.read_bytes() == drawn and not file.exists()
    assert "kept as" in watch.problems[-1]["problem"]
    write_label(file, truth, [5])
    for _ in range(3):
        watch.scan()
    assert {shot.slice for shot in watch.intake.workspace.collection.shots()} == {5}
    watch.set_aside(file)  # it was taken in: nothing is to be kept
    assert file.exists() and len(list(file.parent.iterdir())) == 2
