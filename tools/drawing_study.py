"""How long the liver of a CT takes to draw, with the brush alone and with the panel's lasso and interpolation.

    python tools/drawing_study.py --out docs/results/drawing.md      # `make drawing`; needs sample-data and Chromium

A real mouse draws in a real OHIF along the outline of the truth; every path is measured in pixels of the screen, and
minutes are computed from `Pace`. Nothing is timed: a machine's hand is as quick as the machine.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from fewsam.core.metrics import dice
from helpers.person import Person
from helpers.strokes import lasso, on_screen, outlines, spaced

if TYPE_CHECKING:
    from helpers.sample_stage import Stage

SCREEN = {"width": 1366, "height": 768}
COUNTED = "brush on five, counted"
BRUSH, LASSO_5, LASSO_3 = WAYS = (
    "brush on five",
    "lasso on five, interpolation",
    "lasso on three, interpolation",
)
RADII = (6.0, 2.5, 1.2)  # of the brush, in pixels of the image: the inside, the edge, the corners
Path2D = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Pace:
    """How fast a person is: assumptions, not measurements."""

    edge: float = 200.0  # pixels of the screen a second, along an edge that has to be met
    inside: float = 400.0  # where nothing has to be met
    stroke: float = 0.8  # seconds to the beginning of a stroke, and to press
    act: float = 0.5  # seconds for a key, a button, or another slice


@dataclass
class Work:
    """What a hand did."""

    edge: float = 0.0  # pixels of the screen
    inside: float = 0.0
    strokes: int = 0
    acts: int = 0

    def stroke(self, path: Path2D, along_edge: bool = True) -> None:
        length = sum(float(np.hypot(x2 - x1, y2 - y1)) for (x1, y1), (x2, y2) in pairwise(path))
        if along_edge:
            self.edge += length
        else:
            self.inside += length
        self.strokes += 1

    def minutes(self, pace: Pace) -> float:
        moving = self.edge / pace.edge + self.inside / pace.inside
        return (moving + self.strokes * pace.stroke + self.acts * pace.act) / 60


def brush_strokes(mask: np.ndarray) -> list[tuple[float, Path2D, bool]]:
    """How a person fills a mask (H, W) with brushes: radius, places (i, j), and whether it follows an edge.

    The large brush goes round the inside and then to and fro in it; smaller ones go along what is left at the edge.
    """
    left, strokes = mask.copy(), []
    for radius in RADII:
        reach = int(np.ceil(radius))
        disc = np.hypot(*np.ogrid[-reach : reach + 1, -reach : reach + 1]) <= radius
        centres = ndimage.binary_erosion(mask, disc)
        paths: list[tuple[Path2D, bool]] = []
        for line in outlines(centres, step=1.0):
            paths += [(part, True) for part in _needed([*line, line[0]], left, radius)]
        if radius == RADII[0]:
            covered = _covered([place for path, _ in paths for place in path], mask.shape, radius)
            paths += [(path, False) for path in _to_and_fro(centres & ~covered, radius)]
        for path, along_edge in paths:
            strokes.append((radius, path, along_edge))
            left &= ~_covered(path, mask.shape, radius)
    return strokes


def _needed(line: Path2D, left: np.ndarray, radius: float) -> list[Path2D]:
    """Parts of a line from which a brush reaches something that is left."""
    distance = ndimage.distance_transform_edt(~left) if left.any() else np.full(left.shape, np.inf)
    parts: list[list[tuple[float, float]]] = [[]]
    for i, j in line:
        at = min(max(round(j), 0), left.shape[0] - 1), min(max(round(i), 0), left.shape[1] - 1)
        if distance[at] <= radius:
            parts[-1].append((i, j))
        elif parts[-1]:
            parts.append([])
    return [part for part in parts if len(part) > 1]


def _to_and_fro(area: np.ndarray, radius: float) -> list[Path2D]:
    """One stroke through each part of an area, row after row."""
    labels, count = ndimage.label(area)
    found: list[Path2D] = []
    for part in range(1, count + 1):
        path: list[tuple[float, float]] = []
        rows = np.flatnonzero((labels == part).any(axis=1))
        for n, row in enumerate(rows[:: max(1, int(1.6 * radius))]):
            columns = np.flatnonzero(labels[row] == part)
            path += [(float(i), float(row)) for i in (columns[[0, -1]] if n % 2 == 0 else columns[[-1, 0]])]
        found.append(path)
    return found


def _covered(path: Path2D, shape: tuple[int, ...], radius: float) -> np.ndarray:
    """(H, W) what a brush paints along a path."""
    free = np.ones(shape, bool)
    for (i1, j1), (i2, j2) in pairwise(path):
        for share in np.linspace(0, 1, max(2, int(2 * np.hypot(i2 - i1, j2 - j1)))):
            i, j = i1 + share * (i2 - i1), j1 + share * (j2 - j1)
            if 0 <= round(j) < shape[0] and 0 <= round(i) < shape[1]:
                free[round(j), round(i)] = False
    return ndimage.distance_transform_edt(free) <= radius


def five_of(truth: np.ndarray) -> list[int]:
    """Five slices at equal distances from the first to the last one that shows enough of a structure (Z, H, W)."""
    shows = np.flatnonzero(truth.sum(axis=(1, 2)) > 200)
    return [int(shows[round(at)]) for at in np.linspace(0, len(shows) - 1, 5)]


def counted_brush(truth: np.ndarray, scale: float) -> dict[str, Any]:
    """The brush without a browser: its strokes are counted, and discs along them are what it paints.

    Args:
        scale: pixels of the screen for one of the image.
    """
    work, five = Work(acts=1), five_of(truth)
    shown = np.zeros_like(truth)
    for k in five:
        strokes = brush_strokes(truth[k])
        for radius, path, along_edge in strokes:
            work.stroke([(i * scale, j * scale) for i, j in path], along_edge)
            shown[k] |= _covered(path, truth[k].shape, radius)
        radii = [radius for radius, *_ in strokes]
        work.acts += 1 + sum(a != b for a, b in pairwise([0.0, *radii]))
    score = round(dice(shown[five], truth[five]), 3)
    return {"way": COUNTED, "work": asdict(work), "drawn": 5, "labelled": 5, "dice": [score, score]}


@dataclass
class Study:
    """The liver of the sample CT, on five slices at equal distances."""

    stage: Stage
    context: Any
    name: str = "liver"
    value: int = 1  # of its voxels in the viewer
    scale: float = 0.0  # pixels of the screen for one of the image, as the last window had it

    @property
    def truth(self) -> np.ndarray:
        return self.stage.truth[self.name]

    @property
    def five(self) -> list[int]:
        return five_of(self.truth)

    def way(self, title: str) -> dict[str, Any]:
        """Draw in a window of its own, where nothing is drawn yet: what it took, and how right it is."""
        me = Person(self.context.new_page(), self.stage.server.url)
        me.page.set_viewport_size(SCREEN)
        me.open_study(self.stage.study)
        me.structure(self.name)
        (left, _), (right, _) = on_screen(me, [(0, 0), (1, 0)], self.five[0])
        self.scale = right - left
        work = Work()
        drawn = self.five[::2] if title == LASSO_3 else self.five
        if title == BRUSH:
            self.brush(me, work, drawn)
        else:
            self.lasso(me, work, drawn)
        me.page.wait_for_timeout(1500)  # the panel looks at a stroke once it has ended
        shown = me.voxels(self.truth.shape[2]) == self.value
        me.page.goto(f"{self.stage.server.url}/info/")
        me.page.evaluate("localStorage.clear()")  # the next window would take the drawing over
        me.page.close()
        labelled = [k for k in range(self.five[0], self.five[-1] + 1) if shown[k].any()]
        scores = [round(dice(shown[ks], self.truth[ks]), 3) for ks in (self.five, labelled)]
        return {"way": title, "work": asdict(work), "drawn": len(drawn), "labelled": len(labelled), "dice": scores}

    def brush(self, me: Person, work: Work, slices: Sequence[int]) -> None:
        me.tool("brush")
        work.acts += 1
        spacing = self.stage.ct.geometry.spacing[1]
        for k in slices:
            me.go_to(k)
            work.acts += 1
            radius = 0.0
            for wanted, path, along_edge in brush_strokes(self.truth[k]):
                if wanted != radius:
                    radius = wanted
                    me.brush_size(round(radius * spacing))
                    work.acts += 1
                me.stroke(spaced(path, max(1.2, 0.6 * radius)), k)
                work.stroke(on_screen(me, list(path), k), along_edge)

    def lasso(self, me: Person, work: Work, slices: Sequence[int]) -> None:
        me.tool("lasso")
        work.acts += 1
        for k in slices:
            me.go_to(k)
            work.acts += 1
            for path in lasso(me, self.truth[k], k):
                work.stroke(path)
        me.wait_to_submit(len(slices))
        me.page.keyboard.press("j")
        work.acts += 1
        me.wait_message("is interpolated on")


def table(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Markdown."""
    lines = [
        "| way | drawn slices | labelled slices | path on the screen, px | strokes | keys, buttons and slices "
        "| minutes | Dice, the five slices | Dice, labelled slices |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        work = Work(**row["work"])
        lines.append(
            f"| {row['way']} | {row['drawn']} | {row['labelled']} | {work.edge + work.inside:.0f} | {work.strokes} "
            f"| {work.acts} | {work.minutes(Pace()):.1f} | {row['dice'][0]:.3f} | {row['dice'][1]:.3f} |"
        )
    return lines


def sensitivity(rows: Sequence[dict[str, Any]]) -> str:
    """How the comparison depends on the speed."""
    works = {row["way"]: Work(**row["work"]) for row in rows}
    said = []
    for speed, factor in (("half", 0.5), ("twice", 2.0)):
        pace = Pace(edge=Pace.edge * factor, inside=Pace.inside * factor)
        minutes = {way: work.minutes(pace) for way, work in works.items()}
        said.append(f"At {speed} the speed: " + ", ".join(f"{way} {one:.1f} min" for way, one in minutes.items()))
    return ". ".join(said)


PAGE = """# Minutes to draw a liver

The same liver of the generated CT (`sample-data/dicom/ct-patient01`) is drawn in OHIF by a program that moves a real
mouse along the outline of the truth, on a screen of {width} x {height} pixels. The brush, which was all that there was
before the lasso, goes round the inside of the outline, fills it with a large tip, and follows what is left with smaller
ones. *Counted* says that its strokes were counted, and not drawn in the viewer. The lasso goes round the outline
once. *Interpolation* fills the slices between drawn ones with one key. The five slices lie eight slices apart, from the
first to the last one of the liver.

{table}

*Minutes are computed, not measured:* {edge:.0f} pixels of the screen a second along an edge, {inside:.0f} inside,
{stroke} s for each stroke and {act} s for each key, button or slice. The hand follows the truth and does not hesitate,
so all ways are faster than a person would be; the comparison is what the table is for. {sensitivity}.
Interpolation over eight slices is a start to be corrected; over sixteen it misses much of the liver.

```sh
make drawing
```
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="Markdown file to write; its figures go beside it")
    parser.add_argument(
        "--ways", nargs="*", default=WAYS, help="the others are kept as they are in the file of figures"
    )
    given = parser.parse_args()
    from helpers.sample_stage import EIGHT, staged  # brings the server with it

    figures = given.out.with_suffix(".json")
    rows = {row["way"]: row for row in json.loads(figures.read_text())} if figures.is_file() else {}

    def keep(row: dict[str, Any]) -> None:
        rows[row["way"]] = row
        known = [rows[way] for way in (COUNTED, *WAYS) if way in rows]
        figures.write_text(json.dumps(known, indent=1) + "\n")
        said = table(known)
        page = PAGE.format(table="\n".join(said), sensitivity=sensitivity(known), **SCREEN, **vars(Pace()))
        given.out.write_text(page, encoding="utf-8")
        print("\n".join(said), flush=True)

    with staged(EIGHT, conf={"encoder": "compact"}) as (stage, context):
        study = Study(stage, context)
        for title in given.ways:
            keep(study.way(title))
        keep(counted_brush(study.truth, study.scale))


if __name__ == "__main__":
    main()
