"""Image files to native arrays (`fewsam.images.native`), each format through the library that maintains it."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nibabel as nib
import nrrd
import numpy as np
import SimpleITK as sitk
from nibabel.arrayproxy import ArrayProxy
from PIL import Image, ImageOps

from fewsam.core.errors import ImageError
from fewsam.images.endings import FLAT_ENDINGS, NIFTI, has_suffix
from fewsam.images.imagebounds import MAX_HEADER, check_metaimage, check_nifti, check_size, nrrd_stream
from fewsam.images.native import LPS, NativeImage, native_image
from fewsam.images.nifti_place import placed_as_itk_does
from fewsam.images.tiff import check_tiff

logger = logging.getLogger(__name__)

NRRD = (".nrrd", ".nhdr")
METAIMAGE = (".mha", ".mhd")
_ORIENTATION = 0x0112  # EXIF's number for it
Image.MAX_IMAGE_PIXELS = None  # each reader here asks `check_size` before pixels are read: whole slides are large
SUPPORTED = "NIfTI, NRRD, MHA/MHD, PNG, JPEG, BMP, TIFF, a DICOM file or a folder with a DICOM series"


def read_native(path: Path, limit: int | None = None) -> NativeImage:
    """Read an image file of any supported format but DICOM.

    Args:
        limit: bytes that its voxels may take; None: `fewsam.images.imagebounds.max_bytes`.

    Raises:
        ImageError: missing, unreadable, empty, too large, or neither a 2D or 3D grey image nor an RGB one.
    """
    if not path.exists():
        raise ImageError(f"{path}: no such file or folder; check the path")
    if path.is_file() and path.stat().st_size == 0:
        raise ImageError(f"{path}: the file is empty; copy it again from where it came")
    if path.is_file() and has_suffix(path, NIFTI):
        reader = _read_nifti
    elif path.is_file() and has_suffix(path, NRRD):
        reader = _read_nrrd
    elif path.is_file() and has_suffix(path, METAIMAGE + FLAT_ENDINGS):
        reader = _read_sitk
    else:
        raise ImageError(f"{path}: not an image of a supported kind; use {SUPPORTED}")
    try:
        return reader(path, limit)
    except ImageError:
        raise
    except Exception as error:  # each library raises its own kinds, down to zlib.error and struct.error
        raise unreadable(path, error) from error


def unreadable(path: Path, error: Exception) -> ImageError:
    """The refusal of a file that a library gave up on."""
    return ImageError(f"{path}: cannot be read ({brief(error)}); check that the file is whole")


def brief(error: Exception) -> str:
    """Last line of a library's message: SimpleITK puts its C++ source lines before it."""
    lines = str(error).strip().splitlines()
    return lines[-1].strip() if lines else type(error).__name__


def open_nifti(path: Path, limit: int | None = None) -> nib.Nifti1Image:
    """A NIfTI file of either version, of which the voxels are not read yet.

    Raises:
        ImageError: its header claims too much, or is none.
    """
    kind = nib.Nifti2Image if check_nifti(path, limit) == 540 else nib.Nifti1Image
    # Not memory-mapped: the file may be replaced while we work on it. Given as a map, since nibabel looks for
    # "a.nii" where the file is called "a.Nii".
    return kind.from_file_map(kind.make_file_map({"image": str(path)}), mmap=False)


def _read_nifti(path: Path, limit: int | None) -> NativeImage:
    image = open_nifti(path, limit)
    proxy = image.dataobj
    assert isinstance(proxy, ArrayProxy)
    slope, intercept = float(proxy.slope), float(proxy.inter)
    array = np.asanyarray(proxy.get_unscaled())
    colour = array.dtype.kind == "V"
    if colour:  # NIfTI keeps colour as a record of R, G, B
        array = np.stack([array[channel] for channel in "RGB"], axis=-1)
    elif (slope, intercept) != (1.0, 0.0):
        whole = array.dtype.kind in "iu" and array.dtype.itemsize <= 2 and slope.is_integer() and intercept.is_integer()
        if whole and abs(slope) * 0xFFFF + abs(intercept) < 2**31:
            array = array.astype(np.int32) * int(slope) + int(intercept)  # CT stored from 0: still whole numbers
        else:
            array = image.get_fdata(dtype=np.float32, caching="unchanged")
    if array.ndim == 5 and array.shape[3:] == (1, 3):  # how some write colour
        array, colour = array[:, :, :, 0], True
    while not colour and array.ndim > 3 and array.shape[-1] == 1:  # a time axis of one is common
        array = array[..., 0]
    read = native_image(path, array, np.asarray(image.affine, dtype=np.float64), colour=colour)
    return placed_as_itk_does(path, read, image.header)


