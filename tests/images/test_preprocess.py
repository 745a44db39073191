"""Intensity choice, the square frame, and pixels that are the same everywhere."""

import hashlib
import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fewsam.core.config import Settings
from fewsam.images.preprocess import (
    Frame,
    Intensity,
    choose_intensity,
    detail_bytes,
    detail_tensor,
    image_stats,
    make_frame,
    relaid,
    to_uint8,
)
from fewsam.images.volume import Volume, geometry_for


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


def blob(shape, seed, share=0.5):
    """Smooth random blobs as a bool mask."""
    rng = np.random.default_rng(seed)
    coarse = torch.from_numpy(rng.normal(size=(1, 1, 5, 5)))
    field = torch.nn.functional.interpolate(coarse, size=shape, mode="bicubic", align_corners=True)[0, 0].numpy()
    return field > np.quantile(field, 1 - share)


def iou(a, b):
    return (a & b).sum() / (a | b).sum()


# -- intensity


def test_ct_gets_its_window_by_modality_or_by_its_values():
    options = Settings()
    for volume in (volume_of(body()), volume_of(body(np.float32)), volume_of(body() // 10, "CT")):
        assert choose_intensity(image_stats(volume), options) == Intensity(*options.window)
    # the same values from a scanner that says it is no CT
    assert choose_intensity(image_stats(volume_of(body(), "MR")), options) != Intensity(*options.window)
    named = Settings(window="bone")
    assert choose_intensity(image_stats(volume_of(body())), named) == Intensity(-450, 1050)


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


# -- frame


def test_frame_keeps_the_physical_aspect_ratio():
    assert make_frame((9, 100, 100), (5, 1, 1), 256) == Frame(256, (256, 256), (100, 100))
    assert make_frame((9, 100, 200), (5, 1, 1), 256) == Frame(256, (128, 256), (100, 200))
    assert make_frame((9, 100, 100), (5, 2, 1), 256) == Frame(256, (256, 128), (100, 100))
    assert make_frame((9, 100, 1), (5, 1, 0.001), 256) == Frame(256, (256, 1), (100, 1))
    # the last bits of a spacing, which differ between formats, decide nothing
    assert make_frame((9, 90, 117), (3, 3, 3), 500) == make_frame((9, 90, 117), (3, 3 + 4e-8, 3 - 4e-8), 500)


@pytest.mark.parametrize("shape", [(64, 64), (101, 122), (512, 512), (50, 36), (300, 90)])
@pytest.mark.parametrize(("size", "s"), [(256, 64), (256, 256), (512, 128), (1024, 256)])
def test_mask_to_square_and_back(shape, size, s):
    frame = make_frame((1, *shape), (1, 1, 1), size)
    scores = []
    for seed in range(5):
        mask = blob(shape, seed)
        square = frame.to_square(mask.astype(np.float32), s)
        assert square.shape == (s, s)
        back = frame.to_slice(square)
        assert back.shape == shape
        scores.append(iou(back > 0.5, mask))
    assert min(scores) > 0.95


@settings(max_examples=200, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 90), st.integers(1, 90)),
    spacing=st.tuples(st.floats(0.2, 5), st.floats(0.2, 5)),
    size=st.sampled_from([64, 128, 256, 1024]),
    s=st.sampled_from([16, 64, 100, 256]),
)
def test_frame_properties(shape, spacing, size, s):
    frame = make_frame((1, *shape), (1, *spacing), size)
    assert max(frame.content) == size
    ones = frame.to_square(np.ones(shape, np.float32), s)
    covered = [min(s, int(np.ceil(side * s / size - 1e-9))) for side in frame.content]
    expected = np.zeros((s, s))
    expected[: covered[0], : covered[1]] = 1  # all of the slice, nothing of the padding
    np.testing.assert_allclose(ones, expected, atol=1e-5)
    # nothing of the padding comes back either
    ones[covered[0] :] = 1e6
    ones[:, covered[1] :] = 1e6
    np.testing.assert_allclose(frame.to_slice(ones), 1, atol=1e-4)


def test_to_square_weighs_by_area():
    frame = make_frame((1, 8, 8), (1, 1, 1), 64)
    mask = np.zeros((8, 8), np.float32)
    mask[0, 0] = 1
    assert frame.to_square(mask, 4)[0, 0] == pytest.approx(0.25)
    assert frame.to_square(mask, 4).sum() == pytest.approx(0.25)
    assert frame.to_square(mask, 8).sum() == pytest.approx(1)
    third = make_frame((1, 3, 3), (1, 1, 1), 64).to_square(np.eye(3, dtype=np.float32), 2)
    np.testing.assert_allclose(
        third, [[5 / 9, 1 / 9], [1 / 9, 5 / 9]], atol=1e-6
    )  # by hand: (2/3)^2 + (1/3)^2, (1/3)^2


