"""CT: Hounsfield units by tissue and contrast phase, then the errors a scanner makes while measuring them."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from scipy.sparse import csr_matrix

from fewsam.synthetic.phantom.anatomy import PatientAnatomy, block_mean
from fewsam.synthetic.phantom.shapes import Array, smooth_field
from fewsam.synthetic.phantom.tissues import Tissue
from fewsam.synthetic.phantom.traits import Traits

# Tissue -> (HU without contrast, in the arterial phase, in the portal venous phase, share of texture in HU).
_HU: dict[Tissue, tuple[float, float, float, float]] = {
    Tissue.AIR: (-1000, -1000, -1000, 0),
    Tissue.SKIN: (10, 15, 20, 10),
    Tissue.FAT: (-108, -108, -107, 6),
    Tissue.MUSCLE: (54, 58, 63, 9),
    Tissue.VISCERAL_FAT: (-103, -102, -101, 8),
    Tissue.LUNG: (-855, -850, -848, 22),
    Tissue.LUNG_VESSEL: (30, 170, 110, 10),
    Tissue.MYOCARDIUM: (44, 92, 112, 6),
    Tissue.LEFT_HEART: (41, 300, 158, 5),
    Tissue.RIGHT_HEART: (41, 230, 152, 8),
    Tissue.LIVER: (58, 68, 112, 5),
    Tissue.HEPATIC_VEIN: (42, 62, 152, 4),
    Tissue.PORTAL_VEIN: (42, 108, 165, 4),
    Tissue.SPLEEN: (49, 118, 126, 5),
    Tissue.CORTEX: (33, 175, 185, 7),
    Tissue.MEDULLA: (31, 75, 158, 7),
    Tissue.RENAL_PELVIS: (8, 10, 14, 3),
    Tissue.STOMACH_WALL: (42, 75, 92, 8),
    Tissue.STOMACH_FLUID: (14, 14, 14, 9),
    Tissue.GAS: (-985, -985, -985, 4),
    Tissue.BOWEL_WALL: (40, 82, 98, 9),
    Tissue.CHYME: (24, 26, 28, 14),
    Tissue.STOOL: (10, 12, 12, 55),
    Tissue.GALLBLADDER: (7, 8, 9, 3),
    Tissue.PANCREAS: (40, 96, 98, 10),
    Tissue.AORTA: (43, 315, 160, 3),
    Tissue.ARTERY: (43, 300, 155, 3),
    Tissue.CAVA: (41, 85, 146, 7),
    Tissue.RENAL_VEIN: (41, 165, 160, 4),
    Tissue.CORTICAL_BONE: (610, 610, 610, 110),
    Tissue.SPONGY_BONE: (155, 158, 165, 38),
    Tissue.DISC: (88, 88, 90, 10),
    Tissue.CORD: (38, 40, 44, 3),
    Tissue.CSF: (14, 15, 18, 3),
    Tissue.CARTILAGE: (115, 115, 117, 22),
    Tissue.ADRENAL: (22, 55, 62, 5),
    Tissue.CALCIFICATION: (700, 700, 700, 150),
    Tissue.FASCIA: (-20, -18, -15, 10),
    Tissue.RECTUS: (55, 59, 64, 9),
    Tissue.RIB_MARROW: (140, 142, 146, 45),
}
_PHASE = {"native": 0, "arterial": 1, "portal": 2}
_WATER = 0.0195  # attenuation of water per mm at some 70 keV
_VIEWS = 240


def render_ct(anatomy: PatientAnatomy, rng: np.random.Generator) -> NDArray[np.int16]:
    """Scan a patient -> Hounsfield units, int16 (i, j, k) on the grid of ``anatomy.labels``."""
    fine = _hounsfield(anatomy, rng)
    volume = block_mean(fine, anatomy.supersampling)
    _add_table(volume, anatomy)
    volume = _point_spread(volume, anatomy.spacing)
    bone = block_mean(
        np.isin(anatomy.tissue, [Tissue.CORTICAL_BONE, Tissue.CALCIFICATION]).astype(np.float32), anatomy.supersampling
    )
    gas = block_mean((anatomy.tissue == Tissue.GAS).astype(np.float32), anatomy.supersampling)
    volume += _measurement_error(volume, bone, gas, anatomy, rng)
    return np.clip(np.rint(volume), -1024, 3071).astype(np.int16)


def _table(traits: Traits, rng: np.random.Generator) -> tuple[Array, Array]:
    """HU and texture by tissue number, with individual variation."""
    column = _PHASE[traits.phase]
    level, rough = np.zeros(64, np.float32), np.zeros(64, np.float32)
    boost = float(np.exp(rng.normal(0.0, 0.08)))  # heart output and dose of contrast agent
    for tissue, row in _HU.items():
        enhanced = row[0] + (row[column] - row[0]) * boost
        level[tissue] = enhanced + rng.normal(0.0, 2.0)
        rough[tissue] = row[3]
    level[Tissue.AIR], level[Tissue.GAS] = -1000.0, -985.0
    level[Tissue.LIVER] -= 48.0 * traits.steatosis
    for tissue in (Tissue.CORTICAL_BONE, Tissue.SPONGY_BONE, Tissue.RIB_MARROW):
        level[tissue] *= traits.bone
    level[Tissue.MUSCLE] += 16.0 * (traits.muscle - 1.0)
    level[Tissue.RECTUS] = level[Tissue.MUSCLE]
    return level, rough


def _hounsfield(anatomy: PatientAnatomy, rng: np.random.Generator) -> Array:
    """Noise-free HU on the fine grid, textured within each tissue."""
    level, rough = _table(anatomy.traits, rng)
    shape, spacing = anatomy.tissue.shape, [h / anatomy.supersampling for h in anatomy.spacing]
    texture = 0.75 * smooth_field(rng, shape, spacing, (6.0, 6.0, 9.0))
    texture += 0.55 * smooth_field(rng, shape, spacing, 28.0)
    fine = level[anatomy.tissue] + rough[anatomy.tissue] * texture
    lung = anatomy.tissue == Tissue.LUNG
    slope = np.linspace(-1.0, 1.0, shape[1], dtype=np.float32)[None, :, None]
    fine -= lung * (slope * 45.0)  # blood settles behind: the lung is denser there
    if anatomy.traits.phase == "arterial":  # the spleen's pulp fills unevenly at first
        stripes = smooth_field(rng, shape, spacing, 11.0)
        fine += (anatomy.tissue == Tissue.SPLEEN) * (26.0 * np.tanh(1.5 * stripes))
    return fine


def _point_spread(volume: Array, spacing: tuple[float, float, float]) -> Array:
    """Blur of focal spot, detector and reconstruction filter (in plane) and of the slice profile (along z)."""
    return gaussian_filter(volume, [0.75 / spacing[0], 0.75 / spacing[1], 0.9 / spacing[2]]).astype(np.float32)


def _add_table(volume: Array, anatomy: PatientAnatomy) -> None:
    """The patient couch: two thin shells over foam, hollow like a trough; fixed to the scanner, not to the body."""
    x, y = anatomy.world_axes()[:2]
    rows = np.flatnonzero((volume > -400).any(axis=(0, 2)))
    if not len(rows):
        return
    top = y[rows[0]] - 5.0 + 0.0011 * x**2
    depth = top[:, None] - y[None, :]
    wide = np.clip((205.0 - np.abs(x)) / 3.0, 0.0, 1.0)[:, None]
    half = anatomy.spacing[1] / 2.0

    def layer(low: float, high: float) -> NDArray[np.float64]:
        """Share of each voxel between two depths below the table's top."""
        return np.clip((np.minimum(depth + half, high) - np.maximum(depth - half, low)) / (2.0 * half), 0.0, 1.0) * wide

    extra = 1150.0 * layer(0.0, 2.0) + 700.0 * layer(18.0, 20.0) + 55.0 * layer(2.0, 18.0) + 20.0 * layer(-5.0, 0.0)
    volume += (extra * (volume[:, :, :1].max(axis=2) < -900)).astype(np.float32)[:, :, None] * (volume < -700)


