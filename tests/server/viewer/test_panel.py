"""The panel in OHIF on a small screen: the loop by keys alone, lasso, what a slice is said to be, locks, accessibility.

One server and one browser for all of it, since both take long to start; each step works on slices of its own.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
from axe_playwright_python.sync_playwright import Axe

from fewsam.synthetic.phantom import write_dataset
from helpers.browser import need_chromium, open_browser, pictures_of, start_pacs
from helpers.person import Person
from helpers.server_harness import Server

SHAPE = (64, 50, 24)
WIDTH = SHAPE[0]
STRUCTURES = ["liver", "spleen", "kidney_right", "kidney_left", "stomach", "aorta", "vertebrae", "lungs"]
SMALL = {"width": 1366, "height": 768}
IN_A_ROUND = ["message", "below", "classes", "brush", "eraser", "lasso", "undo", "size", "holes", "interpolate",
              "include", "right", "absent", "submit", "segment", "train", "next", "skip", "back", "status"]  # fmt: skip
pytestmark = pytest.mark.timeout(600)


def test_the_panel_by_keys_on_a_small_screen(tmp_path: Path) -> None:
    need_chromium()
    write_dataset(tmp_path / "samples", patients=1, shape=SHAPE)
    scans = tmp_path / "samples" / "dicom"
    pacs = start_pacs("embedded", tmp_path, scans)
    server = Server(tmp_path, pacs.dicomweb, {"labels": ",".join(STRUCTURES), "precompute": "false"})
    study = str(pydicom.dcmread(scans / "ct-patient01" / "slice001.dcm").StudyInstanceUID)
    try:
        with server, open_browser() as context:
            me = Person(context.new_page(), server.url, pictures_of("panel"))
            me.page.set_viewport_size(SMALL)
            me.open_study(study)
            me.page.wait_for_selector("#fewsam-who")
            before = all_of_a_round_is_on_the_screen(me)
            me.page.fill("#fewsam-who", "Nora")
            me.page.keyboard.press("Enter")
            me.page.wait_for_selector("#fewsam-who", state="detached")
            assert all_of_a_round_is_on_the_screen(me) == before  # whoever answers finds everything where it was
            digits_choose_structures(me)
            lasso_and_interpolation(me)
            locked_structures_stay(me)
            the_round_by_keys(me)
            what_a_slice_is(me)
            the_sheet_of_keys(me)
            nobody_is_kept_out(me)
            assert me.errors == []
    finally:
        server.stop()
        pacs.stop()


def all_of_a_round_is_on_the_screen(me: Person) -> dict[str, float]:
    """Where each part begins, in pixels from the top."""
    places = {}
    for part in IN_A_ROUND:
        box = me.page.locator(f"#fewsam-{part}").bounding_box()
        assert box is not None and box["y"] + box["height"] <= SMALL["height"], part
        places[part] = box["y"]
    last = me.page.locator("#fewsam-panel .class").last
    assert last.get_attribute("data-name") == "lungs" and last.bounding_box()["y"] < SMALL["height"] / 2
    assert me.page.get_by_text("Confirm and Hide").count() == 0  # the viewer's notice covers nothing
    me.picture("1-open")
    return places


def digits_choose_structures(me: Person) -> None:
    """Although no tool is in hand; they are the viewer's where it shows another panel than this one."""
    window = "window.services.cornerstoneViewportService.getCornerstoneViewport"
    window = f"() => {window}(window.services.viewportGridService.getState().activeViewportId).getProperties().voiRange"
    before = me.page.evaluate(window)
    me.page.keyboard.press("3")
    me.page.wait_for_selector('.class.on[data-name="kidney_right"]')
    assert me.page.evaluate(window) == before
    me.page.locator('[data-cy^="panelSegmentation"]').first.click()
    me.page.wait_for_selector("#fewsam-panel", state="hidden")
    me.page.keyboard.press("2")
    me.page.wait_for_function(f"before => JSON.stringify(({window})()) !== JSON.stringify(before)", arg=before)
    me.page.locator('[data-cy="fewsam-btn"]').click()
    me.page.wait_for_selector("#fewsam-panel")
    assert me.page.locator(".class.on").get_attribute("data-name") == "kidney_right"
    me.page.keyboard.press("1")
    me.page.wait_for_selector('.class.on[data-name="liver"]')


def lasso_and_interpolation(me: Person) -> None:
    """Corners by clicks, an area by dragging, and the slices between by one key; one undo takes them back."""
    me.page.keyboard.press("p")
    me.wait_lit("lasso")
    me.page.keyboard.press("p")  # the same key puts it away, and takes it again
    me.wait_message("The tool is put away")
    me.page.keyboard.press("p")
    me.wait_lit("lasso")
    me.page.keyboard.press("2")
    assert me.page.locator(".class.on").get_attribute("data-name") == "spleen"
    me.page.keyboard.press("1")
    me.go_to(5)
    corners(me, 5, (20, 15, 34, 25))
    me.page.keyboard.press("Enter")
    square = expected((20, 15, 34, 25))
    me.page.wait_for_function("document.querySelector('#fewsam-submit').textContent.includes('1 slice')")
    assert np.array_equal(me.voxels(WIDTH)[5] == 1, square)
    me.go_to(9)
    drag(me, 9, (20, 15, 34, 25))
    me.wait_to_submit(2)
    assert np.array_equal(me.voxels(WIDTH)[9] == 1, square)
    before = me.voxels(WIDTH)
    me.page.keyboard.press("j")
    me.wait_to_submit(5)
    voxels = me.voxels(WIDTH)
    assert all(np.array_equal(voxels[k], voxels[5]) for k in (6, 7, 8)) and not voxels[4].any() and not voxels[10].any()
    me.picture("2-interpolated")
    me.key("Control+z", before)
    me.wait_to_submit(2)


