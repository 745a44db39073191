"""Random DICOM series against an independent reading by pydicom alone: the same values in the same places.

`FEWSAM_SERIES_EXAMPLES=500` tries as many (`make evidence-series`); the suite tries fewer.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import numpy as np
import pydicom
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fewsam.images.dicomseg import read_seg, write_seg
from fewsam.images.volume import Volume, load_volume
from helpers.dicom_series import Read, Slice, read_by_pydicom, write_multiframe, write_series

EXAMPLES = int(os.environ.get("FEWSAM_SERIES_EXAMPLES", "25"))
ROWS, COLUMNS = 5, 7


@st.composite
def series(draw: st.DrawFn) -> tuple[list[Slice], list[int] | None]:
    """Slices in the order in which they are written, and the frames of each file; None: one file a slice."""
    count = draw(st.integers(1, 9))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    angles = draw(st.tuples(*[st.floats(-3.1, 3.1, allow_nan=False)] * 3))
    cosines = _turn(*angles)[:, :2].T.ravel()
    normal = np.cross(cosines[:3], cosines[3:])
    steps = rng.uniform(0.5, 6.0, count) if draw(st.booleans()) else np.full(count, 2.5)
    gaps = rng.integers(1, 4, count) if draw(st.booleans()) else np.ones(count)
    tilt = cosines[3:] * draw(st.sampled_from([0.0, 0.0, 0.3, -0.2]))
    jitter = draw(st.sampled_from([0.0, 0.0, 1e-6, 0.02]))
    spread = draw(st.sampled_from([0.0, 1e-7, 1e-5]))
    bits, stored = draw(st.sampled_from([(16, 0), (16, 12), (8, 0), (16, 10)]))
    signed = draw(st.booleans()) and bits == 16
    whole = draw(st.sampled_from(["none", "one", "each", "small", "first one"]))
    spacing = tuple(np.round(rng.uniform(0.3, 2.0, 2), 3))
    width = stored or bits
    slices = []
    for k, depth in enumerate(np.cumsum(steps * gaps)):
        position = rng.uniform(-200, 200, 3) if k == 0 else slices[0].position
        start = np.array(slices[0].position) if slices else position
        place = start + depth * (normal + tilt) + rng.normal(0, 1, 3) * jitter if k else start
        low, high = (-(1 << width - 1), (1 << width - 1) - 1) if signed else (0, (1 << width) - 1)
        pixels = rng.integers(low, high, (ROWS, COLUMNS), endpoint=True)
        slope, intercept = _scale(whole, k, rng)
        turned = cosines + rng.uniform(-1, 1, 6) * spread
        slices.append(Slice(pixels, place, turned, spacing, slope, intercept, bits, stored, signed))
    slices = [slices[k] for k in rng.permutation(count)]
    parts = None
    if draw(st.booleans()) and count > 1:
        cut = draw(st.integers(1, count))
        parts = [cut, count - cut] if cut < count else [count]
    elif draw(st.booleans()):
        for one in slices[: count // 2]:  # bits that differ from file to file
            one.bits, one.stored, one.signed = 16, 0, False
            one.pixels = rng.integers(0, 65535, (ROWS, COLUMNS), endpoint=True)
    return slices, parts


def _turn(a: float, b: float, c: float) -> np.ndarray:
    def plane(angle: float, first: int, second: int) -> np.ndarray:
        turn = np.eye(3)
        turn[[first, first, second, second], [first, second, first, second]] = (
            np.cos(angle), -np.sin(angle), np.sin(angle), np.cos(angle),
        )  # fmt: skip
        return turn

    found: np.ndarray = plane(a, 0, 1) @ plane(b, 0, 2) @ plane(c, 1, 2)
    return found


def _scale(kind: str, k: int, rng: np.random.Generator) -> tuple[float | str | None, float | str | None]:
    if kind == "none":
        return None, None
    if kind == "one" or (kind == "first one" and k == 0):
        return 1, -1024
    if kind == "small":
        return f"{rng.uniform(1, 9):.4f}e-6", 0
    return round(float(rng.uniform(0.01, 3)), 4), round(float(rng.uniform(-1000, 1000)), 2)


def write(folder: Path, slices: list[Slice], parts: list[int] | None) -> Path:
    if parts is None:
        return write_series(folder, slices)
    start = 0
    for n, count in enumerate(parts):
        write_multiframe(folder / f"part{n}.dcm", slices[start : start + count])
        start += count
    return folder


def by_place(volume: Volume, frames: list[Read]) -> list[Read]:
    """The frame of each native slice, by the place of its first pixel; every frame once."""
    order = []
    for k in range(volume.geometry.shape[2]):
        start = volume.geometry.world(np.array([0, 0, k])) * [-1, -1, 1]
        order.append(min(frames, key=lambda frame: float(np.linalg.norm(frame.position - start))))
    assert len({id(frame) for frame in order}) == len(frames)
    return order


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(series())
def test_values_and_places_are_those_that_pydicom_reads(drawn: tuple[list[Slice], list[int] | None]) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = write(Path(name) / "scan", *drawn)
        frames = read_by_pydicom(folder)
        volume = load_volume(folder, axis="2")
        native = volume.geometry.to_native(volume.slices)
        assert native.shape == (COLUMNS, ROWS, len(frames))
        order = by_place(volume, frames)
        for k, frame in enumerate(order):
            np.testing.assert_allclose(native[:, :, k].T, frame.values, rtol=3e-7, atol=1e-30)
            assert volume.geometry.instances[k] == (frame.instance, frame.number)
            for i, j in ((0, 0), (COLUMNS - 1, 0), (0, ROWS - 1), (COLUMNS - 1, ROWS - 1)):
                place = frame.position + i * frame.right + j * frame.down
                found = volume.geometry.world(np.array([i, j, k])) * [-1, -1, 1]
                assert np.linalg.norm(found - place) < 2e-3  # mm
        _seg_comes_back(Path(name), folder, volume, order)


def _seg_comes_back(work: Path, folder: Path, volume: Volume, order: list[Read]) -> None:
    """A label of every second slice, written and read by us, and each frame where pydicom sees its image."""
    geometry = volume.geometry
    native = np.zeros(geometry.shape, bool)
    for k in range(0, geometry.shape[2], 2):
        native[k % COLUMNS, : 1 + k % ROWS, k] = True
    masks = {"liver": geometry.to_slices(native)}
    write_seg(work / "seg.dcm", masks, geometry, folder)
    back = read_seg(work / "seg.dcm", geometry)
    assert np.array_equal(back["liver"], masks["liver"])
    data = pydicom.dcmread(work / "seg.dcm")
    drawn = data.pixel_array.reshape(-1, ROWS, COLUMNS)
    for group, mask in zip(data.PerFrameFunctionalGroupsSequence, drawn, strict=True):
        item = group.DerivationImageSequence[0].SourceImageSequence[0]
        number = int(item.get("ReferencedFrameNumber", 1)) - 1
        (k,) = [
            k
            for k, frame in enumerate(order)
            if (frame.instance, frame.number) == (item.ReferencedSOPInstanceUID, number)
        ]
        position = np.array([float(v) for v in group.PlanePositionSequence[0].ImagePositionPatient])
        np.testing.assert_allclose(position, order[k].position, atol=1e-5)
        assert np.array_equal(mask > 0, native[:, :, k].T)
