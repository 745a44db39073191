"""The film of the loop in OHIF for the README, and its main steps as one picture, from a real server and Chromium.

    python tools/loop_film.py docs/images                      # some minutes; needs sample-data and Chromium
    python tools/loop_film.py /tmp/film --encoder compact      # quicker, to try it out

Three slices of the first sample CT are drawn with the lasso, submitted and segmented; a click corrects one slice, and
the model is trained. It segments the volume again, offers the next slice, and segments the next patient.
"""

from __future__ import annotations

import argparse
import io
import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw
from scipy import ndimage

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from helpers.person import Person
from helpers.sample_stage import EIGHT, Stage, staged
from helpers.strokes import on_screen, outlines

SCREEN = {"width": 1366, "height": 768}
BAR = 26  # pixels of a caption
MAIN = ("drawn", "segmented", "corrected", "trained")  # steps of the one picture
TILE = 800
ENCODING = 300_000  # ms
CLICKS, DEEP = 4, 1.5  # at most, and the least depth of a mistake, in pixels, that one is for
ARROW = [(0, 0), (0, 17), (4, 13), (7, 20), (10, 19), (7, 12), (12, 12)]


class Film:
    """Pictures with a caption each, and how long each is shown."""

    def __init__(self, me: Person) -> None:
        self.me = me
        self.frames: list[tuple[Image.Image, float]] = []
        self.steps: dict[str, Image.Image] = {}

    def take(self, caption: str, seconds: float = 1.6, step: str = "", at: tuple[float, float] | None = None) -> None:
        """A picture of the page, with the mouse where it is, since a screenshot has none."""
        self.me.page.wait_for_timeout(600)
        picture = Image.open(io.BytesIO(self.me.page.screenshot())).convert("RGB")
        draw = ImageDraw.Draw(picture)
        if at is not None:
            draw.polygon([(at[0] + x, at[1] + y) for x, y in ARROW], fill=(255, 255, 255), outline=(0, 0, 0))
        draw.rectangle((0, picture.height - BAR, picture.width, picture.height), fill=(12, 18, 48))
        draw.text((12, picture.height - BAR + 4), caption, fill=(230, 236, 255), font_size=16)
        self.frames.append((picture, seconds))
        if step:
            self.steps[step] = picture

    def write(self, folder: Path) -> None:
        pictures = [picture for picture, _ in self.frames]
        times = [round(1000 * seconds) for _, seconds in self.frames]
        film = folder / "ohif-loop.webp"
        options = {"save_all": True, "append_images": pictures[1:], "duration": times, "loop": 0}
        pictures[0].save(film, quality=72, method=6, **options)
        height = TILE * SCREEN["height"] // SCREEN["width"]
        strip = Image.new("RGB", (2 * TILE, 2 * height))
        for number, step in enumerate(MAIN):
            tile = self.steps[step].resize((TILE, height), Image.Resampling.LANCZOS)
            strip.paste(tile, (number % 2 * TILE, number // 2 * height))
        strip.quantize(256, dither=Image.Dither.NONE).save(folder / "ohif-loop.png", optimize=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where ohif-loop.webp and ohif-loop.png go")
    parser.add_argument("--encoder", default="medsam_lite")
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    with staged(EIGHT, conf={"encoder": given.encoder}) as (stage, context):
        me = Person(context.new_page(), stage.server.url)
        me.page.set_viewport_size(SCREEN)
        me.open_study(stage.study)
        me.page.fill("#fewsam-who", "Nora")
        me.page.keyboard.press("Enter")
        me.page.wait_for_selector("#fewsam-who", state="detached")
        film = Film(me)
        label(stage, me, film)
        correct(stage, me, film)
        learn(stage, me, film)
        film.write(given.folder)  # it is whole, whatever becomes of the next patient
        go_on(me, film)
        film.write(given.folder)


def slices_of(stage: Stage) -> tuple[int, int, int]:
    """Three slices with liver that are far apart: the last one shows the lungs too."""
    shows = np.flatnonzero(stage.truth["liver"].sum(axis=(1, 2)) > 300)
    first, middle, last = (int(shows[round(at * (len(shows) - 1))]) for at in (0.15, 0.5, 0.95))
    return first, middle, last


def label(stage: Stage, me: Person, film: Film) -> None:
    """Draw three slices; of the first one the film shows how."""
    film.take("Open a study with Few-shot segmentation", 1.8)
    first, *others = slices_of(stage)
    me.go_to(first)
    me.tool("lasso")
    me.structure("liver")
    line = on_screen(me, outlines(stage.truth["liver"][first])[0], first)
    me.page.mouse.move(*line[0])
    me.page.mouse.down()
    for n, place in enumerate(line[1:], start=1):
        me.page.mouse.move(*place)
        if n in (len(line) // 3, 2 * len(line) // 3):
            film.take("Draw round a structure with the lasso", 0.7, at=place)
    me.page.mouse.move(*line[0])
    me.page.mouse.up()
    film.take("Draw round a structure with the lasso", 1.0, at=line[0])
    stage.draw(me, first, *EIGHT[1:])
    film.take("Draw the others too", 1.4)
    for k in others:
        stage.draw(me, k, *EIGHT)
    me.wait_to_submit(3)
    film.take("Draw on three slices", 1.6, step="drawn")
    me.submit()
    me.wait_message("3 slices submitted")
    film.take("Submit: the labels are on the disk, and in the PACS as DICOM SEG", 1.8)


def correct(stage: Stage, me: Person, film: Film) -> None:
    """Segment, and correct by a few clicks the slice that is worst between the drawn ones."""
    me.click("segment")
    film.take("Segment: the encoder looks at each slice once", 1.4)
    me.wait_message("ntrained answer", seconds=600)
    k = max(range(*slices_of(stage)[::2]), key=lambda z: mistake(stage, me, z)[0])
    me.tool("include")  # and the lasso out of hand
    me.structure("liver")
    me.go_to(k)
    film.take("All slices are segmented. The strip shows the expected Dice of each slice", 2.2, step="segmented")
    for number in range(1, CLICKS + 1):
        deep, row, col, include = mistake(stage, me, k)
        if deep < DEEP and number > 1:
            break
        me.tool("include" if include else "exclude")
        at = me.screen(col, row, k)
        me.click_voxel(col, row, k)
        me.wait_message(f"{number} point")
        what = "adds what belongs to the structure" if include else "takes away what does not belong to it"
        film.take(f"Correct: a click {what}", 1.6, step="corrected", at=(at["x"], at["y"]))
    me.submit()
    me.wait_message("1 slice submitted")


def learn(stage: Stage, me: Person, film: Film) -> None:
    """Train, segment again, and go to the next slice."""
    me.click("train")
    steps = "document.querySelector('#fewsam-status').textContent.includes('step')"
    me.page.wait_for_function(steps, timeout=ENCODING)  # the labelled slices are encoded in several views first
    me.page.wait_for_timeout(6000)
    film.take("Train: about a minute on a CPU", 1.8)
    me.wait_message("is live", "not better", "failed")
    film.take("The new model is served unless it is worse on slices that were held back", 2.0)
    _, middle, last = slices_of(stage)
    me.go_to((middle + last) // 2)
    me.click("segment")
    me.wait_message("labelled slices", seconds=600)
    film.take("Segment again", 1.8, step="trained")
    me.click("next")
    me.wait_message("would teach most", "Go on in another series")
    film.take("Next slice: the one whose label should teach the model most", 2.2)


def mistake(stage: Stage, me: Person, k: int) -> tuple[float, int, int, bool]:
    """Depth, row and column of the largest mistake about the liver on slice k, and whether it is missing there."""
    truth = stage.truth["liver"]
    shown = me.voxels(truth.shape[2])[k] == 1 + EIGHT.index("liver")
    found = []
    for include, wrong in ((True, truth[k] & ~shown), (False, shown & ~truth[k])):
        deep = ndimage.distance_transform_edt(wrong)
        row, col = np.unravel_index(int(deep.argmax()), deep.shape)
        found.append((float(deep.max()), int(row), int(col), include))
    return max(found)


def go_on(me: Person, film: Film) -> None:
    """To the next patient, by the worklist, and segment there."""
    here = me.page.url
    me.page.locator("#fewsam-worklist > summary").click()
    me.page.wait_for_selector("#fewsam-studies .series:not(.on)")
    me.page.locator("#fewsam-studies").scroll_into_view_if_needed()
    film.take("The worklist leads to the next patient", 1.8)
    me.page.locator("#fewsam-studies .series:not(.on)").filter(has_text="CT").first.click()
    me.page.wait_for_url(lambda url: url != here)
    me.wait_ready()
    me.page.wait_for_selector("#fewsam-segment:enabled")
    me.click("segment")
    me.wait_message("labelled slices", seconds=600)
    me.go_to(int((me.voxels(160) > 0).sum(axis=(1, 2)).argmax()))
    film.take("The next patient, segmented at once from four labelled slices of the first", 2.6, step="next patient")


if __name__ == "__main__":
    main()