def locked_structures_stay(me: Person) -> None:
    """Neither the viewer's brush nor the lasso takes a pixel of a locked structure."""
    before = me.voxels(WIDTH)
    row = me.page.locator('#fewsam-panel .class[data-name="liver"]')
    row.locator(".lock").click()
    me.page.wait_for_selector('.class[data-name="liver"] .lock.set')
    me.page.keyboard.press("2")
    corners(me, 9, (16, 12, 26, 20))
    me.page.keyboard.press("Enter")
    script = "before => document.querySelector('#fewsam-undo').disabled === false"
    me.page.wait_for_function(script)
    voxels = me.voxels(WIDTH)
    assert (voxels[9] == 2).any() and np.array_equal(voxels[9] == 1, before[9] == 1)
    me.draw("spleen", 9, (16, 22))
    voxels = me.voxels(WIDTH)
    assert np.array_equal(voxels[9] == 1, before[9] == 1)
    row.locator(".lock").click()
    me.undo(before)


def the_round_by_keys(me: Person) -> None:
    me.page.keyboard.press("s")
    me.wait_message("2 slices submitted")
    me.page.wait_for_selector("#fewsam-segment.main:enabled")
    me.page.keyboard.press("g")
    me.wait_message("ntrained answer")
    me.page.wait_for_selector("#fewsam-next.main:enabled")
    me.page.keyboard.press("n")
    me.wait_message("would teach most")
    me.picture("3-next")
    train_key(me)
    me.wait_text("#fewsam-train", "Stop training")
    train_key(me)
    me.wait_text("#fewsam-train", "Train")


def train_key(me: Person) -> None:
    """The panel says what came of a command while it still looks at the server, and takes no other until then."""
    me.page.wait_for_selector("#fewsam-train:enabled")
    me.page.keyboard.press("m")


def what_a_slice_is(me: Person) -> None:
    """Right as the model has it, or without the structure: both are labels once submitted, and undone before."""
    me.structure("liver")
    me.go_to(7)
    answer = me.voxels(WIDTH)
    me.page.wait_for_selector("#fewsam-right:enabled")
    me.page.keyboard.press("y")
    me.wait_message("Slice 8 is right as it is")
    me.wait_to_submit(1)
    me.key("Control+z", answer)
    me.wait_to_submit(0)
    me.page.keyboard.press("Control+y")
    me.wait_to_submit(1)
    me.go_to(6)
    me.page.keyboard.press("0")
    me.wait_message("liver is not on slice 7")
    me.go_to(20)
    me.page.keyboard.press("0")  # also where the model shows nothing
    me.wait_message("liver is not on slice 21")
    me.wait_to_submit(3)
    me.picture("4-said")
    me.submit()
    me.wait_message("3 slices submitted")
    kept = me.voxels(WIDTH)
    assert np.array_equal(kept[7], answer[7]) and not (kept[6] == 1).any()
    me.wait_count("liver", "3 / 3")
    me.go_to(7)
    me.page.wait_for_selector("#fewsam-right:disabled")
    assert "labelled" in str(me.page.get_attribute("#fewsam-right", "title"))


def the_sheet_of_keys(me: Person) -> None:
    me.page.keyboard.press("?")
    me.wait_text("#fewsam-sheet", "smooth its outline")
    me.picture("5-keys")
    me.page.keyboard.press("Escape")
    me.page.wait_for_selector("#fewsam-sheet", state="detached")


def nobody_is_kept_out(me: Person) -> None:
    """What axe-core holds against the panel: nothing serious, with everything unfolded."""
    for part in ("worklist", "look", "history"):
        me.page.locator(f"#fewsam-{part} > summary").click()
    me.page.keyboard.press("?")
    me.page.wait_for_selector("#fewsam-sheet")
    found = Axe().run(me.page, context="#fewsam-panel").response["violations"]
    serious = [
        (one["id"], one["impact"], [node["html"][:160] for node in one["nodes"]])
        for one in found
        if one["impact"] in ("serious", "critical")
    ]
    assert serious == []


def corners(me: Person, k: int, square: tuple[int, int, int, int]) -> None:
    """Click the corners of the pixels (i, j) from the first to the last two numbers."""
    for place in around(square):
        at = me.screen(*place, k)
        me.page.mouse.click(at["x"], at["y"])


def drag(me: Person, k: int, square: tuple[int, int, int, int]) -> None:
    places = [me.screen(*place, k) for place in around(square)]
    me.page.mouse.move(places[0]["x"], places[0]["y"])
    me.page.mouse.down()
    for at in [*places[1:], places[0]]:
        me.page.mouse.move(at["x"], at["y"], steps=6)
    me.page.mouse.up()


def around(square: tuple[int, int, int, int]) -> list[tuple[float, float]]:
    i0, j0, i1, j1 = square
    return [(i0 - 0.5, j0 - 0.5), (i1 + 0.5, j0 - 0.5), (i1 + 0.5, j1 + 0.5), (i0 - 0.5, j1 + 0.5)]


def expected(square: tuple[int, int, int, int]) -> np.ndarray:
    mask = np.zeros((SHAPE[1], WIDTH), bool)
    mask[square[1] : square[3] + 1, square[0] : square[2] + 1] = True
    return mask
