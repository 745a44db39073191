"""OHIF's other layouts: planes that cut through the slices, where nothing is drawn, and the structures in 3D.

One server and one browser for all of it, since both take long to start.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest

from fewsam.synthetic.phantom import write_dataset
from helpers.browser import need_chromium, open_browser, pictures_of, start_pacs
from helpers.person import Person
from helpers.server_harness import Server

SHAPE = (64, 50, 16)
WIDTH, DEPTH = SHAPE[0], SHAPE[2]
SCREEN = {"width": 1366, "height": 768}
pytestmark = pytest.mark.timeout(600)

_VIEWPORT = "window.services.cornerstoneViewportService.getCornerstoneViewport"
_GRID = "window.services.viewportGridService.getState()"
_ACTIVE = f"{_VIEWPORT}({_GRID}.activeViewportId)"

# The slice on the screen by height, whatever the viewer's order.
_SLICE = """viewport => {
  const height = id => window.cornerstone.metaData.get('imagePlaneModule', id).imagePositionPatient[2];
  return viewport.getImageIds().map(height).sort((a, b) => a - b).indexOf(height(viewport.getCurrentImageId()));
}"""


def test_layouts_without_slices_draw_nothing_and_show_what_was_drawn(tmp_path: Path) -> None:
    need_chromium()
    write_dataset(tmp_path / "samples", patients=1, shape=SHAPE)
    scans = tmp_path / "samples" / "dicom"
    pacs = start_pacs("embedded", tmp_path, scans)
    server = Server(tmp_path, pacs.dicomweb, {"labels": "liver,spleen", "precompute": "false"})
    study = str(pydicom.dcmread(scans / "ct-patient01" / "slice001.dcm").StudyInstanceUID)
    try:
        with server, open_browser() as context:
            me = Person(context.new_page(), server.url, pictures_of("layouts"))
            me.page.set_viewport_size(SCREEN)
            me.open_study(study)
            for k in (4, 5, 6, 7):
                me.draw("liver", k, (20, 20))
            the_structures_in_3d(me)
            planes_through_the_slices(me)
            from_planes_to_3d_and_back(me)
            assert me.errors == []
    finally:
        server.stop()
        pacs.stop()


def the_structures_in_3d(me: Person) -> None:
    """Surfaces without the body around them, in the viewer's own viewport; then drawing goes on."""
    drawn = me.voxels(WIDTH)
    me.page.locator("#fewsam-look > summary").click()
    me.click("in3D")
    me.wait_message("No slices are shown in this layout")
    me.page.wait_for_function(
        f"() => {{ const viewport = {_ACTIVE}; const actors = viewport?.getActors() ?? []; "
        "return viewport?.type === 'volume3d'"
        " && actors.some(one => one.actor.isA('vtkActor') && one.actor.getVisibility())"
        " && actors.every(one => !one.actor.isA('vtkVolume') || !one.actor.getVisibility()); }"
    )
    me.picture("1-in-3d")
    for part in ("brush", "include", "holes", "right", "absent", "next"):
        assert me.page.is_disabled(f"#fewsam-{part}"), part
    assert me.page.locator("#fewsam-strip").count() == 0  # it stands beside slices
    assert "No slices" in str(me.page.get_attribute("#fewsam-brush", "title"))
    assert me.page.is_enabled("#fewsam-submit")
    me.answer("Back to drawing")
    me.wait_ready()
    me.wait_message("Drawing goes on")
    assert np.array_equal(me.voxels(WIDTH), drawn)
    me.page.wait_for_selector("#fewsam-brush:enabled")
    me.draw("liver", 9, (20, 20))
    assert (me.voxels(WIDTH)[9] == 1).any()


def planes_through_the_slices(me: Person) -> None:
    """In MPR strokes count on the slices alone, and the strip goes where the viewer's slider goes."""
    before = me.voxels(WIDTH)
    me.page.locator('[data-cy="Layout"]').click()
    me.page.locator('[data-cy="MPR"]').click()
    me.page.wait_for_function(
        f"() => {_GRID}.viewports.size === 3 && [...{_GRID}.viewports.keys()].every(id => {_VIEWPORT}(id))"
    )
    me.page.wait_for_function(f"() => {_VIEWPORT}('mpr-axial').element.parentElement.querySelector('#fewsam-strip')")
    for place in (3, 12):
        strip = me.page.locator("#fewsam-strip").bounding_box()
        assert strip is not None
        at = (strip["x"] + 6, strip["y"] + (place + 0.5) / DEPTH * strip["height"])
        me.page.mouse.move(*at)
        assert str(me.page.get_attribute("#fewsam-strip", "title")).startswith(f"Slice {place + 1}:")
        me.page.mouse.click(*at)
        me.page.wait_for_function(f"() => {_VIEWPORT}('mpr-axial').getSliceIndex() === {place}")
        me.wait_text("#fewsam-history > summary", f"slice {place + 1}")  # by where the image lies
    me.tool("brush")
    for view in ("mpr-coronal", "mpr-sagittal"):
        for _ in range(2):  # the first press makes the viewport active
            me.page.evaluate("document.querySelector('#fewsam-text').textContent = ''")
            press(me, view)
            me.wait_message("Nothing is drawn here: this view cuts through the slices.")
        assert me.page.evaluate(f"{_GRID}.activeViewportId") == view
    me.picture("2-planes")
    me.page.wait_for_timeout(600)  # what would be drawn would be seen by then
    assert np.array_equal(me.voxels(WIDTH), before)
    for tool in ("lasso", "scribble"):  # the panel's own
        me.tool(tool)
        press(me, "mpr-sagittal")
        me.wait_message("Nothing is drawn here")
    me.tool("brush")
    press(me, "mpr-axial")
    for _ in range(5):
        press(me, "mpr-axial")
        me.page.wait_for_timeout(600)
        if not np.array_equal(me.voxels(WIDTH), before):
            break
    changed = np.flatnonzero((me.voxels(WIDTH) != before).any(axis=(1, 2))).tolist()
    assert changed == [me.page.evaluate(f"({_SLICE})({_VIEWPORT}('mpr-axial'))")]
    gone = "!document.querySelector('#fewsam-text').textContent.includes('Nothing is drawn here')"
    me.page.wait_for_function(gone)  # it no longer holds


def from_planes_to_3d_and_back(me: Person) -> None:
    """By the viewer's own menu: surfaces replace the labelmap there, which is put back."""
    me.page.locator('[data-cy="Layout"]').click()
    me.page.locator('[data-cy="3D only"]').click()
    me.wait_message("No slices are shown in this layout")
    me.page.wait_for_function(f"() => {_ACTIVE}?.getActors().some(one => one.actor.isA('vtkActor'))")
    me.answer("Back to drawing")
    me.page.wait_for_function(
        "() => window.services.segmentationService.getSegmentationRepresentations('mpr-axial')"
        f".some(one => one.type === 'Labelmap') && {_VIEWPORT}('mpr-axial')?.element.parentElement"
        ".querySelector('#fewsam-strip')"
    )


def press(me: Person, view: str) -> None:
    """A short stroke in the middle of a viewport."""
    box: dict[str, Any] = me.page.evaluate(
        f"view => {{ const at = {_VIEWPORT}(view).element.getBoundingClientRect(); "
        "return {x: at.x + at.width / 2, y: at.y + at.height / 2}; }",
        view,
    )
    me.page.mouse.move(box["x"] - 15, box["y"])
    me.page.mouse.down()
    for n in range(6):
        me.page.mouse.move(box["x"] - 15 + 6 * n, box["y"])
        me.page.wait_for_timeout(40)
    me.page.mouse.up()
