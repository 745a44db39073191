"""Which files are images, which label belongs to which image, and what its values are called."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from fewsam.core.errors import ConfigError, ImageError, LabelError
from fewsam.images.dicomio import is_dicom
from fewsam.images.endings import IMAGE_ENDINGS, LABEL_ENDINGS, split_ending
from fewsam.images.sequences import is_first

logger = logging.getLogger(__name__)

_ENDINGS = tuple(dict.fromkeys((*LABEL_ENDINGS, *IMAGE_ENDINGS)))
_MARKS = ("", "_label", "_labels", "_seg", "_mask", "-label", "-seg", ".label", ".seg")  # what people append
_CHANNEL = re.compile(r"_0000$")  # nnU-Net: the image CASE_0000 has the label CASE


def case_id(path: Path) -> str:
    """Id of an image: its file name without the ending, as MONAI Label names images of a folder."""
    return _stem(path) if path.is_file() else path.name


def _stem(path: Path) -> str:
    stem, ending = split_ending(path.name, _ENDINGS)
    return stem if ending else path.stem or path.name


def find_images(paths: Iterable[Path], sequences: Sequence[str] = ()) -> list[Path]:
    """Images among files and folders, in order, none twice.

    A folder stands for the image files in it, sorted; without any, for the DICOM series in it or in its subfolders.
    Where several ``sequences`` are the channels of one image (as in the settings), it stands for the first ones.

    Raises:
        ImageError: a path does not exist, or a folder holds no image.
    """
    found: dict[Path, None] = {}
    for path in paths:
        if not path.exists():
            raise ImageError(f"{path}: no such file or folder; check the path")
        inside = _in_folder(path) if path.is_dir() else [path]
        first = [image for image in inside if image == path or is_first(image, sequences)]
        if not first:
            raise ImageError(
                f"{path}: none of its {len(inside)} images is a {sequences[0]!r}, the first of the setting sequences"
            )
        found.update(dict.fromkeys(first))
    return list(found)


def _in_folder(folder: Path) -> list[Path]:
    files = sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    images = [path for path in files if path.name.lower().endswith((*IMAGE_ENDINGS, ".dcm"))]
    plain = [path for path in images if not path.name.lower().endswith((".dcm", ".seg.nrrd"))]
    if plain:
        return plain
    if any(is_dicom(path) for path in files):
        return [folder]
    series = sorted(sub for sub in folder.iterdir() if sub.is_dir() and any(is_dicom(path) for path in sub.iterdir()))
    if not series:
        raise ImageError(f"{folder}: holds no image; give files, or a folder with NIfTI, NRRD, MHA, PNG, ... or DICOM")
    return series


def match_labels(images: Sequence[Path], labels: Path, sequences: Sequence[str] = ()) -> dict[Path, Path]:
    """The label file of each image that has one.

    ``labels`` is the label of a single image, or a folder with labels named like their images ("a.nii.gz" for the
    image "a.nrrd"; "a_label", "a_seg" and "a_mask" fit as well). Of an image that is the first of several ``sequences``
    the name without that end fits too.

    Raises:
        LabelError: missing, nothing fits, two files fit one image, or one fits two images.
    """
    if not labels.exists():
        raise LabelError(f"{labels}: no such label file or folder; check the path")
    if labels.is_file():
        if len(images) != 1:
            raise LabelError(f"{labels}: one label file for {len(images)} images; give the folder with their labels")
        return {images[0]: labels}
    files = [path for path in sorted(labels.iterdir()) if path.is_file() and path.name.lower().endswith(LABEL_ENDINGS)]
    by_stem: dict[str, list[Path]] = {}
    for path in files:
        by_stem.setdefault(_stem(path), []).append(path)
    matched: dict[Path, Path] = {}
    for image in images:
        own = case_id(image)
        study = own[: -len(sequences[0])] if sequences and own.casefold().endswith(sequences[0].casefold()) else own
        stems = dict.fromkeys(stem + mark for stem in (own, _CHANNEL.sub("", own), study) for mark in _MARKS)
        fitting = [path for stem in stems for path in by_stem.get(stem, []) if path.resolve() != image.resolve()]
        if len(fitting) > 1:
            raise LabelError(f"{image}: {fitting[0].name} and {fitting[1].name} in {labels} both fit; keep one of them")
        if not fitting:
            continue
        if other := next((known for known, label in matched.items() if label == fitting[0]), None):
            raise LabelError(f"{fitting[0]} fits {other} and {image}; rename one of the images, and its label like it")
        matched[image] = fitting[0]
    if not matched:
        example = f"{case_id(images[0])}.nii.gz" if images else "IMAGE.nii.gz"
        raise LabelError(f"{labels}: no label is named like an image; name them like {example}")
    return matched


def by_id(images: Sequence[Path]) -> dict[str, Path]:
    """Images by their ids.

    Raises:
        ImageError: two of them have one.
    """
    found: dict[str, Path] = {}
    for image in images:
        if (other := found.setdefault(case_id(image), image)) != image:
            raise ImageError(f"{other} and {image} have the same name; rename one of them")
    return found


def names_beside(labels: Path) -> dict[int, str]:
    """Names of label values from a ``labels.json`` (value to name) or an nnU-Net ``dataset.json`` (name to value) in
    the label's folder or the one above; empty where there is neither.

    Raises:
        LabelError: the file is there and cannot be read.
    """
    folder = labels if labels.is_dir() else labels.parent
    for place in (folder, folder.resolve().parent):
        for file in (place / "labels.json", place / "dataset.json"):
            if file.is_file():
                names = _names_in(file)
                if names:
                    logger.info("label values are named by %s", file)
                    return names
    return {}


def _names_in(file: Path) -> dict[int, str]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        entries: Mapping[str, object] = content.get("labels", {}) if file.name == "dataset.json" else content
        pairs = [
            (int(key), str(entry)) if re.fullmatch(r" *[0-9]{1,9} *", key) else (entry, key)
            for key, entry in entries.items()
        ]
        # regions of nnU-Net (lists of values) overlap: such a label needs names of its own
        return {int(value): name for value, name in pairs if isinstance(value, int) and value > 0 and name != "ignore"}
    except (OSError, ValueError, AttributeError, TypeError, RecursionError) as error:
        raise LabelError(f"{file}: names of label values cannot be read ({error}); mend it or pass --names") from None


def parse_names(text: str) -> dict[int, str]:
    """``"1=liver,2=spleen"`` as value to name.

    Raises:
        ConfigError: anything else.
    """
    names: dict[int, str] = {}
    for part in text.split(","):
        value, _, name = part.partition("=")
        if not re.fullmatch("[0-9]{1,9}", value.strip()) or int(value) < 1 or not name.strip():
            raise ConfigError(f"names {text!r} must look like 1=liver,2=spleen")
        names[int(value)] = name.strip()
    return names
