"""The collection under kill and damage: what was acknowledged is there, bit for bit."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import count
from pathlib import Path

import pytest

from fewsam.collection import Collection
from fewsam.collection.repair import COPY, MAIN
from fewsam.core.errors import StorageError
from helpers.killed_children import killed
from helpers.seeded_submissions import check, drawing, make_volume

# Submits until it is killed: each line is an acknowledgement, submission and seed.
SUBMITTER = """
import os, sys
from pathlib import Path
from helpers.seeded_submissions import drawing, make_volume
from fewsam.collection import Collection

def work(line):
    collection, volume, seed = Collection(Path(sys.argv[1]), accept_new=True), make_volume(), 1000 * int(line)
    while True:
        seed += 1
        receipt = collection.submit(volume, "p1", drawing(seed))
        os.write(1, f"{receipt.submission} {seed}\\n".encode())
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="kills forked children")
def test_kill_in_the_middle_of_submissions(folder: Path) -> None:
    acknowledged: dict[int, int] = {}
    rng = random.Random(0)

    def delays() -> Iterator[float]:
        """Of twenty children, and of more where a slow machine acknowledges little before each kill."""
        for number in count():
            if number >= 20 and len(acknowledged) > 20:
                return
            yield rng.uniform(0.0, 0.3)

    for lines in killed(SUBMITTER, [str(folder)], delays()):
        for line in lines:
            submission, seed = line.split()
            acknowledged[int(submission)] = int(seed)
        collection = Collection(folder, accept_new=True)
        assert collection.notices == (), "a kill is no damage"
    check(collection, acknowledged)
    assert collection.submit(make_volume(), "p1", drawing(1)).submission > max(acknowledged)


def garble(path: Path) -> None:
    data = bytearray(path.read_bytes())
    for start in range(4096, len(data), 8192):
        data[start : start + 64] = os.urandom(64)
    path.write_bytes(data)


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def overwrite(path: Path) -> None:
    path.write_bytes(b"not a database at all, " * 1000)


def empty(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize("damage", [garble, truncate, overwrite, empty, Path.unlink])
@pytest.mark.parametrize("which", [MAIN, COPY])
def test_either_file_is_mended_from_the_other(
    folder: Path, filled: dict[int, int], damage: Callable[[Path], None], which: str
) -> None:
    damage(folder / which)
    damaged = (folder / which).read_bytes() if (folder / which).exists() else b""
    collection = Collection(folder, accept_new=True)
    check(collection, filled)
    assert len(collection.shots()) == len(collection.labelled_slices("p1")) > 0
    assert collection.classes == ("liver", "spleen")
    if damaged:
        assert any(path.read_bytes() == damaged for path in folder.glob("*.damaged-*")), "the file must be kept"
        assert any("damaged-1" in notice for notice in collection.notices)
    if which == MAIN:
        assert collection.notices
    filled[collection.submit(make_volume(), "p1", drawing(99)).submission] = 99
    check(collection, filled)
    assert Collection(folder).notices == ()
    with closing(sqlite3.connect(folder / COPY)) as copy:
        assert copy.execute("SELECT COUNT(*) FROM submissions").fetchone()[0] == len(filled)


def test_with_both_files_damaged_every_readable_shot_survives(folder: Path, filled: dict[int, int]) -> None:
    with closing(sqlite3.connect(folder / MAIN)) as db:
        before = db.execute("SELECT COUNT(*) FROM shots").fetchone()[0]
        page, root = db.execute("PRAGMA page_size").fetchone()[0], "submissions_by_image"
        root_page = db.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (root,)).fetchone()[0]
    with (folder / MAIN).open("r+b") as file:
        file.seek((root_page - 1) * page)
        file.write(os.urandom(page))
    overwrite(folder / COPY)
    collection = Collection(folder)
    check(collection, filled)
    with closing(sqlite3.connect(folder / MAIN)) as db:
        assert db.execute("SELECT COUNT(*) FROM shots").fetchone()[0] == before
    assert len(collection.notices) == 2


