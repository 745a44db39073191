"""The square frame of a slice: there and back."""

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fewsam.core.metrics import iou
from fewsam.images.frame import Frame, make_frame, relaid
from helpers.blobs import blob


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
