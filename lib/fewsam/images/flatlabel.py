"""Labels in the formats of pictures: PNG, BMP, JPEG, and TIFF of one page or of a page for each slice."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, ImageSequence

from fewsam.core.errors import ImageError, LabelError
from fewsam.images.endings import has_suffix
from fewsam.images.imagebounds import check_size
from fewsam.images.imageio import is_turned
from fewsam.images.tiff import check_tiff

_FORMATS = ("PNG", "BMP", "JPEG", "TIFF")
_TIFF = (".tif", ".tiff")


def read_flat(path: Path, limit: int) -> np.ndarray:
    """Values as ``(i, j, k)``, a page of each slice; of a palette its indices, of a JPEG only black or white.

    Raises:
        ImageError: too large, or a TIFF without its end.
        LabelError: unreadable, in colour, or with pages of different sizes.
    """
    try:
        if has_suffix(path, _TIFF):
            check_tiff(path)
        with Image.open(path, formats=_FORMATS) as image:
            count = getattr(image, "n_frames", 1) if image.format == "TIFF" else 1  # a photograph may hold a preview
            check_size(path, [*image.size, count], 4, limit)
            turned = is_turned(path, image)
            pages = [
                _plain(path, np.asarray(ImageOps.exif_transpose(page) if turned else page))
                for page, _ in zip(ImageSequence.Iterator(image), range(count), strict=False)
            ]
    except (ImageError, LabelError):
        raise
    except Exception as error:  # each of its formats has kinds of its own
        raise LabelError(f"{path}: cannot be read ({error}); check that the file is whole") from error
    if len({page.shape for page in pages}) > 1:
        raise LabelError(f"{path}: its pages differ in size; save one of the image's size for each of its slices")
    pixels = np.stack(pages)
    if has_suffix(path, (".jpg", ".jpeg")):  # its compression changes values, only the halves are certain
        pixels = np.where(pixels >= 128, 255, 0)
    return pixels.T


def _plain(path: Path, pixels: np.ndarray) -> np.ndarray:
    if pixels.ndim == 2:
        return pixels.copy()  # the page's memory is the next one's
    colours = pixels[..., : 3 if pixels.shape[2] > 2 else 1]
    if (colours != colours[..., :1]).any():
        raise LabelError(f"{path}: the label is in colour; save one whole number a pixel (grey or palette)")
    return colours[..., 0].copy()
