"""The index of the folder of images, which threads and processes write."""

from __future__ import annotations

import errno
import gzip
import json
import threading
from pathlib import Path

import numpy as np
import pytest

from fewsam.server.errors import RequestError
from fewsam.server.storage.datastore import INDEX_FILE, FolderDatastore
from helpers.server_harness import write_label


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


def test_another_image_of_a_name_is_refused_and_the_same_one_taken_again(tmp_path: Path, studies: Path) -> None:
    datastore = FolderDatastore(str(studies), watch=False, read_only=False)
    before = (studies / "a.nii.gz").read_bytes()
    again = tmp_path / "again.nii.gz"
    again.write_bytes(gzip.compress(gzip.decompress(before), compresslevel=1))  # as another program packs it
    with pytest.raises(RequestError, match="another image is called 'a'"):
        datastore.add_image("a", str(studies / "b.nii.gz"), {})
    assert (studies / "a.nii.gz").read_bytes() == before
    assert datastore.add_image("a", str(again), {}) == "a"
    assert datastore.add_image("new", str(again), {}) == "new"


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
