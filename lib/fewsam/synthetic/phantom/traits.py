"""Who a phantom patient is: the numbers from which the anatomy and the contrast are built."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

Phase = Literal["native", "arterial", "portal"]
Sequence = Literal["t2", "t1"]


@dataclass(frozen=True)
class Traits:
    """One patient. Lengths in mm, angles in degrees, the rest are factors around 1."""

    size: tuple[float, float, float]  # scale of the body along x (right), y (anterior), z (superior)
    fat: float  # subcutaneous fat at the flank
    belly: float  # how far visceral fat pushes the abdominal wall out
    muscle: float
    hips: float  # widening towards the pelvis
    breast: float
    breath: float  # how far the diaphragm and the organs under it moved down from mid-breath
    roll: float  # rotation about the long axis
    tilt: tuple[float, float]  # about the left-right and the front-back axis
    scoliosis: float  # sideways bow of the spine
    lordosis: float
    bone: float  # mineral density
    calcified: float  # 0..1, plaques in the aorta
    aorta: float
    liver: float
    spleen: float
    kidney: float
    stomach: float  # filling
    stomach_gas: float  # 0..1, share of the lumen above the fluid level
    loops: int  # bowel loops
    steatosis: float  # 0..1, fat in the liver
    phase: Phase
    sequence: Sequence
    noise: float  # quantum noise at the body's centre, HU
    z_offset: float  # how far the scan starts above the usual level
    field_of_view: float


_COMMON = Traits(
    size=(1.05, 1.05, 1.0), fat=17.0, belly=4.0, muscle=1.0, hips=0.0, breast=0.0, breath=0.0, roll=0.0,
    tilt=(0.0, 0.0), scoliosis=0.0, lordosis=1.0, bone=1.0, calcified=0.2, aorta=1.0, liver=1.0, spleen=1.0,
    kidney=1.0, stomach=1.0, stomach_gas=0.35, loops=98, steatosis=0.0, phase="portal", sequence="t2",
    noise=10.0, z_offset=0.0, field_of_view=373.4,
)  # fmt: skip

# Six kinds of patient, so that even a small data set spans what one meets; jitter makes each one individual.
_KINDS: tuple[Traits, ...] = (
    _COMMON,
    replace(
        _COMMON, size=(0.93, 0.93, 0.93), fat=15.0, belly=-6.0, muscle=0.75, hips=8.0, breast=10.0, breath=14.0,
        calcified=0.0, aorta=0.85, spleen=0.95, stomach=0.8, stomach_gas=0.5, loops=88, phase="native",
        noise=11.0, field_of_view=334.6,
    ),
    replace(
        _COMMON, size=(1.10, 1.10, 1.02), fat=24.0, belly=24.0, breath=-8.0, calcified=0.5, aorta=1.1, liver=1.1,
        stomach=1.15, stomach_gas=0.25, loops=93, steatosis=0.35, noise=12.0, field_of_view=417.1,
    ),
    replace(
        _COMMON, size=(0.98, 0.97, 0.92), fat=19.0, belly=7.0, muscle=0.7, hips=9.0, breast=6.0, breath=4.0,
        scoliosis=11.0, lordosis=1.25, bone=0.6, calcified=1.0, aorta=1.2, kidney=0.88, spleen=0.92,
        stomach_gas=0.45, phase="native", sequence="t1", noise=10.5, field_of_view=354.1,
    ),
    replace(
        _COMMON, size=(1.03, 0.99, 1.04), fat=9.0, belly=-4.0, muscle=1.2, breath=18.0, bone=1.25, calcified=0.0,
        aorta=0.95, kidney=1.06, stomach=1.2, stomach_gas=0.2, loops=103, phase="arterial", noise=9.0,
        field_of_view=354.1,
    ),
    replace(
        _COMMON, size=(1.01, 1.00, 0.94), fat=33.0, belly=12.0, muscle=0.85, hips=12.0, breast=16.0, breath=-4.0,
        bone=0.9, aorta=0.93, liver=1.05, spleen=1.2, stomach=0.75, loops=88, steatosis=0.8, sequence="t1",
        noise=12.5, field_of_view=402.6,
    ),
)  # fmt: skip


def draw_traits(rng: np.random.Generator, patient: int) -> Traits:
    """Draw the traits of patient ``patient`` (1, 2, ...): one of six kinds in turn, with individual jitter."""
    kind = _KINDS[(patient - 1) % len(_KINDS)]

    def about(value: float, spread: float) -> float:
        return float(value * np.exp(rng.normal(0.0, spread)))

    return replace(
        kind,
        size=(about(kind.size[0], 0.015), about(kind.size[1], 0.015), about(kind.size[2], 0.015)),
        fat=about(kind.fat, 0.08),
        belly=kind.belly + float(rng.normal(0.0, 2.0)),
        muscle=about(kind.muscle, 0.05),
        breath=kind.breath + float(rng.normal(0.0, 3.0)),
        roll=float(rng.normal(0.0, 3.0)),
        tilt=(float(rng.normal(0.0, 1.8)), float(rng.normal(0.0, 1.8))),
        scoliosis=kind.scoliosis * float(rng.choice([-1.0, 1.0])) + float(rng.normal(0.0, 2.0)),
        lordosis=about(kind.lordosis, 0.1),
        aorta=about(kind.aorta, 0.04),
        liver=about(kind.liver, 0.04),
        spleen=about(kind.spleen, 0.07),
        kidney=about(kind.kidney, 0.03),
        stomach=about(kind.stomach, 0.06),
        stomach_gas=float(np.clip(kind.stomach_gas + rng.normal(0.0, 0.06), 0.12, 0.6)),
        z_offset=float(rng.uniform(-7.0, 7.0)),
    )
