"""Stomach and duodenum, pancreas, colon, small bowel and the mesentery between its loops."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import distance_transform_edt, uniform_filter

from fewsam.synthetic.phantom.canvas import SUPERSAMPLING, Box, Canvas
from fewsam.synthetic.phantom.organs import place
from fewsam.synthetic.phantom.shapes import Array, curve, smooth_field, smooth_max
from fewsam.synthetic.phantom.tissues import SOFT, VALUES, Tissue
from fewsam.synthetic.phantom.torso import Torso


def _room(canvas: Canvas) -> Array:
    """Distance (mm, fine grid) from every voxel of free fat to what is already painted; 0 outside free fat."""
    step = slice(None, None, SUPERSAMPLING)
    coarse = (step, step, step)
    free = canvas.made_of(SOFT, coarse)
    # Lone vessels and strands of fascia do not fence off the bowel: they are pushed aside.
    distance = distance_transform_edt(free, sampling=np.asarray(canvas.spacing) * SUPERSAMPLING).astype(np.float32)
    for axis in range(3):
        distance = np.repeat(distance, SUPERSAMPLING, axis=axis)
    return uniform_filter(distance, SUPERSAMPLING, mode="nearest")


def _ground_level(canvas: Canvas, box: Box, mask: NDArray[np.bool_], share: float) -> float:
    """Height (world y) above which ``share`` of a lumen lies: gas collects there, the patient lying on the back."""
    counts = mask.sum(axis=(0, 2)).astype(float)
    total = counts.sum()
    if total == 0.0:
        return float(canvas.axes[1][-1])
    below = np.cumsum(counts) / total
    return float(canvas.axes[1][box[1]][int(np.searchsorted(below, 1.0 - share).clip(0, len(counts) - 1))])


def paint_stomach(
    canvas: Canvas, torso: Torso, liver: tuple[Box, Array], spleen: tuple[Box, Array], rng: np.random.Generator
) -> None:
    """Gullet, stomach with gas above fluid, and the duodenum around the head of the pancreas."""
    full = canvas.traits.stomach
    gullet = [(-8, -12, 140, 7), (-11, 0, 100, 7), (-20, 6, 82, 7), (-40, 4, 72, 8)]
    box, shape = canvas.tube(gullet, canvas.inner, flatten=(0.9, 1.15, 1.0))
    canvas.paint(shape < 0.0, Tissue.STOMACH_WALL, box=box, over=(*SOFT, Tissue.LUNG, Tissue.MUSCLE))

    s = full
    j = rng.normal(0.0, 3.0, (8, 3))
    path = [(-56, -38, 84, 24 * s), (-64, -22, 76, 33 * s), (-70, 10, 58, 34 * s), (-68, 40, 34, 28 * s),
            (-52, 58, 10, 22 * s), (-22, 62, -8, 17 * s), (12, 54, -6, 14 * s), (32, 40, 4, 9)]  # fmt: skip
    rows = np.asarray(path, float)
    rows[1:-1, :3] += j[1:-1]
    box, shape = canvas.tube(rows, canvas.inner, margin=8.0)
    ripple = smooth_field(rng, shape.shape, canvas.spacing, 30.0)
    shape = shape + 2.2 * ripple
    bound = smooth_max(torso.abdomen[box] + 2.0, torso.cavity[box] + 3.5, 5.0)
    shape = smooth_max(shape, bound, 8.0)
    shape = smooth_max(shape, 2.2 - place(box, *liver, 12.0), 8.0)
    shape = smooth_max(shape, 2.2 - place(box, *spleen, 12.0), 8.0)
    free = canvas.made_of(SOFT, box) & (canvas.label[box] == 0)
    inside = (shape < 0.0) & free
    folds = smooth_field(rng, shape.shape, canvas.spacing, (9.0, 9.0, 16.0))
    wall = 2.8 + np.clip(folds, 0.0, 1.5) * (2.6 / s)
    lumen = inside & (shape < -wall)
    level = _ground_level(canvas, box, lumen, canvas.traits.stomach_gas)
    y = canvas.axes[1][box[1]][None, :, None]
    value = VALUES["stomach"]
    canvas.paint(inside, Tissue.STOMACH_WALL, box=box, label=value)
    canvas.paint(lumen, Tissue.STOMACH_FLUID, box=box, label=value)
    canvas.paint((shape < -2.6) & inside & (y > level), Tissue.GAS, box=box, label=value)

    duodenum = [(34, 38, 5, 9), (46, 30, 2, 11), (53, 14, -22, 11), (46, 4, -48, 11), (20, 2, -56, 10),
                (-12, 8, -48, 10), (-30, 16, -26, 10)]  # fmt: skip
    _bowel(canvas, duodenum, None, rng, gas=0.0, content=Tissue.CHYME, wall=2.0)


def paint_pancreas(canvas: Canvas, rng: np.random.Generator) -> None:
    """Head in the duodenum's loop, body before the aorta, tail towards the spleen; lobulated."""
    path = [(36, 18, -26, 9), (36, 20, -8, 13), (20, 27, 6, 10), (0, 34, 16, 9), (-26, 28, 26, 9.5), (-54, 6, 38, 9),
            (-76, -16, 44, 7)]  # fmt: skip
    box, shape = canvas.tube(path, canvas.inner, margin=3.0)
    lobules = smooth_field(rng, shape.shape, canvas.spacing, 6.0)
    canvas.paint(shape + 1.2 * lobules < -0.5, Tissue.PANCREAS, box=box, over=SOFT)


