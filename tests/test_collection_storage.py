"""The collection under kill, damage and a full disk: what was acknowledged is there, bit for bit."""

from __future__ import annotations

import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from fewsam.collection import Collection
from fewsam.collection.repair import COPY, MAIN
from fewsam.errors import StorageError
from fewsam.volume import Volume, geometry_for

DEPTH, H, W = 12, 64, 48

# One process that has imported everything forks a child for each line it reads, which is the seed to start from. The
# child submits until it is killed: each of its lines is an acknowledgement, submission and seed.
WORKER = """
import os, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from test_collection_storage import drawing, make_volume
from fewsam.collection import Collection
for line in sys.stdin:
    child = os.fork()
    if child:
        print("child", child, flush=True)
        os.waitpid(child, 0)
        print("dead", flush=True)
        continue
    collection, volume, seed = Collection(Path(sys.argv[2]), accept_new=True), make_volume(), int(line)
    while True:
        seed += 1
        receipt = collection.submit(volume, "p1", drawing(seed))
        os.write(1, f"{receipt.submission} {seed}\\n".encode())
"""


def make_volume() -> Volume:
    slices = np.random.default_rng(0).integers(-1000, 1000, (DEPTH, H, W), dtype=np.int16)
    return Volume(slices=slices, geometry=geometry_for((W, H, DEPTH), np.eye(4), "2"), modality=None, source="v")


def drawing(seed: int) -> dict[str, np.ndarray]:
    """Three of the slices drawn at random in two classes."""
    rng = np.random.default_rng(seed)
    masks = {name: np.zeros((DEPTH, H, W), bool) for name in ("liver", "spleen")}
    for z in rng.choice(DEPTH, 3, replace=False):
        for mask in masks.values():
            mask[z] = rng.random((H, W)) < 0.3
    return masks


def drawn_slices(masks: dict[str, np.ndarray]) -> list[int]:
    return [int(z) for z in np.flatnonzero(masks["liver"].any(axis=(1, 2)))]


def check(collection: Collection, submissions: dict[int, int]) -> None:
    """Every shot of ``submissions`` (id -> seed) is in the history, bit for bit."""
    stored: dict[tuple[int, int], int] = {}
    for z in range(DEPTH):
        for entry in collection.history("p1", z):
            stored[entry["submission"], z] = entry["shot_id"]
    volume = make_volume()
    for submission, seed in submissions.items():
        masks = drawing(seed)
        for z in drawn_slices(masks):
            shot = collection.shot(stored.pop((submission, z)))
            assert np.array_equal(shot.pixels, volume.raw_slice(z))
            assert set(shot.masks) == set(masks)
            assert all(np.array_equal(mask, masks[name][z]) for name, mask in shot.masks.items())
    by_submission: dict[int, int] = {}
    for submission, _ in stored:
        by_submission[submission] = by_submission.get(submission, 0) + 1
    assert all(count == 3 for count in by_submission.values()), "a submission was stored in part"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "collection"


@pytest.fixture
def filled(folder: Path) -> dict[int, int]:
    """A collection of a few submissions: id -> seed."""
    collection = Collection(folder, accept_new=True)
    return {collection.submit(make_volume(), "p1", drawing(seed)).submission: seed for seed in range(1, 9)}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="kills forked children")
def test_kill_in_the_middle_of_submissions(folder: Path) -> None:
    acknowledged: dict[int, int] = {}
    rng = random.Random(0)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", WORKER, str(Path(__file__).parent), str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment) as worker:
        assert worker.stdin is not None and worker.stdout is not None
        for round_ in range(20):
            worker.stdin.write(f"{1000 * round_}\n")
            worker.stdin.flush()
            child = int(worker.stdout.readline().removeprefix("child "))
            time.sleep(rng.uniform(0.0, 0.3))
            os.kill(child, signal.SIGKILL)
            while (line := worker.stdout.readline()) != "dead\n":
                submission, seed = line.split()
                acknowledged[int(submission)] = int(seed)
            collection = Collection(folder, accept_new=True)
            assert collection.notices == (), "a kill is no damage"
        worker.stdin.close()
    check(collection, acknowledged)
    assert len(acknowledged) > 20
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
    with pytest.raises(StorageError, match="damaged"):
        collection.shot(last.shot_id)


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


