"""Ribs with their cartilage, the end of the sternum, and the crests of the iliac wings."""

from __future__ import annotations

import numpy as np

from fewsam.synthetic.phantom.canvas import Canvas
from fewsam.synthetic.phantom.landmarks import LEVELS, Landmarks
from fewsam.synthetic.phantom.tissues import VALUES, Tissue
from fewsam.synthetic.phantom.torso import Torso

_OUTSIDE = (Tissue.AIR, Tissue.SKIN)


def paint_ribs(canvas: Canvas, marks: Landmarks, rng: np.random.Generator) -> None:
    """Ribs 5 to 12 sloping down and forward, their cartilage rising to the sternum."""
    for number in range(5, 13):
        center = LEVELS[6 + (12 - number)]
        length = {12: 0.38, 11: 0.62}.get(number, 1.0)  # floating ribs end early
        fall = 62.0 + 5.0 * (10 - min(number, 10)) + rng.normal(0.0, 1.5)
        for side in (-1.0, 1.0):
            shift = rng.normal(0.0, 1.5)
            bone = []
            for t in np.linspace(0.0, length, 10):
                angle = -56.0 + 106.0 * t  # from the rib's angle behind to the costochondral joint in front
                turn = (1.0 - np.cos(t * 2.2)) / (1.0 - np.cos(2.2))
                z = center + 4.0 - 1.25 * fall * turn * (0.35 + 0.65 * t) + shift
                x, y = marks.wall(angle, z, 6.0 - 4.0 * np.exp(-8.0 * t))
                bone.append((side * x, y, z, 4.9 if number < 12 else 4.0))
            head = (*marks.spine(center + 9.0, side * 20.0, -15.0), 4.4)
            neck = (*marks.spine(center + 7.5, side * 33.0, -35.0), 4.6)
            turn_x = 0.5 * (neck[0] + bone[0][0])
            bend = (turn_x, min(neck[1], bone[0][1]) - 1.0, center + 5.5, 4.8)
            box, shape = canvas.tube([head, neck, bend, *bone], canvas.body, flatten=(1.35, 1.35, 0.85), step=1.5)
            free = ~canvas.made_of(_OUTSIDE, box) & (canvas.label[box] != VALUES["vertebrae"])
            canvas.paint((shape < 0.0) & free, Tissue.CORTICAL_BONE, box=box)
            canvas.paint((shape < -1.5) & free, Tissue.RIB_MARROW, box=box)
            if number <= 10:
                _paint_cartilage(canvas, marks, bone[-1][2], side, number)


def _paint_cartilage(canvas: Canvas, marks: Landmarks, low: float, side: float, number: int) -> None:
    """From the end of a rib (at height ``low``) up along the costal margin to the sternum."""
    goal = max(low + 8.0, 88.0 - 4.0 * (number - 7))
    path = []
    for t in np.linspace(0.0, 1.0, 7):
        z = low + (goal - low) * t**1.3
        x, y = marks.wall(50.0 + 31.0 * t, z, 5.0)
        path.append((side * x, y, z, 5.2 - 0.8 * t))
    box, shape = canvas.tube(path, canvas.body, flatten=(1.0, 1.25, 0.9))
    taken = canvas.made_of((*_OUTSIDE, Tissue.CORTICAL_BONE, Tissue.RIB_MARROW), box)
    canvas.paint((shape < 0.0) & ~taken, Tissue.CARTILAGE, box=box)


def paint_sternum(canvas: Canvas, marks: Landmarks) -> None:
    """The lower end of the sternum with the xiphoid process."""
    path = [(0.0, marks.wall(90.0, z, 4.0)[1], z, r) for z, r in ((82, 3), (96, 5), (115, 6), (160, 6))]
    box, shape = canvas.tube(path, canvas.body, flatten=(0.42, 1.1, 1.0))
    free = ~canvas.made_of(_OUTSIDE, box)
    canvas.paint((shape < 0.0) & free, Tissue.CORTICAL_BONE, box=box)
    canvas.paint((shape < -1.6) & free, Tissue.RIB_MARROW, box=box)


def paint_pelvis(canvas: Canvas, torso: Torso) -> None:
    """The crests of the iliac wings with the muscles on both sides of them, where the scan reaches so low."""
    box = canvas.box((0.0, -20.0, -118.0), (170.0, 110.0, 34.0), canvas.body)
    if any(s.stop <= s.start for s in box):
        return
    part = canvas.body.cut(box)
    hips, belly = canvas.traits.hips, canvas.traits.belly
    x, y = np.abs(part.x) - (30.0 + 0.5 * hips + 0.4 * belly), part.y - 44.0
    angle = np.degrees(np.arctan2(y, x))  # -90 behind, 0 at the side
    crest = -84.0 - ((angle + 46.0) / 42.0) ** 2 * 30.0
    outward = np.sqrt(x * x + y * y) - (99.0 + 0.4 * hips) + 0.22 * (crest - part.z)  # wings converge downwards
    thick = 3.6 + 2.0 * np.exp(-(((part.z - crest) / 9.0) ** 2))
    wing = np.maximum(np.abs(outward) - thick, part.z - crest)
    wing = np.maximum(wing, np.maximum(angle - 16.0, -97.0 - angle))
    around = (part.z < crest - 2.0) & (angle < 12.0) & (angle > -100.0) & (torso.skin[box] < -6.0)
    low = np.clip((crest - part.z) / 22.0, 0.0, 1.0)
    fat = canvas.made_of((Tissue.FAT, Tissue.FASCIA), box)
    canvas.paint(around & (outward > 0.0) & (outward < 4.0 + 22.0 * low) & fat, Tissue.MUSCLE, box=box)
    inner = around & (outward <= 0.0) & (outward > -3.0 - 9.0 * low)
    canvas.paint(inner, Tissue.MUSCLE, box=box, over=(Tissue.VISCERAL_FAT,))
    free = ~canvas.made_of(_OUTSIDE, box) & (canvas.label[box] != VALUES["vertebrae"])
    canvas.paint((wing < 0.0) & free, Tissue.CORTICAL_BONE, box=box)
    canvas.paint((wing < -1.6) & free, Tissue.SPONGY_BONE, box=box)
