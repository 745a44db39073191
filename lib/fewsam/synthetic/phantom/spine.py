"""The spine: vertebrae with arch and processes, discs, the canal; psoas, quadratus and crura beside it."""

from __future__ import annotations

import numpy as np

from fewsam.synthetic.phantom.canvas import Canvas
from fewsam.synthetic.phantom.landmarks import LEVELS, Landmarks
from fewsam.synthetic.phantom.shapes import Array, Profile, rounded_box_norm, smooth_field, smooth_min
from fewsam.synthetic.phantom.tissues import SOFT, VALUES, Tissue

_BODY_SHARE = 0.77  # of the height between two discs' middles; the rest is disc
_BONE = VALUES["vertebrae"]


def _levels(z: Array) -> tuple[Array, Array]:
    """Position within the vertebra's segment (-1 bottom .. 1 top) and half the segment's height."""
    centers = np.asarray(LEVELS)
    edges = 0.5 * (centers[1:] + centers[:-1])
    grid = np.arange(Profile.LOW, Profile.HIGH, Profile.STEP)
    index = np.searchsorted(edges, grid)
    bounds = np.concatenate([[2 * centers[0] - edges[0]], edges, [2 * centers[-1] - edges[-1]]])
    half = (0.5 * (bounds[index + 1] - bounds[index])).astype(np.float32)
    middle = (0.5 * (bounds[index + 1] + bounds[index])).astype(np.float32)
    at = Profile.index(z)
    return (z - middle[at]) / half[at], half[at]


def paint_spine(canvas: Canvas, marks: Landmarks, rng: np.random.Generator) -> None:
    """Paint the spine and what runs along it; vertebrae (without discs and canal) are a class of the truth."""
    _paint_psoas(canvas, marks, rng)
    rows = np.array([marks.spine(float(z), 0.0, -22.0) for z in np.linspace(-140, 150, 15)])
    middle, reach = canvas.world(rows, canvas.body), np.array([36.0, 58.0, 30.0])
    box = canvas.world_box(middle.min(axis=0) - reach, middle.max(axis=0) + reach)
    part = canvas.body.cut(box)
    at = Profile.index(part.z)
    dx, dy = part.x - marks.spine_x.at(at), part.y - marks.spine_y.at(at)
    lean = (marks.spine_y(part.z + 4.0) - marks.spine_y(part.z - 4.0)) / 8.0
    zeta, half = _levels(part.z + lean * dy)  # discs lie square to the spine's axis
    depth, width = marks.body_depth.at(at), marks.body_width.at(at)

    waist = 1.0 + 0.09 * (1.0 - zeta * zeta)
    outline = (rounded_box_norm(dx / width, dy / depth, 0.85) * waist - 1.0) * np.sqrt(width * depth)
    hollow = 6.0 - np.sqrt((dx / 1.6) ** 2 + (dy + depth + 4.0) ** 2)  # the back of a body is slightly concave
    outline = np.maximum(outline, hollow)
    body = np.maximum(outline, (np.abs(zeta) - _BODY_SHARE) * half)

    back = dy + depth + 8.5  # relative to the canal's centre
    canal = np.sqrt((dx / 1.25) ** 2 + back**2) - 8.8
    arch = np.maximum(np.abs(canal - 2.8) - 2.8, back - 2.0)
    arch = np.maximum(arch, (np.abs(zeta + 0.1) - 0.55) * half)
    pedicle = np.maximum(np.abs(np.abs(dx) - 14.0) - 4.2, np.abs(back - 3.0) - 9.0)
    pedicle = np.maximum(pedicle, (np.abs(zeta - 0.22) - 0.42) * half)
    gap = (1.0 - np.abs(zeta)) * half  # above and below the joints between two vertebrae
    facet = np.sqrt(((np.abs(dx) - 16.5) / 7.5) ** 2 + ((back + 6.0) / 7.0) ** 2 + (gap / 9.0) ** 2)
    facet = (facet - 1.0) * 7.0
    spinous = _spinous(part.z, dx, back)
    bone = smooth_min(smooth_min(body, np.minimum(arch, pedicle), 2.0), smooth_min(facet, spinous, 2.0), 2.0)

    near = (np.abs(dx) < 21.0) & (np.abs(back) < 8.0)
    canvas.paint(near, Tissue.VISCERAL_FAT, box=box)  # the foramina, with a nerve root in each
    root = np.sqrt((np.abs(dx) - 18.0) ** 2 + (back - 1.0) ** 2 + ((zeta + 0.35) * half) ** 2) < 3.2
    canvas.paint(root, Tissue.MUSCLE, box=box)
    ligament = (arch < 0.5) | ((np.abs(canal - 1.5) < 1.5) & (back < 0.0))
    canvas.paint(ligament, Tissue.MUSCLE, box=box)
    canvas.paint(outline < 0.6, Tissue.DISC, box=box)
    canvas.paint(bone < 0.0, Tissue.CORTICAL_BONE, box=box, label=_BONE)
    canvas.paint(bone < -1.15, Tissue.SPONGY_BONE, box=box, label=_BONE)
    canvas.paint((np.abs(zeta) > 0.985) & (facet < 0.0) & (body > 0.0), Tissue.CARTILAGE, box=box)
    _paint_transverse(canvas, marks)
    canvas.paint(canal < 0.0, Tissue.FAT, box=box)
    canvas.paint(np.sqrt((dx / 1.15) ** 2 + (back - 0.8) ** 2) < 7.3, Tissue.CSF, box=box)
    cord = np.sqrt((dx / 1.3) ** 2 + (back - 0.3) ** 2) < np.where(part.z > 2.0, 4.6, 3.2)
    canvas.paint(cord, Tissue.CORD, box=box)


