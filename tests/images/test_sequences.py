"""Several registered sequences of one study as the channels of one image."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from fewsam.core.config import Settings
from fewsam.core.errors import ConfigError, ImageError
from fewsam.images.casefiles import find_images, match_labels
from fewsam.images.frame import make_frame
from fewsam.images.preprocess import choose_intensity, image_stats, to_uint8
from fewsam.images.sequences import load_image
from fewsam.images.volume import load_volume
from fewsam.workspace.volumes import Volumes
from helpers.dicom_series import MR, Slice, write_series

SHAPE = (12, 10, 6)
AFFINE = np.array([[-2.0, 0, 0, 10], [0, -2.0, 0, 20], [0, 0, 5.0, -30], [0, 0, 0, 1]])
T1, T2 = ("_t1", "_t2"), ("_t1", "_t2", "_flair")


def volume(seed: int, scale: float = 1.0) -> np.ndarray:
    return (np.random.default_rng(seed).integers(0, 1000, SHAPE) * scale).astype(np.int16)


def write(folder: Path, name: str, array: np.ndarray, affine: np.ndarray = AFFINE) -> Path:
    path = folder / f"{name}.nii.gz"
    nib.save(nib.Nifti1Image(array, affine), path)
    return path


def test_files_of_a_study_are_the_channels_in_the_order_of_the_setting(tmp_path: Path) -> None:
    arrays = {name: volume(n) for n, name in enumerate(("p1_t1", "p1_t2", "p1_FLAIR"))}
    for name, array in arrays.items():
        write(tmp_path, name, array)
    read = load_image(tmp_path / "p1_t1.nii.gz", "2", ("_t1", "_flair", "_t2"))
    assert read.sequences == ("_t1", "_flair", "_t2") and not read.is_rgb
    for channel, name in enumerate(("p1_t1", "p1_FLAIR", "p1_t2")):
        assert np.array_equal(read.geometry.to_native(read.slices)[..., channel], arrays[name])
    two = load_image(tmp_path / "p1_t1.nii.gz", "2", T1)
    assert np.array_equal(two.slices[..., 2], two.slices[..., 0]), "of two sequences the first is there twice"
    assert two.content_hash != load_image(tmp_path / "p1_t1.nii.gz", "2").content_hash


def test_each_sequence_has_its_own_range(tmp_path: Path) -> None:
    write(tmp_path, "p1_t1", volume(0))
    write(tmp_path, "p1_t2", volume(1, 20))
    read = load_image(tmp_path / "p1_t1.nii.gz", "2", T1)
    settings = Settings(intensity="percentile", percentiles="0,100", sequences="_t1,_t2")
    frame = make_frame(read.geometry.slices_shape, read.geometry.spacing, 64)
    shown = to_uint8(np.stack([read.raw_slice(2)]), choose_intensity(image_stats(read), settings), frame, "grey")[0]
    for channel, name in enumerate(("p1_t1", "p1_t2")):
        alone = load_image(tmp_path / f"{name}.nii.gz", "2")
        raw = np.stack([alone.raw_slice(2)])
        expected = to_uint8(raw, choose_intensity(image_stats(alone), settings), frame, "grey")[0, 0]
        assert np.array_equal(shown[channel], expected)


def test_only_the_sequence_that_is_ct_gets_its_window(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    scans = {
        "CT body": ("CT", rng.integers(-1000, 400, (5, 8, 9)), -1000),
        "PET corrected": ("PT", rng.integers(0, 20000, (5, 8, 9)), 0),
    }
    for name, (modality, values, intercept) in scans.items():
        slices = [Slice(one - intercept, (0, 0, 3.0 * k), slope=1, intercept=intercept) for k, one in enumerate(values)]
        uid = f"1.2.3.{len(name)}"
        write_series(tmp_path / name, slices, modality=modality, SeriesDescription=name, SeriesInstanceUID=uid)
    both = image_stats(load_image(tmp_path / "CT body", "2", ("CT", "PET")))
    pet = choose_intensity(image_stats(load_volume(tmp_path / "PET corrected")), Settings())
    chosen = choose_intensity(both, Settings())
    assert chosen.channels == (Settings().window, (pet.low, pet.high), Settings().window)


def test_another_grid_is_laid_on_that_of_the_first(tmp_path: Path) -> None:
    """A linear function of the place is the same after linear interpolation, whatever the grid."""
    weights = np.array([3.0, -2.0, 1.5])

    def place(shape: Sequence[int], affine: np.ndarray) -> np.ndarray:
        index = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1)
        return ((index @ affine[:3, :3].T + affine[:3, 3]) @ weights).astype(np.float32)

    turned = np.array([[0, 1.5, 0, -25], [-1.5, 0, 0, 30], [0, 0, 4.0, -40], [0, 0, 0, 1]])
    write(tmp_path, "p1_t1", volume(0))
    write(tmp_path, "p1_t2", place((40, 40, 14), turned), turned)
    read = load_image(tmp_path / "p1_t1.nii.gz", "2", T1)
    found = read.geometry.to_native(read.slices)
    assert np.abs(found[..., 1] - place(SHAPE, AFFINE)).max() < 1e-3
    assert np.array_equal(found[..., 0], volume(0))


def test_uneven_slices_are_read_at_their_true_places(tmp_path: Path) -> None:
    def series(name: str, heights: Sequence[float], values: Sequence[float]) -> Path:
        slices = [
            Slice(np.full((10, 12), value, np.uint16), (0, 0, z)) for z, value in zip(heights, values, strict=True)
        ]
        return write_series(
            tmp_path / name, slices, MR, "MR", SeriesDescription=name, SeriesInstanceUID=f"1.2.3.{len(name)}"
        )

    uneven = [0.0, 3.0, 6.0, 15.0, 18.0]
    first = series("T1 axial", [0.0, 3.0, 6.0, 9.0, 12.0, 15.0], [0] * 6)
    series("FLAIR", uneven, [10 * z for z in uneven])
    read = load_image(first, "2", ("T1", "FLAIR"))
    assert sorted(read.slices[:, 5, 5, 1]) == pytest.approx([0, 30, 60, 90, 120, 150])
    other = load_image(tmp_path / "FLAIR", "2", ("FLAIR", "T1"))
    assert other.geometry.positions is not None and other.depth == 5


def test_series_are_told_apart_by_their_description_and_study(tmp_path: Path) -> None:
    def series(folder: str, description: str, value: int, study: str = "1.2.3.4") -> Path:
        slices = [Slice(np.full((10, 12), value, np.uint16), (0, 0, 3.0 * k)) for k in range(3)]
        extra = {"SeriesDescription": description, "StudyInstanceUID": study, "SeriesInstanceUID": f"1.2.3.4.{value}"}
        return write_series(tmp_path / folder, slices, MR, "MR", **extra)

    first = series("a", "T1 axial", 1)
    series("b", "T1 post axial", 2)
    series("c", "t2 axial", 3)
    series("d", "T2 axial", 4, study="1.2.9")
    read = load_image(first, "2", ("T1", "T1 post", "T2"))
    assert read.slices[0, 5, 5].tolist() == [1, 2, 3]
    assert find_images([tmp_path], ("T1", "T1 post", "T2")) == [first]
    with pytest.raises(ImageError, match="does not hold 'T1'"):
        load_image(tmp_path / "b", "2", ("T1", "T1 post", "T2"))
    series("e", "T2 coronal", 5)
    with pytest.raises(ImageError, match="both are 'T2'"):
        load_image(first, "2", ("T1", "T1 post", "T2"))
    assert load_image(first, "2", ("T1", "t2 axial")).slices[0, 5, 5].tolist() == [1, 3, 1]


def test_values_of_one_file_by_their_numbers(tmp_path: Path) -> None:
    array = np.stack([volume(n) for n in range(4)], axis=-1)
    path = write(tmp_path, "p1", array)
    read = load_image(path, "2", ("3", "0", "1"))
    assert np.array_equal(read.geometry.to_native(read.slices), array[..., [3, 0, 1]])
    with pytest.raises(ImageError, match="has 4 values a voxel, and sequences asks for number 4"):
        load_image(path, "2", ("0", "4"))


def test_what_cannot_be_stacked_is_refused_by_name(tmp_path: Path) -> None:
    write(tmp_path, "p1_t1", volume(0))
    with pytest.raises(ImageError, match="p1_t1.nii.gz: the sequence '_t2' of the setting sequences is not beside it"):
        load_image(tmp_path / "p1_t1.nii.gz", "2", T1)
    far = AFFINE.copy()
    far[:3, 3] += 15
    write(tmp_path, "p1_t2", volume(1), far)
    with pytest.raises(ImageError, match="p1_t2.nii.gz: it covers .* % of the first sequence; register them first"):
        load_image(tmp_path / "p1_t1.nii.gz", "2", T1)
    with pytest.raises(ImageError, match="p1_t2.nii.gz: its name does not end with '_t1'"):
        load_image(tmp_path / "p1_t2.nii.gz", "2", T1)
    for odd in ("_t1", "_t1,_t2,_t3,_t4", "_t1,_T1"):
        with pytest.raises((ConfigError, ValueError), match="two or three different names"):
            Settings(sequences=odd)


def test_a_folder_stands_for_the_first_sequences(tmp_path: Path) -> None:
    for name in ("p1_t1", "p1_t2", "p2_t1", "p2_t2", "notes"):
        write(tmp_path, name, volume(0))
    found = find_images([tmp_path], T1)
    assert [path.name for path in found] == ["p1_t1.nii.gz", "p2_t1.nii.gz"]
    labels = tmp_path / "labels"
    labels.mkdir()
    write(labels, "p1", volume(0))
    assert match_labels(found, labels, T1) == {found[0]: labels / "p1.nii.gz"}
    with pytest.raises(ImageError, match="none of its 5 images is a '_dwi'"):
        find_images([tmp_path], ("_dwi", "_t1"))


def test_a_changed_sequence_is_read_again(tmp_path: Path) -> None:
    first, second = write(tmp_path, "p1_t1", volume(0)), write(tmp_path, "p1_t2", volume(1))
    volumes = Volumes("2", T1)
    before = volumes.open(first)
    assert volumes.open(first) is before
    second.unlink()
    write(tmp_path, "p1_t2", volume(2, 0.5))
    after = volumes.open(first)
    assert np.array_equal(after.geometry.to_native(after.slices)[..., 1], volume(2, 0.5))


def test_values_of_a_voxel_are_read_from_every_kind_of_nifti(tmp_path: Path) -> None:
    array = np.stack([volume(n) for n in range(2)], axis=-1)
    nib.save(nib.Nifti2Image(array, AFFINE), tmp_path / "second.nii.gz")
    vectors = write(tmp_path, "vectors", array[:, :, :, None])  # as ITK writes them
    for path in (tmp_path / "second.nii.gz", vectors):
        read = load_image(path, "2", ("1", "0"))
        assert np.array_equal(read.geometry.to_native(read.slices)[..., :2], array[..., [1, 0]])
    whole = vectors.read_bytes()
    vectors.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ImageError, match=r"vectors\.nii\.gz: cannot be read"):
        load_image(vectors, "2", ("1", "0"))