def _measurement_error(
    volume: Array, bone: Array, gas: Array, anatomy: PatientAnatomy, rng: np.random.Generator
) -> Array:
    """What reconstruction from noisy, beam-hardened projections adds to the true image (HU).

    Only the errors are projected and reconstructed, not the image, which therefore keeps its resolution. Noise is
    stronger along paths through much tissue (less than by physics alone, as tubes turn up their current there) and
    comes out correlated as filtered back-projection makes it. Bone hardens the beam, which leaves dark bands between
    dense parts; moving gas leaves faint streaks.
    """
    ni, nj, nk = volume.shape
    system, angles, bins = _projector(ni, nj)
    pixel = float(np.sqrt(anatomy.spacing[0] * anatomy.spacing[1]))
    flat = (ni * nj, nk)
    attenuation = np.maximum(volume.reshape(flat) / 1000.0 + 1.0, 0.0) * np.float32(_WATER * pixel)
    path = system @ attenuation
    bony = system @ (bone.reshape(flat) * np.float32(_WATER * pixel))
    moving = system @ (gas.reshape(flat) * np.float32(_WATER * pixel))
    noise = rng.standard_normal(path.shape).astype(np.float32) * np.exp(0.32 * np.minimum(path, 9.0))
    hardening = -0.018 * bony * (path + 4.0 * bony)
    swing = np.cos(3.0 * angles + rng.uniform(0.0, 6.0)).astype(np.float32)
    motion = 0.012 * moving * np.repeat(swing, bins)[:, None]
    quantum = _reconstruct(system, noise, bins, (ni, nj), pixel)
    center = quantum[ni // 4 : 3 * ni // 4, nj // 4 : 3 * nj // 4]
    quantum *= np.float32(anatomy.traits.noise / (center.std() + 1e-6))
    artefact = _reconstruct(system, (hardening + motion).astype(np.float32), bins, (ni, nj), pixel) / _WATER * 1000.0
    # A scanner's water correction takes out the smooth cupping and leaves the bands.
    artefact -= gaussian_filter(artefact, [ni / 7.0, nj / 7.0, 0.0])
    return (quantum + np.clip(artefact, -60.0, 40.0)).astype(np.float32)


def _reconstruct(system: csr_matrix, data: Array, bins: int, plane: tuple[int, int], pixel: float) -> Array:
    """Filtered back-projection (a ramp that rolls off) of (views * bins, k) -> (i, j, k), per mm where ``data`` is."""
    views = data.reshape(_VIEWS, bins, -1)
    length = 2 * bins
    frequency = np.abs(np.fft.rfftfreq(length)).astype(np.float32)
    window = 0.5 + 0.5 * np.cos(np.pi * np.clip(frequency / 0.5, 0.0, 1.0) ** 1.4)
    spectrum = np.fft.rfft(views, length, axis=1) * (frequency * window)[None, :, None]
    filtered = np.fft.irfft(spectrum, length, axis=1)[:, :bins].astype(np.float32)
    image = system.T @ filtered.reshape(_VIEWS * bins, -1)
    return (image * np.float32(np.pi / _VIEWS / pixel)).reshape(*plane, -1)


@lru_cache(maxsize=2)
def _projector(ni: int, nj: int) -> tuple[csr_matrix, NDArray[np.float64], int]:
    """Parallel-beam system matrix (views * bins, ni * nj) in pixels, the angle of each view, and the bins a view."""
    bins = int(np.ceil(np.hypot(ni, nj))) + 2
    angles = np.arange(_VIEWS) * np.pi / _VIEWS
    x = np.repeat(np.arange(ni) - (ni - 1) / 2.0, nj)
    y = np.tile(np.arange(nj) - (nj - 1) / 2.0, ni)
    at = np.cos(angles)[:, None] * x + np.sin(angles)[:, None] * y + (bins - 1) / 2.0
    low = np.floor(at).astype(np.int32)
    share = (at - low).astype(np.float32)
    rows = low + (np.arange(_VIEWS, dtype=np.int32) * bins)[:, None]
    columns = np.broadcast_to(np.arange(ni * nj, dtype=np.int32), rows.shape)
    values = np.concatenate([(1.0 - share).ravel(), share.ravel()])
    place = (np.concatenate([rows.ravel(), rows.ravel() + 1]), np.concatenate([columns.ravel(), columns.ravel()]))
    return csr_matrix((values, place), shape=(_VIEWS * bins, ni * nj), dtype=np.float32), angles, bins
