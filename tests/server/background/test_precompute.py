"""Encoding in the background: views of labelled slices come first, then images."""

from __future__ import annotations

import os
import threading

import numpy as np
import pytest

from fewsam.core.processes import PATIENCE
from fewsam.encoders.slices import EncoderSlices, embed_volume
from fewsam.fewshot.training import episodes
from fewsam.server.background import precompute as module
from fewsam.server.background.precompute import Precompute
from fewsam.server.tasks.index import ImageIndex
from fewsam.workspace.workspace import Workspace
from helpers import tiny_volume as tiny


def test_images_wait_while_views_are_encoded_and_views_have_the_priority_of_requests(tmp_path, monkeypatch):
    begun, go_on, images_done = threading.Event(), threading.Event(), threading.Event()
    encoded: list[str] = []
    niceness: list[int] = []

    def prepare_views(*given, **named):
        begun.set()
        assert go_on.wait(PATIENCE)
        encoded.append("views")
        niceness.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))
        return episodes.prepare_views(*given, **named)

    monkeypatch.setattr(module, "prepare_views", prepare_views)
    other, _ = tiny.write_scan(tmp_path, "other", seed=1)
    with Workspace(tiny.settings(views=1, labels=tiny.CLASSES), tmp_path / "task") as workspace:
        volume, masks = tiny.scan(tmp_path)
        workspace.collection.submit(volume, "drawn", tiny.on_slices(masks, [5]))

        class Index(ImageIndex):
            def put(self, image_id, entry):
                super().put(image_id, entry)
                encoded.append(image_id)
                images_done.set()

        precompute = Precompute(workspace, Index(tmp_path / "index"), lambda: {"other": str(other)})
        precompute.start()
        try:
            assert begun.wait(PATIENCE)
            assert not images_done.wait(0.5)
            go_on.set()
            assert images_done.wait(PATIENCE)
        finally:
            precompute.stop()
    assert encoded == ["views", "other"]
    assert niceness == [os.getpriority(os.PRIO_PROCESS, os.getpid())]


def test_the_image_opened_last_comes_first(tmp_path):
    paths = {name: str(tiny.write_scan(tmp_path, name, seed=n)[0]) for n, name in enumerate(("a", "b", "c", "d"))}
    encoded: list[str] = []
    opened = ["c"]
    with Workspace(tiny.settings(labels=tiny.CLASSES), tmp_path / "task") as workspace:

        class Index(ImageIndex):
            def put(self, image_id, entry):
                super().put(image_id, entry)
                encoded.append(image_id)
                if image_id == "c":
                    opened.append("d")

        precompute = Precompute(workspace, Index(tmp_path / "index"), lambda: paths, lambda: opened)
        assert not precompute._views_turn()  # no views are wanted
        while precompute._encode_next():
            pass
    assert encoded == ["c", "d", "a", "b"]


def test_an_image_that_is_opened_meanwhile_goes_before_the_one_that_is_encoded(tmp_path):
    paths = {name: str(tiny.write_scan(tmp_path, name, seed=n)[0]) for n, name in enumerate(("a", "b"))}
    encoded: list[str] = []
    opened: list[str] = []
    with Workspace(tiny.settings(labels=tiny.CLASSES), tmp_path / "task") as workspace:

        class Index(ImageIndex):
            def put(self, image_id, entry):
                super().put(image_id, entry)
                encoded.append(image_id)

        precompute = Precompute(workspace, Index(tmp_path / "index"), lambda: paths, lambda: opened)
        volume = workspace.volume

        def opens_b(path):
            opened.append("b")  # while a is read
            return volume(path)

        workspace.volume = opens_b  # type: ignore[method-assign]
        assert not precompute._views_turn()  # no views are wanted
        while precompute._encode_next():
            pass
    assert encoded == ["b", "a"]


def test_an_image_that_is_known_only_once_it_is_opened_goes_before_the_one_that_is_encoded(tmp_path):
    paths = {name: str(tiny.write_scan(tmp_path, name, seed=n)[0]) for n, name in enumerate(("a", "b"))}
    encoded: list[str] = []
    known, opened = {"a": paths["a"]}, ["a"]  # of a PACS the server knows what somebody opened
    with Workspace(tiny.settings(labels=tiny.CLASSES), tmp_path / "task") as workspace:

        class Index(ImageIndex):
            def put(self, image_id, entry):
                super().put(image_id, entry)
                encoded.append(image_id)

        precompute = Precompute(workspace, Index(tmp_path / "index"), lambda: known, lambda: opened)
        embed = workspace.embedder.embed

        def opens_b(*args, **kwargs):
            known["b"] = paths["b"]  # while the first slice of a is encoded
            opened.append("b")
            workspace.embedder.embed = embed  # type: ignore[method-assign]
            return embed(*args, **kwargs)

        workspace.embedder.embed = opens_b  # type: ignore[method-assign]
        assert not precompute._views_turn()  # no views are wanted
        while precompute._encode_next():
            pass
    assert encoded == ["b", "a"]
    assert precompute.progress == {"state": "done", "done": 2, "total": 2, "unit": "images"}


@pytest.mark.parametrize(
    ("first", "later", "wanted"),
    [
        (None, None, [6, 5, 7, 4, 8, 3, 9, 2, 10, 1, 11, 0]),  # from the middle: nobody said what is looked at
        (1, None, [1, 0, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]),
        (1, 10, [1, 0, 10, 9, 11, 8, 7, 6, 5, 4, 3, 2]),  # somebody scrolled while the second slice was encoded
    ],
)
def test_within_an_image_encoding_goes_outwards_from_the_slice_that_is_looked_at(tmp_path, first, later, wanted):
    path, _ = tiny.write_scan(tmp_path)  # 12 slices
    shown = {} if first is None else {"scan": first}
    encoded: list[int] = []
    with Workspace(tiny.settings(input_size=64, labels=tiny.CLASSES), tmp_path / "task") as workspace:
        slices = EncoderSlices(workspace.volume(str(path)), workspace.settings, workspace.embedder)
        numbers = {key: z for z, key in enumerate(workspace.embedder.keys(slices.inputs(slices.raw(range(12)))))}
        put = workspace.cache.put

        def note(key, embedding):
            put(key, embedding)
            encoded.append(numbers[key])
            if later is not None and len(encoded) == 2:
                shown["scan"] = later

        workspace.cache.put = note  # type: ignore[method-assign]
        index = ImageIndex(tmp_path / "index")
        precompute = Precompute(workspace, index, lambda: {"scan": str(path)}, shown=shown.get)
        assert not precompute._views_turn()  # no views are wanted
        while precompute._encode_next():
            pass
        entry = index.get("scan")
        expected = embed_volume(slices.volume, workspace.settings, workspace.embedder)
    assert encoded == wanted
    assert entry is not None and np.array_equal(entry.descriptors, expected)  # in the order of the slices