def test_a_damaged_blob_is_left_out_and_the_rest_is_served(
    folder: Path, filled: dict[int, int], caplog: pytest.LogCaptureFixture
) -> None:
    collection = Collection(folder)
    last = collection.shots()[-1]
    with closing(sqlite3.connect(folder / MAIN)) as db:
        drawn = db.execute("SELECT drawn FROM shots WHERE id = ?", (last.shot_id,)).fetchone()[0]
        key = bytes.fromhex(drawn.split('"')[3])
        db.execute("UPDATE blobs SET data = zeroblob(20) WHERE digest = ?", (key,))
        db.commit()
    assert last.shot_id not in [shot.shot_id for shot in collection.shots()]
    assert f"shot {last.shot_id} is left out" in caplog.text
    readable = collection.shots()
    assert collection.unread(readable) == [("p1", last.slice)]
    assert ("p1", readable[0].slice) in collection.unread(readable[1:])
    assert collection.unread([*readable[:-1], last]) == [("p1", readable[-1].slice)]
    with pytest.raises(StorageError, match="damaged"):
        collection.shot(last.shot_id)


def test_a_rebuilt_file_has_no_blob_that_is_not_what_its_digest_says(
    folder: Path, filled: dict[int, int], caplog: pytest.LogCaptureFixture
) -> None:
    lost = Collection(folder).shots()[-1]
    with closing(sqlite3.connect(folder / MAIN)) as db:
        drawn = db.execute("SELECT drawn FROM shots WHERE id = ?", (lost.shot_id,)).fetchone()[0]
        key = bytes.fromhex(drawn.split('"')[3])
        db.execute("UPDATE blobs SET data = zeroblob(20) WHERE digest = ?", (key,))
        db.execute("DROP INDEX submissions_by_image")
        db.execute("PRAGMA application_id = 7")  # so that it is rebuilt
        db.commit()
    (folder / COPY).unlink()
    collection = Collection(folder)
    assert any("rebuilt with" in notice for notice in collection.notices)
    with closing(sqlite3.connect(folder / MAIN)) as db:
        assert db.execute("SELECT COUNT(*) FROM blobs WHERE digest = ?", (key,)).fetchone()[0] == 0
    assert lost.shot_id not in [shot.shot_id for shot in collection.shots()]


def test_killed_between_the_renames_of_a_repair(folder: Path, filled: dict[int, int]) -> None:
    (folder / MAIN).rename(folder / "collection.rebuilt.sqlite")
    (folder / COPY).unlink()
    collection = Collection(folder)
    check(collection, filled)
    assert "rebuilt" in collection.notices[0]


def test_a_backup_put_back_gets_what_came_after_it(folder: Path, tmp_path: Path) -> None:
    collection = Collection(folder, accept_new=True)
    submissions = {collection.submit(make_volume(), "p1", drawing(1)).submission: 1}
    shutil.copy(folder / MAIN, tmp_path / "backup")
    submissions[collection.submit(make_volume(), "p1", drawing(2)).submission] = 2
    shutil.copy(tmp_path / "backup", folder / MAIN)
    collection = Collection(folder)
    check(collection, submissions)
    assert "1 submissions were missing" in collection.notices[0]


def test_two_histories_are_both_kept(folder: Path, filled: dict[int, int], tmp_path: Path) -> None:
    other = Collection(tmp_path / "other", accept_new=True)
    other.submit(make_volume(), "p1", drawing(50))
    shutil.copy(tmp_path / "other" / COPY, folder / COPY)
    collection = Collection(folder)
    check(collection, filled)
    assert "another history" in collection.notices[0]
    with closing(sqlite3.connect(folder / f"{COPY}.damaged-1")) as db:
        assert db.execute("SELECT COUNT(*) FROM submissions").fetchone()[0] == 1


def test_a_collection_of_a_newer_fewsam_is_left_alone(folder: Path, filled: dict[int, int]) -> None:
    with closing(sqlite3.connect(folder / MAIN)) as db:
        db.execute("PRAGMA user_version = 99")
    before = (folder / MAIN).read_bytes()
    with pytest.raises(StorageError, match="newer fewsam"):
        Collection(folder)
    assert (folder / MAIN).read_bytes() == before


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError, match="file"):
        Collection(tmp_path / "file" / "collection")


def test_a_collection_removed_under_a_running_server_says_so(folder: Path, filled: dict[int, int]) -> None:
    collection = Collection(folder)
    shutil.rmtree(folder)
    with pytest.raises(StorageError, match="is gone"):
        collection.submit(make_volume(), "p1", drawing(1))
    assert not folder.exists()
