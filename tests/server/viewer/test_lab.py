"""A lab with a key, in OHIF: log in once, draw under one's name, mark a series as done, have it sent back, download it.

One server and one browser for all of it, since both take long to start.
"""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest
import requests
from scipy import ndimage

from fewsam.server.guard import api_key
from fewsam.synthetic.phantom import write_dataset
from helpers.browser import need_chromium, open_browser, pictures_of, start_pacs
from helpers.person import Person
from helpers.second_reader import label_as
from helpers.server_harness import Server

KEY = "correct-horse-battery-staple"
SHAPE = (64, 50, 16)
READ_TWICE = 10  # a slice that two people draw
pytestmark = pytest.mark.timeout(900)


def test_a_series_from_the_log_in_to_the_file(tmp_path: Path) -> None:
    need_chromium()
    write_dataset(tmp_path / "samples", patients=2, shape=SHAPE)
    scans = tmp_path / "samples" / "dicom"
    pacs = start_pacs("embedded", tmp_path, scans)
    server = Server(tmp_path, pacs.dicomweb, {"labels": "liver", "precompute": "false"}, {api_key.VARIABLE: KEY})
    head = pydicom.dcmread(scans / "ct-patient01" / "slice001.dcm")
    try:
        with server, open_browser(accept_downloads=True) as context:
            nora = Person(context.new_page(), server.url, pictures_of("lab"))
            logs_in(nora, str(head.StudyInstanceUID))
            nora.draw("liver", 5, (20, 20))
            nora.submit()
            nora.wait_to_submit(0)
            prompts_obey_hang_together_and_are_undone(nora)
            two_people_draw_one_slice(nora, str(head.SeriesInstanceUID))
            the_worklist_knows_it(nora)
            a_reviewer_puts_the_second_reading_in_force(nora)
            it_is_done_sent_back_and_accepted(nora)
            the_result_is_what_was_drawn(nora, tmp_path)
            the_worklist_leads_to_another_series(nora)
            assert nora.errors == []
            said = requests.get(
                f"{server.url}/fewsam/history",
                params={"image": str(head.SeriesInstanceUID), "slice": 5},
                headers={"X-API-Key": KEY},
                timeout=60,
            ).json()
            assert [one["annotator"] for one in said] == ["Nora"]
    finally:
        server.stop()
        pacs.stop()


def logs_in(nora: Person, study: str) -> None:
    nora.page.goto(f"{nora.url}/ohif/fewsam?StudyInstanceUIDs={study}")
    nora.page.wait_for_selector("input[name=key]")
    nora.page.fill("input[name=name]", "Nora")
    nora.page.fill("input[name=key]", "a wrong key")
    nora.page.click("button")
    nora.page.wait_for_selector("[role=alert]")
    nora.picture("1-log-in")
    nora.page.fill("input[name=key]", KEY)
    nora.page.click("button")
    nora.wait_ready()  # the page that was asked for
    assert nora.page.locator("#fewsam-who").count() == 0  # the name is known


def prompts_obey_hang_together_and_are_undone(nora: Person) -> None:
    """On a slice that nobody drew; the slice beside it is labelled."""
    k, row = 6, 22
    nora.go_to(k)
    before = nora.voxels(SHAPE[0])
    nora.tool("scribble")
    nora.stroke([(i, row) for i in range(18, 27)], k)
    nora.wait_text("#fewsam-text", "1 prompt on")
    scribbled = nora.voxels(SHAPE[0])
    assert (scribbled[k, row, 19:26] == 1).all()
    parts = ndimage.label((scribbled[k] == 1) & (before[k] != 1), np.ones((3, 3)))[1]
    assert parts == 1
    assert np.array_equal(np.delete(scribbled, k, 0), np.delete(before, k, 0))  # not in 3D: this slice alone
    nora.click("propagate")
    nora.tool("box")
    nora.stroke([(15, 16), (20, 22), (30, 28)], k)
    nora.wait_text("#fewsam-text", "2 prompts on")
    nora.picture("2-prompts")
    assert np.array_equal(nora.voxels(SHAPE[0])[5], before[5])  # it is labelled
    boxed = nora.voxels(SHAPE[0])
    line = int((boxed[k, :, 17:28] == 1).sum(axis=1).argmax())
    assert (boxed[k, line, 17:28] == 1).any()
    nora.tool("scribble")
    nora.page.keyboard.down("Alt")  # which excludes
    nora.stroke([(i, line) for i in range(17, 28)], k)
    nora.page.keyboard.up("Alt")
    nora.wait_text("#fewsam-text", "3 prompts on")
    assert not (nora.voxels(SHAPE[0])[k, line, 18:27] == 1).any()
    nora.take_back()
    nora.wait_voxels(boxed)
    nora.take_back()
    nora.wait_voxels(scribbled)
    nora.take_back()
    nora.wait_voxels(before)
    nora.tool("brush")
    nora.wait_to_submit(0)


