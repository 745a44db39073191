"""What people say of whole images, and labels that are kept beside each other: nothing of it is lost or learnt from."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from fewsam.collection import Collection
from fewsam.collection.repair import COPY, MAIN
from fewsam.collection.worklist import Mark, OutdatedMarkError, SeenLabels, counts, is_finished, state_of
from fewsam.core.errors import LabelError
from fewsam.images.volume import Volume
from helpers.collection_drawings import LABELS, blob, fates, label


def test_the_last_mark_of_an_image_counts_and_all_of_them_stay(collection: Collection, volume: Volume) -> None:
    worklist = collection.worklist
    assert worklist.marks() == {}
    first = worklist.mark("p1", "unsure", "nora", "  the tip of segment 6?  ")
    collection.submit(volume, "p1", label(Liver={3: 1}), annotator="nora")
    second = worklist.mark("p1", "done", "nora", seen=first.number)
    worklist.mark("p2", "done", "olaf")
    assert {image: mark.state for image, mark in worklist.marks().items()} == {"p1": "done", "p2": "done"}
    history = worklist.history("p1")
    assert [(mark.state, mark.note, mark.annotator) for mark in history] == [
        ("unsure", "the tip of segment 6?", "nora"),
        ("done", "", "nora"),
    ]
    assert (first.label, second.label) == (0, collection.shots()[0].shot_id)
    assert Collection(collection.folder, LABELS).worklist.history("p1") == history


def test_who_saw_an_older_mark_is_told_and_nothing_is_stored(collection: Collection) -> None:
    worklist = collection.worklist
    worklist.mark("p1", "done", "nora", seen=0)
    with pytest.raises(OutdatedMarkError, match="done by nora"):
        worklist.mark("p1", "unsure", "olaf", seen=0)
    assert [mark.annotator for mark in worklist.history("p1")] == ["nora"]


@pytest.mark.parametrize("change", ["another slice", "a newer label", "one taken back"])
def test_labels_that_the_reviewer_did_not_see_are_not_accepted(
    collection: Collection, volume: Volume, change: str
) -> None:
    collection.submit(volume, "p1", label(Liver={3: 1, 4: 2}), annotator="nora")
    collection.worklist.mark("p1", "done", "nora")

    def seen() -> SeenLabels:
        shots = collection.shots("p1", content_hash=volume.content_hash)
        return SeenLabels(volume.content_hash, {shot.slice: shot.submission for shot in shots})

    before = seen()
    if change == "one taken back":
        shot = next(shot for shot in collection.shots() if shot.slice == 4)
        assert collection.withdraw("p1", 4, shot.shot_id, "olaf")
    else:
        collection.submit(volume, "p1", label(Liver={(9 if change == "another slice" else 3): 5}), annotator="olaf")
    with pytest.raises(OutdatedMarkError, match="since you looked" if change == "one taken back" else "by olaf"):
        collection.worklist.mark("p1", "accepted", "rita", labels=before)
    assert collection.worklist.marks()["p1"].state == "done"
    assert collection.worklist.mark("p1", "accepted", "rita", labels=seen()).state == "accepted"


def test_only_what_is_done_or_unsure_is_reviewed(collection: Collection) -> None:
    worklist = collection.worklist
    for state in ("accepted", "sent back"):
        with pytest.raises(LabelError, match="marked as done"):
            worklist.mark("p1", state, "rita")
    worklist.mark("p1", "done", "nora")
    worklist.mark("p1", "sent back", "rita", "slice 12 leaks into the stomach")
    with pytest.raises(LabelError, match="marked as done"):
        worklist.mark("p1", "accepted", "rita")  # nobody has mended it
    worklist.mark("p1", "done", "nora")
    assert worklist.mark("p1", "accepted", "rita").state == "accepted"


@pytest.mark.parametrize(("state", "note"), [("finished", ""), ("", ""), ("done", "x" * 2001)])
def test_a_mark_that_cannot_be_kept_is_refused(collection: Collection, state: str, note: str) -> None:
    with pytest.raises(LabelError):
        collection.worklist.mark("p1", state, note=note)
    assert collection.worklist.marks() == {}


@pytest.mark.parametrize(
    ("state", "label_then", "labelled", "label_now", "shown"),
    [
        (None, 0, False, 0, ("not started", False)),
        (None, 0, True, 5, ("in progress", False)),
        ("open", 5, True, 5, ("in progress", False)),
        ("open", 5, False, 6, ("not started", False)),  # the label was taken back
        ("done", 5, True, 5, ("done", False)),
        ("done", 5, True, 6, ("done", True)),
        ("accepted", 5, True, 5, ("accepted", False)),
        ("accepted", 5, True, 6, ("done", True)),
        ("sent back", 5, True, 6, ("sent back", True)),
        ("unsure", 0, False, 0, ("unsure", False)),
    ],
)
def test_where_an_image_stands(
    state: str | None, label_then: int, labelled: bool, label_now: int, shown: tuple[str, bool]
) -> None:
    mark = None if state is None else Mark(1, "p1", state, "", "nora", "", label_then)
    assert state_of(mark, labelled, label_now) == shown
    assert counts({"p1": shown[0]})[shown[0]] == 1


@pytest.mark.parametrize(
    ("state", "now", "shown"),
    [
        ("accepted", "8", "accepted"),
        ("accepted", "9", "in progress"),
        ("done", "9", "in progress"),
        ("done", "", "done"),  # the PACS does not say
        ("unsure", "9", "unsure"),
        ("sent back", "9", "sent back"),
    ],
)
def test_what_was_finished_is_not_once_the_series_has_grown(state: str, now: str, shown: str) -> None:
    mark = Mark(1, "p1", state, "", "nora", "", 5, "8")
    assert state_of(mark, True, 5, now) == (shown, False)
    assert is_finished(mark, now) == (shown in ("accepted", "done"))
    before = Mark(1, "p1", state, "", "nora", "", 5)  # of before the number was kept
    assert state_of(before, True, 5, now) == (state, False)


def test_a_series_that_has_grown_is_marked_as_done_again_before_it_is_reviewed(collection: Collection) -> None:
    worklist = collection.worklist
    worklist.mark("p1", "done", "nora", instances="8")
    with pytest.raises(LabelError, match="changed since it was marked as done"):
        worklist.mark("p1", "accepted", "rita", instances="9")
    worklist.mark("p1", "done", "nora", instances="9")
    assert worklist.mark("p1", "accepted", "rita", instances="9").instances == "9"
    (collection.folder / MAIN).unlink()
    again = Collection(collection.folder, LABELS).worklist
    assert [mark.instances for mark in again.history("p1")] == ["8", "9", "9"]


def test_a_collection_of_before_the_number_of_instances_was_kept_keeps_its_marks(collection: Collection) -> None:
    collection.worklist.mark("p1", "done", "nora")
    for name in (MAIN, COPY):
        with closing(sqlite3.connect(collection.folder / name)) as db:
            db.execute("DROP TABLE marked")
            db.execute("PRAGMA user_version = 3")
            db.commit()
    assert collection.worklist.marks()["p1"].state == "done"  # also where a full disk lets no table be made
    opened = Collection(collection.folder, LABELS)
    assert opened.notices == ()
    assert opened.worklist.mark("p1", "accepted", "rita", instances="8").instances == "8"
    assert [mark.state for mark in opened.worklist.history("p1")] == ["done", "accepted"]


def test_who_labelled_an_image_last(collection: Collection, volume: Volume) -> None:
    collection.submit(volume, "p1", label(Liver={3: 1}), annotator="nora")
    collection.submit(volume, "p1", label(Liver={4: 1}), annotator="olaf")
    number, who, time = collection.worklist.last_labels()["p1"]
    assert (number, who, bool(time)) == (collection.shots()[-1].shot_id, "olaf", True)


# -- second readings


def test_a_label_is_kept_beside_the_one_in_force_where_that_is_asked_for(
    collection: Collection, volume: Volume
) -> None:
    collection.submit(volume, "p1", label(Liver={3: 1, 4: 2}), annotator="nora")
    version, shots = collection.version, [shot.shot_id for shot in collection.shots()]
    second = collection.submit(volume, "p1", label(Liver={3: 7, 4: 8, 9: 9}), annotator="olaf", beside={3, 9})
    # Slice 9 had no label, so that there is nothing to be beside of; slice 4 was not named.
    assert fates(second) == {"added": (9,), "superseded": (4,)}
    assert second.beside == (3,)
    assert second.changed
    by_slice = {shot.slice: shot for shot in collection.shots()}
    assert np.array_equal(by_slice[3].masks["Liver"], blob(1)), "the label in force must stay"
    assert by_slice[3].shot_id in shots
    (reading,) = collection.readings("p1", volume.content_hash)
    assert (reading.slice, reading.annotator) == (3, "olaf")
    assert np.array_equal(reading.masks["Liver"], blob(7))
    assert collection.counts()["Liver"] == 3
    assert len(collection.history("p1", 3)) == 1
    assert collection.version > version


def test_a_second_reading_teaches_nothing_and_is_stored_once(collection: Collection, volume: Volume) -> None:
    collection.submit(volume, "p1", label(Liver={3: 1}), annotator="nora")
    state = collection.label_state("p1")
    masks = label(Liver={3: 7})
    receipt = collection.submit(volume, "p1", masks, annotator="olaf", beside={3})
    assert not receipt.changed
    assert collection.label_state("p1") == state
    again = collection.submit(volume, "p1", masks, annotator="olaf", beside={3})
    assert (again.duplicate, again.beside) == (True, (3,))
    assert len(collection.readings("p1", volume.content_hash)) == 1
    over = collection.submit(volume, "p1", masks, annotator="olaf")  # now it is to replace the other one
    assert (over.duplicate, over.superseded) == (False, (3,))


# -- nothing is lost


@pytest.fixture
def marked(collection: Collection, volume: Volume) -> Path:
    """The folder of a collection with a mark and a second reading."""
    collection.submit(volume, "p1", label(Liver={3: 1}), annotator="nora")
    collection.submit(volume, "p1", label(spleen={3: 7}), annotator="olaf", beside={3})
    collection.worklist.mark("p1", "done", "nora", "all of it")
    return collection.folder


def check(folder: Path, volume: Volume) -> Collection:
    collection = Collection(folder, LABELS)
    assert [mark.note for mark in collection.worklist.history("p1")] == ["all of it"]
    (reading,) = collection.readings("p1", volume.content_hash)
    assert np.array_equal(reading.masks["spleen"], blob(7))
    return collection


def test_a_lost_file_is_rebuilt_with_marks_and_readings(marked: Path, volume: Volume) -> None:
    (marked / MAIN).unlink()
    check(marked, volume)


def test_a_damaged_file_without_a_copy_gives_back_marks_and_readings(marked: Path, volume: Volume) -> None:
    with closing(sqlite3.connect(marked / MAIN)) as db:
        page = db.execute("PRAGMA page_size").fetchone()[0]
        root = "SELECT rootpage FROM sqlite_master WHERE name = 'submissions_by_image'"
        root_page = db.execute(root).fetchone()[0]
    with (marked / MAIN).open("r+b") as file:
        file.seek((root_page - 1) * page)
        file.write(b"\xff" * page)
    (marked / COPY).unlink()
    assert any("damaged" in notice for notice in check(marked, volume).notices)


def test_a_mark_that_one_file_lacks_comes_back_from_the_other(marked: Path, volume: Volume) -> None:
    with closing(sqlite3.connect(marked / MAIN)) as db:  # as in a backup of before
        db.execute("DELETE FROM marks")
        db.commit()
    assert any("marks of the worklist" in notice for notice in check(marked, volume).notices)


def test_structures_that_one_file_lacks_come_back_from_the_other(collection: Collection, volume: Volume) -> None:
    collection.submit(volume, "p1", label(Liver={3: 1}), annotator="nora")
    folder, before = collection.folder, (collection.folder / MAIN).read_bytes()
    collection.add_structure("cyst")
    collection.rename_structure("liver", "whole liver")
    collection.delete_structure("spleen")
    (folder / MAIN).write_bytes(before)  # a backup of before is put back
    opened = Collection(folder, LABELS)
    assert any("changes of structures" in notice and "structures" in notice for notice in opened.notices)
    assert opened.classes == ("whole liver", "aorta", "cyst")
    assert Collection(folder, LABELS).notices == ()


def test_another_history_of_structures_is_kept_aside(collection: Collection) -> None:
    folder, before = collection.folder, (collection.folder / MAIN).read_bytes()
    collection.rename_structure("liver", "whole liver")
    copy = (folder / COPY).read_bytes()
    (folder / MAIN).write_bytes(before)
    (folder / COPY).unlink()
    Collection(folder, LABELS).delete_structure("spleen")
    (folder / COPY).write_bytes(copy)
    opened = Collection(folder, LABELS)
    assert any("another history" in notice for notice in opened.notices)
    assert opened.classes == ("Liver", "aorta")
    assert list(folder.glob(f"{COPY}.damaged-*"))


def test_two_histories_of_added_structures_alone_are_told_apart(collection: Collection) -> None:
    folder, before = collection.folder, (collection.folder / MAIN).read_bytes()
    collection.add_structure("kidney")
    copy = (folder / COPY).read_bytes()
    (folder / MAIN).write_bytes(before)
    (folder / COPY).unlink()
    Collection(folder, LABELS).add_structure("lung")
    (folder / COPY).write_bytes(copy)
    opened = Collection(folder, LABELS)
    assert any("another history" in notice for notice in opened.notices)
    assert opened.classes == (*LABELS, "lung")
    assert Collection(folder, LABELS).notices == ()  # said once


def test_a_collection_of_before_the_worklist_opens_and_takes_marks(collection: Collection, volume: Volume) -> None:
    collection.submit(volume, "p1", label(Liver={3: 1}), annotator="nora")
    folder = collection.folder
    for name in (MAIN, COPY):
        with closing(sqlite3.connect(folder / name)) as db:
            for table in ("marks", "readings"):
                db.execute(f"DROP TABLE {table}")
            db.execute("PRAGMA user_version = 2")
    old = Collection(folder, LABELS)
    assert old.notices == ()
    assert (len(old.shots()), old.worklist.marks(), old.readings("p1", volume.content_hash)) == (1, {}, [])
    old.worklist.mark("p1", "done", "nora", "all of it")
    old.submit(volume, "p1", label(spleen={3: 7}), annotator="olaf", beside={3})
    (folder / MAIN).unlink()
    check(folder, volume)