def test_a_full_disk_refuses_the_label_whole(
    folder: Path, filled: dict[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    from fewsam.collection import database

    collection = Collection(folder, accept_new=True)
    connect = database.connect

    def nearly_full(path: Path, **options: bool) -> sqlite3.Connection:
        db = connect(path, **options)
        db.execute(f"PRAGMA max_page_count = {db.execute('PRAGMA page_count').fetchone()[0] + 1}")
        return db

    volume = make_volume()
    fresh = Volume(slices=volume.slices + np.int16(7), geometry=volume.geometry, modality=None, source="v")
    with monkeypatch.context() as patch:
        patch.setattr(database, "connect", nearly_full)
        with pytest.raises(StorageError, match="full.*nothing was stored.*free disk space"):
            collection.submit(fresh, "p2", drawing(70))
    check(collection, filled)
    assert collection.version == len(filled) and collection.shots("p2") == []
    assert collection.submit(fresh, "p2", drawing(70)).added == tuple(drawn_slices(drawing(70)))


def no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """No file of the collection may grow by a page."""
    from fewsam.collection import database, repair, schema

    def full(path: Path, **options: bool) -> sqlite3.Connection:
        db = schema.connect(path, **options)
        db.execute(f"PRAGMA max_page_count = {max(1, db.execute('PRAGMA page_count').fetchone()[0])}")
        return db

    for module in (database, repair):
        monkeypatch.setattr(module, "connect", full)


def test_what_a_full_disk_left_unchecked_is_read_and_checked_before_it_is_written(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Written unchecked, a backup would give its next label the number of one that only the copy holds."""
    collection = Collection(folder, accept_new=True)
    submissions = {collection.submit(make_volume(), "p1", drawing(1)).submission: 1}
    shutil.copy(folder / MAIN, tmp_path / "backup")
    submissions[collection.submit(make_volume(), "p1", drawing(2)).submission] = 2
    shutil.copy(tmp_path / "backup", folder / MAIN)
    with monkeypatch.context() as patch:
        no_room(patch)
        collection = Collection(folder, accept_new=True)
        assert "not checked" in collection.notices[0]
        assert collection.labelled_slices("p1") == drawn_slices(drawing(1))
        with pytest.raises(StorageError, match="free disk space"):
            collection.submit(make_volume(), "p1", drawing(3))
        with pytest.raises(StorageError, match="free disk space"):
            collection.reserve("p1", 0, "somebody", 60.0)
    submissions[collection.submit(make_volume(), "p1", drawing(3)).submission] = 3
    assert sorted(submissions) == [1, 2, 3]
    check(collection, submissions)
    assert "1 submissions were missing" in collection.notices[0]
    assert Collection(folder).notices == () and not list(folder.glob("*.damaged-*"))


@pytest.mark.parametrize("bytes_there", [None, 0])
def test_without_room_for_its_tables_a_collection_is_not_opened(
    folder: Path, monkeypatch: pytest.MonkeyPatch, bytes_there: int | None
) -> None:
    if bytes_there is not None:
        folder.mkdir()
        (folder / MAIN).write_bytes(bytes(bytes_there))
    with monkeypatch.context() as patch:
        no_room(patch)
        for _ in range(2):  # the first attempt leaves an empty file behind
            with pytest.raises(StorageError, match="free disk space"):
                Collection(folder)
    assert Collection(folder).version == 0


@pytest.mark.parametrize("killed", [False, True])
def test_on_a_full_disk_what_is_there_can_be_read(tmp_path: Path, killed: bool) -> None:
    """Readers of a log want a file of their own beside it, for which there is no room; a kill leaves a log behind."""
    from fewsam.trust.disk import NoDiskError, small_disk  # here: the workers above shall start quickly

    try:
        with small_disk(tmp_path / "disk", megabytes=4) as disk:
            Collection(disk / "c", accept_new=True).submit(make_volume(), "p1", drawing(1))
            if killed:
                code = "import os, sys; from pathlib import Path; from fewsam.collection.schema import connect\n"
                code += "db = connect(Path(sys.argv[1])); db.execute('CREATE TABLE more (x)'); os._exit(9)"
                subprocess.run([sys.executable, "-c", code, str(disk / "c" / MAIN)], check=False)
                assert (disk / "c" / f"{MAIN}-wal").stat().st_size > 0
                (disk / "c" / f"{MAIN}-shm").unlink()
            with pytest.raises(OSError, match="No space"):
                (disk / "filler").write_bytes(bytes(8 << 20))
            collection = Collection(disk / "c", accept_new=True)
            assert collection.labelled_slices("p1") == drawn_slices(drawing(1))
            check(collection, {1: 1})
            with pytest.raises(StorageError, match="free disk space"):
                collection.submit(make_volume(), "p1", drawing(2))
            (disk / "filler").unlink()
            assert collection.submit(make_volume(), "p1", drawing(2)).submission == 2
    except NoDiskError as error:
        pytest.skip(str(error))


def test_a_failing_second_copy_does_not_refuse_a_label(
    folder: Path, filled: dict[int, int], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    collection = Collection(folder)

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("fewsam.collection.database.refresh_copy", fail)
        filled[collection.submit(make_volume(), "p1", drawing(77)).submission] = 77
        assert "second copy" in caplog.text
        patch.setattr("fewsam.collection.repair.refresh_copy", fail)
        collection = Collection(folder)  # the disk is still full
        assert "behind" in collection.notices[0]
        check(collection, filled)
    Collection(folder)  # catches up
    (folder / MAIN).unlink()
    check(Collection(folder), filled)


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