def two_people_draw_one_slice(nora: Person, series: str) -> None:
    """Olaf is faster. Nora keeps both: his stays the label, and hers is kept beside it."""
    nora.draw("liver", READ_TWICE, (24, 24))
    mine = nora.voxels(SHAPE[0])
    his = np.zeros(mine.shape, bool)
    his[READ_TWICE] = ndimage.binary_dilation(mine[READ_TWICE] == 1, iterations=2)
    label_as("Olaf", nora.url, series, his, READ_TWICE, {"X-API-Key": KEY})
    nora.submit()
    nora.page.wait_for_selector("#fewsam-both")
    assert "by Olaf" in nora.message()
    nora.picture("2-conflict")
    nora.click("both")
    nora.wait_message("kept beside the label")
    nora.wait_voxels(np.where(np.arange(SHAPE[2])[:, None, None] == READ_TWICE, his, mine))


def a_reviewer_puts_the_second_reading_in_force(nora: Person) -> None:
    his = nora.voxels(SHAPE[0])
    nora.wait_text("#fewsam-readings", "Olaf (in force) and Nora")
    nora.page.locator(".reading").get_by_role("button", name="Show").click()
    nora.wait_message("as Nora drew it")
    hers = nora.voxels(SHAPE[0])
    assert 0 < (hers[READ_TWICE] == 1).sum() < (his[READ_TWICE] == 1).sum()
    nora.take_back()
    nora.wait_voxels(his)
    nora.page.locator(".adopt").scroll_into_view_if_needed()
    nora.picture("3-two-readings")
    nora.page.locator(".adopt").click()
    nora.wait_message("that of Olaf stays in its history")
    nora.wait_voxels(hers)
    nora.wait_to_submit(0)
    nora.page.wait_for_selector("#fewsam-readings", state="detached")


def the_worklist_knows_it(nora: Person) -> None:
    nora.page.locator("#fewsam-worklist summary").click()
    nora.wait_text("#fewsam-place", "in progress")
    nora.wait_text("#fewsam-worklist", "You are Nora")
    assert nora.page.locator("#fewsam-studies .series").count() == 3
    nora.wait_text("#fewsam-studies .series.on", "Nora")  # she has it open
    nora.page.locator("#fewsam-worklist").scroll_into_view_if_needed()
    nora.picture("3-in-progress")


def it_is_done_sent_back_and_accepted(nora: Person) -> None:
    nora.click("done")
    nora.wait_text("#fewsam-place", "done")
    nora.wait_text("#fewsam-worklist summary", "1 of 3 series done")
    nora.click("sendback")  # without a word nobody knows what to mend
    nora.wait_text("#fewsam-text", "what is to be mended")
    nora.page.fill("#fewsam-note", "The dome is missing.")
    nora.click("sendback")
    nora.wait_text("#fewsam-place", "The dome is missing.")
    nora.picture("4-sent-back")
    nora.click("done")
    nora.wait_text("#fewsam-place", "done")
    nora.click("accept")
    nora.wait_text("#fewsam-place", "accepted")
    nora.picture("5-accepted")


def the_result_is_what_was_drawn(nora: Person, folder: Path) -> None:
    with nora.page.expect_download() as coming:
        nora.page.locator("#fewsam-results a", has_text="NIfTI").click()
    file = folder / coming.value.suggested_filename
    coming.value.save_as(file)
    drawn = nora.voxels(SHAPE[0])
    assert file.name.endswith("-fewsam.nii.gz")
    assert int((np.asarray(nib.load(file).dataobj) == 1).sum()) == int((drawn == 1).sum()) > 0


def the_worklist_leads_to_another_series(nora: Person) -> None:
    here = nora.page.url
    nora.page.locator("#fewsam-studies .series:not(.on)").first.click()
    nora.page.wait_for_url(lambda url: url != here)
    nora.wait_ready()
    nora.page.locator("#fewsam-worklist summary").click()
    nora.wait_text("#fewsam-place", "not started")
