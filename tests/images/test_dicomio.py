"""DICOM series: found, sorted, refused."""

import shutil
import tracemalloc

import nibabel as nib
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from highdicom.frame import encode_frame
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)

from fewsam.core.errors import ImageError
from fewsam.images import dicom_series
from fewsam.images.dicom_frames import frames_of
from fewsam.images.dicom_pixels import read_pixels
from fewsam.images.dicomio import is_dicom
from fewsam.images.dicomseg import read_seg, write_seg
from fewsam.images.volume import geometry_for, load_volume
from helpers.dicom_files import write_dicom
from helpers.dicom_series import NUCLEAR, Slice, blank, set_pixels, write_multiframe, write_series
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


def test_thin_slices_of_coarse_pixels_are_still_the_slices(tmp_path):
    pixels = np.arange(6 * 4 * 5).reshape(6, 4, 5)
    write_series(tmp_path, [Slice(one, (0, 0, 0.4 * k), spacing=(0.9, 0.9)) for k, one in enumerate(pixels)])
    assert np.array_equal(load_volume(tmp_path).slices, pixels)
    assert load_volume(tmp_path, axis="0").depth == 5


def test_dicom_folder_takes_the_largest_series_and_skips_what_is_no_image(tmp_path, caplog):
    folder = tmp_path / "study"
    write_dicom(folder / "a", [(0, 0, z) for z in range(5)], uid="1.2.3.1111", modality="MR")
    write_dicom(folder / "b", [(0, 0, z) for z in range(3)], uid="1.2.3.2222")
    # a localizer in the series of the images
    write_dicom(folder / "c", [(0, 0, 9)], uid="1.2.3.1111", orientation=(0, 1, 0, 0, 0, -1), modality="MR")
    (folder / "DICOMDIR").write_bytes(b"\0" * 200)
    volume = load_volume(folder)
    assert (volume.depth, volume.modality) == (5, "MR")
    assert volume.notes == (
        "holds 2 series, the one with most slices is read",
        "1 of 6 slices are left out: turned or sized differently",
    )
    assert "holds 2 series" in caplog.text


def test_dicom_time_series_and_bad_files_are_refused(tmp_path):
    write_dicom(tmp_path / "cine", [(0, 0, z) for z in (0, 1, 0, 1)])
    with pytest.raises(ImageError, match="2 of 4 slices lie at the position of another"):
        load_volume(tmp_path / "cine")
    write_dicom(tmp_path / "cut", [(0, 0, z) for z in range(3)])
    victim = sorted((tmp_path / "cut").iterdir())[1]
    victim.write_bytes(victim.read_bytes()[:-20])
    with pytest.raises(ImageError, match="cut"):
        load_volume(tmp_path / "cut")


def test_uneven_series_have_a_place_for_each_slice_and_say_so(tmp_path, caplog, capfd):
    write_dicom(tmp_path / "gap", [(0, 0, z) for z in (0, 1, 2, 5)])
    volume = load_volume(tmp_path / "gap")
    assert volume.depth == 4
    assert volume.geometry.depths.tolist() == [0, 1, 2, 5]
    np.testing.assert_allclose(volume.geometry.world(np.array([2, 1, 3])), (-1.5, -0.5, 5))
    assert "1.00 to 3.00 mm apart; NIfTI and NRRD files cannot hold that" in volume.notes[0]
    assert volume.notes[0] in caplog.text
    assert capfd.readouterr() == ("", "")  # ITK's own warnings would go past the log


def test_a_tilt_is_in_the_affine_and_a_shift_in_the_places(tmp_path):
    write_dicom(tmp_path / "tilt", [(0, 0.4 * z, z) for z in range(4)])
    tilted = load_volume(tmp_path / "tilt")
    assert tilted.geometry.positions is None
    np.testing.assert_allclose(tilted.geometry.affine[:3, 2], (0, -0.4, 1), atol=1e-12)
    (upright,) = tilted.geometry.readings  # as ITK reads the series
    np.testing.assert_allclose(upright[:3, 2], (0, 0, 1), atol=1e-12)
    assert "tilted or shifted" in tilted.notes[0]
    write_dicom(tmp_path / "shift", [(z % 2, 0, z) for z in range(4)])
    shifted = load_volume(tmp_path / "shift")
    np.testing.assert_allclose(shifted.geometry.world(np.array([0, 0, 1])), (-1, 0, 1), atol=1e-12)
    assert "tilted or shifted" in shifted.notes[0]


def test_an_even_series_has_nothing_to_say(tmp_path):
    write_dicom(tmp_path / "even", [(0, 0, z) for z in range(4)])
    volume = load_volume(tmp_path / "even")
    assert volume.notes == ()
    assert volume.geometry.positions is None
    assert volume.geometry.readings == ()


