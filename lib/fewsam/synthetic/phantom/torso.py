"""The container: skin, fat, the muscular wall around its cavity, the diaphragm and the lungs above it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fewsam.synthetic.phantom.canvas import Box, Canvas, Frame
from fewsam.synthetic.phantom.landmarks import Landmarks
from fewsam.synthetic.phantom.shapes import (
    Array,
    Profile,
    ellipsoid,
    rounded_box_norm,
    smooth_field,
    smooth_max,
    smooth_min,
)
from fewsam.synthetic.phantom.tissues import VALUES, Tissue

_SLAB = 16  # fine voxels along i worked on at once, so that the many small steps stay in the processor's cache


@dataclass
class Torso:
    """What the organs need to know of their container: shapes on the fine grid, negative inside."""

    landmarks: Landmarks
    skin: Array
    cavity: Array  # inside of the ribs and of the abdominal wall
    abdomen: Array  # below the diaphragm


@dataclass
class _Slab:
    """A piece of the canvas with what the painting steps share (arrays over the piece)."""

    box: Box
    body: Frame
    inner: Frame
    at: np.ndarray  # place of the heights in the profiles
    half: Array
    front: Array
    back: Array
    dx: Array  # from the spine's axis
    dy: Array

    @classmethod
    def of(cls, canvas: Canvas, marks: Landmarks, box: Box) -> _Slab:
        body = canvas.body.cut(box)
        at = Profile.index(body.z)
        dx, dy = body.x - marks.spine_x.at(at), body.y - marks.spine_y.at(at)
        half, front, back = (p.at(at) for p in (marks.half_width, marks.front, marks.back))
        return cls(box, body, canvas.inner.cut(box), at, half, front, back, dx, dy)


def build_torso(canvas: Canvas, rng: np.random.Generator) -> Torso:
    """Paint skin, fat, wall muscles, diaphragm and lungs, and return the shapes that bound the organs."""
    marks = Landmarks.of(canvas.traits)
    skin, cavity, abdomen = (np.empty(canvas.shape, np.float32) for _ in range(3))
    scales: dict[str, float | tuple[float, float, float]] = {
        "skin": 45.0,
        "septa": (22.0, 14.0, 30.0),
        "vein": (9.0, 9.0, 40.0),
        "streaks": (13.0, 13.0, 60.0),
    }
    noise = {name: smooth_field(rng, canvas.shape, canvas.spacing, scale) for name, scale in scales.items()}
    for start in range(0, canvas.shape[0], _SLAB):
        box = (slice(start, start + _SLAB), slice(None), slice(None))
        slab = _Slab.of(canvas, marks, box)
        here = {name: field[box] for name, field in noise.items()}
        skin[box] = _paint_envelope(canvas, slab, here)
        erector = _erector(canvas, slab, here["streaks"])
        middle, depth = 0.5 * (slab.front + slab.back), 0.5 * (slab.front - slab.back)
        v = (slab.body.y - middle) / depth
        norm = np.maximum(rounded_box_norm(slab.body.x / slab.half, v, 0.5), 0.05)
        hollow = np.sqrt(slab.body.x**2 + (slab.body.y - middle) ** 2) * (1.0 - 1.0 / norm)
        between = np.maximum(np.abs(slab.dx) - 16.0, slab.dy + 14.0)  # the spine's place, behind its bodies
        cavity[box] = smooth_max(smooth_max(hollow, 4.0 - erector, 10.0), -between, 6.0)
        abdomen[box] = _diaphragm(canvas, slab)
        _paint_wall(canvas, slab, skin[box], cavity[box], erector, v, here["streaks"])
        _paint_chest(canvas, slab, cavity[box], abdomen[box])
    return Torso(marks, skin, cavity, abdomen)


def _paint_envelope(canvas: Canvas, slab: _Slab, noise: dict[str, Array]) -> Array:
    """Skin and subcutaneous fat, flattened where the patient lies on the table."""
    traits, at, box = canvas.traits, slab.at, slab.box
    x, y, z = slab.body.x, slab.body.y, slab.body.z
    fat, heights = traits.fat, (-150.0, -90.0, -30.0, 30.0, 80.0, 140.0)

    def profile(*values: float) -> Array:
        return Profile(heights, values).at(at)

    side = slab.half + 17.0 * traits.muscle**0.5 + fat * profile(1.25, 1.1, 0.95, 0.75, 0.55, 0.6) + 1.5
    ahead = slab.front + 10.0 + fat * profile(1.15, 1.1, 0.9, 0.65, 0.5, 0.55)
    behind = profile(-107.0, -104.0, -103.0, -109.0, -114.0, -116.0) - fat * profile(1.3, 1.0, 0.65, 0.5, 0.45, 0.5)
    middle, depth = 0.5 * (ahead + behind), 0.5 * (ahead - behind)
    if traits.breast:
        mound = np.exp(-(((np.abs(x) - 68.0) / 45.0) ** 2)) * profile(0.0, 0.0, 0.0, 0.0, 0.15, 1.2)
        depth = np.where(y > middle, depth + traits.breast * mound, depth)
    roundness = profile(0.6, 0.6, 0.65, 0.7, 0.7, 0.6)
    u2, v2 = (x / side) ** 2, ((y - middle) / depth) ** 2
    norm = roundness * np.sqrt(u2 + v2) + (1.0 - roundness) * np.sqrt(np.sqrt(u2 * u2 + v2 * v2))
    skin = np.sqrt(x * x + (y - middle) ** 2) * (1.0 - 1.0 / np.maximum(norm, 0.05))
    skin += 1.2 * noise["skin"]
    rear = y < middle
    skin += rear * np.exp(-((x / 13.0) ** 2)) * (3.0 + 0.12 * fat) * profile(0.7, 1.0, 1.0, 0.7, 0.4, 0.5)
    navel = np.exp(-((x / 7.0) ** 2) - (((z + 98.0) / 8.0) ** 2))
    skin += ~rear * navel * (6.0 + 0.3 * fat)
    skin = smooth_max(skin, behind + 3.0 + 0.08 * fat - y, 14.0)
    canvas.paint(skin < 0.0, Tissue.SKIN, box=box)
    canvas.paint(skin < -1.8, Tissue.FAT, box=box)
    strands = (np.abs(noise["septa"]) < 0.025) & (skin < -1.8) & (skin > -fat - 12.0)
    # Scarpa's fascia parts the flank's fat in two layers.
    strands |= (np.abs(skin + 0.45 * fat) < 0.45) & (noise["septa"] > -0.6) & (z < 40.0)
    canvas.paint(strands, Tissue.FASCIA, box=box)
    canvas.paint((noise["vein"] > 2.9) & (skin < -4.0), Tissue.CAVA, box=box)
    return skin


def _erector(canvas: Canvas, slab: _Slab, streaks: Array) -> Array:
    """The two erector spinae muscles as one shape."""
    heights = (-140.0, -60.0, 20.0, 80.0, 150.0)
    strong = canvas.traits.muscle**0.5
    half = Profile(heights, np.array([26.0, 30.0, 29.0, 26.0, 23.0]) * strong).at(slab.at)
    depth = Profile(heights, np.array([22.0, 24.0, 21.0, 15.5, 13.0]) * strong).at(slab.at)
    u = (np.abs(slab.dx) - half - 1.0) / half
    v = (slab.dy - Profile(heights, [-56.0, -58.0, -55.0, -50.0, -46.0]).at(slab.at)) / depth
    v = v / (1.0 - 0.38 * np.clip(u, 0.0, 1.0)) - 0.10 * u  # thins out to the side
    return (rounded_box_norm(u, v, 0.35) - 1.0) * (0.5 * (half + depth)) + 0.8 * streaks


def _paint_wall(
    canvas: Canvas, slab: _Slab, skin: Array, cavity: Array, erector: Array, v: Array, streaks: Array
) -> None:
    """Rectus and the three flat muscles of the abdomen, the muscles of the chest and the back, the cavity's fat."""
    traits, box = canvas.traits, slab.box
    inside = skin < -2.5
    across = np.abs(slab.body.x) / slab.half
    # The chest begins at the costal margin, which falls from the sternum to the flank.
    margin = 2.0 + 68.0 * np.clip(v, -0.3, 1.0) * np.abs(np.clip(v, -0.3, 1.0))
    chest = np.clip((slab.body.z - margin) / 14.0, 0.0, 1.0)
    thick = traits.muscle**0.5
    belly = np.clip((0.31 - np.abs(across - 0.30)) / 0.31, 0.0, 1.0)
    rectus = 1.3 + 10.5 * thick * np.sqrt(belly)
    flat = 2.0 + 16.0 * thick * np.clip((across - 0.60) / 0.25, 0.0, 1.0)
    flat = np.where(v < -0.35, flat * np.clip(1.35 + v, 0.35, 1.0), flat)
    soft_wall = np.where((v > 0.0) & (across < 0.61), rectus, flat)
    hard_wall = 10.0 + 7.5 * thick * np.clip((across - 0.45) / 0.3, 0.0, 1.0) * np.clip(1.2 - 0.9 * v, 0.0, 1.0)
    hard_wall = np.where(v < -0.5, hard_wall + 3.5 * thick, hard_wall)
    wall = soft_wall + (hard_wall - soft_wall) * chest + 0.5 * streaks
    muscle = (cavity >= 0.0) & (cavity < wall) & inside
    canvas.paint(muscle, Tissue.MUSCLE, box=box)
    canvas.paint(muscle & (v > 0.3) & (across < 0.61) & (chest < 0.5), Tissue.RECTUS, box=box)
    # Thin planes of fat part the layers, here more, there less.
    soft = muscle & (chest < 0.5) & (across > 0.55)
    share = cavity / np.maximum(wall, 1.0)
    gap = np.clip(0.016 + 0.016 * streaks, 0.0, 0.05) / thick
    canvas.paint(soft & ((np.abs(share - 0.30) < gap) | (np.abs(share - 0.64) < 1.3 * gap)), Tissue.FAT, box=box)
    layers = (np.abs(cavity - 11.3) < 0.5 + 0.35 * streaks) | ((cavity < 1.0) & (streaks > 0.4))
    canvas.paint(muscle & (chest >= 0.5) & layers, Tissue.FAT, box=box)
    # Clefts of fat run along the muscles of the back, wider where the muscle is weak.
    cleft = np.abs(streaks) < 0.055 / traits.muscle**2.5
    canvas.paint((erector < 0.0) & inside & ~(cleft & (erector < -2.0)), Tissue.MUSCLE, box=box)
    canvas.paint((erector < -2.0) & inside & cleft, Tissue.FAT, box=box)
    canvas.paint((cavity < 0.0) & inside, Tissue.VISCERAL_FAT, box=box)