def _bowel(
    canvas: Canvas,
    path: ArrayLike,
    room: Array | None,
    rng: np.random.Generator,
    *,
    gas: float,
    content: Tissue,
    wall: float,
    haustra: float = 0.0,
    clearance: float = 1.2,
) -> None:
    """A stretch of bowel with wall, content and gas above the fluid (``gas`` = share of the lumen)."""
    samples, radii = curve(path, 2.2)
    if haustra:
        phase = np.arange(len(radii)) * 2.2 / 27.0 * 2.0 * np.pi + rng.uniform(0.0, 6.0)
        radii = radii * (1.0 - haustra * np.clip(np.cos(phase), 0.0, 1.0) ** 3)
    centers = canvas.world(samples, canvas.inner)
    box, shape = canvas.sweep(centers, radii * float(np.mean(canvas.traits.size)), margin=5.0)
    if shape.size == 0:
        return
    shape = shape + 1.1 * smooth_field(rng, shape.shape, canvas.spacing, 18.0)
    if room is not None:
        shape = smooth_max(shape, clearance - room[box], 4.0)
    free = canvas.made_of(SOFT, box)
    inside = (shape < 0.0) & free
    lumen = (shape < -wall) & free
    canvas.paint(inside, Tissue.BOWEL_WALL, box=box)
    canvas.paint(lumen, content, box=box)
    if content == Tissue.STOOL:
        bubbles = smooth_field(rng, shape.shape, canvas.spacing, 4.0)
        canvas.paint(lumen & (bubbles > 1.0 - 0.5 * gas), Tissue.GAS, box=box)
    if gas > 0.0:
        level = _ground_level(canvas, box, lumen, gas)
        height = canvas.axes[1][box[1]][None, :, None]
        if content == Tissue.STOOL:  # no fluid to level it
            height = height + 6.0 * smooth_field(rng, shape.shape, canvas.spacing, 20.0)
        canvas.paint(lumen & (height > level), Tissue.GAS, box=box)