def _spinous(z: Array, dx: Array, back: Array) -> Array:
    """Spinous processes: hatchets in the loins, roof tiles in the chest."""
    behind = -(back + 8.0)  # distance behind the arch
    slant = np.where(z > 45.0, np.float32(0.85), np.float32(0.25))
    zeta, half = _levels(z + slant * np.clip(behind, 0.0, 40.0))
    plate = np.abs(dx) - (2.2 + 1.6 * np.clip(behind / 28.0, 0.0, 1.0) ** 3)
    plate = np.maximum(plate, np.maximum(-behind - 2.0, behind - Profile((-140.0, 0.0, 60.0), [23.0, 27.0, 28.0])(z)))
    return np.maximum(plate, (np.abs(zeta + 0.2) - 0.52) * half)


def _paint_transverse(canvas: Canvas, marks: Landmarks) -> None:
    for center in LEVELS[1:]:
        z = center + 4.0
        y = -marks.body_depth.value(z)
        tip, drop = (41.0, -13.0) if center < 20.0 else (31.0, -24.0)
        for side in (-1.0, 1.0):
            path = [
                (*marks.spine(z, side * 14.0, y - 7.0), 4.5),
                (*marks.spine(z, side * 26.0, y + 0.5 * drop - 5.0), 3.6),
                (*marks.spine(z + 1.0, side * tip, y + drop), 3.2),
            ]
            box, shape = canvas.tube(path, canvas.body)
            canvas.paint(shape < 0.0, Tissue.CORTICAL_BONE, box=box, label=_BONE)
            canvas.paint(shape < -1.5, Tissue.SPONGY_BONE, box=box, label=_BONE)


def _paint_psoas(canvas: Canvas, marks: Landmarks, rng: np.random.Generator) -> None:
    strong = canvas.traits.muscle
    for side in (-1.0, 1.0):
        psoas = [
            (*marks.spine(z, side * out, 0.1 * abs(z) - 5.0), radius * strong**0.6)
            for z, out, radius in (
                (35, 20, 4), (8, 26, 8), (-26, 33, 13), (-60, 38, 16.5), (-95, 43, 18.5), (-150, 52, 20)
            )
        ]  # fmt: skip
        box, shape = canvas.tube(psoas, canvas.body, flatten=(1.15, 0.92, 1.0))
        shape = shape + 1.3 * smooth_field(rng, shape.shape, canvas.spacing, (14.0, 14.0, 40.0))
        canvas.paint(shape < 0.0, Tissue.MUSCLE, box=box, over=SOFT)
        quadratus = [
            (marks.spine_x.value(z) + side * out, marks.back.value(z) + 3.0, z, 8.5 * strong**0.5)
            for z, out in ((28, 48), (-10, 56), (-60, 66), (-110, 74))
        ]
        box, shape = canvas.tube(quadratus, canvas.body, flatten=(0.45, 1.0, 1.0))
        canvas.paint(shape < 0.0, Tissue.MUSCLE, box=box, over=(Tissue.VISCERAL_FAT,))
        crus = [
            (*marks.spine(z, side * out, ahead), radius)
            for z, out, ahead, radius in ((-45, 9, 17, 2.5), (0, 13, 16, 4.5), (40, 14, 18, 5), (75, 8, 32, 4))
        ]
        box, shape = canvas.tube(crus, canvas.body, flatten=(1.5, 0.7, 1.0))
        canvas.paint(shape < 0.0, Tissue.MUSCLE, box=box, over=(Tissue.VISCERAL_FAT, Tissue.LUNG))