def test_the_first_header_is_not_taken_for_all(tmp_path):
    flat = [np.full((2, 2), value) for value in (7, 7, 7)]
    slices = [
        Slice(flat[0], (0, 0, 0), slope="1", intercept="0", bits=8),
        Slice(flat[1], (0, 0, 1), slope="0.00001", intercept="0"),
        Slice(flat[2] - 10, (0, 0, 2), slope="2", intercept="-1024", signed=True),
    ]
    volume = load_volume(write_series(tmp_path / "mixed", slices))
    assert volume.slices.dtype == np.float32
    np.testing.assert_allclose(volume.slices[:, 0, 0], (7, 7e-5, -1030))


def test_a_slice_with_pixels_of_another_size_refuses_the_series(tmp_path):
    slices = [Slice(np.ones((2, 2)), (0, 0, z), spacing=(0.8, 0.8 if z != 2 else 1.6)) for z in range(5)]
    with pytest.raises(ImageError, match="pixels of 2 sizes, such as 0.8 x 1.6 mm"):
        load_volume(write_series(tmp_path / "ct", slices))


def test_the_same_file_twice_is_read_once_and_another_echo_is_refused_by_its_name(tmp_path):
    folder = write_series(tmp_path / "ct", [Slice(np.full((2, 2), z), (0, 0, z)) for z in range(3)])
    shutil.copy(next(folder.iterdir()), folder / "again.dcm")
    volume = load_volume(folder)
    assert volume.depth == 3
    assert volume.notes == ("1 of 4 slices are there twice; each is read once",)
    copy = pydicom.dcmread(folder / "again.dcm")  # the same UID and place, and other pixels: no copy
    copy.PixelData = bytes(255 - value for value in copy.PixelData)
    copy.save_as(folder / "again.dcm")
    with pytest.raises(ImageError, match="1 of 4 slices lie at the position of another one"):
        load_volume(folder)
    echoes = [Slice(np.ones((2, 2)), (0, 0, z), extra={"EchoTime": echo}) for z in range(3) for echo in ("2.4", "5.1")]
    with pytest.raises(ImageError, match=r"told apart by EchoTime \(2\.4, 5\.1\)"):
        load_volume(write_series(tmp_path / "mr", echoes))


def test_pixels_of_a_file_with_many_images_at_each_place_are_not_read_to_refuse_it(tmp_path, monkeypatch):
    slices = [Slice(np.full((2, 2), z), (0, 0, z)) for z in range(3) for _ in range(4)]
    file = write_multiframe(tmp_path / "ct" / "a.dcm", slices)
    monkeypatch.setattr(dicom_series, "_digest", lambda _: pytest.fail("read whole"))
    with pytest.raises(ImageError, match="9 of 12 slices lie at the position of another one"):
        load_volume(file)


def test_scaled_frames_of_one_file_are_not_held_all_at_once(tmp_path):
    slices = [Slice(np.full((256, 256), z), (0, 0, z), intercept=-1024) for z in range(64)]
    file = write_multiframe(tmp_path / "ct" / "a.dcm", slices)
    frames = dicom_series.find_series(file).frames
    tracemalloc.start()
    try:
        pixels = read_pixels(frames, file)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert pixels[:, 0, 0].tolist() == [z - 1024 for z in range(64)]
    assert peak < 6 * 64 * 256 * 256 * 2, "the file, what is stored in it, and the result, of two bytes a voxel each"


def test_orientations_that_differ_by_rounding_are_one_stack_and_three_planes_are_refused(tmp_path):
    turned = [(0.995 + e, (1 - (0.995 + e) ** 2) ** 0.5, 0, 0, 0, -1) for e in (1e-7, -1e-7)]
    jitter = [Slice(np.ones((2, 2)), (0, z, 0), orientation=turned[z % 2]) for z in range(6)]
    volume = load_volume(write_series(tmp_path / "jitter", jitter))
    assert (volume.depth, volume.notes) == (6, ())
    planes = [(1, 0, 0, 0, 1, 0), (1, 0, 0, 0, 0, -1), (0, 1, 0, 0, 0, -1)]
    scouts = [Slice(np.ones((2, 2)), (z, z, z), orientation=planes[z % 3]) for z in range(9)]
    with pytest.raises(ImageError, match="3 stacks of 3, 3, 3"):
        load_volume(write_series(tmp_path / "scouts", scouts))


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian])
def test_files_without_a_preamble(tmp_path, syntax):
    folder = write_series(tmp_path / "ct", [Slice(np.full((2, 2), z), (0, 0, z)) for z in range(3)])
    for file in folder.iterdir():
        data = pydicom.dcmread(file)
        data.is_implicit_VR = syntax == ImplicitVRLittleEndian
        data.file_meta, data.preamble = pydicom.dataset.FileMetaDataset(), None
        data.save_as(file, write_like_original=True)
    assert is_dicom(file)
    assert load_volume(folder).slices[:, 0, 0].tolist() == [0, 1, 2]


def test_no_label_bytes_are_taken_for_dicom(tmp_path):
    rng = np.random.default_rng(0)
    for n in range(300):
        (tmp_path / "label.bin").write_bytes(rng.integers(0, 9, 500).astype(np.uint8).tobytes())
        assert not is_dicom(tmp_path / "label.bin"), n


