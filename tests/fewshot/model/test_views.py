"""Views are pure functions of pixels and number, and image, detail and mask move together."""

import numpy as np
import torch

from fewsam.fewshot.model.views import LabelledSlice, detail_size_for
from helpers import tiny_volume as tiny


def make(folder, threads: int | None = None) -> LabelledSlice:
    collection, _, _ = tiny.labelled(folder, [6])
    return LabelledSlice(collection.shots()[0], tiny.CLASSES, tiny.settings(), 256, 128)


def test_view_zero_is_the_slice(tmp_path):
    labelled = make(tmp_path)
    view = labelled.view(0)
    assert view.image.shape == (3, 256, 256) and view.image.dtype == np.uint8
    assert view.detail.shape == (128, 128)
    assert view.mask.shape == (4, 128, 128)
    assert torch.allclose(view.mask.sum(0), torch.ones(128, 128), atol=1e-5)
    bright = view.detail[(view.mask[3] > 0.99).numpy()].mean()
    dark = view.detail[(view.mask[0] > 0.99).numpy()].mean()
    assert bright > dark + 100


def test_views_are_the_same_in_any_process_and_with_any_thread_count(tmp_path):
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        one = make(tmp_path / "a").view(5)
        torch.set_num_threads(2)
        two = make(tmp_path / "b").view(5)
    finally:
        torch.set_num_threads(before)
    assert np.array_equal(one.image, two.image)
    assert np.array_equal(one.detail, two.detail)
    assert torch.equal(one.mask, two.mask)


def test_views_differ_and_their_mask_follows_the_image(tmp_path):
    labelled = make(tmp_path)
    moved = [labelled.view(number) for number in (1, 2, 3)]
    assert len({view.image.tobytes() for view in moved}) == 3
    for view in moved:
        inside, outside = (view.mask[1:].sum(0) > 0.99).numpy(), (view.mask[0] > 0.99).numpy()
        assert view.detail[inside].mean() > view.detail[outside].mean() + 50


def test_a_view_of_the_detail_alone_is_that_of_the_whole_view(tmp_path):
    labelled = make(tmp_path)
    whole, (detail, mask) = labelled.view(5), labelled.detail_view(5)
    assert torch.equal(mask, whole.mask)
    # The noise is drawn after that of the encoder's input there, so the pixels are equal but for it.
    assert np.abs(detail.astype(int) - whole.detail.astype(int)).mean() < 12


def test_detail_size_follows_the_slices_unless_set(tmp_path):
    collection, _, _ = tiny.labelled(tmp_path, [6])
    assert detail_size_for(collection.shots(), tiny.settings()) == 64
    assert detail_size_for(collection.shots(), tiny.settings(detail_size=96)) == 96
