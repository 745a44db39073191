"""Nothing that a person draws in OHIF is lost, renamed, or answered wrongly: undo, structures, OHIF's own buttons.

One server and one browser for all of it, since both take long to start; each step draws on slices of its own.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import requests
from dicomweb_client import DICOMwebClient

from fewsam.synthetic.phantom import write_dataset
from helpers.browser import need_chromium, open_browser, pictures_of, start_pacs
from helpers.person import Person
from helpers.server_harness import Server

SHAPE = (64, 50, 24)
WIDTH = SHAPE[0]
ANSWERED = {"liver"}  # what the model has put on slices that nobody drew
pytestmark = pytest.mark.timeout(900)

_OURS = (
    "window.cornerstoneTools.segmentation.state.getSegmentations()"
    ".map(s => s.segmentationId).filter(s => s.startsWith('fewsam-')).pop()"
)

# Another part of the viewer fails whenever a segmentation is shown, for the next seconds.
_OTHERS_THROW = """() => {
  const {segmentationService} = window.services;
  window.thrown = 0;
  const shown = segmentationService.EVENTS.SEGMENTATION_REPRESENTATION_MODIFIED;
  const {unsubscribe} = segmentationService.subscribe(shown, () => {
    window.thrown += 1;
    throw new Error('not fewsam');
  });
  setTimeout(unsubscribe, 10000);
}"""


def test_nothing_drawn_is_lost_or_renamed(tmp_path: Path) -> None:
    need_chromium()
    write_dataset(tmp_path / "samples", patients=1, shape=SHAPE)
    scans = tmp_path / "samples" / "dicom"
    pacs = start_pacs("embedded", tmp_path, scans)
    conf = {"labels": "liver,spleen", "new_labels": "true", "precompute": "false"}
    server = Server(tmp_path, pacs.dicomweb, conf)
    study = str(pydicom.dcmread(scans / "ct-patient01" / "slice001.dcm").StudyInstanceUID)
    pictures = pictures_of("lost")
    try:
        with server, open_browser() as context:
            me, other = (Person(context.new_page(), server.url, pictures) for _ in range(2))
            me.open_study(study)
            a_name_is_asked_for_once(me, study)
            no_label_no_answer(me, server)
            undo_and_redo(me)
            a_submission_is_undone_by_a_new_drawing_alone(me)
            one_seg_for_each_state(me, pacs)
            what_the_server_has_is_no_step_of_undo(me, study)
            the_history_of_a_slice(me)
            structures_exist_at_once(me, other, study)
            a_structure_is_renamed_and_deleted(me, other)
            ohifs_own_segment_gets_a_name(me)
            the_panel_follows_ohifs_tools(me)
            ohif_takes_the_labelmap_away(me)
            points_obey_wait_and_are_undone(me)
            assert me.errors == [] and other.errors == []
    finally:
        server.stop()
        pacs.stop()


# -- undo, redo, and what is to be submitted


def a_name_is_asked_for_once(me: Person, study: str) -> None:
    me.page.fill("#fewsam-who", "Nora Þ")
    me.click("named")
    me.page.wait_for_selector("#fewsam-who", state="detached")
    me.wait_text("#fewsam-text", "Nora Þ")
    me.open_study(study)  # the browser keeps it
    me.page.wait_for_function("() => document.querySelector('#fewsam-classes .class')")
    assert me.page.locator("#fewsam-who").count() == 0


def no_label_no_answer(me: Person, server: Server) -> None:
    """Before the first label there is nothing to segment with, and nothing pretends that there was an answer."""
    assert me.page.is_disabled("#fewsam-segment")
    assert "Submit a label" in str(me.page.get_attribute("#fewsam-segment", "title"))
    series = me.page.evaluate("() => window.services.displaySetService.getActiveDisplaySets()[0].SeriesInstanceUID")
    empty = requests.post(f"{server.url}/fewsam/segment", params={"image": series}, timeout=60)
    assert empty.ok
    state = requests.get(f"{server.url}/fewsam/state", params={"image": series}, timeout=60).json()
    assert state["image"]["uncertainty"] == [] and state["curve"] == []
    me.page.reload()
    me.wait_ready()
    assert "last segmentation" not in me.message()


def undo_and_redo(me: Person) -> None:
    blank = me.voxels(WIDTH)
    me.draw("liver", 5, (20, 20))
    drawn = me.voxels(WIDTH)
    me.wait_to_submit(1)
    me.key("Control+z", blank)
    me.wait_to_submit(0)
    assert me.page.is_disabled("#fewsam-submit")
    me.key("Control+y", drawn)
    me.key("Control+z", blank)
    me.key("Control+Shift+z", drawn)
    me.wait_to_submit(1)
    me.picture("1-redone")


def a_submission_is_undone_by_a_new_drawing_alone(me: Person) -> None:
    """Three slices, Submit, Segment, undo once, Submit: one slice is asked about, and nothing else is touched."""
    for k in (6, 7):
        me.draw("liver", k, (20, 20))
    me.submit()
    me.wait_message("3 slices submitted")
    labelled = me.voxels(WIDTH)
    me.click("segment")
    me.wait_message("ntrained answer")
    me.wait_to_submit(0)
    answered = me.voxels(WIDTH)
    assert np.array_equal(answered[[5, 6, 7]], labelled[[5, 6, 7]])
    me.page.keyboard.press("Control+z")
    me.page.wait_for_function("document.querySelector('#fewsam-submit').textContent.includes('1 slice')")
    assert not me.voxels(WIDTH)[7].any()  # as it was before the last stroke
    others = np.arange(len(answered)) != 7
    assert np.array_equal(me.voxels(WIDTH)[others], answered[others])
    me.submit()
    assert "Slice 8 had a label" in me.wait_message("empty now")
    me.picture("2-asked")
    me.answer("Put the labels back")
    me.wait_voxels(answered)
    me.wait_to_submit(0)
    me.wait_count("liver", "3 / 3")


def one_seg_for_each_state(me: Person, pacs: Any) -> None:
    """What says nothing new makes no SEG in the PACS."""
    client = DICOMwebClient(pacs.dicomweb)
    before = len(client.search_for_series(search_filters={"Modality": "SEG"}))
    kept = me.voxels(WIDTH)
    me.draw("liver", 5, (40, 30))
    me.key("Control+z", kept)
    assert me.page.is_disabled("#fewsam-submit")
    assert len(client.search_for_series(search_filters={"Modality": "SEG"})) == before == 1


def what_the_server_has_is_no_step_of_undo(me: Person, study: str) -> None:
    me.open_study(study)
    opened = me.voxels(WIDTH)
    assert opened[5].any() and opened[6].any()
    me.page.keyboard.press("Control+z")
    me.wait_message("Nothing to undo")
    me.wait_to_submit(0)
    assert np.array_equal(me.voxels(WIDTH), opened)


def the_history_of_a_slice(me: Person) -> None:
    """Who, when and what; taken back, and restored."""
    labelled = me.voxels(WIDTH)
    me.draw("spleen", 5, (45, 35))
    me.submit()
    me.wait_message("1 slice submitted")
    newer = me.voxels(WIDTH)
    me.page.click("#fewsam-history summary")
    me.wait_text("#fewsam-shots", "spleen")
    rows = me.page.locator("#fewsam-shots .shot")
    assert rows.count() == 2
    assert "Nora Þ" in rows.nth(0).inner_text() and "liver" in rows.nth(1).inner_text()
    me.picture("3-history")

    rows.nth(1).get_by_role("button", name="Restore").click()
    me.wait_voxels(np.where((np.arange(len(newer)) == 5)[:, None, None], labelled, newer))
    me.wait_to_submit(1)
    me.key("Control+z", newer)

    rows.nth(0).get_by_role("button", name="Un-label").click()
    me.wait_message("has no label any more")
    me.wait_count("liver", "2 / 2")
    me.wait_text("#fewsam-shots", "label taken back")
    rows.nth(1).get_by_role("button", name="Restore").click()
    me.wait_message("Submit makes it the label again")
    me.submit()
    me.wait_message("1 slice submitted")
    me.wait_count("liver", "3 / 3")
    assert np.array_equal(me.voxels(WIDTH), newer)
    me.page.click("#fewsam-history summary")


# -- structures


def structures_exist_at_once(me: Person, other: Person, study: str) -> None:
    """Two windows add one each, and draw it; a reload before submitting changes no name."""
    other.open_study(study)
    me.add("lesion")
    other.add("cyst")
    me.wait_structures("liver", "spleen", "lesion", "cyst")
    other.wait_structures("liver", "spleen", "lesion", "cyst")
    me.draw("lesion", 10, (20, 20))
    other.draw("cyst", 11, (20, 20))
    me.page.reload()
    me.wait_ready()
    me.wait_message("put back")
    me.submit()
    me.wait_message("1 slice submitted")
    other.submit()
    other.wait_message("1 slice submitted")
    me.wait_count("cyst", "1 / 1")
    me.wait_count("lesion", "1 / 1")
    me.wait_named(WIDTH, 10, "lesion", but=ANSWERED)
    me.wait_named(WIDTH, 11, "cyst", but=ANSWERED)
    other.wait_count("lesion", "1 / 1")
    other.wait_named(WIDTH, 10, "lesion", but=ANSWERED)
    other.wait_named(WIDTH, 11, "cyst", but=ANSWERED)


def a_structure_is_renamed_and_deleted(me: Person, other: Person) -> None:
    """Its labels stay its own; what another window draws of a deleted one is kept, and asks for the name again."""
    me.rename("lesion", "tumour")
    other.wait_structures("liver", "spleen", "tumour", "cyst")
    other.wait_count("tumour", "1 / 1")
    other.wait_named(WIDTH, 10, "tumour", but=ANSWERED)
    other.draw("cyst", 12, (30, 20))
    drawn = other.voxels(WIDTH)[12]
    me.delete("cyst")
    me.answer("Delete")
    me.wait_structures("liver", "spleen", "tumour")
    me.wait_named(WIDTH, 11, but=ANSWERED)
    other.wait_structures("liver", "spleen", "tumour")
    assert np.array_equal(other.voxels(WIDTH)[12], drawn)
    other.submit()
    other.wait_message("cyst was deleted since you drew it")
    other.picture("4-deleted")
    other.add("cyst")
    other.submit()
    other.wait_message("1 slice submitted")
    other.wait_count("cyst", "2 / 2")
    me.wait_structures("liver", "spleen", "tumour", "cyst")
    me.wait_count("cyst", "2 / 2")
    me.wait_named(WIDTH, 11, "cyst", but=ANSWERED)
    me.wait_named(WIDTH, 12, "cyst", but=ANSWERED)


def ohifs_own_segment_gets_a_name(me: Person) -> None:
    me.page.evaluate(f"() => window.services.segmentationService.addSegment({_OURS})")
    me.wait_message("has no name yet")
    row = me.page.locator("#fewsam-classes input[type=text]")
    label = str(me.page.locator("#fewsam-panel .class").last.get_attribute("data-name"))
    me.draw(label, 13, (30, 20))
    me.submit()
    me.wait_message("name it in the list")
    me.picture("5-unnamed")
    row.fill("duct")
    row.press("Enter")
    me.wait_structures("liver", "spleen", "tumour", "cyst", "duct")
    me.submit()
    me.wait_message("1 slice submitted")
    me.wait_count("duct", "1 / 1")
    assert me.named(WIDTH, 13) - ANSWERED == {"duct"}


# -- OHIF's own buttons


def the_panel_follows_ohifs_tools(me: Person) -> None:
    me.tool("brush")
    me.wait_lit("brush")
    me.page.click('[data-cy="WindowLevel"]')
    me.wait_lit("brush", lit=False)
    me.page.evaluate(
        """() => {
          const {viewportGridService, toolGroupService} = window.services;
          const group = toolGroupService.getToolGroupForViewport(viewportGridService.getState().activeViewportId);
          window.commandsManager.run('setToolActiveToolbar', {toolName: 'CircularEraser', toolGroupIds: [group.id]});
        }"""
    )
    me.wait_lit("eraser")
    me.tool("brush")
    me.wait_lit("eraser", lit=False)


def ohif_takes_the_labelmap_away(me: Person) -> None:
    """By a double click on a stored segmentation, and by its own Delete."""
    me.draw("spleen", 15, (20, 20))
    drawn = me.voxels(WIDTH)
    me.page.locator('[data-cy="study-browser-thumbnail-no-image"]', has_text="SEG").first.dblclick()
    me.wait_message("as it is stored")
    assert me.page.is_disabled("#fewsam-brush")
    me.picture("6-stored")
    me.answer("Back to drawing")
    me.wait_message("goes on in the structures listed here")
    assert np.array_equal(me.voxels(WIDTH), drawn)
    me.draw("spleen", 16, (20, 20))
    drawn = me.voxels(WIDTH)
    me.page.evaluate(_OTHERS_THROW)
    me.page.evaluate(f"() => window.services.segmentationService.remove({_OURS})")
    me.wait_message("it is back, with what you drew")
    assert me.page.evaluate("window.thrown") > 0
    me.wait_to_submit(2)
    assert np.array_equal(me.voxels(WIDTH), drawn)
    me.draw("spleen", 17, (20, 20))
    me.submit()
    me.wait_message("3 slices submitted")


def points_obey_wait_and_are_undone(me: Person) -> None:
    """Clicks made while one is computed are answered in their turn; the pixel under each obeys it."""
    me.structure("liver")
    me.go_to(19)
    before = me.voxels(WIDTH)
    me.tool("include")
    for i in (20, 40):
        me.click_voxel(i, 25, 19)
    me.wait_message("2 points on slice 20")
    both = me.voxels(WIDTH)
    assert both[19, 25, 20] == both[19, 25, 40] == 1
    me.tool("exclude")
    me.page.evaluate("document.querySelector('#fewsam-text').textContent = ''")
    me.click_voxel(40, 25, 19)  # the same pixel: the person has changed their mind
    me.wait_message("2 points on slice 20")
    assert me.voxels(WIDTH)[19, 25, 40] != 1
    assert me.points() == 2
    me.key("Control+z", both)
    assert me.points() == 2
    me.page.keyboard.press("Control+z")
    me.key("Control+z", before)
    me.wait_to_submit(0)
    assert me.points() == 0