def read_nrrd(path: Path, limit: int | None = None) -> tuple[np.ndarray, dict[str, Any]]:
    """Array in the file's own axis order, first axis fastest, and header of a NRRD file."""
    with path.open("rb") as stream:
        lines, left = [], MAX_HEADER
        while (line := stream.readline(left)).strip():  # pynrrd itself drops what is not ASCII, as in class names
            lines.append(line.decode("utf-8", "replace"))
            left -= len(line)
        header = nrrd.read_header(lines)
        plain, data = nrrd_stream(path, header, stream, limit)
        return nrrd.read_data(plain, data, str(path), index_order="F"), header


def _read_nrrd(path: Path, limit: int | None) -> NativeImage:
    array, header = read_nrrd(path, limit)
    kinds = [str(kind).lower() for kind in header.get("kinds") or []]
    channels = [axis for axis, kind in enumerate(kinds) if "color" in kind or kind == "vector"]
    if channels:
        array = np.moveaxis(array, channels[0], -1)
        array = array[..., :3] if array.shape[-1] == 4 else array
    return native_image(path, array, nrrd_affine(header), colour=bool(channels))


def nrrd_affine(header: Mapping[str, Any]) -> np.ndarray:
    """``(4, 4)`` affine to RAS of a NRRD header; axes that do not lie in space (lists, colours) are left out."""
    space = str(header.get("space") or "left-posterior-superior").lower()
    words = space.split("-") if "-" in space else list(space)
    towards = [_SPACE_SIGNS.get(word[:1] if len(space) <= 4 else word) for word in words[:3]]
    # Of spaces that are not anatomical, such as scanner-xyz, ITK takes the numbers as they are: as LPS.
    turn = np.diag([*(1.0 if sign is None else sign for sign in towards), 1.0]) if None not in towards else LPS
    directions = header.get("space directions")
    if directions is None:
        spacings = [float(s) for s in header.get("spacings", ()) if np.isfinite(s)]
        vectors = list(np.diag([s if s > 0 else 1.0 for s in [*spacings, 1.0, 1.0, 1.0][:3]]))
    else:
        vectors = [np.asarray(v, dtype=float) for v in directions if v is not None]
        vectors = [np.pad(v, (0, 3 - v.size)) for v in vectors if v.size in (2, 3) and np.isfinite(v).all()]
        if len(vectors) == 2:  # a 2D image: its third axis is the normal
            normal = np.cross(vectors[0], vectors[1])
            vectors.append(normal / max(float(np.linalg.norm(normal)), 1e-12))
    affine = np.eye(4)
    affine[:3, :3] = np.stack(vectors[:3], axis=1)
    origin = np.asarray(header.get("space origin", [0.0, 0.0, 0.0]), dtype=float)
    if np.isfinite(origin).all():
        affine[: origin.size, 3] = origin
    return turn @ affine


_SPACE_SIGNS = {"left": -1.0, "posterior": -1.0, "inferior": -1.0, "right": 1.0, "anterior": 1.0, "superior": 1.0}
_SPACE_SIGNS |= {word[0]: sign for word, sign in _SPACE_SIGNS.items()}


