"""Pictures of the panel in OHIF in each of its states, on a small and on a large screen, and what is wrong with them.

    python tools/panel_pictures.py pictures               # all states; `make panel-pictures`
    python tools/panel_pictures.py pictures many          # those of a part: one, many, lost

It drives a real server and a real Chromium on sample-data/dicom (`make sample-data`). A picture is for a person to look
at; what a program can see is printed beside it: text that is cut off, parts of a round below the fold, and parts that
have moved since the first picture.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from helpers.person import Person
from helpers.sample_stage import EIGHT, Stage, staged
from helpers.second_reader import label_as
from helpers.strokes import lasso

TWENTY = (*EIGHT, *(f"rib_left_{n}" for n in range(1, 7)), *(f"rib_right_{n}" for n in range(1, 7)))
SIZES = {"small": {"width": 1366, "height": 768}, "large": {"width": 1920, "height": 1080}}
ROUND = ("message", "below", "classes", "brush", "lasso", "undo", "holes", "interpolate", "include", "scribble",
         "right", "submit", "segment", "train", "next", "skip", "back", "status")  # fmt: skip
STEADY = ("brush", "include", "submit", "next")
MANY = 14  # series more in the worklist

# Text that is wider than its place, but for what ends in dots on purpose and says it all in its title.
CUT = """() => [...document.querySelectorAll('button, .faint, h4, span, summary').values()]
  .filter(e => e.closest('#fewsam-panel') && e.offsetParent && !e.title && getComputedStyle(e).display !== 'inline')
  .filter(e => e.scrollWidth > e.clientWidth + 1)
  .map(e => (e.id || e.className || e.tagName) + ' is cut off: ' + e.textContent.slice(0, 50))"""
OUTSIDE = """() => { const panel = document.querySelector('#fewsam-panel'), right = panel.getBoundingClientRect().right;
  const wide = panel.scrollWidth > panel.clientWidth ? ['the panel scrolls sideways'] : [];
  return wide.concat([...panel.querySelectorAll('button, input, a')].filter(e => e.offsetParent)
    .filter(e => e.getBoundingClientRect().right > right + 1).map(e => (e.id || e.className) + ' sticks out')); }"""


class Camera:
    """Takes each picture in both sizes, and looks at the places of the panel's parts."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.places: dict[tuple[str, str], float] = {}
        folder.mkdir(parents=True, exist_ok=True)

    def take(self, me: Person, name: str, *, steady: bool = True) -> None:
        for size, window in SIZES.items():
            me.page.set_viewport_size(window)
            me.page.wait_for_timeout(700)  # the viewer fits its image to the window
            me.page.screenshot(path=str(self.folder / f"{name}-{size}.png"))
            found = [*me.page.evaluate(CUT), *me.page.evaluate(OUTSIDE), *self.misplaced(me, size, window, steady)]
            print(f"{name}-{size}: {'; '.join(found) or 'nothing found'}", flush=True)
        me.page.set_viewport_size(SIZES["small"])
        me.page.wait_for_timeout(300)

    def misplaced(self, me: Person, size: str, window: dict[str, int], steady: bool) -> Iterator[str]:
        for part in ROUND if steady else ():
            box = me.page.locator(f"#fewsam-{part}").bounding_box()
            if box is None or box["y"] + box["height"] > window["height"]:
                yield f"{part} is below the fold"
            elif part in STEADY and abs(self.places.setdefault((size, part), box["y"]) - box["y"]) > 1:
                yield f"{part} has moved by {box['y'] - self.places[size, part]:.0f} px"


def opened(stage: Stage, context: Any) -> Person:
    me = Person(context.new_page(), stage.server.url)
    me.page.set_viewport_size(SIZES["small"])
    me.open_study(stage.study)
    return me


def name(me: Person, who: str) -> None:
    me.page.fill("#fewsam-who", who)
    me.page.keyboard.press("Enter")
    me.page.wait_for_selector("#fewsam-who", state="detached")


