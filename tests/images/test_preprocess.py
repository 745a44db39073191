"""Intensity choice, the square frame, and pixels that are the same everywhere."""

import hashlib
import json
import subprocess
import sys

import numpy as np
import pytest

from fewsam.core.config import Settings
from fewsam.core.metrics import iou
from fewsam.images.frame import Frame, make_frame
from fewsam.images.preprocess import Intensity, choose_intensity, detail_bytes, detail_tensor, image_stats, to_uint8
from fewsam.images.volume import Volume, geometry_for
from helpers.blobs import blob


def volume_of(slices, modality=None):
    geometry = geometry_for((slices.shape[2], slices.shape[1], slices.shape[0]), np.diag([-1.0, -1.0, 1.0, 1.0]))
    return Volume(slices=slices, geometry=geometry, modality=modality, source="test")


def body(dtype=np.int16, seed=0):
    """Air, fat, organs and bone in plausible Hounsfield units: (6, 40, 50)."""
    rng = np.random.default_rng(seed)
    slices = np.full((6, 40, 50), -1000.0)
    slices[:, 5:35, 5:45] = -90
    slices[:, 10:30, 10:40] = 60
    slices[:, 18:22, 20:26] = 800
    return (slices + rng.normal(0, 15, slices.shape)).astype(dtype)


# -- intensity