def _read_sitk(path: Path, limit: int | None) -> NativeImage:
    # By its ending alone: ITK would look into the file, and has readers for formats that nobody means here.
    kind = next(name for endings, name in _ITK_READERS.items() if has_suffix(path, endings))
    if kind == "MetaImageIO":
        check_metaimage(path, limit)
    else:
        _check_whole(path, kind.removesuffix("ImageIO"), limit)
        if (turned := _by_pillow(path, kind.removesuffix("ImageIO"), limit)) is not None:
            return turned
    reader = sitk.ImageFileReader()
    reader.SetImageIO(kind)
    reader.SetFileName(str(path))
    reader.ReadImageInformation()
    check_size(path, [*reader.GetSize(), reader.GetNumberOfComponents()], _bytes_of(reader.GetPixelID()), limit)
    return from_sitk(path, reader.Execute())


def _check_whole(path: Path, kind: str, limit: int | None) -> None:
    """Refuse what ITK reads although its end is missing."""
    if kind == "TIFF":
        check_tiff(path)
    if kind not in ("JPEG", "BMP"):
        return
    try:
        image = Image.open(path, formats=[kind])
    except (OSError, ValueError):  # kinds that ITK alone reads
        return
    with image:
        check_size(path, [*image.size, len(image.getbands())], 1, limit)
        image.load()


def is_turned(path: Path, image: Image.Image) -> bool:
    """Whether a picture says that it is to be shown in another way than it is stored.

    Raises:
        ImageError: it is a TIFF that lies on its side, which neither ITK nor Pillow reads right.
    """
    orientation = image.getexif().get(_ORIENTATION, 1)
    if image.format == "TIFF" and orientation in (5, 6, 7, 8):
        raise ImageError(f"{path}: its orientation {orientation} lays it on its side; save the TIFF upright")
    return orientation != 1


def _by_pillow(path: Path, kind: str, limit: int | None) -> NativeImage | None:
    """What ITK does not read as viewers show it: grey with alpha, and photographs that say how they were held."""
    try:
        image = Image.open(path, formats=[kind])
    except (OSError, ValueError):  # kinds that ITK alone reads
        return None
    with image:
        check_size(path, [*image.size, len(image.getbands())], 1, limit)  # of a PNG, its EXIF comes with its pixels
        if image.mode == "LA":
            return native_image(path, np.asarray(image)[..., 0].T, LPS)
        if not is_turned(path, image) or kind == "TIFF":  # ITK turns these itself
            return None
        check_size(path, image.size, 4, limit)
        upright = ImageOps.exif_transpose(image)
        if upright.mode not in ("L", "I;16", "I", "F", "RGB"):
            upright = upright.convert("RGB")
        pixels = np.asarray(upright)
        return native_image(path, pixels.swapaxes(0, 1), LPS, colour=pixels.ndim == 3)


_ITK_READERS = {
    METAIMAGE: "MetaImageIO", (".png",): "PNGImageIO", (".jpg", ".jpeg"): "JPEGImageIO", (".bmp",): "BMPImageIO",
    (".tif", ".tiff"): "TIFFImageIO",
}  # fmt: skip


def _bytes_of(pixel: int) -> int:
    found = re.search(r"\d+", sitk.GetPixelIDValueAsString(pixel))
    return int(found[0]) // 8 if found else 8


def from_sitk(path: Path, image: sitk.Image, modality: str | None = None) -> NativeImage:
    """A 2D or 3D SimpleITK image with its place in space; alpha channels are dropped."""
    dimension, channels = image.GetDimension(), image.GetNumberOfComponentsPerPixel()
    if dimension not in (2, 3):
        raise ImageError(f"{path}: {dimension} dimensions are a time series; split it into 3D images and give one")
    array = sitk.GetArrayFromImage(image)
    if channels == 4:
        logger.info("%s: the alpha channel is ignored", path)
        array = array[..., :3]
    affine = np.eye(4)
    direction = np.asarray(image.GetDirection()).reshape(dimension, dimension)
    affine[:dimension, :dimension] = direction * np.asarray(image.GetSpacing())
    affine[:dimension, 3] = image.GetOrigin()
    axes = (*reversed(range(dimension)), *range(dimension, array.ndim))
    return native_image(path, array.transpose(axes), LPS @ affine, colour=channels > 1, modality=modality)