@pytest.mark.parametrize("syntax", [JPEG2000Lossless, RLELossless, JPEGLSLossless])
def test_compressed_frames_have_their_own_scale(tmp_path, syntax):
    rng = np.random.default_rng(0)
    slices = [Slice(rng.integers(0, 4000, (8, 8)), (0, 0, z), slope=1.5 + z, intercept=-z) for z in (1, 0, 2)]
    file = write_multiframe(tmp_path / "ct" / "a.dcm", slices)
    plain = load_volume(file).slices
    data = pydicom.dcmread(file)
    if syntax == RLELossless:
        data.compress(RLELossless)
    else:
        frames = [encode_frame(frame, syntax, 16, 16, "MONOCHROME2") for frame in data.pixel_array]
        data.PixelData, data.file_meta.TransferSyntaxUID = encapsulate(frames), syntax
        data["PixelData"].is_undefined_length = True
    data.save_as(file)
    assert np.array_equal(load_volume(file).slices, plain)


def test_what_cannot_be_decoded_is_named(tmp_path):
    folder = write_series(tmp_path / "ct", [Slice(np.ones((2, 2)), (0, 0, 0))])
    file = next(folder.iterdir())
    data = pydicom.dcmread(file)
    data.PixelData, data.file_meta.TransferSyntaxUID = encapsulate([b"\0" * 64]), JPEG2000Lossless
    data["PixelData"].is_undefined_length = True
    data.save_as(file)
    file.write_bytes(file.read_bytes().replace(JPEG2000Lossless.encode(), b"1.2.840.10008.1.2.4.99"))  # nobody's
    with pytest.raises(ImageError, match=r"its pixels, compressed as .*, cannot be decoded"):
        load_volume(folder)


@pytest.mark.parametrize("between", [4.0, -4.0])
def test_slices_of_spect_lie_where_itk_has_them(tmp_path, between):
    """They have no places of their own: the detector's, and a distance with a sign."""
    pixels = np.random.default_rng(0).integers(0, 100, (5, 6, 8))
    data = blank(NUCLEAR, "NM", InstanceNumber=1, NumberOfFrames=5, PixelSpacing=[3, 2], SliceThickness=4)
    data.ImageType, data.SpacingBetweenSlices = ["ORIGINAL", "PRIMARY", "RECON TOMO", "EMISSION"], between
    detector = Dataset()
    detector.ImagePositionPatient, detector.ImageOrientationPatient = [-58, -38, 200], [1, 0, 0, 0, 1, 0]
    data.DetectorInformationSequence = [detector]
    set_pixels(data, pixels)
    data.save_as(tmp_path / "spect.dcm", write_like_original=False)

    volume = load_volume(tmp_path / "spect.dcm")
    native = volume.geometry.to_native(volume.slices)
    for k in range(5):
        world = np.array([-58, -38, 200 + k * between]) * (-1, -1, 1)  # RAS, as the label's affine is
        own = np.linalg.solve(volume.geometry.affine, [*world, 1])[:3]
        assert np.allclose(own, (0, 0, k if between > 0 else 4 - k), atol=1e-6)
        assert np.array_equal(native[:, :, round(own[2])].T, pixels[k])
    itk = sitk.ReadImage(str(tmp_path / "spect.dcm"))
    place = itk.TransformIndexToPhysicalPoint((0, 0, 4))
    assert np.allclose(place, (-58, -38, 200 + 4 * between))

    drawn = np.zeros(volume.geometry.shape, bool)
    drawn[2:5, 1:4, 3] = True
    masks = {"lesion": volume.geometry.to_slices(drawn)}
    write_seg(tmp_path / "seg.dcm", masks, volume.geometry, tmp_path / "spect.dcm")
    frame = pydicom.dcmread(tmp_path / "seg.dcm").PerFrameFunctionalGroupsSequence[0]
    place = frame.PlanePositionSequence[0].ImagePositionPatient
    assert np.allclose(place, (-58, -38, 200 + (3 * between if between > 0 else between)))
    assert np.array_equal(read_seg(tmp_path / "seg.dcm", volume.geometry)["lesion"], masks["lesion"])


def test_frames_of_gated_spect_have_no_places(tmp_path):
    data = blank(NUCLEAR, "NM", InstanceNumber=1, NumberOfFrames=4, PixelSpacing=[3, 2], SliceThickness=4)
    data.ImageType, data.SliceVector = ["ORIGINAL", "PRIMARY", "RECON TOMO", "EMISSION"], [1, 2, 1, 2]
    detector = Dataset()
    detector.ImagePositionPatient, detector.ImageOrientationPatient = [0, 0, 0], [1, 0, 0, 0, 1, 0]
    data.DetectorInformationSequence = [detector]
    set_pixels(data, np.ones((4, 6, 8), int))
    data.save_as(tmp_path / "gated.dcm", write_like_original=False)
    assert [frame.position for frame in frames_of(tmp_path / "gated.dcm", data)] == [None] * 4


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
