"""Which image has which truth, in the layouts that public data sets come in."""

from __future__ import annotations

import glob
import json
import logging
import re
from dataclasses import dataclass
from pathlib import Path

import pydicom

from fewsam.core.errors import ConfigError, LabelError
from fewsam.images.casefiles import find_images, match_labels, names_beside
from fewsam.images.dicomio import is_dicom
from fewsam.images.endings import IMAGE_ENDINGS

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Pair:
    """An image (a file or a DICOM folder) and its truth."""

    image: Path
    label: Path


@dataclass(frozen=True)
class Pairs:
    """Images with truths, and what their values are called, where the data say so."""

    pairs: list[Pair]
    names: dict[int, str]


def in_folder(folder: Path) -> Pairs:
    """``images/`` and ``labels/`` (or ``masks/``) with files of the same names.

    Raises:
        FewSAMError: one is missing, or nothing fits.
    """
    images = folder / "images"
    labels = next((folder / name for name in ("labels", "masks") if (folder / name).is_dir()), None)
    if not images.is_dir() or labels is None:
        raise ConfigError(f"{folder} needs two folders, images/ and labels/ (or masks/)")
    matched = _pictures(images, labels) or match_labels(find_images([images]), labels)
    return Pairs([Pair(image, label) for image, label in matched.items()], names_beside(labels))


def _pictures(images: Path, labels: Path) -> dict[Path, Path]:
    """Pairs of the very same file name: JPEG truths are no labels elsewhere, since its compression changes values."""
    files = sorted(path for path in images.iterdir() if path.name.lower().endswith(IMAGE_ENDINGS))
    pairs = {path: labels / path.name for path in files}
    return pairs if pairs and all(label.is_file() for label in pairs.values()) else {}


def in_dataset(file: Path, channel: int = 0) -> Pairs:
    """A ``dataset.json`` of nnU-Net v2 (label name to value) or of the Medical Segmentation Decathlon (value to name).

    Raises:
        FewSAMError: it cannot be read, files are missing, or classes overlap.
    """
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        labels = dict(content["labels"])
        names = _values(file, labels)
        folder = file.parent
        listed = [entry for entry in content.get("training") or [] if isinstance(entry, dict)]
        pairs = [Pair(folder / str(entry["image"]), folder / str(entry["label"])) for entry in listed]
        channels = len(content.get("channel_names", content.get("modality", {})))
        ending = str(content.get("file_ending", ".nii.gz"))
        if re.search(r"[/\\*?\[\]\0]", ending):
            raise ValueError(f"file_ending {ending!r}")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        reason = repr(error)[:300]
        raise ConfigError(f"{file} is no data set description: {reason}; it needs 'labels'") from None
    if pairs:  # the Decathlon's way, which AMOS and BTCV share
        pairs = [Pair(_channel_file(pair.image, channel), pair.label) for pair in pairs]
    else:
        truths = sorted((folder / "labelsTr").glob(f"*{ending}"))
        stems = [path.name.removesuffix(ending) for path in truths]
        pairs = [
            Pair(folder / "imagesTr" / f"{stem}_{channel:04d}{ending}", path)
            for stem, path in zip(stems, truths, strict=True)
        ]
    missing = [path for pair in pairs for path in (pair.image, pair.label) if not _is_file(path)]
    if not pairs or missing:
        raise ConfigError(f"{file}: {missing[0] if missing else 'no truth in labelsTr'} is missing")
    if channels > 1:
        logger.warning("%s has several channels an image; channel %d is taken", file, channel)
    return Pairs(pairs, names)


def _values(file: Path, labels: dict[str, object]) -> dict[int, str]:
    names: dict[int, str] = {}
    for key, entry in labels.items():
        value, name = (int(key), str(entry)) if re.fullmatch(r" *[0-9]{1,9} *", key) else (entry, key)
        if isinstance(value, list):
            raise ConfigError(f"{file}: {name!r} is a region of several values; list the values and names in the task")
        if isinstance(value, int) and value > 0 and name != "ignore":
            names[value] = name
    return names


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name longer than any file has
        return False


def _channel_file(image: Path, channel: int) -> Path:
    """The file itself, or with nnU-Net's number of a channel where only that exists."""
    if _is_file(image) or not image.name:
        return image
    stem, dot, ending = image.name.partition(".")
    return image.with_name(f"{stem}_{channel:04d}{dot}{ending}")


def matching(root: Path, images: str, labels: str) -> list[Pair]:
    """Files of two patterns whose wildcards (``*``, ``?``, each within a name) stand for the same text.

    Raises:
        ConfigError: nothing fits, or one image has several truths.
    """
    found: list[dict[tuple[str, ...], Path]] = []
    for pattern in (images, labels):
        parts = re.split(r"([*?])", pattern)
        expression = "".join({"*": "([^/]*)", "?": "([^/])"}.get(part, re.escape(part)) for part in parts)
        keyed: dict[tuple[str, ...], Path] = {}
        for name in sorted(glob.glob(pattern, root_dir=root)):
            match = re.fullmatch(expression, name.replace("\\", "/"))
            if match:
                keyed[match.groups()] = root / name
        found.append(keyed)
    pairs = [Pair(path, found[1][key]) for key, path in found[0].items() if key in found[1]]
    if not pairs:
        raise ConfigError(f"no image {images} has a truth {labels} under {root}")
    return pairs


def in_dicom(folder: Path) -> Pairs:
    """Series in sub-folders (or in ``folder`` itself), each with the SEG that refers to it.

    Raises:
        FewSAMError: no series, or no SEG that belongs to one.
    """
    series: dict[str, Path] = {}
    segmentations: list[tuple[Path, str]] = []
    for path in sorted(p for p in folder.rglob("*") if is_dicom(p)):
        header = pydicom.dcmread(path, stop_before_pixels=True)
        if header.get("Modality") != "SEG":
            uid = str(header.get("SeriesInstanceUID") or "")
            if series.setdefault(uid, path.parent) != path.parent:
                raise ConfigError(f"{path.parent}: series {uid} lies in two folders; keep each series in one")
            continue
        referenced = header.get("ReferencedSeriesSequence") or [{}]
        segmentations.append((path, str(referenced[0].get("SeriesInstanceUID") or "")))
    pairs: dict[Path, Path] = {}
    for path, uid in segmentations:
        if uid not in series:
            logger.warning("%s refers to series %s, which is not here", path, uid)
        elif series[uid] in pairs:
            raise LabelError(f"{path} and {pairs[series[uid]]} segment one series; keep one of them")
        else:
            pairs[series[uid]] = path
    if not pairs:
        raise ConfigError(f"{folder}: no DICOM SEG refers to a series in it")
    if len(set(series.values())) < len(series):
        raise ConfigError(f"{folder}: two series lie in one folder; give each a folder of its own")
    return Pairs([Pair(image, label) for image, label in pairs.items()], {})
