"""A person at the real viewer, with a mouse and a keyboard: how the tests in OHIF and the pictures work the panel."""

from __future__ import annotations

import time
from collections.abc import Set
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

POLL = 250  # ms between two looks: by default there is one a frame, and a blank page alone took 7 % of a core

# The viewport, its slices by height, and the pixel on the screen of voxel (i, j) of slice k.
_SCREEN = """([i, j, k]) => {
  const {viewportGridService, cornerstoneViewportService} = window.services;
  const viewport = cornerstoneViewportService.getCornerstoneViewport(viewportGridService.getState().activeViewportId);
  const planes = viewport.getImageIds().map(id => window.cornerstone.metaData.get('imagePlaneModule', id));
  const order = planes.map((p, n) => [p.imagePositionPatient[2], n]).sort((a, b) => a[0] - b[0]);
  const frame = order[k][1], p = planes[frame], o = Array.from(p.imagePositionPatient);
  const world = [o[0] + i * p.columnPixelSpacing, o[1] + j * p.rowPixelSpacing, o[2]];
  const [x, y] = viewport.worldToCanvas(world), box = viewport.canvas.getBoundingClientRect();
  const shown = order.findIndex(one => one[1] === viewport.getCurrentImageIdIndex());
  return {x: x + box.left, y: y + box.top, frame, shown, depth: planes.length};
}"""
_VOXELS = """() => {
  const id = window.cornerstoneTools.segmentation.state.getSegmentations()
    .map(s => s.segmentationId).filter(s => s.startsWith('fewsam-')).pop();
  const ids = window.cornerstoneTools.segmentation.state.getSegmentation(id).representationData.Labelmap.imageIds;
  const slices = ids.map(i => window.cornerstone.cache.getImage(i)).map(image => {
    const p = window.cornerstone.metaData.get('imagePlaneModule', image.referencedImageId);
    return [p.imagePositionPatient[2], image.voxelManager.getScalarData()];
  }).sort((a, b) => a[0] - b[0]);
  return slices.map(s => { let t = ''; for (const v of s[1]) t += String.fromCharCode(48 + v); return t; });
}"""

_LABELS = """values => {
  const segmentations = window.cornerstoneTools.segmentation.state.getSegmentations();
  const ours = segmentations.filter(s => s.segmentationId.startsWith('fewsam-')).pop();
  return values.map(value => ours.segments[value].label);
}"""  # names of voxel values

# Why the viewer does not show the labelmap in the viewport that is worked in, and what that viewport is.
_UNSHOWN = """async () => {
  const {segmentationService, viewportGridService, cornerstoneViewportService} = window.services;
  const viewportId = viewportGridService.getState().activeViewportId;
  const viewport = cornerstoneViewportService.getCornerstoneViewport(viewportId);
  const segmentationId = window.cornerstoneTools.segmentation.state.getSegmentations()
    .map(s => s.segmentationId).filter(s => s.startsWith('fewsam-')).pop();
  const shown = segmentationService.getSegmentationRepresentations(viewportId).map(one => one.segmentationId);
  const engines = window.cornerstone.getRenderingEngines().map(one => one.getViewports().map(v => [v.id, v.type]));
  let thrown = '';
  try {
    await segmentationService.addSegmentationRepresentation(viewportId, {segmentationId, type: 'Labelmap'});
  } catch (error) {
    thrown = error.stack;
  }
  return {viewportId, type: viewport?.type, images: viewport?.imageIds?.length, segmentationId, shown, engines, thrown};
}"""

# Chromium hands a page the last of the moves of a frame alone: without this a busy machine leaves gaps in a stroke.
_FRAME = "() => new Promise(done => requestAnimationFrame(() => setTimeout(done)))"