def one(camera: Camera) -> None:
    """One person's round, from the first look to a trained model."""
    with staged(EIGHT) as (stage, context):
        me = opened(stage, context)
        camera.take(me, "01-before-anything")
        name(me, "Nora")
        camera.take(me, "02-named")
        me.tool("brush")
        me.go_to(stage.drawn[1])
        camera.take(me, "03-brush-in-hand")
        for k in stage.drawn:
            stage.draw(me, k, "liver", "spleen", "kidney_right", "vertebrae")
        me.wait_to_submit(3)
        camera.take(me, "04-drawn")
        me.submit()
        me.wait_to_submit(0)
        camera.take(me, "05-submitted")
        me.click("segment")
        me.wait_message("ntrained answer")
        me.go_to((stage.drawn[0] + stage.drawn[1]) // 2)
        camera.take(me, "06-segmented")
        judged(me)
        prompts(stage, me)
        camera.take(me, "07-prompts")
        me.submit()
        me.wait_to_submit(0)
        me.click("train")
        me.wait_text("#fewsam-status", "step")
        camera.take(me, "08-training")
        me.wait_message("is live", "not better", "failed")
        camera.take(me, "09-trained")
        emptied(stage, me, camera)
        two_readings(stage, me, camera)
        me.page.locator("#fewsam-history > summary").click()
        me.wait_text("#fewsam-shots", "Nora")
        me.page.locator("#fewsam-history").scroll_into_view_if_needed()
        camera.take(me, "11-history", steady=False)
        me.page.keyboard.press("?")
        camera.take(me, "12-keys", steady=False)
        print(me.errors)


def judged(me: Person) -> None:
    """By keys that a viewer could have too: right as it is, and absent."""
    for key, said in (("y", "is right as it is"), ("0", "is not on")):
        me.page.keyboard.press(key)
        me.wait_message(said)
        me.wait_to_submit(1)
        me.page.keyboard.press("Control+z")
        me.wait_to_submit(0)


def prompts(stage: Stage, me: Person) -> None:
    """A point of each kind, a scribble and a box, on a slice that nobody drew."""
    k = (stage.drawn[1] + stage.drawn[2]) // 2
    me.go_to(k)
    me.structure("liver")
    rows, cols = np.nonzero(stage.truth["liver"][k])
    row, col = int(np.median(rows)), int(np.median(cols))
    me.tool("include")
    me.click_voxel(col, row, k)
    me.wait_text("#fewsam-text", "1 point on")
    me.tool("exclude")
    me.click_voxel(int(cols.max()) + 4, row, k)
    me.wait_text("#fewsam-text", "2 points on")
    me.tool("scribble")
    me.stroke([(col + n, row + 6) for n in range(-8, 9, 2)], k)
    me.wait_text("#fewsam-text", "3 prompts on")
    me.tool("box")
    me.stroke([(int(cols.min()), int(rows.min())), (col, row), (int(cols.max()), int(rows.max()))], k)
    me.wait_text("#fewsam-text", "4 prompts on")


def emptied(stage: Stage, me: Person, camera: Camera) -> None:
    k = stage.drawn[1]
    me.go_to(k)
    for structure in ("liver", "spleen", "kidney_right", "vertebrae"):
        me.structure(structure)
        me.tool("lasso")
        around = np.zeros_like(stage.truth["liver"][k])
        around[2:-2, 2:-2] = True
        lasso(me, around, k, erase=True)
    me.wait_to_submit(1)
    me.submit()
    me.page.wait_for_selector("#fewsam-answers button")
    camera.take(me, "10-emptied")
    me.answer("Put the labels back")


def two_readings(stage: Stage, me: Person, camera: Camera) -> None:
    """Somebody else submits the slice that is being drawn; both labels are kept, and reviewed."""
    k = stage.drawn[2] + 2
    stage.draw(me, k, "liver")
    me.wait_to_submit(1)
    theirs = np.stack([ndimage.binary_erosion(plane, iterations=2) for plane in stage.truth["liver"]])
    label_as("Olaf", stage.server.url, stage.series, theirs, k, structures=EIGHT)
    me.submit()
    me.page.wait_for_selector("#fewsam-both")
    camera.take(me, "13-conflict", steady=False)
    me.click("both")
    me.wait_message("kept beside")
    me.page.locator("#fewsam-worklist > summary").click()
    me.wait_text("#fewsam-readings", "Olaf (in force) and Nora")
    me.click("done")
    me.page.wait_for_selector("#fewsam-accept")
    me.page.locator("#fewsam-worklist").scroll_into_view_if_needed()
    camera.take(me, "14-review-of-two-readings", steady=False)
    me.page.locator(".adopt").click()
    me.wait_message("that of Olaf stays in its history")
    me.page.fill("#fewsam-note", "The dome of the liver is missing.")
    me.click("sendback")
    me.wait_text("#fewsam-place", "sent back")
    camera.take(me, "15-sent-back", steady=False)
    me.click("done")
    me.page.wait_for_selector("#fewsam-accept:enabled")
    me.click("accept")
    me.wait_text("#fewsam-place", "accepted")
    camera.take(me, "16-accepted", steady=False)
    me.page.locator("#fewsam-worklist > summary").click()


def many(camera: Camera) -> None:
    """Many series, many structures."""
    with staged(TWENTY, MANY) as (stage, context):
        me = opened(stage, context)
        camera.take(me, "20-twenty-structures")
        name(me, "Nora")
        me.structure("kidney_left")
        camera.take(me, "21-twenty-structures-named")
        me.page.locator("#fewsam-worklist > summary").click()
        me.wait_text("#fewsam-place", "not started")
        me.page.locator("#fewsam-worklist").scroll_into_view_if_needed()
        camera.take(me, "22-worklist", steady=False)


def lost(camera: Camera) -> None:
    """The server goes away."""
    with staged(EIGHT) as (stage, context):
        me = opened(stage, context)
        name(me, "Nora")
        stage.server.stop()
        me.wait_message("does not answer")
        camera.take(me, "30-error")


PARTS = {"one": one, "many": many, "lost": lost}


def main() -> None:
    if len(sys.argv) < 2 or not set(sys.argv[2:]) <= set(PARTS):
        sys.exit(__doc__)
    camera = Camera(Path(sys.argv[1]))
    for part in sys.argv[2:] or PARTS:
        camera.places.clear()
        PARTS[part](camera)


if __name__ == "__main__":
    main()