def test_ct_gets_its_window_by_modality_or_by_its_values():
    options = Settings()
    for volume in (volume_of(body()), volume_of(body(np.float32)), volume_of(body() // 10, "CT")):
        assert choose_intensity(image_stats(volume), options) == Intensity(*options.window)
    # the same values from a scanner that says it is no CT
    assert choose_intensity(image_stats(volume_of(body(), "MR")), options) != Intensity(*options.window)
    named = Settings(window="bone")
    assert choose_intensity(image_stats(volume_of(body())), named) == Intensity(-450, 1050)


def test_ct_without_hounsfield_units_gets_no_window():
    raw = np.maximum(body() + 1024, 0)  # as stored, its intercept was lost
    shown = choose_intensity(image_stats(volume_of(raw, "CT")), Settings())
    assert shown.low < raw[:, 0, 0].mean() + 60 and 1000 < shown.high < 2000
    captured = np.clip(body() // 8 + 128, 0, 255).astype(np.uint8)
    assert choose_intensity(image_stats(volume_of(captured, "CT")), Settings()) == Intensity(0, 255)


def test_mr_gets_percentiles_of_the_settings():
    slices = np.arange(6 * 40 * 50, dtype=np.float32).reshape(6, 40, 50)
    stats = image_stats(volume_of(slices))
    last = slices.size - 1
    chosen = choose_intensity(stats, Settings())
    assert (chosen.low, chosen.high) == pytest.approx((0.005 * last, 0.995 * last))
    # between the stored percentiles too
    chosen = choose_intensity(stats, Settings(percentiles="4,60"))
    assert (chosen.low, chosen.high) == pytest.approx((0.04 * last, 0.60 * last))


def test_8_bit_images_keep_their_range_unless_dim():
    rng = np.random.default_rng(0)
    bright = rng.integers(30, 220, (1, 20, 30), dtype=np.uint8)
    assert choose_intensity(image_stats(volume_of(bright)), Settings()) == Intensity(0, 255)
    colour = rng.integers(30, 220, (1, 20, 30, 3), dtype=np.uint8)
    assert choose_intensity(image_stats(volume_of(colour)), Settings()) == Intensity(0, 255, colour=True)
    dim = rng.integers(3, 40, (4, 20, 30), dtype=np.uint8)
    assert choose_intensity(image_stats(volume_of(dim)), Settings()).high < 41


def test_intensity_setting_overrides_what_the_image_looks_like():
    stats = image_stats(volume_of(body()))
    full = choose_intensity(stats, Settings(intensity="full"))
    assert (full.low, full.high) == (stats["min"], stats["max"])
    spread = choose_intensity(stats, Settings(intensity="percentile", percentiles="1,99"))
    assert (spread.low, spread.high) == (stats["p1"], stats["p99"])
    mr = image_stats(volume_of(np.abs(body())))
    assert choose_intensity(mr, Settings(intensity="window", window="0,80")) == Intensity(0, 80)


@pytest.mark.parametrize("mode", ["auto", "percentile", "full"])
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32])
def test_constant_and_nearly_constant_images(mode, dtype):
    constant = np.full((1, 8, 9), 7, dtype)
    spotted = constant.copy()
    spotted[0, 0, 0] = 100  # all percentiles in use are equal
    for slices in (constant, spotted, np.full((1, 1, 1), 7, dtype)):
        volume = volume_of(slices)
        intensity = choose_intensity(image_stats(volume), Settings(intensity=mode, percentiles="5,90"))
        assert intensity.high > intensity.low
        frame = make_frame(slices.shape, (1, 1, 1), 32)
        pixels = to_uint8(volume.raw_slice(0)[None], intensity, frame, "grey")
        assert pixels.shape == (1, 3, 32, 32)
        if slices is spotted:
            assert pixels[0, 0, 0, 0] > pixels[0, 0, 20, 20]


def test_stats_survive_json():
    stats = image_stats(volume_of(body()))
    again = json.loads(json.dumps(stats))
    assert choose_intensity(again, Settings()) == choose_intensity(stats, Settings())
    assert again == stats


# -- pixels


def test_image_and_mask_land_in_the_same_place():
    frame = make_frame((1, 60, 44), (1, 1, 1.2), 256)
    mask = blob((60, 44), 3)
    raw = np.repeat(mask[None, None], 3, axis=1).astype(np.int16) * 1000
    pixels = to_uint8(raw, Intensity(0, 1000), frame, "grey")[0, 1] / 255
    square = frame.to_square(mask.astype(np.float32), 256)
    assert iou(pixels > 0.5, square > 0.5) > 0.97
    axis = np.arange(256)
    for image_sum, mask_sum in ((pixels.sum(0), square.sum(0)), (pixels.sum(1), square.sum(1))):
        assert (image_sum @ axis) / image_sum.sum() == pytest.approx((mask_sum @ axis) / mask_sum.sum(), abs=0.3)


def test_window_and_padding():
    frame = Frame(size=8, content=(4, 8), source=(4, 8))
    raw = np.zeros((1, 3, 4, 8), np.int16)
    raw[0, 1, 0] = [-500, -100, 0, 50, 100, 150, 200, 900]
    row = to_uint8(raw, Intensity(-100, 200), frame, "grey")[0, 0]
    assert row[0].tolist() == [0, 0, 85, 128, 170, 212, 255, 255]
    assert (row[4:] == 0).all()


def test_channels():
    raw = np.stack([np.full((4, 4), value, np.uint8) for value in (10, 20, 30)])[None]
    frame = make_frame((1, 4, 4), (1, 1, 1), 16)

    def means(intensity, channels):
        return to_uint8(raw, intensity, frame, channels)[0].mean(axis=(1, 2)).tolist()

    assert means(Intensity(0, 255), "grey") == [20, 20, 20]
    assert means(Intensity(0, 255), "neighbours") == [10, 20, 30]
    assert means(Intensity(0, 255, colour=True), "grey") == [10, 20, 30]


def test_nan_shows_as_black():
    raw = np.full((1, 3, 4, 4), np.nan, np.float32)
    assert (to_uint8(raw, Intensity(5, 9), make_frame((1, 4, 4), (1, 1, 1), 16), "grey") == 0).all()


def test_shrinking_does_not_alias():
    stripes = np.zeros((1, 3, 64, 64), np.uint8)
    stripes[..., ::2] = 200
    pixels = to_uint8(stripes, Intensity(0, 255), make_frame((1, 64, 64), (1, 1, 1), 16), "grey")
    assert np.abs(pixels.astype(int) - 100).max() < 20


DIGEST = """
import hashlib, sys, numpy as np, torch
torch.set_num_threads(int(sys.argv[1]))
from fewsam.images.frame import make_frame
from fewsam.images.preprocess import Intensity, to_uint8
raw = np.random.default_rng(0).integers(-1000, 1000, (4, 3, 301, 257)).astype(np.int16)
shapes = [(301, 257, 256), (301, 257, 1024)]
for channels in ("grey", "neighbours"):
    for h, w, size in shapes:
        frame = make_frame((4, h, w), (3, 1.1, 1), size)
        print(hashlib.sha256(to_uint8(raw, Intensity(-160, 240), frame, channels).tobytes()).hexdigest())
"""


def test_pixels_do_not_depend_on_process_threads_or_batch():
    runs = [
        subprocess.run(
            [sys.executable, "-c", DIGEST, threads], capture_output=True, text=True, check=True
        ).stdout.split()
        for threads in ("1", "2")
    ]
    assert runs[0] == runs[1]
    raw = np.random.default_rng(0).integers(-1000, 1000, (4, 3, 301, 257)).astype(np.int16)
    frame = make_frame((4, 301, 257), (3, 1.1, 1), 256)
    one_by_one = [to_uint8(raw[n : n + 1], Intensity(-160, 240), frame, "grey") for n in range(4)]
    assert hashlib.sha256(np.concatenate(one_by_one).tobytes()).hexdigest() == runs[0][0]


def test_pixels_do_not_depend_on_the_stored_type():
    frame = make_frame((1, 33, 47), (3, 1, 1), 128)
    raw = np.random.default_rng(0).integers(-1000, 1000, (1, 3, 33, 47))
    results = [
        to_uint8(raw.astype(dtype), Intensity(-160, 240), frame, "neighbours")
        for dtype in (np.int16, np.int64, np.float32)
    ]
    assert (results[0] == results[1]).all()
    assert (results[0] == results[2]).all()


def test_detail_tensor_is_the_slice_between_minus_one_and_one():
    detail = np.zeros((2, 64, 64), np.uint8)
    detail[1] = 255
    tensor = detail_tensor(detail)
    assert tensor.shape == (2, 1, 64, 64)
    assert tensor[0].unique().item() == -1 and tensor[1].unique().item() == 1


def test_detail_bytes_are_the_middle_channel_or_the_mean_of_colours():
    frame = make_frame((1, 64, 64), (1, 1, 1), 64)
    raw = np.stack([np.full((64, 64), level) for level in (10, 100, 220)])[None]
    assert (detail_bytes(raw, Intensity(0, 255), frame) == 100).all()
    assert (detail_bytes(raw, Intensity(0, 255, colour=True), frame) == 110).all()
