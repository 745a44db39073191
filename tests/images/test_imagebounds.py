"""Headers that claim too much, or other files, are refused before anything is allocated or opened."""

from __future__ import annotations

import gzip
import resource
import struct
import zlib
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image

from fewsam.core.errors import FewSAMError, ImageError, LabelError
from fewsam.images.imagebounds import DEFAULT_GB, LIMIT, max_bytes
from fewsam.images.labelfile import read_label
from fewsam.images.volume import load_volume
from helpers.dicom_files import write_dicom
from helpers.image_files import AFFINE, NAMES, image_geometry, label_array, nifti

ROOM = 1 << 30  # bytes more than this process has now: a refusal takes next to nothing


@pytest.fixture(autouse=True)
def little_memory():
    """An allocation of a gigabyte fails here, so that a check which comes too late shows as another error."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + ROOM, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


def huge_nifti(path, shape, kind=nib.Nifti1Header, dtype=np.int16, body=b""):
    header = kind()
    header.set_data_shape(shape)
    header.set_data_dtype(dtype)
    header["vox_offset"] = len(header.binaryblock) + 4
    magic = b"n+1\0" if kind is nib.Nifti1Header else b"n+2\0\r\n\x1a\n"
    whole = bytearray(header.binaryblock)
    place = 344 if kind is nib.Nifti1Header else 4
    whole[place : place + len(magic)] = magic
    data = bytes(whole) + bytes(4) + body
    path.write_bytes(gzip.compress(data) if path.name.endswith(".gz") else data)
    return path


NRRD = "NRRD0004\ntype: {}\ndimension: 3\nsizes: {}\nencoding: {}\nendian: little\n{}\n"
META = "ObjectType = Image\nNDims = 3\nDimSize = {}\nElementType = MET_SHORT\n{}ElementDataFile = LOCAL\n"


def claims(tmp_path: Path) -> list[Path]:
    """Small files that claim a lot."""
    big = "30000 30000 30000"
    files = [
        huge_nifti(tmp_path / "a.nii", (32767, 32767, 32767)),
        huge_nifti(tmp_path / "b.nii.gz", (32767, 32767, 32767)),
        huge_nifti(tmp_path / "c.nii.gz", (2**40, 2**20, 2), nib.Nifti2Header),
        huge_nifti(tmp_path / "d.nii.gz", (2000, 1000, 1000), dtype=np.uint8, body=bytes(1 << 20)),
    ]
    for name, text in {
        "e.nrrd": NRRD.format("short", big, "raw", ""),
        "f.nrrd": NRRD.format("double", "99999999999 99999999999 99999999999", "gzip", ""),
        "g.seg.nrrd": NRRD.format("short", big, "gzip", "Segment0_Name:=a\n"),
        "h.nrrd": NRRD.format("uchar", "4294967296 4294967296 1", "raw", ""),  # the product is 0 in 64 bits
        "i.mha": META.format(big, ""),
        "j.mha": META.format(big, "CompressedData = True\n"),
    }.items():
        files.append(tmp_path / name)
        files[-1].write_bytes(text.encode() + b"\0" * 64)
    return files


def test_claims_are_refused_in_little_memory(tmp_path):
    for path in claims(tmp_path):
        with pytest.raises(ImageError, match="its header claims") as told:
            load_volume(path)
        assert path.name in str(told.value)
        with pytest.raises(LabelError, match="its header claims"):
            read_label(path, image_geometry(), NAMES)


def test_compressed_data_unfold_no_further_than_claimed(tmp_path):
    bomb = gzip.compress(bytes(1 << 20)) * 2000  # 2 MB that unfold to 2 GB
    small = NRRD.format("uchar", "8 7 6", "gzip", "")
    (tmp_path / "a.nrrd").write_bytes(small.encode() + bomb)
    with pytest.raises(ImageError, match="cannot be read"):
        load_volume(tmp_path / "a.nrrd")
    whole = nifti(tmp_path / "b.nii", label_array()).read_bytes()
    (tmp_path / "b.nii.gz").write_bytes(gzip.compress(whole) + bomb)  # what follows the voxels is not read
    assert load_volume(tmp_path / "b.nii.gz").slices.size == label_array().size


def test_a_header_extension_cannot_ask_for_the_rest_of_the_file(tmp_path):
    whole = bytearray(nifti(tmp_path / "a.nii", label_array()).read_bytes())
    whole[348:352] = b"\1\0\0\0"
    body = struct.pack("<ii", -1, 6) + bytes(24)
    whole[108:112] = struct.pack("<f", 384)
    packed = gzip.compress(bytes(whole[:352]) + body + bytes(336)) + gzip.compress(bytes(1 << 20)) * 2000
    (tmp_path / "a.nii.gz").write_bytes(packed)
    with pytest.raises(ImageError, match="header extension of -1 bytes"):
        load_volume(tmp_path / "a.nii.gz")


def png_of(width: int, height: int) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(bytes(1 << 20)))
        + chunk(b"IEND", b"")
    )


def test_pictures_are_bounded_too(tmp_path):
    for name, size in {"a.png": (100_000, 100_000), "b.png": (12_000, 12_000)}.items():
        (tmp_path / name).write_bytes(png_of(*size))
        with pytest.raises(LabelError, match=r"claims|exceeds limit"):
            read_label(tmp_path / name, image_geometry(), NAMES)
    with pytest.raises(ImageError, match=r"claims|exceeds limit"):
        load_volume(tmp_path / "a.png")


def test_dicom_claims_are_refused(tmp_path):
    write_dicom(tmp_path / "scan", [(0, 0, 0)], Rows=65535, Columns=65535, NumberOfFrames="99999")
    with pytest.raises(ImageError, match="its header claims"):
        load_volume(tmp_path / "scan")


def test_dicom_frames_are_counted_before_they_are_listed(tmp_path):
    """One by one, so many frames would take hours and all memory, though their voxels would be few enough."""
    write_dicom(tmp_path / "scan", [(0, 0, 0)], Rows=1, Columns=1, NumberOfFrames="1900000000")
    with pytest.raises(ImageError, match="which a file of this size cannot hold"):
        load_volume(tmp_path / "scan")


def test_only_the_format_of_the_ending_is_read(tmp_path):
    """ITK and Pillow would look into the file, and have readers for formats that nobody means here."""
    sitk.WriteImage(sitk.GetImageFromArray(label_array()), str(tmp_path / "a.mha"))
    Image.new("L", (8, 7), 1).save(tmp_path / "b.eps")
    for source, name in (("a.mha", "a.png"), ("b.eps", "b.png"), ("a.mha", "a.tif"), ("b.eps", "b.jpg")):
        (tmp_path / name).write_bytes((tmp_path / source).read_bytes())
        with pytest.raises(ImageError, match="cannot be read"):
            load_volume(tmp_path / name)
        with pytest.raises(LabelError, match="cannot be read"):
            read_label(tmp_path / name, image_geometry(), NAMES)


@pytest.mark.parametrize(
    "named", ["/etc/passwd", "../outside.raw", "sub/../../outside.raw", "LIST", "a%d.raw 1 3 1", "..", "", "link.raw"]
)
@pytest.mark.parametrize("ending", [".nrrd", ".nhdr", ".mha", ".mhd"])
def test_voxels_lie_beside_their_header(tmp_path, named, ending):
    folder = tmp_path / "in"
    (folder / "sub").mkdir(parents=True)
    (tmp_path / "outside.raw").write_bytes(bytes(24))
    (folder / "link.raw").symlink_to(tmp_path / "outside.raw")
    nrrd = f"NRRD0004\ntype: uchar\ndimension: 3\nsizes: 2 3 4\nencoding: raw\ndata file: {named}\n\n"
    meta = f"ObjectType = Image\nNDims = 3\nDimSize = 2 3 4\nElementType = MET_UCHAR\nElementDataFile = {named}\n"
    path = folder / f"input{ending}"
    path.write_text(nrrd if ending.startswith(".n") else meta)
    with pytest.raises(ImageError, match=r"its voxels should be in|cannot be read"):
        load_volume(path)
    (folder / "voxels here.raw").write_bytes(bytes(range(24)))
    path.write_text(path.read_text().replace(f" {named}\n", " voxels here.raw\n"))
    assert load_volume(path).slices.size == 24


@pytest.mark.parametrize("kind", ["LONG", "ULONG", "INT", "UINT", "LONG_LONG", "ULONG_LONG"])
def test_the_widths_of_metaimage_are_those_of_its_reader(tmp_path, kind):
    """A long has 4 bytes there, on every machine."""
    sign = "u" if kind.startswith("U") else "i"
    voxels = np.arange(24, dtype=f"<{sign}{8 if kind.endswith('LONG_LONG') else 4}").reshape(4, 3, 2)
    head = f"ObjectType = Image\nNDims = 3\nDimSize = 2 3 4\nElementType = MET_{kind}\nElementDataFile = LOCAL\n"
    (tmp_path / "a.mha").write_bytes(head.encode() + voxels.tobytes())
    assert np.array_equal(sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "a.mha"))), voxels)
    assert sorted(load_volume(tmp_path / "a.mha").slices.ravel()) == list(range(24))


def test_metaimage_lines_that_two_readers_could_read_in_two_ways(tmp_path):
    head = "ObjectType = Image\nNDims = 3\nDimSize = 2 3 4\nElementType = MET_UCHAR\nElementDataFile = LOCAL\n"
    for old, new in {
        "DimSize = 2 3 4": "DimSize = 2 3",
        "NDims = 3": "NDims = 3\nNDims = 2",
        "ElementDataFile = LOCAL": "ElementDataFile: /etc/passwd\nElementDataFile = LOCAL",
        "ObjectType = Image": "ObjectType = Image\nElementSpacing = 1 1 1 9 9",
    }.items():
        (tmp_path / "a.mha").write_bytes(head.replace(old, new).encode() + bytes(24))
        with pytest.raises(ImageError, match="cannot be read"):
            load_volume(tmp_path / "a.mha")
    (tmp_path / "a.mha").write_bytes(head.encode() + bytes(24))
    assert load_volume(tmp_path / "a.mha").slices.size == 24


def test_the_bound_is_a_setting(tmp_path, monkeypatch):
    path = nifti(tmp_path / "a.nii.gz", np.zeros((100, 100, 60), np.int16))
    monkeypatch.setenv(LIMIT, "0.001")
    with pytest.raises(ImageError, match=LIMIT):
        load_volume(path)
    for odd in ("much", "-1", "0"):
        monkeypatch.setenv(LIMIT, odd)
        assert max_bytes() == int(DEFAULT_GB * 1e9)
    assert load_volume(path).slices.shape == (60, 100, 100)


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e38, -1e38, 1e20, 1e-30])
def test_places_that_no_arithmetic_holds(tmp_path, value):
    whole = bytearray(nifti(tmp_path / "a.nii", label_array()[:5], AFFINE).read_bytes())
    whole[280:284] = whole[292:296] = np.float32(value).tobytes()
    (tmp_path / "b.nii").write_bytes(whole)
    with pytest.raises(FewSAMError, match=r"b\.nii"):
        read_label(tmp_path / "b.nii", image_geometry(), NAMES)
