"""Labels in the formats of pictures: stacks of TIFF pages. Those of one page are in `test_labelfile`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image

from fewsam.core.errors import LabelError
from fewsam.images.labelfile import read_label
from fewsam.images.volume import load_volume

SHAPE = (5, 12, 17)  # pages, rows, columns


def save(path: Path, pages: np.ndarray, by_itk: bool) -> Path:
    if by_itk:
        sitk.WriteImage(sitk.GetImageFromArray(pages), str(path), True)
    else:
        first, *others = (Image.fromarray(page) for page in pages)
        first.save(path, save_all=True, append_images=others, compression="tiff_lzw")
    return path


@pytest.mark.parametrize("by_itk", [True, False])
def test_a_stack_of_pages_is_the_label_of_a_stack(tmp_path: Path, by_itk: bool) -> None:
    rng = np.random.default_rng(0)
    image = load_volume(save(tmp_path / "image.tif", rng.integers(0, 255, SHAPE, dtype=np.uint8), by_itk))
    values = np.zeros(SHAPE, np.uint8)
    values[1, 2:5, 3:9], values[3, 6:9, 1:4] = 1, 2
    masks = read_label(save(tmp_path / "label.tif", values, by_itk), image.geometry, {1: "a", 2: "b"})
    native = {name: image.geometry.to_native(mask) for name, mask in masks.items()}
    assert np.array_equal(native["a"].T, values == 1) and np.array_equal(native["b"].T, values == 2)


def test_stacks_that_cannot_be_the_label_are_refused(tmp_path: Path) -> None:
    image = load_volume(save(tmp_path / "image.tif", np.arange(1020, dtype=np.uint8).reshape(SHAPE), False))
    label = save(tmp_path / "label.tif", np.ones(SHAPE, np.uint8), False)
    whole = label.read_bytes()
    label.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(LabelError, match="ends before its last page"):
        read_label(label, image.geometry, {1: "a"})
    save(label, np.ones((4, 12, 17), np.uint8), False)
    with pytest.raises(LabelError, match="label.tif"):
        read_label(label, image.geometry, {1: "a"})
    pages = [Image.new("L", size, 1) for size in ((17, 12), (17, 11))]
    pages[0].save(label, save_all=True, append_images=pages[1:])
    with pytest.raises(LabelError, match="pages differ in size"):
        read_label(label, image.geometry, {1: "a"})
