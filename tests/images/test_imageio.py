"""Image files of every format but DICOM."""

import shutil

import nibabel as nib
import nrrd
import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from fewsam.core.errors import FewSAMError, ImageError
from fewsam.images.casefiles import case_id, find_images
from fewsam.images.labelfile import read_label
from fewsam.images.native import LPS
from fewsam.images.volume import load_volume
from helpers.image_files import affine_of, ramp


@pytest.mark.parametrize("codes", ["RAS", "LPS", "PIR", "SLA"])
@pytest.mark.parametrize("ending", [".nii", ".nii.gz", ".nrrd", ".mha", ".mhd"])
def test_every_3d_format_gives_the_same_volume(tmp_path, ending, codes):
    native, affine = ramp(), affine_of(codes)
    path = tmp_path / f"1.2.840.99{ending}"
    if ending.startswith(".nii"):
        nib.save(nib.Nifti1Image(native, affine), path)
    else:
        nib.save(nib.Nifti1Image(native, affine), tmp_path / "x.nii")
        sitk.WriteImage(sitk.ReadImage(str(tmp_path / "x.nii")), str(path))
    volume = load_volume(path)
    assert volume.slices.dtype == np.int16
    assert volume.modality is None
    np.testing.assert_array_equal(volume.geometry.to_native(volume.slices), native)
    np.testing.assert_allclose(volume.geometry.affine, affine, atol=1e-5)
    assert volume.slices.flags.c_contiguous


@pytest.mark.parametrize(
    ("space", "expected"),
    [
        ("right-anterior-superior", (1, 1, 1)),
        ("RAS", (1, 1, 1)),
        ("left-posterior-superior", (-1, -1, 1)),
        ("LAS", (-1, 1, 1)),
        ("scanner-xyz", (-1, -1, 1)),
        ("3D-right-handed", (-1, -1, 1)),
        ("3D-left-handed", (-1, -1, 1)),
    ],
)
def test_nrrd_spaces(tmp_path, space, expected):
    header = {"space": space, "space directions": np.diag([1.0, 2.0, 3.0]), "space origin": [4.0, 5.0, 6.0]}
    nrrd.write(str(tmp_path / "a.nrrd"), ramp(), header)
    affine = load_volume(tmp_path / "a.nrrd").geometry.affine
    np.testing.assert_allclose(
        affine, np.diag([*expected, 1.0]) @ [[1, 0, 0, 4], [0, 2, 0, 5], [0, 0, 3, 6], [0, 0, 0, 1]]
    )
    itk = sitk.ReadImage(str(tmp_path / "a.nrrd"))
    np.testing.assert_allclose(LPS[:3, :3] @ affine[:3, 3], itk.GetOrigin())


def test_nrrd_with_spacings_only_and_2d(tmp_path):
    nrrd.write(str(tmp_path / "a.nrrd"), ramp(), {"spacings": [1.0, 2.0, 4.0]})
    assert load_volume(tmp_path / "a.nrrd").geometry.spacing == (4.0, 2.0, 1.0)
    nrrd.write(str(tmp_path / "b.nrrd"), ramp((4, 5)), {"spacings": [1.0, 2.0]})
    flat = load_volume(tmp_path / "b.nrrd")
    assert flat.slices.shape == (1, 5, 4)
    np.testing.assert_array_equal(flat.slices[0], ramp((4, 5)).T)


def test_scaled_nifti_keeps_whole_numbers_whole(tmp_path):
    def saved(slope, intercept, dtype=np.uint16):
        image = nib.Nifti1Image(ramp(dtype=dtype), np.eye(4))
        image.header.set_slope_inter(slope, intercept)
        nib.save(image, tmp_path / "a.nii.gz")
        volume = load_volume(tmp_path / "a.nii.gz")
        return volume.geometry.to_native(volume.slices)

    plain = saved(1, 0)
    assert plain.dtype == np.uint16
    shifted = saved(1, -1024)
    assert shifted.dtype == np.int32
    np.testing.assert_array_equal(shifted, ramp().astype(np.int32) - 1024)
    scaled = saved(0.5, 1)
    assert scaled.dtype == np.float32
    np.testing.assert_allclose(scaled, ramp() * 0.5 + 1)
    assert saved(1, 0, np.float64).dtype == np.float32
    np.testing.assert_allclose(saved(1e8, 0), ramp() * 1e8)  # no more than 32 bits hold


