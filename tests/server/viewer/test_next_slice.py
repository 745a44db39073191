"""Next slice, Skip and Back in OHIF; and the addresses that lead to the viewer."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import pydicom
import pytest
import requests

from fewsam.synthetic.phantom import write_dataset
from helpers.browser import need_chromium, open_browser, pictures_of, start_pacs
from helpers.person import Person
from helpers.server_harness import Server

SHAPE = (64, 50, 16)
pytestmark = pytest.mark.timeout(900)


def test_next_stays_in_the_series_and_leads_back(tmp_path: Path) -> None:
    need_chromium()
    write_dataset(tmp_path / "samples", patients=2, shape=SHAPE)
    scans = tmp_path / "samples" / "dicom"
    unshowable(scans / "ct-patient02")
    pacs = start_pacs("embedded", tmp_path, scans)
    server = Server(tmp_path, pacs.dicomweb, {"labels": "liver", "precompute": "false"})
    header = pydicom.dcmread(scans / "ct-patient01" / "slice001.dcm")
    try:
        with server, open_browser() as context:
            me = Person(context.new_page(), server.url, pictures_of("next"))
            the_address_of_the_server_leads_to_the_viewer(me)
            me.open_study(str(header.StudyInstanceUID))
            series = opened(me)
            assert series == str(header.SeriesInstanceUID)
            seen = slices_of_the_open_series(me)
            assert len(set(seen)) == 3 and opened(me) == series
            back_and_forth(me, seen)
            it_asks_before_it_leaves(
                me, series, str(pydicom.dcmread(scans / "mr-patient01" / "slice001.dcm").SeriesInstanceUID)
            )
            assert me.errors == []
    finally:
        server.stop()
        pacs.stop()


def unshowable(scan: Path) -> None:
    """Objects that the server reads as an image and that OHIF shows as none."""
    for file in scan.glob("*.dcm"):
        data = pydicom.dcmread(file)
        data.SOPClassUID = data.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.481.2"  # RT Dose
        data.save_as(file, write_like_original=False)


def the_address_of_the_server_leads_to_the_viewer(me: Person) -> None:
    answer = requests.get(me.url, timeout=60)
    assert answer.history and answer.url == f"{me.url}/ohif/" and "OHIF" in answer.text
    me.page.goto(me.url)
    me.page.wait_for_selector("text=Study List")
    cookies = {one["name"]: unquote(one["value"]) for one in me.page.context.cookies()}
    assert cookies["MONAILABEL_SERVER_URL"] == f"{me.url}/"  # of MONAI Label's own panel


def slices_of_the_open_series(me: Person) -> list[int]:
    """Next, and Skip twice: three slices; then all are skipped, as if the person had gone on."""
    press(me, "next")
    seen = [me.shown()]
    for _ in range(2):
        press(me, "skip")
        seen.append(me.shown())
    skipped = {opened(me): list(range(SHAPE[2]))}
    me.page.evaluate("all => sessionStorage.setItem('fewsam.skipped', JSON.stringify(all))", skipped)
    press(me, "skip")
    assert "not labelled" in me.message()
    return seen


def back_and_forth(me: Person, seen: list[int]) -> None:
    for k in reversed(seen[:-1]):
        me.click("back")
        me.page.wait_for_function(
            "k => document.querySelector('#fewsam-text').textContent.includes(`slice ${k + 1}.`)", arg=k
        )
        assert me.shown() == k


def it_asks_before_it_leaves(me: Person, series: str, mr: str) -> None:
    press(me, "next")
    assert "16 slices of this series are not labelled" in me.message() and opened(me) == series
    me.picture("1-asked")
    me.answer("Stay")
    assert opened(me) == series
    press(me, "next")
    me.answer("Go there")
    me.page.wait_for_url(lambda url: mr in url)  # what cannot be shown is left out
    me.wait_ready()
    me.wait_message("Another study")
    assert opened(me) == mr
    me.picture("2-elsewhere")
    me.click("back")
    me.page.wait_for_url(lambda url: series in url)
    me.wait_ready()
    assert opened(me) == series
    assert np.array_equal(me.voxels(SHAPE[0]), np.zeros_like(me.voxels(SHAPE[0])))


def press(me: Person, button: str) -> None:
    """Press a button, and wait for what the panel says of it."""
    me.page.evaluate("document.querySelector('#fewsam-text').textContent = ''")
    me.click(button)
    me.wait_message("would teach most", "not labelled")
    me.page.wait_for_function("!document.querySelector('#fewsam-next').disabled")
    me.page.wait_for_timeout(300)  # the jump is drawn


def opened(me: Person) -> Any:
    return me.page.evaluate(
        """() => {
          const {viewportGridService, displaySetService} = window.services, state = viewportGridService.getState();
          const [uid] = state.viewports.get(state.activeViewportId).displaySetInstanceUIDs;
          return displaySetService.getDisplaySetByUID(uid).SeriesInstanceUID;
        }"""
    )
