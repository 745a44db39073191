"""All files of an image count when it is asked whether it changed."""

from __future__ import annotations

import os
from pathlib import Path

import nrrd
import numpy as np
import pytest
import SimpleITK as sitk

from fewsam.core.errors import ImageError
from fewsam.images.image_files import image_files
from fewsam.workspace.volumes import Volumes


def test_the_voxels_beside_a_header_are_of_the_image(tmp_path: Path) -> None:
    sitk.WriteImage(sitk.GetImageFromArray(np.zeros((3, 4, 5), np.uint8)), str(tmp_path / "a.mhd"))
    nrrd.write(str(tmp_path / "b.nhdr"), np.zeros((3, 4), np.uint8))
    nrrd.write(str(tmp_path / "c.nrrd"), np.zeros((3, 4), np.uint8))
    assert image_files(tmp_path / "a.mhd") == [tmp_path / "a.mhd", tmp_path / "a.raw"]
    assert image_files(tmp_path / "b.nhdr") == [tmp_path / "b.nhdr", tmp_path / "b.raw.gz"]
    assert image_files(tmp_path / "c.nrrd") == [tmp_path / "c.nrrd"]


def test_sequences_and_folders_are_listed_whole(tmp_path: Path) -> None:
    for name in ("p_t1.nii", "p_t2.nii", "s/x.dcm", "s/deep/y.dcm"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    assert image_files(tmp_path / "p_t1.nii", ("_t1", "_t2")) == [tmp_path / "p_t1.nii", tmp_path / "p_t2.nii"]
    assert image_files(tmp_path / "s") == [tmp_path / "s/deep/y.dcm", tmp_path / "s/x.dcm"]
    (tmp_path / "p_t2.nii").unlink()
    with pytest.raises(ImageError, match="_t2"):
        image_files(tmp_path / "p_t1.nii", ("_t1", "_t2"))


@pytest.mark.parametrize("content", [b"", b"no header", b"ElementDataFile = ../secret.raw\n", b"ElementDataFile = x\n"])
def test_a_header_that_cannot_be_read_is_a_file_of_its_own(tmp_path: Path, content: bytes) -> None:
    for name in ("a.mhd", "a.nrrd"):
        (tmp_path / name).write_bytes(content)
        assert image_files(tmp_path / name) == [tmp_path / name]


def test_an_image_whose_voxels_alone_are_replaced_is_read_again(tmp_path: Path) -> None:
    volumes, path = Volumes("2"), tmp_path / "a.mhd"
    sitk.WriteImage(sitk.GetImageFromArray(np.zeros((3, 4, 5), np.uint8)), str(path))
    assert not volumes.open(path).slices.any()
    raw, stat = tmp_path / "a.raw", (tmp_path / "a.raw").stat()
    raw.write_bytes(bytes([7]) * 60)
    os.utime(raw, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    assert (volumes.open(path).slices == 7).all()