def test_big_endian_pixels_hash_as_little_endian_ones(tmp_path):
    nib.save(nib.Nifti1Image(ramp(), np.eye(4)), tmp_path / "little.nii")
    header = nib.Nifti1Header(endianness=">")
    header.set_data_dtype(np.int16)
    nib.save(nib.Nifti1Image(ramp(), np.eye(4), header=header), tmp_path / "big.nii")
    assert load_volume(tmp_path / "big.nii").content_hash == load_volume(tmp_path / "little.nii").content_hash


@pytest.mark.parametrize("ending", [".png", ".bmp", ".tif", ".jpg"])
@pytest.mark.parametrize("colour", [False, True])
def test_2d_images(tmp_path, ending, colour):
    pixels = np.full((5, 7, 3), 40, np.uint8)
    pixels[:, 4:] = (60, 120, 200)
    pixels = pixels if colour else pixels[..., 0]
    Image.fromarray(pixels).save(tmp_path / f"a{ending}")
    volume = load_volume(tmp_path / f"a{ending}")
    assert volume.slices.dtype == np.uint8
    assert volume.is_rgb == colour
    assert volume.geometry.shape == (7, 5, 1)
    assert volume.geometry.spacing[1] == volume.geometry.spacing[2]
    difference = np.abs(volume.slices[0].astype(int) - pixels)
    assert difference.max() <= (40 if ending == ".jpg" else 0)
    raw = volume.raw_slice(0)
    assert raw.shape == (3, 5, 7)
    if colour:
        np.testing.assert_array_equal(raw, np.moveaxis(volume.slices[0], -1, 0))
    else:
        assert (raw == volume.slices).all()


def test_alpha_is_dropped_and_16_bit_kept(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 255, (5, 7, 4), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    np.testing.assert_array_equal(load_volume(tmp_path / "a.png").slices[0], pixels[..., :3])
    Image.fromarray(pixels[..., [0, 3]], mode="LA").save(tmp_path / "b.png")
    np.testing.assert_array_equal(load_volume(tmp_path / "b.png").slices[0], pixels[..., 0])
    deep = (pixels[..., 0].astype(np.uint16) * 257).astype(np.uint16)
    sitk.WriteImage(sitk.GetImageFromArray(deep), str(tmp_path / "c.png"))
    np.testing.assert_array_equal(load_volume(tmp_path / "c.png").slices[0], deep)


def test_colour_nifti_and_nrrd(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 255, (4, 5, 6, 3), dtype=np.uint8)
    record = pixels.copy().view([("R", "u1"), ("G", "u1"), ("B", "u1")])[..., 0]
    nib.save(nib.Nifti1Image(record, np.eye(4)), tmp_path / "a.nii.gz")
    image = sitk.GetImageFromArray(pixels.transpose(2, 1, 0, 3), isVector=True)
    sitk.WriteImage(image, str(tmp_path / "b.nrrd"))
    sitk.WriteImage(image, str(tmp_path / "c.mha"))
    for name in ("a.nii.gz", "b.nrrd", "c.mha"):
        volume = load_volume(tmp_path / name)
        np.testing.assert_array_equal(volume.geometry.to_native(volume.slices), pixels)


def test_refusals_name_the_file_and_the_way_out(tmp_path):
    def refused(name, told):
        with pytest.raises(ImageError, match=told) as caught:
            load_volume(tmp_path / name)
        assert name in str(caught.value)

    refused("missing.nii.gz", "no such file")
    (tmp_path / "empty.nii.gz").touch()
    refused("empty.nii.gz", "empty")
    (tmp_path / "junk.nii.gz").write_bytes(b"junk" * 200)
    refused("junk.nii.gz", "cannot be read")
    (tmp_path / "junk.nrrd").write_bytes(b"junk" * 200)
    refused("junk.nrrd", "cannot be read")
    (tmp_path / "junk.png").write_bytes(b"junk" * 200)
    refused("junk.png", "cannot be read")
    (tmp_path / "notes.txt").write_text("hello")
    refused("notes.txt", "supported kind")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "notes.txt").write_text("hello")
    refused("folder", "no DICOM image")
    nib.save(nib.Nifti1Image(np.zeros((4, 5, 6, 3), np.uint8), np.eye(4)), tmp_path / "time.nii.gz")
    refused("time.nii.gz", "time series")
    nrrd.write(str(tmp_path / "time.nrrd"), np.zeros((4, 5, 6, 3), np.uint8), {"kinds": ["domain"] * 3 + ["list"]})
    refused("time.nrrd", "time series")
    nib.save(nib.Nifti1Image(np.zeros((4, 5, 6), np.complex64), np.eye(4)), tmp_path / "complex.nii.gz")
    refused("complex.nii.gz", "complex64")


