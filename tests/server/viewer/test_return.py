"""A study of two series in OHIF: what is drawn on return to a series, before it is open again, is not lost."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.uid import generate_uid

from fewsam.synthetic.phantom import write_dataset
from helpers.browser import need_chromium, open_browser, pictures_of, start_pacs
from helpers.person import Person
from helpers.server_harness import Server

SHAPE = (64, 50, 24)
WIDTH = SHAPE[0]
pytestmark = pytest.mark.timeout(600)

# As the tests of a person read the labelmap, but of the series in the active viewport and not of the last one made.
_SLICE = """k => {
  const {viewportGridService} = window.services, {activeViewportId, viewports} = viewportGridService.getState();
  const id = 'fewsam-' + viewports.get(activeViewportId).displaySetInstanceUIDs[0];
  const ids = window.cornerstoneTools.segmentation.state.getSegmentation(id).representationData.Labelmap.imageIds;
  const slices = ids.map(i => window.cornerstone.cache.getImage(i)).map(image => {
    const p = window.cornerstone.metaData.get('imagePlaneModule', image.referencedImageId);
    return [p.imagePositionPatient[2], image.voxelManager.getScalarData()];
  }).sort((a, b) => a[0] - b[0]);
  return Array.from(slices[k][1]);
}"""
_ON_SCREEN = """number => {
  const {viewportGridService, displaySetService, cornerstoneViewportService} = window.services;
  const {activeViewportId, viewports} = viewportGridService.getState();
  const [uid] = viewports.get(activeViewportId).displaySetInstanceUIDs;
  const viewport = cornerstoneViewportService.getCornerstoneViewport(activeViewportId);
  const image = viewport.getImageIds()[0];
  const {SeriesInstanceUID, SeriesNumber} = displaySetService.getDisplaySetByUID(uid);
  return SeriesNumber === number
    && window.cornerstone.metaData.get('generalSeriesModule', image).seriesInstanceUID === SeriesInstanceUID;
}"""


def test_a_stroke_before_the_series_is_open_again_is_kept(tmp_path: Path) -> None:
    need_chromium()
    write_dataset(tmp_path / "samples", patients=1, shape=SHAPE)
    scans = tmp_path / "scans"
    shutil.copytree(tmp_path / "samples" / "dicom" / "ct-patient01", scans / "one")
    study = add_series(scans / "one", scans / "two")
    pacs = start_pacs("embedded", tmp_path, scans)
    conf = {"labels": "liver,spleen", "new_labels": "true", "precompute": "false"}
    server = Server(tmp_path, pacs.dicomweb, conf)
    try:
        with server, open_browser() as context:
            me = Person(context.new_page(), server.url, pictures_of("return"))
            me.open_study(study)
            turn_to(me, 1)
            me.draw("liver", 5, (20, 20))
            draft = pixels(me, 5)
            turn_to(me, 2)
            me.wait_to_submit(0)
            let_go = hold_back(me.page, "**/fewsam/labelmap*")
            turn_to(me, 1, opened=False)
            me.page.wait_for_selector("#fewsam-strip", state="detached")
            scroll_to(me, 8)
            me.stroke([(30 + n, 25) for n in range(6)], 8)
            stroke = pixels(me, 8)
            assert stroke.any()
            assert me.page.locator("#fewsam-strip").count() == 0
            me.picture("1-drawn-before-it-is-open")
            let_go()
            me.wait_ready()
            me.wait_to_submit(2)
            assert np.array_equal(pixels(me, 5), draft) and np.array_equal(pixels(me, 8), stroke)
            me.picture("2-kept")
            me.page.keyboard.press("Control+z")
            me.wait_to_submit(1)
            assert not pixels(me, 8).any() and np.array_equal(pixels(me, 5), draft)
            assert me.errors == []
    finally:
        server.stop()
        pacs.stop()


def add_series(folder: Path, new: Path) -> str:
    """A copy of a series in the same study, as its second one; the study's UID."""
    new.mkdir(parents=True)
    series = generate_uid()
    for path in sorted(folder.glob("*.dcm")):
        image = pydicom.dcmread(path)
        image.SeriesNumber = 1
        image.save_as(path)
        image.SeriesNumber, image.SeriesInstanceUID = 2, series
        image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        image.save_as(new / path.name)
    return str(image.StudyInstanceUID)


def turn_to(me: Person, number: int, opened: bool = True) -> None:
    """To a series of the study by a double click in the viewer's list."""
    me.page.locator('[data-cy="study-browser-thumbnail"]', has_text=f"S:{number}").dblclick()
    me.page.wait_for_function(_ON_SCREEN, arg=number)
    if opened:
        me.wait_ready()


def scroll_to(me: Person, k: int) -> None:
    """Slice k as the viewer's own wheel gets there: without the panel there is no strip."""
    show = """frame => {
      const {viewportGridService, cornerstoneViewportService} = window.services;
      const id = viewportGridService.getState().activeViewportId;
      return cornerstoneViewportService.getCornerstoneViewport(id).setImageIdIndex(frame);
    }"""
    me.page.evaluate(show, me.screen(0, 0, k)["frame"])
    assert me.shown() == k


def pixels(me: Person, k: int) -> np.ndarray:
    return np.array(me.page.evaluate(_SLICE, k), np.uint8)


def hold_back(page: Any, questions: str) -> Any:
    """The server's answers wait until the function that is returned is called."""
    waiting: list[Any] = []
    page.route(questions, lambda route: waiting.append(route))  # it takes no built-in function

    def let_go() -> None:
        for one in waiting:
            one.continue_()
        page.unroute(questions)

    return let_go
