"""What goes wrong while people label in OHIF: said in the panel, and nothing that was drawn is lost.

One server and one browser for all of it, since both take long to start: each step works on slices and studies of its
own.
"""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from dicomweb_client import DICOMwebClient

from fewsam.images.dicomseg import read_seg
from fewsam.images.volume import Volume, load_volume
from fewsam.synthetic.phantom import write_dataset
from helpers.browser import need_chromium, open_browser, pictures_of, start_pacs
from helpers.highdicom_seg import write_other_seg
from helpers.person import Person
from helpers.server_harness import Server

SHAPE = (64, 50, 24)
WIDTH = 64
pytestmark = pytest.mark.timeout(900)

_EXPORT = """() => {
  const id = window.cornerstoneTools.segmentation.state.getSegmentations()
    .map(s => s.segmentationId).filter(s => s.startsWith('fewsam-')).pop();
  window.commandsManager.run('storeSegmentation', {segmentationId: id});
}"""  # what the entry "Export DICOM SEG" of OHIF's own panel runs


def test_what_goes_wrong_is_said_and_nothing_is_lost(tmp_path: Path) -> None:
    need_chromium()
    write_dataset(tmp_path / "samples", patients=2, shape=SHAPE)
    scans = tmp_path / "samples" / "dicom"
    pacs = start_pacs("embedded", tmp_path, scans)
    server = Server(tmp_path, pacs.dicomweb, {"labels": "liver,spleen", "precompute": "false"})
    pictures = pictures_of("trouble")
    ct = load_volume(scans / "ct-patient01", axis="2")
    try:
        with server, open_browser() as context:
            me, other = (Person(context.new_page(), server.url, pictures) for _ in range(2))
            me.open_study(study_of(scans / "ct-patient01"))
            nothing_drawn(me)
            two_windows(me, other, server, study_of(scans / "ct-patient01"))
            the_pacs_goes_away(me, pacs)
            another_tools_seg(me, pacs, ct, scans / "ct-patient01", tmp_path)
            ohifs_own_export(me, pacs)
            a_series_that_is_gone(other, pacs, study_of(scans / "mr-patient01"), tmp_path / "dicom" / "mr-patient01")
            assert me.errors == [] and other.errors == []
    finally:
        server.stop()
        pacs.stop()


def nothing_drawn(me: Person) -> None:
    me.wait_to_submit(0)
    me.draw("liver", 5, (20, 20))
    me.undo(np.zeros_like(me.voxels(WIDTH)))
    me.wait_to_submit(0)
    assert me.page.is_disabled("#fewsam-submit")
    assert "Nothing is drawn" in str(me.page.get_attribute("#fewsam-submit", "title"))
    me.picture("1-nothing-drawn")


def two_windows(me: Person, other: Person, server: Server, study: str) -> None:
    """Both draw on slice 8: whoever comes second is asked, and both drawings are in the history."""
    other.open_study(study)
    me.draw("liver", 8, (20, 20))
    other.draw("spleen", 8, (40, 30))
    other.draw("spleen", 12, (40, 30))
    mine, theirs = me.voxels(WIDTH), other.voxels(WIDTH)
    me.click("submit")
    me.wait_message("1 slice submitted")

    other.wait_problem("Slice 9: submitted from elsewhere since you drew on it")
    other.page.reload()  # what the first one submitted does not take the second one's draft along
    other.wait_ready()
    other.wait_message("drawn and not submitted: put back")
    assert np.array_equal(other.voxels(WIDTH), theirs)
    other.click("submit")
    other.wait_message("Nothing of yours was sent")
    other.picture("2-asked")
    assert me.counts() == {"liver": "1 / 1", "spleen": "0 / 0"}
    assert np.array_equal(other.voxels(WIDTH), theirs)

    other.click("theirs")
    other.wait_message("as it was submitted from elsewhere")
    assert np.array_equal(other.voxels(WIDTH)[8], mine[8])
    other.undo(theirs)
    other.click("submit")
    other.wait_message("2 slices submitted")
    me.wait_message("submitted from elsewhere, and shown here now")
    assert np.array_equal(me.voxels(WIDTH), theirs)
    with sqlite3.connect(next(server.data.glob("collection*.sqlite"))) as db:
        drawn = [row[0] for row in db.execute("SELECT drawn FROM shots WHERE slice = 8 ORDER BY id")]
    assert len(drawn) == 2 and "liver" in drawn[0] and "spleen" in drawn[1]