def test_a_cut_off_file_is_refused(tmp_path):
    nib.save(
        nib.Nifti1Image(np.random.default_rng(0).integers(0, 999, (30, 30, 30)).astype(np.int16), np.eye(4)),
        tmp_path / "a.nii.gz",
    )
    whole = (tmp_path / "a.nii.gz").read_bytes()
    for part in (100, 1000, len(whole) // 2, len(whole) - 20):
        (tmp_path / "b.nii.gz").write_bytes(whole[:part])
        with pytest.raises(ImageError, match="check that the file is whole"):
            load_volume(tmp_path / "b.nii.gz")


def test_a_picture_or_stack_without_its_end_is_refused(tmp_path):
    shade = np.add.outer(np.arange(60), np.arange(80)).astype(np.uint8)
    pages = [Image.fromarray(np.roll(shade, k, 0)) for k in range(5)]
    stack = {"save_all": True, "append_images": pages[1:]}
    files = {"a.jpg": {}, "b.bmp": {}, "c.png": {}}
    files |= {f"{n}.tif": {"compression": way, **stack} for n, way in enumerate((None, "tiff_lzw", "packbits"))}
    for name, options in files.items():
        path = tmp_path / name
        pages[0].save(path, **options)
        whole = load_volume(path).slices
        assert len(whole) == (5 if options else 1)
        bytes_of = path.read_bytes()
        for part in (0.3, 0.5, 0.9, 0.99):
            path.write_bytes(bytes_of[: int(len(bytes_of) * part)])
            with pytest.raises(ImageError, match=name):
                load_volume(path)
    itk = sitk.ImageFileWriter()
    itk.SetFileName(str(tmp_path / "itk.tif"))
    itk.SetUseCompression(True)
    itk.Execute(sitk.GetImageFromArray(np.stack([np.asarray(page) for page in pages])))
    assert load_volume(tmp_path / "itk.tif").depth == 5
    bytes_of = (tmp_path / "itk.tif").read_bytes()
    (tmp_path / "itk.tif").write_bytes(bytes_of[: len(bytes_of) // 2])
    with pytest.raises(ImageError, match="ends before its last page"):
        load_volume(tmp_path / "itk.tif")


def test_a_picture_of_many_pixels_is_no_damaged_one(tmp_path, monkeypatch):
    Image.new("L", (20_000, 10_000)).save(tmp_path / "slide.png")  # above Pillow's own bound
    assert load_volume(tmp_path / "slide.png").slices.shape == (1, 10_000, 20_000)
    monkeypatch.setenv("FEWSAM_MAX_IMAGE_GB", "0.1")
    with pytest.raises(ImageError, match="0.1 GB are taken at most"):
        load_volume(tmp_path / "slide.png")


@settings(max_examples=150, deadline=None)
@given(
    data=st.binary(min_size=1, max_size=600),
    ending=st.sampled_from([".nii", ".nii.gz", ".nrrd", ".mha", ".png", ".dcm"]),
)
def test_no_bytes_crash_the_reader(tmp_path_factory, data, ending):
    path = tmp_path_factory.mktemp("fuzz") / f"a{ending}"
    path.write_bytes({".nrrd": b"NRRD0004\n", ".dcm": b"\0" * 128 + b"DICM"}.get(ending, b"") + data)
    told = str(path)
    try:
        load_volume(path)
    except FewSAMError as error:
        told = str(error)
    assert str(path) in told
    shutil.rmtree(path.parent)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("ending", [".jpg", ".png", ".tif"])
def test_photographs_are_held_as_viewers_show_them(tmp_path, ending, orientation):
    pixels = np.zeros((6, 9), np.uint8)
    pixels[:3, :4], pixels[5, 8] = 200, 120
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(pixels).save(tmp_path / f"x{ending}", exif=exif, **({"quality": 100} if ending == ".jpg" else {}))
    # EXIF: where the first row and the first column of what is stored lie, by the standard's table
    shown = {
        1: pixels, 2: pixels[:, ::-1], 3: pixels[::-1, ::-1], 4: pixels[::-1], 5: pixels.T, 6: pixels[::-1].T,
        7: pixels[::-1, ::-1].T, 8: pixels[:, ::-1].T,
    }[orientation]  # fmt: skip
    if ending == ".tif" and orientation >= 5:
        with pytest.raises(ImageError, match="save the TIFF upright"):
            load_volume(tmp_path / "x.tif")
        return
    found = load_volume(tmp_path / f"x{ending}").slices[0]
    assert found.shape == shown.shape
    assert np.abs(found.astype(int) - shown).max() <= 3
    if ending != ".jpg":  # a mask that is held the same way lies on it
        Image.fromarray((pixels > 150).astype(np.uint8)).save(tmp_path / f"m{ending}", exif=exif)
        geometry = load_volume(tmp_path / f"x{ending}").geometry
        mask = read_label(tmp_path / f"m{ending}", geometry, names={1: "liver"})["liver"]
        assert np.array_equal(mask[0], shown > 150)


def test_metaimage_headers_as_itk_reads_them(tmp_path):
    array = ramp((5, 4, 3))
    sitk.WriteImage(sitk.GetImageFromArray(array), str(tmp_path / "x.mhd"))
    header = (tmp_path / "x.mhd").read_bytes()
    (tmp_path / "x.raw").rename(tmp_path / "größe.raw")
    named = header.replace(b"x.raw", "größe.raw".encode())
    for name, text in {
        "blank lines": named.replace(b"\nNDims", b"\n\r\n\nNDims"),
        "no last line end": named.rstrip(b"\n"),
        "Größe": named,
    }.items():
        (tmp_path / f"{name}.mhd").write_bytes(text)
        assert np.array_equal(sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / f"{name}.mhd"))), array)
        volume = load_volume(tmp_path / f"{name}.mhd")
        assert np.array_equal(volume.geometry.to_native(volume.slices).T, array), name


@pytest.mark.parametrize("ending", ["nii", "nii.gz", "nrrd", "mha", "png", "tif", "bmp", "jpg"])
def test_capital_endings(tmp_path, ending):
    array = np.full((4, 5) if ending in ("png", "tif", "bmp", "jpg") else (3, 4, 5), 7, np.uint8)
    sitk.WriteImage(sitk.GetImageFromArray(array), str(tmp_path / f"x.{ending}"))
    file = (tmp_path / f"x.{ending}").rename(tmp_path / f"X.{ending.upper()}")
    assert load_volume(file).slices.size == array.size
    assert find_images([tmp_path]) == [file]
    assert case_id(file) == "X"
