"""DICOM series: found, sorted, refused."""

import nibabel as nib
import numpy as np
import pytest

from fewsam.core.errors import ImageError
from fewsam.images.volume import geometry_for, load_volume
from helpers.dicom_files import write_dicom
from helpers.image_files import SHARED, needs_shared


def test_dicom_series_is_sorted_by_position(tmp_path):
    heights = [10.0, 4.0, 8.0, 6.0]
    write_dicom(tmp_path / "1.2.3.4", [(1.0, 2.0, z) for z in heights])
    volume = load_volume(tmp_path / "1.2.3.4")
    assert volume.modality == "CT"
    assert volume.slices.shape == (4, 4, 6)
    assert volume.slices[:, 0, 0].tolist() == [1 - 1024, 3 - 1024, 2 - 1024, 0 - 1024]  # inferior first
    np.testing.assert_allclose(volume.geometry.spacing, (2.0, 0.5, 0.75))
    np.testing.assert_allclose(volume.geometry.affine[:3, 3], (-1.0, -2.0, 4.0))


def test_dicom_folder_takes_the_largest_series_and_skips_what_is_no_image(tmp_path, caplog):
    folder = tmp_path / "study"
    write_dicom(folder / "a", [(0, 0, z) for z in range(5)], uid="1.2.3.1111", modality="MR")
    write_dicom(folder / "b", [(0, 0, z) for z in range(3)], uid="1.2.3.2222")
    # a localizer in the series of the images
    write_dicom(folder / "c", [(0, 0, 9)], uid="1.2.3.1111", orientation=(0, 1, 0, 0, 0, -1), modality="MR")
    (folder / "DICOMDIR").write_bytes(b"\0" * 200)
    volume = load_volume(folder)
    assert (volume.depth, volume.modality) == (5, "MR")
    assert "holds 3 series" in caplog.text


def test_dicom_time_series_and_bad_files_are_refused(tmp_path):
    write_dicom(tmp_path / "cine", [(0, 0, z) for z in (0, 1, 0, 1)])
    with pytest.raises(ImageError, match="2 of 4 slices lie at the position of another"):
        load_volume(tmp_path / "cine")
    write_dicom(tmp_path / "cut", [(0, 0, z) for z in range(3)])
    victim = sorted((tmp_path / "cut").iterdir())[1]
    victim.write_bytes(victim.read_bytes()[:-20])
    with pytest.raises(ImageError, match="cut"):
        load_volume(tmp_path / "cut")


def test_uneven_and_tilted_series_are_told(tmp_path, caplog, capfd):
    write_dicom(tmp_path / "gap", [(0, 0, z) for z in (0, 1, 2, 5)])
    assert load_volume(tmp_path / "gap").depth == 4
    assert "1.00 to 3.00 mm apart" in caplog.text
    write_dicom(tmp_path / "tilt", [(0, 0.4 * z, z) for z in range(4)])
    assert load_volume(tmp_path / "tilt").depth == 4
    assert "tilted" in caplog.text
    assert capfd.readouterr() == ("", "")  # ITK's own warnings would go past the log


def test_single_dicom_files(tmp_path):
    write_dicom(tmp_path / "one", [(0, 0, 3)])
    file = next((tmp_path / "one").iterdir())
    by_file, by_folder = load_volume(file), load_volume(tmp_path / "one")
    assert by_file.slices.shape == by_folder.slices.shape == (1, 4, 6)
    assert by_file.modality == "CT"
    write_dicom(tmp_path / "loose", [None, None], modality="CR")
    loose = load_volume(tmp_path / "loose")
    assert loose.slices[:, 0, 0].tolist() == [-1024, -1023]
    write_dicom(tmp_path / "seg", [(0, 0, 3)], modality="SEG")
    with pytest.raises(ImageError, match="is no DICOM image"):
        load_volume(next((tmp_path / "seg").iterdir()))


@needs_shared
def test_real_dicom_with_empty_uids_lies_on_its_label(tmp_path):
    volume = load_volume(SHARED / "ts_ct_dicom" / "dicom")
    label = nib.load(SHARED / "ts_ct_dicom" / "example_seg_dicom.nii.gz")
    assert (volume.depth, volume.modality) == (20, "CT")
    liver = geometry_for(label.shape, label.affine).to_slices(np.asarray(label.dataobj) == 5)
    inside = volume.slices[liver]
    assert 80 < np.median(inside) < 140  # contrast-enhanced liver; wrong by a flip it would take in air
    assert np.percentile(inside, 1) > 0


@needs_shared
def test_real_mr_series():
    head = load_volume(SHARED / "dicom_brain_mr" / "Study3_11-T1post-18670")
    assert head.slices.shape == (22, 320, 280)
    np.testing.assert_allclose(head.geometry.spacing, (6.5, 0.6875, 0.6875), rtol=1e-4)
    assert load_volume(SHARED / "dicom_brain_mr" / "Study2_14_HCropVolume").slices.shape == (35, 48, 36)