def _diaphragm(canvas: Canvas, slab: _Slab) -> Array:
    """Below the two domes of the diaphragm, or below the bottom of the costophrenic recess."""
    x, y, z = slab.inner.x, slab.inner.y, slab.inner.z
    widen = canvas.traits.belly * 0.4
    right = ellipsoid(x, y, z, (61.0, 2.0, 16.0), (64.0 + widen, 97.0 + widen, 89.0))
    left = ellipsoid(x, y, z, (-64.0, -1.0, 12.0), (61.0 + widen, 93.0 + widen, 84.0))
    center = ellipsoid(x, y, z, (0.0, 26.0, 4.0), (72.0, 80.0 + widen, 83.0))
    domes = smooth_min(smooth_min(right, left, 16.0), center, 22.0)
    recess = (z - (42.0 + 0.30 * y + 0.0016 * x * x)) * np.float32(0.9)
    return np.minimum(domes, recess)


def _paint_chest(canvas: Canvas, slab: _Slab, cavity: Array, abdomen: Array) -> None:
    """Diaphragm and lungs; what is left between the lungs stays fat until heart and vessels come."""
    x, y, z = slab.inner.x, slab.inner.y, slab.inner.z
    fat = canvas.tissue[slab.box] == Tissue.VISCERAL_FAT
    canvas.paint((abdomen > -0.3) & (abdomen < 2.6) & fat, Tissue.MUSCLE, box=slab.box)
    # The mediastinum: a column before the spine, the heart's bed on the left, a thin sheet behind the sternum.
    column = np.sqrt(((slab.dx + 5.0) / 27.0) ** 2 + ((slab.dy - 14.0) / 36.0) ** 2) * 30.0 - 30.0
    heart = ellipsoid(x, y, z, (-20.0, 34.0, 129.0), (64.0, 51.0, 42.0))
    sheet = np.maximum(np.abs(x + 4.0) - 13.0, 15.0 - y)
    middle = smooth_min(smooth_min(column, heart, 14.0), sheet, 18.0)
    lung = np.maximum(np.maximum(2.6 - abdomen, cavity + 1.2), -middle)
    canvas.paint((lung < 0.0) & fat, Tissue.LUNG, box=slab.box, label=VALUES["lungs"])
