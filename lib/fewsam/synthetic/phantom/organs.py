"""The solid organs: heart, liver with gallbladder, spleen, kidneys and adrenals."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from fewsam.synthetic.phantom.canvas import Box, Canvas, Frame
from fewsam.synthetic.phantom.shapes import Array, ellipsoid, smooth_field, smooth_max, smooth_min
from fewsam.synthetic.phantom.tissues import SOFT, VALUES, Tissue
from fewsam.synthetic.phantom.torso import Torso


@dataclass
class Kidney:
    """One kidney: where it lies and the shapes that others give way to."""

    side: float  # +1 right, -1 left
    center: tuple[float, float, float]  # inner frame
    hilum: tuple[float, float, float]
    box: Box
    shape: Array


def paint_heart(canvas: Canvas) -> None:
    """The underside of the heart on the diaphragm, with its chambers."""
    box = canvas.box((-20.0, 34.0, 130.0), (75.0, 65.0, 50.0), canvas.inner)
    part = canvas.inner.cut(box)
    free = canvas.made_of(SOFT, box) & (canvas.label[box] == 0)
    muscle = ellipsoid(part.x, part.y, part.z, (-24.0, 34.0, 130.0), (55.0, 44.0, 37.0))
    right = ellipsoid(part.x, part.y, part.z, (10.0, 36.0, 132.0), (34.0, 32.0, 34.0))
    canvas.paint((smooth_min(muscle, right, 8.0) < 0.0) & free, Tissue.MYOCARDIUM, box=box)
    left = ellipsoid(part.x, part.y, part.z, (-44.0, 32.0, 131.0), (25.0, 27.0, 27.0))
    pump = ellipsoid(part.x, part.y, part.z, (-12.0, 50.0, 130.0), (32.0, 22.0, 30.0))
    canvas.paint((left < 0.0) & free, Tissue.LEFT_HEART, box=box)
    canvas.paint(((pump < 0.0) & (left > 9.0) | (right < -4.0)) & free, Tissue.RIGHT_HEART, box=box)


def kidney(canvas: Canvas, torso: Torso, side: float, rng: np.random.Generator) -> Kidney:
    """Shape of a kidney beside the spine, tilted along the psoas and opening forwards and inwards."""
    big = canvas.traits.kidney
    z = (-12.0 if side > 0 else 3.0) + rng.normal(0.0, 4.0)
    height = z - canvas.traits.breath
    x = side * (64.0 + 4.0 * big + 0.25 * canvas.traits.belly + rng.normal(0.0, 2.0))
    x += torso.landmarks.spine_x.value(height)
    y = torso.landmarks.spine_y.value(height) + 3.0 + rng.normal(0.0, 2.0)
    center = (x, y, z)
    box = canvas.box(center, (60.0, 60.0, 85.0), canvas.inner)
    a, b, c = _kidney_axes(canvas.inner.cut(box), center, side)
    inward = a + 0.0042 * c * c  # the poles bend towards the hilum
    length, depth, width = 53.0 * big, 27.0 * big, 29.0 * big
    shape = ellipsoid(inward, b, c, (0.0, 0.0, 0.0), (width, depth, length))
    notch = ellipsoid(a, b, c, (-31.0 * big, 0.0, 0.0), (19.0 * big, 9.0, 17.0 * big))
    shape = smooth_max(shape, -notch, 6.0)
    part = canvas.body.cut(box)
    dx = np.abs(part.x - torso.landmarks.spine_x(part.z))
    shape = smooth_max(shape, 36.0 - dx + 0.10 * (part.z - 10.0), 8.0)
    shape = smooth_max(shape, torso.cavity[box] + 3.0, 6.0)
    hilum = (x - side * 22.0, y + 12.0, z)
    return Kidney(side, center, hilum, box, shape)


def _kidney_axes(part: Frame, center: tuple[float, float, float], side: float) -> tuple[Array, Array, Array]:
    """Coordinates in the kidney: a outwards (hilum at -a), b across, c along."""
    turn = Rotation.from_euler("zyx", [-side * 28.0, -side * 13.0, -9.0], degrees=True).as_matrix().astype(np.float32)
    dx, dy, dz = part.x - center[0], part.y - center[1], part.z - center[2]
    a, b, c = (turn[0, n] * dx + turn[1, n] * dy + turn[2, n] * dz for n in range(3))
    return side * a, b, c


def paint_kidney(canvas: Canvas, organ: Kidney, rng: np.random.Generator) -> None:
    """Cortex, pyramids, sinus fat with the pelvis in it, and the fascia around the perirenal fat."""
    box, shape, big = organ.box, organ.shape, canvas.traits.kidney
    part = canvas.inner.cut(box)
    a, b, c = _kidney_axes(part, organ.center, organ.side)
    value = VALUES["kidney_right" if organ.side > 0 else "kidney_left"]
    free = canvas.made_of(SOFT, box) & (canvas.label[box] == 0)
    ripple = smooth_field(rng, shape.shape, canvas.spacing, 14.0)
    fascia = shape - 9.0 - 0.2 * canvas.traits.fat + 1.5 * ripple
    canvas.paint((np.abs(fascia) < 0.5) & (part.y < organ.center[1] + 24.0) & free, Tissue.FASCIA, box=box)
    kidney_mask = (shape < 0.0) & free
    canvas.paint(kidney_mask, Tissue.CORTEX, box=box, label=value)
    # Pyramids: lobes around the sinus in the plane of the hilum and along it, parted by columns of cortex.
    angle = np.arctan2(c / 1.8, a + 14.0 * big)
    lobes = np.cos(angle * 6.5 + 1.2 * ripple) + 0.35 * np.cos(b * 0.28)
    deep = -shape + 0.8 * ripple
    canvas.paint(kidney_mask & (deep > 6.0 * big) & (lobes > -0.25), Tissue.MEDULLA, box=box, label=value)
    sinus = ellipsoid(a, b, c, (-17.0 * big, 0.0, 0.0), (20.0 * big, 9.5 * big, 25.0 * big)) + 2.0 * ripple
    canvas.paint(kidney_mask & (sinus < 0.0), Tissue.VISCERAL_FAT, box=box)
    calyces = np.minimum(np.abs(ripple) * 8.0 - 1.4, ellipsoid(a, b, c, (-17.0 * big, 1.0, -4.0), (11.0, 4.5, 8.0)))
    canvas.paint(kidney_mask & (sinus < -1.5) & (calyces < 0.0), Tissue.RENAL_PELVIS, box=box)


def paint_adrenals(canvas: Canvas, torso: Torso) -> None:
    """Thin limbs of an inverted V above each kidney."""
    for side, up in ((1.0, 36.0), (-1.0, 38.0)):
        height = up - canvas.traits.breath
        x, y, _ = torso.landmarks.spine(height, side * 33.0, 19.0)
        for spread in (-0.45, 0.75):
            path = [(x, y, up + 8.0, 2.4), (x + side * 7.0, y - 9.0 - 6.0 * spread, up, 2.2),
                    (x + side * (12.0 + 6.0 * spread), y - 18.0, up - 12.0, 1.8)]  # fmt: skip
            box, shape = canvas.tube(path, canvas.inner, flatten=(1.0, 1.0, 0.5))
            canvas.paint(shape < 0.0, Tissue.ADRENAL, box=box, over=SOFT)


def paint_liver(canvas: Canvas, torso: Torso, right_kidney: Kidney, rng: np.random.Generator) -> tuple[Box, Array]:
    """Liver under the right dome with the left lobe across the midline, and the gallbladder at its edge."""
    box = canvas.box((35.0, 0.0, 30.0), (150.0, 125.0, 115.0), canvas.inner)
    part = canvas.inner.cut(box)
    x, y, z = part.x, part.y, part.z
    big = canvas.traits.liver
    ripple = smooth_field(rng, x.shape, canvas.spacing, 40.0)
    low = 17.0 + rng.normal(0.0, 4.0) - 120.0 * (big - 1.0)
    under = (low - 0.62 * x - 0.10 * (y - 20.0) + 0.0035 * (y - 10.0) ** 2 - z) * np.float32(0.85)
    # The left lobe ends on the stomach; the right lobe reaches back along the spine into the gutter of the ribs.
    left = (rng.normal(0.0, 3.0) - 0.80 * x - 0.45 * (z - 60.0) - y) * np.float32(0.74)
    right = (26.0 - x - 0.45 * (y + 20.0) - 0.55 * (z - 60.0)) * np.float32(0.85)
    left = np.maximum(smooth_min(left, right, 18.0), -118.0 * big - x)
    shape = smooth_max(under + 5.0 * ripple, left + 3.0 * ripple, 16.0)
    spine = np.sqrt((x - 4.0) ** 2 + (y + 44.0) ** 2) - 42.0
    shape = smooth_max(shape, -spine, 10.0)
    top = smooth_max(torso.abdomen[box] + 0.3, torso.cavity[box] + 0.5, 3.0)
    shape = smooth_max(shape, top, 6.0)
    slot = x - rng.normal(2.0, 4.0) - rng.normal(0.15, 0.12) * (y - 40.0) + 3.0 * ripple  # of the round ligament
    wide = rng.uniform(0.9, 2.4) + 0.035 * (y - 40.0)
    cleft = np.maximum(np.abs(slot) - wide, np.maximum(rng.uniform(24.0, 44.0) - y, z - rng.uniform(38.0, 54.0)))
    shape = smooth_max(shape, -cleft, 4.0)
    porta = ellipsoid(x, y, z, (27.0, 18.0, 24.0), (26.0, 11.0, 15.0))
    shape = smooth_max(shape, -porta, 8.0)
    give = place(box, right_kidney.box, right_kidney.shape, 20.0)
    shape = smooth_max(shape, 5.0 - give, 8.0)

    bladder_box, bladder = _gallbladder(canvas, rng)
    shape = smooth_max(shape, 1.2 - place(box, bladder_box, bladder, 3.0), 2.0)
    free = canvas.made_of(SOFT, box) & (canvas.label[box] == 0)
    canvas.paint((shape < 0.0) & free, Tissue.LIVER, box=box, label=VALUES["liver"])
    canvas.paint(bladder < 0.0, Tissue.GALLBLADDER, box=bladder_box, over=SOFT)
    canvas.paint((bladder < 0.0) & (bladder > -1.2), Tissue.BOWEL_WALL, box=bladder_box, over=(Tissue.GALLBLADDER,))
    return box, shape


def _gallbladder(canvas: Canvas, rng: np.random.Generator) -> tuple[Box, Array]:
    full = rng.uniform(0.8, 1.15)
    path = [(56.0, 56.0, -20.0, 13.0 * full), (49.0, 45.0, -6.0, 15.0 * full), (40.0, 32.0, 10.0, 8.0 * full),
            (34.0, 24.0, 18.0, 3.5)]  # fmt: skip
    return canvas.tube(path, canvas.inner, margin=4.0)


def place(target: Box, box: Box, shape: Array, outside: float) -> Array:
    """The values of a shape known in ``box`` on the voxels of ``target``, ``outside`` where it is not known."""
    result = np.full([s.stop - s.start for s in target], outside, np.float32)
    both = [slice(max(t.start, s.start), min(t.stop, s.stop)) for t, s in zip(target, box, strict=True)]
    if all(s.stop > s.start for s in both):
        to = tuple(slice(s.start - t.start, s.stop - t.start) for s, t in zip(both, target, strict=True))
        come = tuple(slice(s.start - t.start, s.stop - t.start) for s, t in zip(both, box, strict=True))
        result[to] = shape[come]
    return result


def paint_spleen(canvas: Canvas, torso: Torso, left_kidney: Kidney, rng: np.random.Generator) -> tuple[Box, Array]:
    """A crescent along the left ribs behind the stomach."""
    big = canvas.traits.spleen
    center = (-95.0 - 0.4 * canvas.traits.belly, -42.0 + rng.normal(0.0, 3.0), 58.0 + rng.normal(0.0, 4.0))
    box = canvas.box(center, (75.0, 90.0, 90.0), canvas.inner)
    part = canvas.inner.cut(box)
    outward = np.array([-0.86, -0.50, 0.08]) / np.linalg.norm([-0.86, -0.50, 0.08])
    along = np.array([-0.15, 0.55, -0.82])
    along -= outward * (along @ outward)
    along /= np.linalg.norm(along)
    across = np.cross(outward, along)
    offsets = np.stack([c - np.float32(m) for c, m in zip((part.x, part.y, part.z), center, strict=True)])
    axes = np.stack([outward, along, across]).astype(np.float32)
    n, m, w = np.tensordot(axes, offsets, axes=1)
    ripple = smooth_field(rng, part.x.shape, canvas.spacing, 26.0)
    bent = n + 0.0055 * m * m + 0.0065 * w * w
    shape = ellipsoid(bent, m, w, (2.0, 0.0, 0.0), (30.0 * big, 58.0 * big, 46.0 * big)) + 1.8 * ripple
    shape = smooth_max(shape, smooth_max(torso.abdomen[box] + 0.3, torso.cavity[box] + 0.5, 3.0), 4.0)
    shape = smooth_max(shape, 5.0 - place(box, left_kidney.box, left_kidney.shape, 20.0), 8.0)
    free = canvas.made_of(SOFT, box) & (canvas.label[box] == 0)
    canvas.paint((shape < 0.0) & free, Tissue.SPLEEN, box=box, label=VALUES["spleen"])
    return box, shape
