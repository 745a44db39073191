"""Two windows of the panel under random sequences of what people do, against a model of what must be kept.

The panel's own modules run in Node; the server is a model of the answers that its tests pin. Nothing drawn is lost or
changes its name, and no voxel of a submitted label changes but by a submission that says so.

    FEWSAM_WINDOWS=500 python -m pytest tests/server/viewer/test_windows_fuzz.py
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from helpers.panel_windows import DEPTH, SIZE, Driver, Pixels, ServerModel, WindowModel

SEQUENCES = int(os.environ.get("FEWSAM_WINDOWS", "40"))
SILENT = 150_001  # ms after which a page that was not heard of is taken for gone
WINDOWS = st.sampled_from(["A", "B"])
SLICES = st.integers(0, DEPTH - 1)
NAMES = st.sampled_from(["liver", "lesion", "cyst", "node"])


class Windows(RuleBasedStateMachine):
    """Two windows on one series, one store of the browser, one server."""

    driver: Driver

    def __init__(self) -> None:
        super().__init__()
        self.driver("reset")
        self.server = ServerModel()
        self.server.add("liver")
        self.windows: dict[str, WindowModel] = {}
        self.pages = 0
        self.left: dict[str, tuple[bool, dict[int, Pixels]]] = {}  # drafts of pages that are gone: heard of lately
        for window in ("A", "B"):
            self._open(window)

    # -- what people do

    @rule(window=WINDOWS, k=SLICES, data=st.data())
    def draw(self, window: str, k: int, data: st.DataObject) -> None:
        known = sorted(self.windows[window].names)
        if not known:
            return
        pixels = tuple(data.draw(st.lists(st.sampled_from(["", *known]), min_size=SIZE, max_size=SIZE)))
        self.driver("draw", window=window, k=k, pixels=pixels)
        self.windows[window].draw(k, pixels)

    @rule(window=WINDOWS)
    def undo(self, window: str) -> None:
        self.driver("undo", window=window)
        self.windows[window].undo()

    @rule(window=WINDOWS)
    def redo(self, window: str) -> None:
        self.driver("redo", window=window)
        self.windows[window].redo()

    @rule(window=WINDOWS, name=NAMES)
    def add(self, window: str, name: str) -> None:
        self.server.add(name)
        self._restructured(window)

    @rule(window=WINDOWS, name=NAMES, data=st.data())
    def rename(self, window: str, name: str, data: st.DataObject) -> None:
        known = sorted(self.windows[window].names & self.server.structures.keys())
        if known and name not in self.server.structures.values():
            self.server.structures[data.draw(st.sampled_from(known))] = name
            self._restructured(window)

    @rule(window=WINDOWS, data=st.data())
    def delete(self, window: str, data: st.DataObject) -> None:
        known = sorted(self.windows[window].names & self.server.structures.keys())
        if known:
            gone = data.draw(st.sampled_from(known))
            self.server.deleted[gone] = self.server.structures.pop(gone)
            self._restructured(window)

    @rule(window=WINDOWS, pixels=st.lists(st.booleans(), min_size=DEPTH * SIZE, max_size=DEPTH * SIZE))
    def segment(self, window: str, pixels: list[bool]) -> None:
        """An answer of the model, with the labels pasted into it."""
        one = next(iter(self.server.structures), "")
        flat = [one if pixel else "" for pixel in pixels]
        self.server.answer = [tuple(flat[k * SIZE : (k + 1) * SIZE]) for k in range(DEPTH)]
        self._receive(window)

    @rule(window=WINDOWS, mine=st.booleans(), empty=st.booleans(), meanwhile=st.booleans(), k=SLICES)
    def submit(self, window: str, mine: bool, empty: bool, meanwhile: bool, k: int) -> None:
        """A submission, with what the person answers to the server's questions, and maybe a stroke while it runs."""
        me = self.windows[window]
        before = {k: label.pixels for k, label in self.server.labels.items()}
        sent = self.driver("submission", window=window)
        assert (sent is None) == (not me.hand), "what is drawn is submitted, and nothing else"
        if sent is None:
            return
        assert {int(n) for n in sent["drawn"]} == set(me.hand), "only slices that are drawn on"
        answer: dict[str, Any] = {}
        replaced, emptied = set[int](), set[int]()
        for _ in range(2 * DEPTH):
            answer = self.server.put(sent, replaced, emptied)
            if "conflict" in answer:
                if not mine:
                    break
                replaced.add(answer["conflict"])
            elif "empty" in answer:
                if not empty:
                    break
                emptied.add(answer["empty"])
            else:
                break
        if "stored" in answer:
            new = answer["stored"]
            assert new == {k: me.hand[k] for k in new}, "the label is what the window showed, by structure"
            if meanwhile:
                self.driver("draw", window=window, k=k, pixels=("",) * SIZE)
                me.draw(k, ("",) * SIZE)
            late = {k: pixels for k, pixels in me.hand.items() if pixels != new.get(k, pixels)}
            self.driver("submitted", window=window, submissions=answer["submissions"])
            me.stored(new)
            for k, pixels in late.items():
                me.put(k, pixels)
        elif "conflict" in answer:  # take theirs
            self._receive(window)
            self.driver("discard", window=window, slices=[answer["conflict"]])
            me.discard([answer["conflict"]])
        elif "empty" in answer:  # put the labels back
            self.driver("discard", window=window, slices=[answer["empty"]])
            me.discard([answer["empty"]])
        now = {k: label.pixels for k, label in self.server.labels.items()}
        changed = {k for k in now if now[k] != before.get(k)}
        assert changed <= {int(k) for k in sent["drawn"]}

    @rule(window=WINDOWS)
    def poll(self, window: str) -> None:
        """What a window does every few seconds: structures, labels of others, and saying that it is open."""
        self._restructured(window)
        self.driver("alive", window=window)

    @rule(window=WINDOWS, crash=st.booleans(), waits=st.booleans())
    def reload(self, window: str, crash: bool, waits: bool) -> None:
        self.driver("close", window=window, crash=crash)
        gone = self.windows.pop(window)
        if gone.hand:
            self.left[gone.page] = (crash, dict(gone.hand))
        if waits:
            self._wait()
        self._open(window)

    # -- what holds

    @invariant()
    def every_window_shows_what_was_drawn_in_it(self) -> None:
        for window, model in self.windows.items():
            found = self.driver("shown", window=window, submissions=self.server.submissions())
            wanted = [list(model.shown(k)) for k in range(DEPTH)]
            assert found["pixels"] == wanted, f"window {window}"
            assert found["dirty"] == sorted(model.hand), f"window {window}"

    # -- the parts of it

    def _open(self, window: str) -> None:
        self.pages += 1
        page = f"page{self.pages:04d}"
        model = WindowModel(page, [], names=set(self.server.structures))
        model.receive(self.server)
        shape = {"depth": DEPTH, "size": SIZE, "structures": self.server.listed()}
        self.driver("open", window=window, page=page, **shape, **self.server.labelmap())
        for name in sorted(self.left):
            alive, hand = self.left[name]
            if not alive and not hand.keys() & model.hand.keys():
                model.hand.update(hand)
                del self.left[name]
        self.windows[window] = model

    def _wait(self) -> None:
        """So long that pages which crashed count as gone; those that are open say that they are."""
        self.driver("wait", ms=SILENT)
        for window in self.windows:
            self.driver("alive", window=window)
        self.left = {page: (False, hand) for page, (_, hand) in self.left.items()}

    def _restructured(self, window: str) -> None:
        self.driver("structures", window=window, list=self.server.listed())
        self.windows[window].names = set(self.server.structures)
        self._receive(window)

    def _receive(self, window: str) -> None:
        self.driver("receive", window=window, **self.server.labelmap())
        self.windows[window].receive(self.server)


@pytest.fixture(scope="module")
def driver() -> Iterator[Driver]:
    driver = Driver()
    yield driver
    driver.close()


@pytest.mark.timeout(1800)
def test_two_windows_lose_and_rename_nothing(driver: Driver) -> None:
    Windows.driver = driver
    quiet = [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large]
    run_state_machine_as_test(
        Windows,
        settings=settings(max_examples=SEQUENCES, stateful_step_count=40, deadline=None, suppress_health_check=quiet),
    )