def paint_bowel(canvas: Canvas, torso: Torso, rng: np.random.Generator) -> None:
    """Colon as a frame around the small bowel's loops, and vessels in the mesentery."""
    traits = canvas.traits
    room = _room(canvas)
    push = 0.55 * traits.belly
    side, ahead = 92.0 + push, 62.0 + 0.9 * traits.belly
    sag = rng.uniform(-62.0, -34.0)
    ascending = [(side - 6, 8, -135, 24), (side - 2, 0, -105, 25), (side, -6, -70, 22), (side - 4, -4, -42, 20),
                 (side - 12, 22, -30, 19)]  # fmt: skip
    transverse = [(side - 12, 30, -34, 19), (60, ahead - 6, -40, 20), (15, ahead + 4, sag, 20),
                  (-35, ahead + 2, sag + 6, 19), (-80, ahead - 22, -14, 19), (-side - 4, 18, 14, 18)]  # fmt: skip
    descending = [(-side - 6, 10, 18, 17), (-side - 9, -18, 4, 15), (-side - 6, -26, -35, 13),
                  (-side - 4, -20, -75, 13), (-side + 2, -6, -110, 14), (-side + 20, 6, -140, 15)]  # fmt: skip
    gas = rng.uniform([0.0, 0.3, 0.0], [0.35, 0.85, 0.25])
    fluid = Tissue.CHYME if rng.random() < 0.35 else Tissue.STOOL
    kinds = [(Tissue.STOOL, gas[0]), (fluid, gas[1]), (Tissue.STOOL, gas[2])]
    for path, (content, share) in zip((ascending, transverse, descending), kinds, strict=True):
        rows = np.asarray(path, float)
        rows[:, :3] += rng.normal(0.0, 2.0, (len(rows), 3))
        _bowel(canvas, rows, room, rng, gas=share, content=content, wall=1.9, haustra=0.24, clearance=1.5)
    room = _room(canvas)
    loops = _loops(rng, traits.loops, push)
    for at in loops[:: max(1, len(loops) // 36)]:
        along = rng.uniform(0.0, 1.0)  # where the branch leaves the mesenteric vessels
        root = np.array([4.0 + 8.0 * along, 24.0 + 0.3 * traits.belly, -18.0 - 48.0 * along])
        bend = 0.5 * (root + at) + rng.normal(0.0, 9.0, 3)
        path = [(*root, 1.7), (*bend, 1.4), (*(at + rng.normal(0.0, 6.0, 3)), 0.9)]
        box, shape = canvas.tube(path, canvas.inner, margin=1.0)
        tissue = Tissue.PORTAL_VEIN if rng.random() < 0.6 else Tissue.ARTERY
        canvas.paint(shape < 0.0, tissue, box=box, over=(Tissue.VISCERAL_FAT, Tissue.FASCIA))
    for start in range(0, len(loops) - 3, 9):
        piece = loops[start : start + 10]
        rows = np.column_stack([piece, rng.uniform(10.0, 12.5, len(piece))])
        share = float(rng.choice([0.0, 0.0, 0.05, 0.25]))
        _bowel(canvas, rows, room, rng, gas=share, content=Tissue.CHYME, wall=2.2, clearance=1.0)


def _loops(rng: np.random.Generator, count: int, push: float) -> NDArray[np.float64]:
    """A chain of points (count, 3) that winds through the middle of the belly without touching itself."""
    center, radii = np.array([-6.0, 26.0 + 0.5 * push, -74.0]), np.array([86.0 + push, 44.0 + 0.8 * push, 70.0])
    chain = center + np.cumsum(rng.normal(0.0, 9.0, (count, 3)), axis=0) * np.array([1.0, 0.5, 0.7])
    bond, apart = 21.0, 27.0
    neighbours = np.abs(np.subtract.outer(np.arange(count), np.arange(count))) <= 1
    for _ in range(250):
        move = np.zeros_like(chain)
        step = np.diff(chain, axis=0)
        length = np.linalg.norm(step, axis=1, keepdims=True) + 1e-6
        pull = 0.25 * (length - bond) * step / length
        move[:-1] += pull
        move[1:] -= pull
        gap = chain[:, None] - chain[None]
        distance = np.linalg.norm(gap, axis=2) + 1e-6
        force = np.where(neighbours, 0.0, np.clip(apart - distance, 0.0, None) * 0.22)
        move += (gap / distance[..., None] * force[..., None]).sum(axis=1)
        inside = (chain - center) / radii
        out = np.linalg.norm(inside, axis=1, keepdims=True)
        move -= np.where(out > 1.0, 0.35 * (out - 1.0) * inside / out * radii, 0.0)
        chain = chain + np.clip(move, -6.0, 6.0)
    return chain
