"""MR-like images: a signal table for a T2- and a T1-weighted sequence, coil shading, ringing and Rician noise."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fewsam.synthetic.phantom.anatomy import PatientAnatomy, block_mean
from fewsam.synthetic.phantom.shapes import Array, smooth_field
from fewsam.synthetic.phantom.tissues import Tissue

# Tissue -> (signal in the T2-weighted, in the T1-weighted sequence, relative texture); the rest gives no signal.
_SIGNAL: dict[Tissue, tuple[float, float, float]] = {
    Tissue.SKIN: (0.34, 0.40, 0.10),
    Tissue.FAT: (0.86, 0.98, 0.05),
    Tissue.MUSCLE: (0.17, 0.38, 0.10),
    Tissue.VISCERAL_FAT: (0.80, 0.93, 0.07),
    Tissue.LUNG: (0.035, 0.045, 0.30),
    Tissue.LUNG_VESSEL: (0.10, 0.16, 0.20),
    Tissue.MYOCARDIUM: (0.24, 0.40, 0.08),
    Tissue.LEFT_HEART: (0.12, 0.22, 0.35),
    Tissue.RIGHT_HEART: (0.16, 0.24, 0.35),
    Tissue.LIVER: (0.28, 0.56, 0.05),
    Tissue.HEPATIC_VEIN: (0.13, 0.30, 0.15),
    Tissue.PORTAL_VEIN: (0.15, 0.30, 0.15),
    Tissue.SPLEEN: (0.50, 0.36, 0.05),
    Tissue.CORTEX: (0.54, 0.50, 0.06),
    Tissue.MEDULLA: (0.72, 0.34, 0.06),
    Tissue.RENAL_PELVIS: (1.00, 0.18, 0.04),
    Tissue.STOMACH_WALL: (0.30, 0.42, 0.12),
    Tissue.STOMACH_FLUID: (1.02, 0.20, 0.08),
    Tissue.GAS: (0.01, 0.01, 0.5),
    Tissue.BOWEL_WALL: (0.32, 0.42, 0.12),
    Tissue.CHYME: (0.74, 0.27, 0.18),
    Tissue.STOOL: (0.34, 0.46, 0.28),
    Tissue.GALLBLADDER: (1.08, 0.24, 0.04),
    Tissue.PANCREAS: (0.40, 0.64, 0.10),
    Tissue.AORTA: (0.05, 0.14, 0.35),
    Tissue.ARTERY: (0.06, 0.15, 0.35),
    Tissue.CAVA: (0.10, 0.20, 0.35),
    Tissue.RENAL_VEIN: (0.12, 0.22, 0.30),
    Tissue.CORTICAL_BONE: (0.03, 0.05, 0.30),
    Tissue.SPONGY_BONE: (0.42, 0.60, 0.10),
    Tissue.DISC: (0.36, 0.34, 0.12),
    Tissue.CORD: (0.40, 0.46, 0.05),
    Tissue.CSF: (1.12, 0.16, 0.06),
    Tissue.CARTILAGE: (0.30, 0.36, 0.12),
    Tissue.ADRENAL: (0.36, 0.44, 0.06),
    Tissue.CALCIFICATION: (0.03, 0.04, 0.30),
    Tissue.FASCIA: (0.30, 0.42, 0.15),
    Tissue.RECTUS: (0.17, 0.38, 0.10),
    Tissue.RIB_MARROW: (0.48, 0.66, 0.12),
}
_FULL_SCALE = 800.0  # grey value of signal 1


def render_mr(anatomy: PatientAnatomy, rng: np.random.Generator) -> NDArray[np.int16]:
    """Image a patient -> grey values in arbitrary units, int16 (i, j, k) on the grid of ``anatomy.labels``."""
    column = 0 if anatomy.traits.sequence == "t2" else 1
    level, rough = np.zeros(64, np.float32), np.zeros(64, np.float32)
    for tissue, row in _SIGNAL.items():
        level[tissue] = row[column] * np.exp(rng.normal(0.0, 0.06))
        rough[tissue] = level[tissue] * row[2]
    level[Tissue.LIVER] *= 1.0 + 0.25 * anatomy.traits.steatosis
    level[Tissue.RECTUS] = level[Tissue.MUSCLE]
    shape, spacing = anatomy.tissue.shape, [h / anatomy.supersampling for h in anatomy.spacing]
    texture = 0.8 * smooth_field(rng, shape, spacing, (5.0, 5.0, 9.0)) + 0.6 * smooth_field(rng, shape, spacing, 24.0)
    fine = np.maximum(level[anatomy.tissue] + rough[anatomy.tissue] * texture, 0.0)
    volume = _ghost(_truncate(block_mean(fine, anatomy.supersampling)), rng)
    volume *= _shading(anatomy, rng)
    sigma = np.float32(rng.uniform(0.014, 0.022))
    real = volume + sigma * rng.standard_normal(volume.shape).astype(np.float32)
    imaginary = sigma * rng.standard_normal(volume.shape).astype(np.float32)
    return np.clip(np.rint(np.hypot(real, imaginary) * _FULL_SCALE), 0, 32767).astype(np.int16)


def _truncate(volume: Array) -> Array:
    """Measure only the middle of k-space: a little less resolution, and ringing beside sharp edges."""
    spectrum = np.fft.rfft2(volume, axes=(1, 0))
    fi = np.abs(np.fft.rfftfreq(volume.shape[0]))[:, None, None] / 0.5
    fj = np.abs(np.fft.fftfreq(volume.shape[1]))[None, :, None] / 0.5
    window = 1.0 / (1.0 + (fi / 0.95) ** 16) / (1.0 + (fj / 0.85) ** 16)
    return np.fft.irfft2(spectrum * window, s=(volume.shape[1], volume.shape[0]), axes=(1, 0)).astype(np.float32)


def _ghost(volume: Array, rng: np.random.Generator) -> Array:
    """Breathing repeats the bright front wall along the phase direction (front-back), faintly."""
    shift = int(volume.shape[1] * rng.uniform(0.28, 0.4))
    strength = np.float32(rng.uniform(0.006, 0.014))
    return np.abs(volume + strength * (np.roll(volume, shift, axis=1) + np.roll(volume, -shift, axis=1)))


def _shading(anatomy: PatientAnatomy, rng: np.random.Generator) -> Array:
    """Surface coils see what is near them brighter, and the field is uneven: a smooth gain around 1."""
    shape, spacing = anatomy.labels.shape, anatomy.spacing
    x, y = anatomy.world_axes()[:2]
    radius = np.hypot(x[:, None] / (x.max() * 0.95), y[None, :] / (y.max() * 0.95))
    coil = 0.20 * (np.clip(radius, 0.0, 1.2) ** 2 - 0.45)
    field = 0.13 * smooth_field(rng, shape, spacing, 150.0)
    return np.exp(field + coil[:, :, None]).astype(np.float32)
