"""A newer OHIF from a folder: found, rewritten for its address, and with the same panel in it."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pydicom
import pytest

from fewsam.core.errors import ConfigError
from fewsam.server.routes.viewer_folder import ViewerFolder, find_viewer
from fewsam.synthetic.phantom import write_dataset
from helpers.browser import need_chromium, open_browser, pictures_of, start_pacs
from helpers.person import Person
from helpers.server_harness import REPOSITORY, Server

FILES = {
    "index.html": "<script>window.PUBLIC_URL = '/';</script><script src=\"/app.bundle.1.js\"></script>"
    '<a href="https://ohif.org/x"></a><img src="//elsewhere/x">',
    "app.bundle.1.js": '__webpack_require__.p = "/";',
    "app.bundle.css": "a { background: url(/a.png) } b { background: url(data:x) }",
    "a.wasm": "url(/ as it is",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    dist = tmp_path / "node_modules" / "@ohif" / "app" / "dist"
    dist.mkdir(parents=True)
    for name, text in FILES.items():
        (dist / name).write_text(text)
    (tmp_path / "secret.txt").write_text("not the viewer's")
    return tmp_path


def test_addresses_are_rewritten(folder: Path) -> None:
    viewer = ViewerFolder(folder, "/x/ohif/")
    page, media = viewer.file("")
    assert media == "text/html" and b"PUBLIC_URL = '/x/ohif/'" in page and b'src="/x/ohif/app.bundle.1.js"' in page
    assert b'href="https://ohif.org/x"' in page and b'src="//elsewhere/x"' in page
    assert viewer.file("app.bundle.1.js")[0] == b'__webpack_require__.p = "/x/ohif/";'
    assert viewer.file("app.bundle.css")[0] == b"a { background: url(/x/ohif/a.png) } b { background: url(data:x) }"
    assert viewer.file("a.wasm") == (FILES["a.wasm"].encode(), "application/wasm")


def test_what_is_no_file_of_the_viewer_is_its_start_page(folder: Path) -> None:
    viewer = ViewerFolder(folder, "/ohif/")
    for path in ("fewsam", "a\0b", "../../../../secret.txt", str(folder / "secret.txt")):
        assert viewer.file(path) == viewer.file("")


def test_a_folder_without_a_viewer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="make viewer"):
        find_viewer(tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_panel_works_in_a_newer_viewer(tmp_path: Path) -> None:
    """Draw, undo, submit, segment, and keys; 208 MB that are not fetched for a test."""
    need_chromium()
    try:
        viewer = find_viewer(Path(os.environ.get("FEWSAM_TEST_VIEWER", REPOSITORY / "viewer")))
    except ConfigError as error:
        pytest.skip(str(error))
    write_dataset(tmp_path / "samples", patients=1, shape=(64, 50, 20))
    scan = tmp_path / "samples" / "dicom" / "ct-patient01"
    pacs = start_pacs("embedded", tmp_path, tmp_path / "samples" / "dicom")
    environment = {"FEWSAM_VIEWER": str(viewer)}
    server = Server(tmp_path, pacs.dicomweb, {"labels": "liver,spleen", "precompute": "false"}, environment)
    pictures = pictures_of("newer")
    try:
        with server, open_browser() as context:
            me = Person(context.new_page(), server.url, pictures)
            me.open_study(str(pydicom.dcmread(scan / "slice001.dcm").StudyInstanceUID))
            me.picture("1-open")
            me.structure("liver")
            me.tool("brush")
            for k in (6, 12):
                me.go_to(k)
                me.paint(np.hypot(*np.ogrid[-25:25, -20:44]) < 9, k, 6.0)
            drawn = me.voxels(64)
            assert set(np.flatnonzero(drawn.any(axis=(1, 2)))) == {6, 12}
            me.picture("2-drawn")
            me.take_back()
            # On a busy machine the strokes of a whole slice may be one step: it is drawn again, whatever is left of it.
            me.paint(np.hypot(*np.ogrid[-25:25, -20:44]) < 9, 12, 6.0)
            drawn = me.voxels(64)
            me.click("submit")
            me.wait_message("slices submitted", "slice submitted")
            me.click("segment")
            me.wait_message("ntrained answer")
            shown = me.voxels(64)
            assert np.array_equal(shown[[6, 12]], drawn[[6, 12]]) and (shown > 0).sum() > (drawn > 0).sum()
            me.picture("3-segmented")
            keys_are_the_panels(me, shown)
            assert me.errors == []
    finally:
        server.stop()
        pacs.stop()


def keys_are_the_panels(me: Person, shown: np.ndarray) -> None:
    """Right, absent, next and include do what the sheet of keys says; this viewer has N and A for something else."""
    me.go_to(9)
    me.page.wait_for_selector("#fewsam-right:enabled")
    for key, said in (("y", "is right as it is"), ("0", "liver is not on slice")):
        me.page.keyboard.press(key)
        me.wait_message(said)
        me.wait_to_submit(1)
        me.key("Control+z", shown)
        me.wait_to_submit(0)
    segments = "Object.keys(window.cornerstoneTools.segmentation.state.getSegmentations().at(-1).segments).length"
    before = me.page.evaluate(segments)
    me.page.keyboard.press("a")
    me.wait_lit("include")
    assert me.page.evaluate(segments) == before  # no new segment of the viewer's
    me.page.keyboard.press("n")
    me.wait_message("would teach most")
    me.page.keyboard.press("?")
    me.wait_text("#fewsam-sheet", "this slice is right")