def the_pacs_goes_away(me: Person, pacs: Any) -> None:
    before = len(segs(pacs))
    me.draw("liver", 15, (20, 20))
    drawn = me.voxels(WIDTH)
    pacs.stop()
    try:
        me.click("submit")
        assert "1 slice submitted" in me.wait_message("The PACS is away")
        me.wait_problem("1 label kept here until the PACS takes them")
        me.wait_problem("does not answer")
        me.picture("3-pacs-away")
    finally:
        pacs.start()
    me.wait_problem("PACS", there=False)
    assert len(segs(pacs)) == before + 1
    assert np.array_equal(me.voxels(WIDTH), drawn)


def another_tools_seg(me: Person, pacs: Any, ct: Volume, scan: Path, folder: Path) -> None:
    """Names in another order and case, overlapping, on a flipped and cropped grid: shown here by name, and kept."""
    masks = {name: np.zeros(ct.slices.shape, bool) for name in ("Spleen", "LIVER")}
    masks["LIVER"][18, 12:24, 20:32] = masks["Spleen"][18, 18:30, 26:40] = True
    write_other_seg(folder / "seg.dcm", masks, ct, scan, rows=slice(4, 46))
    DICOMwebClient(pacs.dicomweb).store_instances([pydicom.dcmread(folder / "seg.dcm")])
    me.wait_message("Slice 19: submitted from elsewhere")
    shown = np.where(masks["Spleen"], 2, np.where(masks["LIVER"], 1, 0))
    assert np.array_equal(native(me, ct)[18], shown[18])
    counts = me.counts()

    me.draw("liver", 18, (8, 8))
    before = {str(data.SOPInstanceUID) for data in segs(pacs)}
    me.click("submit")
    assert "overlap on slice 19 were kept" in me.wait_message("overlap")
    [latest] = [data for data in segs(pacs) if str(data.SOPInstanceUID) not in before]
    assert latest.SeriesDescription == "fewsam label"
    latest.save_as(folder / "latest.dcm", write_like_original=False)
    stored = read_seg(folder / "latest.dcm", ct.geometry)
    added = native(me, ct)[18] != shown[18]
    assert added.any()
    assert np.array_equal(stored["spleen"][18], masks["Spleen"][18])
    assert np.array_equal(stored["liver"][18], masks["LIVER"][18] | added)
    assert me.counts() == counts  # it was taken once
    me.picture("4-overlap")


def ohifs_own_export(me: Person, pacs: Any) -> None:
    """The viewer's own "Export DICOM SEG", of a slice that was not submitted here."""
    before = len(segs(pacs))
    me.draw("spleen", 21, (30, 30))
    me.page.evaluate(_EXPORT)
    me.page.wait_for_function(
        "[...document.querySelectorAll('#fewsam-panel .class')].find(e => e.dataset.name === 'spleen')"
        ".querySelector('.count').textContent === '4 / 4'"
    )
    me.picture("5-exported")
    [new] = [data for data in segs(pacs) if data.SeriesDescription == "OHIF export"]
    assert len(segs(pacs)) == before + 1
    assert [str(item.SegmentLabel) for item in new.SegmentSequence] == ["liver", "spleen"]
    me.click("submit")  # the very same drawing
    me.wait_message("no slice changed")


def a_series_that_is_gone(me: Person, pacs: Any, study: str, folder: Path) -> None:
    me.open_study(study)
    me.draw("liver", 10, (20, 20))
    drawn = me.voxels(WIDTH)
    pacs.stop()
    shutil.rmtree(folder)
    pacs.start()
    me.wait_message("knows no image series")
    me.click("submit")
    me.wait_message("knows no image series")
    assert np.array_equal(me.voxels(WIDTH), drawn)
    me.picture("7-series-gone")


def native(me: Person, image: Volume) -> np.ndarray:
    """Canonical slices (Z, H, W) of what the viewer shows."""
    voxels = me.voxels(WIDTH)
    return image.geometry.to_slices(voxels.transpose(2, 1, 0))


def segs(pacs: Any) -> list[pydicom.Dataset]:
    client = DICOMwebClient(pacs.dicomweb)
    return [
        data
        for entry in client.search_for_series(search_filters={"Modality": "SEG"})
        for data in client.retrieve_series(entry["0020000D"]["Value"][0], entry["0020000E"]["Value"][0])
    ]


def study_of(scan: Path) -> str:
    return str(pydicom.dcmread(scan / "slice001.dcm").StudyInstanceUID)