class Person:
    """Somebody at the viewer with a mouse.

    Args:
        page: a Playwright page.
        url: the server's.
        pictures: folder for screenshots, None for none.
    """

    def __init__(self, page: Any, url: str, pictures: Path | None = None) -> None:
        self.page, self.url, self.pictures = page, url, pictures
        self.errors: list[str] = []
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("dialog", lambda dialog: dialog.accept())

    def choose_study(self, patient: str, modality: str) -> None:
        """From the list of studies into the few-shot mode, by two clicks."""
        self.page.goto(f"{self.url}/ohif/")
        row = self.page.locator("tr", has_text=patient).filter(has_text=modality).last
        row.click()
        self.page.get_by_role("button", name="Few-shot segmentation").or_(
            self.page.get_by_text("Few-shot segmentation")
        ).first.click()
        self.wait_ready()

    def open_study(self, study: str) -> None:
        self.page.goto(f"{self.url}/ohif/fewsam?StudyInstanceUIDs={study}")
        self.wait_ready()

    def wait_ready(self) -> None:
        try:
            self.page.wait_for_selector("#fewsam-strip")
        except Exception as error:
            shown = self.page.evaluate("document.body.innerText")[:800]
            raise AssertionError(f"no series is open in the panel; the page: {shown!r}; {self.errors}") from error

    def screen(self, i: float, j: float, k: int) -> dict[str, Any]:
        return dict(self.page.evaluate(_SCREEN, [i, j, k]))

    def go_to(self, k: int) -> None:
        """To slice k, by a click on the strip along the slider."""
        at = self.screen(0, 0, k)
        box = self.page.locator("#fewsam-strip").bounding_box()
        self.page.mouse.click(box["x"] + 6, box["y"] + (at["frame"] + 0.5) / at["depth"] * box["height"])
        self.page.wait_for_function(f"({_SCREEN})([0, 0, {k}]).shown === {k}")

    def shown(self) -> int:
        """The slice on the screen."""
        return int(self.screen(0, 0, 0)["shown"])

    def structure(self, name: str) -> None:
        self.page.locator(f'#fewsam-panel .class[data-name="{name}"]').click()

    def click(self, button: str) -> None:
        self.page.click(f"#fewsam-{button}")

    def tool(self, name: str) -> None:
        button = self.page.locator(f"#fewsam-{name}")
        if "on" not in (button.get_attribute("class") or ""):
            button.click()

    def brush_size(self, radius_mm: float) -> None:
        slider = self.page.locator("#fewsam-size")
        slider.evaluate("(e, v) => { e.value = v; e.dispatchEvent(new Event('input')); }", str(radius_mm))

    def paint(self, mask: np.ndarray, k: int, spacing: float) -> None:
        """Fill a mask (H, W) on slice k with strokes of a large brush, then of smaller ones along its edge."""
        left = mask.copy()
        for radius in (6.0, 2.5, 1.2):  # pixels
            self.brush_size(radius * spacing)
            disc = np.hypot(*np.ogrid[-7:8, -7:8]) <= radius
            centres = ndimage.binary_erosion(mask, disc)
            step = max(1, int(radius * 1.3))
            grid = np.zeros_like(mask)
            grid[::step, ::step] = True
            path = [p for p in np.argwhere(centres & grid) if left[p[0], p[1]] or radius > 5]
            for row in sorted({int(p[0]) for p in path}):
                columns = [int(p[1]) for p in path if p[0] == row]
                self.stroke([(column, row) for column in columns], k)
                for column in columns:
                    left &= np.hypot(*np.ogrid[-row : mask.shape[0] - row, -column : mask.shape[1] - column]) > radius
        self.page.wait_for_timeout(300)

    def erase(self, shape: tuple[int, int], k: int, spacing: float) -> None:
        """Empty slice k with a large eraser, row after row."""
        self.brush_size(12 * spacing)
        for row in range(0, shape[0], 14):
            self.stroke([(column, row) for column in range(0, shape[1], 10)], k)

    def stroke(self, points: list[tuple[int, int]], k: int) -> None:
        """One stroke of the chosen tool through pixels (i, j) of slice k, which is shown."""
        self.page.bring_to_front()  # a page behind another one may get one move of the mouse a second
        first = self.screen(0, 0, k)
        right, down = self.screen(1, 0, k), self.screen(0, 1, k)
        places = [
            (first["x"] + i * (right["x"] - first["x"]), first["y"] + j * (down["y"] - first["y"])) for i, j in points
        ]
        self.page.mouse.move(*places[0])
        self.page.mouse.down()
        # The viewer takes a press for a possible double click until the mouse has moved a little.
        self.page.mouse.move(places[0][0] + 6, places[0][1], steps=3)
        for x, y in places:
            self.page.evaluate(_FRAME)
            self.page.mouse.move(x + 1, y)
            self.page.mouse.move(x, y)
        self.page.evaluate(_FRAME)
        self.page.mouse.up()

    def click_voxel(self, i: int, j: int, k: int) -> None:
        at = self.screen(i, j, k)
        self.page.mouse.click(at["x"], at["y"])

    def voxels(self, width: int) -> np.ndarray:
        """The labelmap that the viewer shows: (Z, H, W) uint8."""
        slices = [np.frombuffer(text.encode("latin-1"), np.uint8) - 48 for text in self.page.evaluate(_VOXELS)]
        return np.stack(slices).reshape(len(slices), -1, width)

    def draw(self, name: str, k: int, at: tuple[int, int]) -> None:
        """One short stroke of a structure around pixel ``at`` of slice k."""
        self.structure(name)
        self.go_to(k)
        self.tool("brush")
        self.brush_size(6)
        before = self.page.evaluate(_VOXELS)
        for n in range(5):  # the viewer drops a stroke that starts where the one before did
            self.stroke([(at[0] + i + n, at[1] + n) for i in range(6)], k)
            self.page.wait_for_timeout(600)  # and the panel looks at a stroke once it has ended
            if self.page.evaluate(_VOXELS) != before:
                return
        raise AssertionError(f"nothing was drawn on slice {k}: {self.message()!r}; {self.page.evaluate(_UNSHOWN)}")

    def key(self, keys: str, until: np.ndarray) -> None:
        """Press keys once, and wait until the labelmap is ``until``."""
        self.page.keyboard.press(keys)
        self.wait_voxels(until)

    def take_back(self) -> None:
        """Undo one step: it is there to be undone once the panel has looked at the stroke, and is seen to be undone."""
        self.page.wait_for_selector("#fewsam-undo:enabled", timeout=30_000)
        before = self.page.evaluate(_VOXELS)
        self.page.keyboard.press("Control+z")
        script = f"before => JSON.stringify(({_VOXELS})()) !== JSON.stringify(before)"
        self.page.wait_for_function(script, arg=before, timeout=30_000, polling=POLL)

    def undo(self, until: np.ndarray) -> None:
        """Take back step by step until the labelmap is ``until``."""
        while not np.array_equal(self.voxels(until.shape[2]), until):
            self.take_back()

    def wait_voxels(self, wanted: np.ndarray) -> None:
        text = ["".join(chr(48 + value) for value in plane.ravel()) for plane in wanted]
        script = f"wanted => JSON.stringify(({_VOXELS})()) === JSON.stringify(wanted)"
        self.page.wait_for_function(script, arg=text, timeout=30_000, polling=POLL)

    def submit(self) -> None:
        """Press Submit once it is enabled, and forget what the panel said before."""
        self.page.wait_for_selector("#fewsam-submit:enabled")
        self.page.evaluate("document.querySelector('#fewsam-text').textContent = ''")
        self.click("submit")

    def wait_to_submit(self, slices: int) -> None:
        """Wait until the panel says that so many slices are drawn and not submitted."""
        wanted = f"({slices} slice" if slices else ""
        script = (
            "wanted => { const text = document.querySelector('#fewsam-submit').textContent;"
            " return wanted ? text.includes(wanted) : !text.includes('('); }"
        )
        self.page.wait_for_function(script, arg=wanted, timeout=30_000, polling=POLL)

    def answer(self, label: str) -> None:
        """Answer the panel's question."""
        self.page.locator("#fewsam-answers").get_by_role("button", name=label).click()

    def add(self, name: str) -> None:
        self.page.fill("#fewsam-name", name)
        self.click("add")
        self.wait_count(name, "")

    def rename(self, name: str, new: str) -> None:
        row = self.page.locator(f'#fewsam-panel .class[data-name="{name}"]')
        row.hover()
        row.locator(".rename").click()
        row.locator("input[type=text]").fill(new)
        row.locator("input[type=text]").press("Enter")
        self.wait_count(new, "")

    def delete(self, name: str) -> None:
        row = self.page.locator(f'#fewsam-panel .class[data-name="{name}"]')
        row.hover()
        row.locator(".delete").click()

    def wait_structures(self, *names: str) -> None:
        """Wait until the list of structures is this one."""
        script = (
            "names => JSON.stringify([...document.querySelectorAll('#fewsam-panel .class')]"
            ".map(e => e.dataset.name)) === JSON.stringify(names)"
        )
        self.page.wait_for_function(script, arg=list(names), timeout=30_000, polling=POLL)

    def wait_count(self, name: str, count: str) -> None:
        """Wait until a structure is in the list and its numbers contain ``count``."""
        script = (
            "([name, count]) => [...document.querySelectorAll('#fewsam-panel .class')]"
            ".some(e => e.dataset.name === name && e.querySelector('.count')?.textContent.includes(count))"
        )
        self.page.wait_for_function(script, arg=[name, count], timeout=30_000, polling=POLL)

    def wait_text(self, selector: str, part: str) -> None:
        script = "([selector, part]) => document.querySelector(selector)?.textContent.includes(part)"
        self.page.wait_for_function(script, arg=[selector, part], timeout=30_000, polling=POLL)

    def wait_lit(self, tool: str, lit: bool = True) -> None:
        """Wait until the panel shows a tool as the one in hand, or no longer does."""
        script = "([tool, lit]) => document.querySelector(`#fewsam-${tool}`).classList.contains('on') === lit"
        self.page.wait_for_function(script, arg=[tool, lit], timeout=30_000, polling=POLL)

    def named(self, width: int, k: int) -> set[str]:
        """Names that the viewer gives to the segments that are drawn on slice k."""
        values = sorted(set(self.voxels(width)[k].ravel().tolist()) - {0})
        return set(self.page.evaluate(_LABELS, values))

    def wait_named(self, width: int, k: int, *names: str, but: Set[str] = frozenset()) -> None:
        """Wait until the segments that are drawn on slice k, but for those of ``but``, have these names.

        What somebody else submitted is counted in the list first, and fetched after that.
        """
        until = time.monotonic() + 30
        while (found := self.named(width, k) - but) != set(names):
            assert time.monotonic() < until, f"slice {k} holds {sorted(found)}, wanted {sorted(names)}"
            self.page.wait_for_timeout(POLL)

    def points(self) -> int:
        """Clicked points that are shown on the slice on the screen."""
        return int(self.page.locator("#fewsam-points circle").count())

    def message(self) -> str:
        return str(self.page.text_content("#fewsam-message"))  # also what is folded

    def wait_message(self, *parts: str, seconds: float = 240) -> str:
        """Wait until the panel's message holds one of ``parts``; the message."""
        wanted = " || ".join(f"text.includes({part!r})" for part in parts)
        script = (
            f"() => {{ const text = document.querySelector('#fewsam-message')?.textContent ?? ''; return {wanted}; }}"
        )
        try:
            self.page.wait_for_function(script, timeout=1000 * seconds, polling=POLL)
        except Exception as error:
            raise AssertionError(f"the panel did not say {parts}, but: {self.message()!r}; {self.errors}") from error
        return self.message()

    def wait_problem(self, part: str, there: bool = True) -> None:
        """Wait until what stands below the curve holds ``part``, or no longer holds it."""
        script = f"document.querySelector('#fewsam-problems').textContent.includes({part!r}) === {str(there).lower()}"
        self.page.wait_for_function(script, timeout=120_000, polling=POLL)

    def counts(self) -> dict[str, str]:
        """Labelled slices by structure, "here / all"."""
        rows = self.page.locator("#fewsam-panel .class")
        return {
            rows.nth(n).get_attribute("data-name"): rows.nth(n).locator(".count").inner_text()
            for n in range(rows.count())
        }

    def picture(self, name: str) -> None:
        if self.pictures is not None:
            self.pictures.mkdir(parents=True, exist_ok=True)
            self.page.screenshot(path=str(self.pictures / f"{name}.png"))
