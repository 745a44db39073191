"""The collection's labels in nnU-Net's layout."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from fewsam.collection import Collection
from fewsam.core.errors import LabelError, StorageError
from fewsam.images.labelfile import read_label
from fewsam.images.volume import load_volume
from fewsam.workspace.nnunet_dataset import export_nnunet
from helpers.tiny_task import AFFINE, NAMES, truth_of, voxels, write_case


def submit(
    collection: Collection, image: Path, label: Path, slices: list[int], image_id: str, absent_classes: str
) -> None:
    volume = load_volume(image)
    chosen = np.isin(np.arange(volume.depth), slices)[:, None, None]
    masks = read_label(label, volume.geometry, dict(enumerate(NAMES, 1)))
    drawn = {name: mask & chosen for name, mask in masks.items()}
    collection.submit(volume, image_id, {n: m for n, m in drawn.items() if m.any()}, absent_classes=absent_classes)


def test_labels_on_the_grid_and_the_rest_ignored(tmp_path: Path) -> None:
    collection = Collection(tmp_path / "task", (*NAMES, "never"))
    cases = {name: write_case(tmp_path, name, shift) for name, shift in (("a", 0.0), ("c", 2.0))}
    submit(collection, *cases["a"], [4, 6], "a", "complete")
    submit(collection, *cases["c"], [10], "c", "partial")
    unlabelled, _ = write_case(tmp_path, "d", 3.0)
    seen: list[tuple[int, int]] = []
    images = [cases["a"][0], unlabelled, cases["c"][0]]
    done = export_nnunet(collection, images, tmp_path / "Dataset501_x", progress=lambda *step: seen.append(step))
    assert [(case.case, case.slices) for case in done] == [("a", (4, 6)), ("c", (10,))]
    assert seen == [(1, 2), (2, 2)]
    out = tmp_path / "Dataset501_x"
    assert sorted(path.name for path in (out / "imagesTr").iterdir()) == ["a_0000.nii.gz", "c_0000.nii.gz"]
    assert sorted(path.name for path in (out / "labelsTr").iterdir()) == ["a.nii.gz", "c.nii.gz"]
    for name in ("a", "c"):
        image, label = nib.load(out / "imagesTr" / f"{name}_0000.nii.gz"), nib.load(out / "labelsTr" / f"{name}.nii.gz")
        np.testing.assert_array_equal(image.affine, AFFINE)
        np.testing.assert_array_equal(label.affine, AFFINE)
        assert np.asarray(image.dataobj).dtype == np.int16
        np.testing.assert_array_equal(np.asarray(image.dataobj), voxels(cases[name][0]))
    ignore = len(NAMES) + 1
    labels, truth = voxels(out / "labelsTr" / "a.nii.gz"), truth_of(0.0)
    np.testing.assert_array_equal(labels[..., [4, 6]], truth[..., [4, 6]])
    assert (np.delete(labels, [4, 6], axis=2) == ignore).all()
    # where the bead was not looked for, an undrawn pixel is nobody's knowledge
    labels, truth = voxels(out / "labelsTr" / "c.nii.gz"), truth_of(2.0)
    np.testing.assert_array_equal(labels[..., 10], np.where(truth[..., 10] == 0, ignore, truth[..., 10]))
    told = json.loads((out / "dataset.json").read_text())
    assert told["labels"] == {"background": 0, **{name: v for v, name in enumerate(NAMES, 1)}, "ignore": ignore}
    assert (told["numTraining"], told["file_ending"]) == (2, ".nii.gz")
    assert told["channel_names"] == {"0": "image"}


def test_an_image_is_known_by_its_pixels(tmp_path: Path) -> None:
    collection = Collection(tmp_path / "task", NAMES)
    image, label = write_case(tmp_path, "a")
    submit(collection, image, label, [5], "series 1.2.840/ä", "complete")
    moved = image.rename(tmp_path / "x.nii.gz")
    (case,) = export_nnunet(collection, [moved], tmp_path / "out")
    assert case.case == "series_1_2_840"
    same_name, _ = write_case(tmp_path, "a", shift=2.0)
    with pytest.raises(LabelError, match="none of the images has a labelled slice"):
        export_nnunet(collection, [same_name], tmp_path / "out2")
    assert not (tmp_path / "out2").exists()


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    collection = Collection(tmp_path / "task", NAMES)
    image, label = write_case(tmp_path, "a")
    submit(collection, image, label, [5], "a", "complete")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    with pytest.raises(StorageError, match="not empty"):
        export_nnunet(collection, [image], tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine.txt"]


def test_colours_become_channels_and_do_not_mix_with_grey(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (20, 30, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    volume = load_volume(tmp_path / "photo.png")
    mask = np.zeros((1, 20, 30), bool)
    mask[0, 3:9, 5:12] = True
    collection = Collection(tmp_path / "task", NAMES)
    collection.submit(volume, "photo", {"heart": mask}, absent_classes="complete")
    export_nnunet(collection, [tmp_path / "photo.png"], tmp_path / "out")
    told = json.loads((tmp_path / "out" / "dataset.json").read_text())
    assert told["channel_names"] == {"0": "red", "1": "green", "2": "blue"}
    for channel in range(3):
        plane = voxels(tmp_path / "out" / "imagesTr" / f"photo_{channel:04d}.nii.gz")[..., 0]
        np.testing.assert_array_equal(plane.T, pixels[..., channel])
    np.testing.assert_array_equal(voxels(tmp_path / "out" / "labelsTr" / "photo.nii.gz")[..., 0].T == 1, mask[0])
    image, label = write_case(tmp_path, "a")
    submit(collection, image, label, [5], "a", "complete")
    with pytest.raises(LabelError, match="colour and grey"):
        export_nnunet(collection, [tmp_path / "photo.png", image], tmp_path / "out2")


def test_reserved_names_are_refused(tmp_path: Path) -> None:
    collection = Collection(tmp_path / "task", ("Ignore",))
    image, label = write_case(tmp_path, "a")
    volume = load_volume(image)
    collection.submit(volume, "a", {"ignore": read_label(label, volume.geometry, dict(enumerate(NAMES, 1)))["heart"]})
    with pytest.raises(LabelError, match="keeps for itself"):
        export_nnunet(collection, [image], tmp_path / "out")
