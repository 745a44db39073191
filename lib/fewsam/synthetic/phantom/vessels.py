"""Aorta and cava with their branches, portal and hepatic veins, vessels of the lungs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from fewsam.synthetic.phantom.canvas import Canvas, Frame
from fewsam.synthetic.phantom.organs import Kidney
from fewsam.synthetic.phantom.shapes import smooth_field
from fewsam.synthetic.phantom.tissues import SOFT, VALUES, Tissue
from fewsam.synthetic.phantom.torso import Torso


def _vessel(
    canvas: Canvas, path: ArrayLike, tissue: Tissue, frame: Frame | None = None,
    over: Sequence[Tissue] = SOFT, label: int = 0, flatten: Sequence[float] = (1.0, 1.0, 1.0),
) -> None:  # fmt: skip
    box, shape = canvas.tube(path, frame or canvas.inner, flatten=flatten, margin=1.0)
    canvas.paint(shape < 0.0, tissue, box=box, over=over, label=label)


def paint_great_vessels(canvas: Canvas, torso: Torso, kidneys: Sequence[Kidney], rng: np.random.Generator) -> None:
    """Aorta left before the spine down to its bifurcation, cava on the right, renal vessels and iliacs."""
    marks, traits = torso.landmarks, canvas.traits
    wide = traits.aorta

    before = marks.before_spine
    kink = rng.normal(0.0, 2.0) * wide
    aorta = [(*before(z, x + kink * np.sin(z / 40.0), gap * wide), r * wide) for z, x, gap, r in (
        (170, -16, 9, 12.5), (120, -14, 11, 12.2), (80, -9, 12, 11.5), (40, -6, 12, 10.8), (0, -6, 11.5, 9.8),
        (-50, -6, 11, 9.2), (-92, -4, 10.5, 8.6))]  # fmt: skip
    fork = before(-92.0, -4.0, 9.5 * wide)
    over = (*SOFT, Tissue.LUNG, Tissue.MUSCLE)
    for side in (-1.0, 1.0):
        end = before(-150.0, side * 32.0, 2.0)
        mid = before(-112.0, side * 15.0 - 2.0, 10.0)
        _vessel(canvas, [(*fork, 6.5 * wide), (*mid, 6.2 * wide), (*end, 5.5 * wide)], Tissue.ARTERY, canvas.body)
    box, shape = canvas.tube(aorta, canvas.body, margin=2.0)
    canvas.paint(shape < 0.0, Tissue.AORTA, box=box, over=(*over, Tissue.ARTERY), label=VALUES["aorta"])
    plaques = smooth_field(rng, shape.shape, canvas.spacing, (6.0, 6.0, 12.0))
    rim = (shape < 0.0) & (shape > -1.6) & (plaques > 3.2 - 1.7 * traits.calcified)
    canvas.paint(rim, Tissue.CALCIFICATION, box=box, over=(Tissue.AORTA,), label=VALUES["aorta"])

    cava = [before(-110, 17, 10), before(-50, 19, 10), before(0, 20, 13), before(40, 22, 22), before(70, 23, 30),
            (21.0, -4.0, 92.0), (20.0, 8.0, 125.0)]  # fmt: skip
    rows = [(*point, r) for point, r in zip(cava, (9.0, 10.0, 10.5, 11.5, 12.0, 12.5, 13.0), strict=True)]
    _vessel(canvas, rows, Tissue.CAVA, canvas.body, (*over, Tissue.LIVER), flatten=(0.92, 1.15, 1.0))
    for side in (-1.0, 1.0):
        end = before(-155.0, side * 34.0, -6.0)
        _vessel(canvas, [(*before(-108.0, 16.0, 8.0), 7.0), (*before(-128.0, side * 20.0 + 2, 0.0), 6.5), (*end, 6.0)],
                Tissue.CAVA, canvas.body)  # fmt: skip

    for organ in kidneys:
        z = organ.center[2] + 3.0
        height = z - traits.breath
        root = before(height + 8.0, -4.0, 12.0)
        root = (root[0], root[1], root[2] + traits.breath)
        vein_root = before(height + 10.0, 20.0, 15.0)
        vein_root = (vein_root[0], vein_root[1], vein_root[2] + traits.breath)
        x, y, _ = organ.hilum
        over_top = root[1] + 13.0 if organ.side < 0 else vein_root[1]
        vein = [(*vein_root, 4.5), (0.5 * (vein_root[0] + x) - 4.0 * organ.side, max(over_top, y + 10.0), z + 6.0, 4.2),
                (x, y, z, 4.0)]  # fmt: skip
        _vessel(canvas, vein, Tissue.RENAL_VEIN)
        halfway = (0.5 * (root[0] + x), 0.5 * (root[1] + y) - 3.0, z + 4.0)
        path = [(*root, 3.0), (*halfway, 2.8), (x, y - 5.0, z + 3.0, 2.4)]
        _vessel(canvas, path, Tissue.ARTERY)


def paint_visceral_vessels(canvas: Canvas, torso: Torso) -> None:
    """Coeliac trunk, mesenteric vessels, splenic and portal vein up to the liver's hilum."""
    marks = torso.landmarks
    down = canvas.traits.breath

    def front(z: float) -> float:
        return marks.before_spine(z - down, 0.0, 20.0)[1]

    coeliac = [(-6.0, front(36) - 4, 36, 4.0), (-5.0, front(36) + 10, 35, 3.6), (10.0, front(36) + 14, 36, 3.0),
               (24.0, 16.0, 32.0, 2.6)]  # fmt: skip
    _vessel(canvas, coeliac, Tissue.ARTERY)
    splenic = [(-5.0, front(36) + 10, 35, 3.2), (-35.0, front(36), 40, 2.8), (-62.0, -14.0, 46, 2.6),
               (-84.0, -28.0, 50, 2.2)]  # fmt: skip
    _vessel(canvas, splenic, Tissue.ARTERY)
    mesenteric = [(-5.0, front(22) - 4, 22, 3.6), (-3.0, front(10) + 12, 8, 3.6), (0.0, front(-20) + 16, -25, 3.2),
                  (12.0, front(-60) + 16, -70, 2.4)]  # fmt: skip
    _vessel(canvas, mesenteric, Tissue.ARTERY)
    vein = [(24.0, front(-60) + 17, -70, 3.6), (13.0, front(-20) + 16, -25, 5.0), (12.0, front(5) + 11, 8, 6.5),
            (20.0, 14.0, 22, 6.6), (32.0, 16.0, 34, 6.4)]  # fmt: skip
    _vessel(canvas, vein, Tissue.PORTAL_VEIN)
    spleen = [(12.0, front(5) + 11, 9, 5.0), (-18.0, front(20) + 12, 20, 4.5), (-52.0, 0.0, 36, 4.2),
              (-82.0, -24.0, 46, 3.6)]  # fmt: skip
    _vessel(canvas, spleen, Tissue.PORTAL_VEIN)