@settings(max_examples=400, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 300), st.integers(1, 300)),
    spacing=st.tuples(st.floats(0.2, 5), st.floats(0.2, 5)),
    size=st.sampled_from([64, 256, 1024]),
    s=st.sampled_from([16, 64, 100]),
)
@example(shape=(5, 92), spacing=(1.0, 1.0), size=64, s=100)  # enlarged by less than a cell
def test_a_ramp_over_the_square_is_the_same_ramp_on_the_slice(shape, spacing, size, s):
    frame = make_frame((1, *shape), (1, *spacing), size)
    ramp = np.arange(s) + 0.5  # at the cell centres
    found = frame.to_slice(np.stack([np.tile(ramp[:, None], s), np.tile(ramp, (s, 1))]))
    for axis in (0, 1):
        extent = frame.content[axis] * s / size
        centres = (np.arange(shape[axis]) + 0.5) * extent / shape[axis]
        whole = int(extent + 1e-6)  # past the last whole cell there is nothing to lean on
        inner = (centres - max(0.5, extent / shape[axis] / 2) >= 0) & (
            centres + max(0.5, extent / shape[axis] / 2) <= whole
        )
        line = found[axis][:, 0] if axis == 0 else found[axis][0]
        # a mean over cells knows each of them by its centre only
        tolerance = 1e-3 if extent < shape[axis] else 0.13
        np.testing.assert_allclose(line[inner], centres[inner], atol=tolerance)


def test_to_slice_is_bilinear():
    frame = make_frame((1, 12, 16), (1, 1, 1), 16)
    square = torch.randn(2, 3, 4, 4)
    expected = torch.nn.functional.interpolate(square, size=(16, 16), mode="bilinear", align_corners=False)[:, :, :12]
    # the last rows of the content lean on the padding below in this reference, and must not here
    np.testing.assert_allclose(frame.to_slice(square)[:, :, :10], expected[:, :, :10], atol=1e-6)
    square[:, :, 3] = 1e6
    assert frame.to_slice(square).max() < 1e3


def test_torch_and_numpy_agree_and_keep_their_kind():
    frame = make_frame((1, 31, 47), (1, 1.3, 1), 128)
    masks = np.random.default_rng(0).random((2, 3, 31, 47)).astype(np.float32)
    as_numpy, as_torch = frame.to_square(masks, 64), frame.to_square(torch.from_numpy(masks), 64)
    assert isinstance(as_numpy, np.ndarray)
    assert isinstance(as_torch, torch.Tensor)
    np.testing.assert_array_equal(as_numpy, as_torch.numpy())
    np.testing.assert_array_equal(frame.to_slice(as_numpy), frame.to_slice(as_torch).numpy())
    assert frame.to_slice(as_torch.double()).dtype == torch.float64
    drawn = masks[0, 0] > 0.5
    np.testing.assert_allclose(frame.to_square(drawn, 64), frame.to_square(drawn * 1.0, 64), atol=1e-6)
    weights = torch.from_numpy(masks).requires_grad_()
    frame.to_slice(frame.to_square(weights, 64)).sum().backward()  # losses may be taken on the slice
    assert weights.grad.abs().sum() > 0


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


# -- pixels


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
from fewsam.images.preprocess import Intensity, make_frame, to_uint8
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


def shift_of(high, wide, sizes, lay):
    """How far maps made on a square of one size lie from their places on the slice by another size, in pixels."""
    small, large = (make_frame((1, high, wide), (1.0, 1.0, 1.0), size) for size in sizes)
    places = np.stack(np.meshgrid(np.arange(high) + 0.5, np.arange(wide) + 0.5, indexing="ij"))
    maps = torch.from_numpy(small.to_square(places, small.size)).double()[None]
    there = large.to_slice((relaid(maps, small, large) if lay else maps)[0].numpy())
    inner = np.abs(there - places)[:, high // 4 : 3 * high // 4, wide // 4 : 3 * wide // 4]  # away from the padding
    return inner.max()


@given(st.integers(40, 220), st.integers(40, 220))
def test_maps_are_laid_from_one_frame_on_another_one_of_the_same_slice(high, wide):
    assert shift_of(high, wide, (128, 224), lay=True) < 0.25


def test_by_another_frame_maps_lie_elsewhere():
    assert shift_of(91, 117, (128, 256), lay=False) > 0.3
    assert shift_of(91, 117, (128, 256), lay=True) < 0.1
    frame = make_frame((1, 91, 117), (1.0, 1.0, 1.0), 128)
    maps = torch.rand(1, 2, 64, 64)
    assert relaid(maps, frame, frame) is maps
