"""The list of images is as long as the folder, or it says what it leaves out and why."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from fewsam.images.volume import load_volume
from fewsam.server.storage.datastore import FolderDatastore


def write_image(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    plain = path.with_name("plain.nii.gz" if path.name.lower().endswith(".gz") else "plain.nii")
    nib.save(nib.Nifti1Image(np.zeros((4, 4, 3), np.int16), np.eye(4)), plain)
    return plain.rename(path)


def open_folder(folder: Path) -> FolderDatastore:
    return FolderDatastore(str(folder), watch=False, read_only=False)


def test_capital_endings_are_listed_and_read(tmp_path: Path) -> None:
    write_image(tmp_path / "SCAN.NII.GZ")
    write_image(tmp_path / "Other.Nii")
    datastore = open_folder(tmp_path)
    assert sorted(datastore.list_images()) == ["Other", "SCAN"]
    for image_id, name in (("SCAN", "SCAN.NII.GZ"), ("Other", "Other.Nii")):
        path = datastore.get_image_uri(image_id)
        assert Path(path).name == name
        assert load_volume(path).depth == 3
    assert datastore.problems() == []


def test_an_ending_within_a_name_is_part_of_the_id(tmp_path: Path) -> None:
    write_image(tmp_path / "a.nii.old.nii")
    datastore = open_folder(tmp_path)
    assert datastore.list_images() == ["a.nii.old"]
    assert Path(datastore.get_image_uri("a.nii.old")).is_file()


def test_what_is_not_listed_is_said_once_with_the_way_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_image(tmp_path / "a.nii")
    write_image(tmp_path / "a.nii.gz")
    write_image(tmp_path / "patients" / "deep" / "b.nii.gz")
    write_image(tmp_path.parent / "elsewhere.nii.gz")
    os.symlink(tmp_path.parent / "elsewhere.nii.gz", tmp_path / "link.nii.gz")
    (tmp_path / "dicom").mkdir()
    for name in ("c.dcm", "d.mgz", "dicom/e.dcm", "README.md", "notes.txt", "._a.nii.gz", "fewsam.yaml"):
        (tmp_path / name).write_bytes(b"x")
    with caplog.at_level(logging.WARNING, logger="fewsam"):
        datastore = open_folder(tmp_path)
        datastore.refresh()
    assert datastore.list_images() == ["a"]
    said = {one["file"]: one["problem"] for one in datastore.problems()}
    ways_out = {
        "a.nii.gz": "a.nii has the same name",
        "patients": "subfolder with 1 images; move them up",
        "link.nii.gz": "FEWSAM_FOLLOW_LINKS=true",
        "c.dcm": "fewsam pacs",
        "d.mgz": "convert it",
        "dicom": "fewsam pacs",
    }
    assert said.keys() == ways_out.keys()
    for name, words in ways_out.items():
        assert words in said[name], name
        assert sum(f" {name} is not listed" in record.getMessage() for record in caplog.records) == 1, name
    (tmp_path / "a.nii.gz").rename(tmp_path / "a2.nii.gz")
    datastore.refresh()
    assert sorted(datastore.list_images()) == ["a", "a2"]
    assert "a.nii.gz" not in {one["file"] for one in datastore.problems()}


def test_a_long_list_of_problems_is_cut(tmp_path: Path) -> None:
    for number in range(30):
        (tmp_path / f"{number}.dcm").write_bytes(b"x")
    problems = open_folder(tmp_path).problems()
    assert len(problems) == 21 and problems[-1]["problem"].startswith("10 more")


def test_of_several_sequences_the_first_is_listed(tmp_path: Path) -> None:
    for name in ("p1_t1", "p1_t2", "p2_t1", "other"):
        write_image(tmp_path / f"{name}.nii.gz")
    datastore = FolderDatastore(str(tmp_path), watch=False, read_only=False, sequences=("_t1", "_t2"))
    assert sorted(datastore.list_images()) == ["p1_t1", "p2_t1"]
    problems = {entry["file"]: entry["problem"] for entry in datastore.problems()}
    assert set(problems) == {"p2_t1.nii.gz", "other.nii.gz"}
    assert "the sequence '_t2' of the setting sequences is not beside it" in problems["p2_t1.nii.gz"]
    assert "ends with none of _t1, _t2" in problems["other.nii.gz"]


def test_an_image_whose_header_places_it_twice_is_named_in_the_list(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_image(tmp_path / "clear.nii.gz")
    image = nib.load(write_image(tmp_path / "turned.nii.gz"))
    image.set_qform(np.diag([1.0, 1.0, 4.0, 1.0]), 1)
    nib.save(nib.Nifti1Image(np.zeros((4, 4, 3), np.int16), image.affine, image.header), tmp_path / "turned.nii.gz")
    (tmp_path / "broken.nii").write_bytes(b"no image")
    datastore = open_folder(tmp_path)
    assert sorted(datastore.list_images()) == ["broken", "clear", "turned"]
    (problem,) = datastore.problems()
    assert problem["file"] == "turned.nii.gz" and "places it in two ways" in problem["problem"]
    looked_at: list[Path] = []
    monkeypatch.setattr("fewsam.server.storage.left_out.header_note", lambda path: looked_at.append(path) or "")
    write_image(tmp_path / "later.nii")
    datastore.refresh()
    assert [path.name for path in looked_at] == ["later.nii"], "each header is read once"
    assert [one["file"] for one in datastore.problems()] == ["turned.nii.gz"]