def paint_liver_vessels(canvas: Canvas, rng: np.random.Generator) -> None:
    """Three hepatic veins converging on the cava, and the portal vein branching from the hilum."""
    label = VALUES["liver"]

    def branch(path: ArrayLike, tissue: Tissue, twigs: int) -> None:
        rows = np.asarray(path, float)
        rows[1:, :3] += rng.normal(0.0, 2.5, (len(rows) - 1, 3))
        inside = (Tissue.LIVER,)
        _vessel(canvas, rows, tissue, over=inside, label=label)
        direction = rows[-1, :3] - rows[-2, :3]
        direction /= np.linalg.norm(direction)
        for _ in range(twigs):
            at = rows[rng.integers(1, len(rows))]
            way = direction + rng.normal(0.0, 0.7, 3)
            way /= np.linalg.norm(way)
            reach = rng.uniform(22.0, 42.0)
            bend = rng.normal(0.0, 4.0, 3)
            r = at[3] * 0.65
            twig = [(*at[:3], r), (*(at[:3] + way * reach * 0.5 + bend), r * 0.75), (*(at[:3] + way * reach), r * 0.45)]
            _vessel(canvas, twig, tissue, over=inside, label=label)

    root = (22.0, -2.0, 88.0)
    branch([(*root, 6.0), (52, -14, 76, 5.0), (84, -22, 52, 3.8), (100, -24, 28, 2.6)], Tissue.HEPATIC_VEIN, 8)
    branch([(*root, 6.0), (40, 20, 74, 5.0), (58, 42, 48, 3.8), (70, 52, 22, 2.6)], Tissue.HEPATIC_VEIN, 7)
    branch([(*root, 5.0), (8, 24, 78, 4.2), (-12, 46, 66, 3.0), (-28, 56, 60, 2.2)], Tissue.HEPATIC_VEIN, 4)
    branch([(32, 16, 34, 6.2), (56, 8, 40, 5.4), (78, 0, 44, 4.2), (100, -4, 60, 2.8)], Tissue.PORTAL_VEIN, 9)
    branch([(56, 8, 40, 5.0), (74, 10, 24, 4.0), (90, 12, 2, 2.8), (102, 10, -18, 2.0)], Tissue.PORTAL_VEIN, 7)
    branch([(32, 16, 34, 5.2), (14, 34, 50, 4.4), (-4, 46, 56, 3.4), (-22, 58, 60, 2.4)], Tissue.PORTAL_VEIN, 5)


def paint_lung_vessels(canvas: Canvas, rng: np.random.Generator) -> None:
    """Vessels running from each hilum, above the scan, down to the lung's base."""
    inside, label = (Tissue.LUNG,), VALUES["lungs"]
    for side in (-1.0, 1.0):
        for _ in range(90):
            angle = rng.uniform(0.0, 2.0 * np.pi)
            out = np.sqrt(rng.uniform(0.0, 1.0))
            end = np.array([side * (72.0 + 50.0 * out * np.cos(angle)), -12.0 + 90.0 * out * np.sin(angle),
                            rng.uniform(10.0, 105.0)])  # fmt: skip
            start = np.array([side * 34.0, 0.0, 150.0])
            middle = 0.45 * start + 0.55 * end + np.array([side * 10.0, 0.0, 14.0]) + rng.normal(0.0, 6.0, 3)
            r = rng.uniform(1.1, 2.6)
            path = [(*start, r), (*middle, r * 0.75), (*end, 0.5)]
            _vessel(canvas, path, Tissue.LUNG_VESSEL, over=inside, label=label)
