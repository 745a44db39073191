"""The collection without room on its disk: refused whole, read all the same, and whole again afterwards."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from fewsam.collection import Collection
from fewsam.collection.repair import MAIN
from fewsam.core.errors import StorageError
from fewsam.images.volume import Volume
from helpers.seeded_submissions import check, drawing, drawn_slices, make_volume


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
    from fewsam.evaluation.reliability.disk import (  # here: the workers above shall start quickly
        NoDiskError,
        small_disk,
    )

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


def test_those_who_read_alone_on_a_full_disk_do_not_wait_for_each_other(
    folder: Path, filled: dict[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server, its background work and a training all do; two with a part of the lock each once waited a minute."""
    from fewsam.collection import database, schema

    connect = schema.connect

    def no_room_beside(path: Path, *, alone: bool = False, **options: bool) -> sqlite3.Connection:
        if not alone:
            raise sqlite3.OperationalError("disk I/O error")
        return connect(path, alone=True, **options)

    collection = Collection(folder, accept_new=True)
    monkeypatch.setattr(schema, "BUSY_SECONDS", 5.0)
    monkeypatch.setattr(database, "connect", no_room_beside)
    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(lambda _: collection.version == len(filled), range(120)))
