"""DICOM SEG objects from and to masks, by dcmqi's converters; segments go by name, never by position."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes

from fewsam import __version__
from fewsam.core.errors import EmptyLabelError, ImageError, LabelError
from fewsam.images.imagebounds import check_size, max_bytes
from fewsam.images.labelfile import read_label
from fewsam.images.volume import Geometry, save_labelmap

_CATEGORY = {"CodeValue": "123037004", "CodingSchemeDesignator": "SCT", "CodeMeaning": "Anatomical Structure"}
_SIDES = {"right": ("24028007", "Right"), "left": ("7771000", "Left")}
_OWN_SCHEME = "99FEWSAM"  # for what DICOM's own lists have no code for: private schemes begin with 99
_SECONDS = 300.0

Colour = Sequence[int]


def write_seg(
    path: Path,
    masks: Mapping[str, np.ndarray],
    geometry: Geometry,
    images: Path,
    *,
    colours: Mapping[str, Colour] | None = None,
    annotator: str = "",
    description: str = "fewsam label",
) -> None:
    """Write masks as one DICOM SEG with a segment for each name.

    Args:
        masks: class name -> bool (Z, H, W) on canonical slices, each with at least one voxel; may overlap.
        geometry: the image's.
        images: folder with the image's DICOM files, which the SEG refers to.
        colours: class name -> (r, g, b), 0 to 255.

    Raises:
        LabelError: nothing to write, or dcmqi refuses.
    """
    drawn = {name: mask for name, mask in masks.items() if mask.any()}
    if not drawn:
        raise EmptyLabelError("a DICOM SEG needs at least one voxel of a class; draw something first")
    segments = [
        {
            "labelID": 1,
            "SegmentLabel": f"segment {number}",
            "SegmentAlgorithmType": "SEMIAUTOMATIC",
            "SegmentAlgorithmName": f"fewsam {__version__}",
            "SegmentedPropertyCategoryCodeSequence": _CATEGORY,
            "SegmentedPropertyTypeCodeSequence": {**_CATEGORY},
            "recommendedDisplayRGBValue": [int(v) for v in (colours or {}).get(name, (220, 60, 60))],
        }
        for number, name in enumerate(drawn, start=1)
    ]
    template = {
        "ContentCreatorName": "fewsam",
        "SeriesNumber": "300",
        "InstanceNumber": "1",
        "ContentLabel": "SEGMENTATION",
        "ContentDescription": "labels submitted to fewsam",
        # One file a class: classes may overlap.
        "segmentAttributes": [[segment] for segment in segments],
    }
    with tempfile.TemporaryDirectory(prefix="fewsam-seg-") as name:
        folder = Path(name)
        files = []
        for number, mask in enumerate(drawn.values()):
            files.append(folder / f"{number}.nii.gz")
            save_labelmap(files[-1], mask.astype(np.uint8), geometry, {})
        (folder / "meta.json").write_text(json.dumps(template), encoding="utf-8")
        out = folder / "seg.dcm"
        arguments = {"inputImageList": ",".join(map(str, files)), "inputDICOMDirectory": images}
        _run("itkimage2segimage", {**arguments, "outputDICOM": out, "inputMetadata": folder / "meta.json"}, out)
        data = pydicom.dcmread(out)
    _set_texts(data, list(drawn), annotator, description)
    data.save_as(path)


def read_seg(path: Path, geometry: Geometry) -> dict[str, np.ndarray]:
    """Masks of a DICOM SEG on the image's canonical slices, resampled where its grid is another.

    Returns:
        Segment label -> bool (Z, H, W), each with at least one voxel.

    Raises:
        LabelError: unreadable, empty, or altogether outside of the image.
    """
    labels = _segment_names(path)
    masks: dict[str, np.ndarray] = {}
    with tempfile.TemporaryDirectory(prefix="fewsam-seg-") as name:
        folder = Path(name)
        meta = folder / "s-meta.json"
        _run(
            "segimage2itkimage",
            {"inputDICOM": path, "outputDirectory": folder, "outputType": "nii", "prefix": "s"},
            meta,
        )
        try:
            attributes = json.loads(meta.read_bytes())["segmentAttributes"]
            groups = [{int(s["labelID"]): labels[int(s["labelID"])] for s in segments} for segments in attributes]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise LabelError(f"{path.name}: its segments cannot be told apart ({error!r}); export it again") from None
        for place, names in enumerate(groups, start=1):
            try:
                found = read_label(folder / f"s-{place}.nii.gz", geometry, names=names)
            except EmptyLabelError:
                continue
            except LabelError as error:
                raise LabelError(f"segment {', '.join(names.values())}: {error}") from None
            for label, mask in found.items():
                masks[label] = masks[label] | mask if label in masks else mask
    if not masks:
        raise EmptyLabelError("the DICOM SEG holds no voxel; draw at least one and export again")
    return masks


def _segment_names(path: Path) -> dict[int, str]:
    """Number to label of each segment; what the file claims of its size is within bounds.

    Raises:
        LabelError: no DICOM SEG, or too large.
    """
    try:
        data = pydicom.dcmread(path, stop_before_pixels=True)
        if data.get("Modality") != "SEG":
            raise LabelError(f"{path.name}: is no DICOM SEG, its modality is {str(data.get('Modality'))[:20]!r}")
        frames = [int(data.get(word) or 1) for word in ("NumberOfFrames", "Rows", "Columns")]
        check_size(path, frames, 1)
        items = data.get("SegmentSequence") or ()
        return {
            int(item.SegmentNumber): str(item.get("SegmentLabel") or f"segment {item.SegmentNumber}") for item in items
        }
    except LabelError:
        raise
    except ImageError as error:
        raise LabelError(str(error)) from None
    except Exception as error:  # pydicom raises whatever it meets in a damaged file
        raise LabelError(f"{path.name}: not a DICOM SEG ({' '.join(str(error).split())[:300]})") from error


def _set_texts(data: Dataset, names: list[str], annotator: str, description: str) -> None:
    """Names, codes and people, which dcmqi takes in ASCII alone."""
    data.decode()  # what is there, by its former character set
    data.SpecificCharacterSet = "ISO_IR 192"
    data.SeriesDescription, data.ContentCreatorName = description[:64], annotator[:64] or "fewsam"
    for segment, name in zip(data.SegmentSequence, names, strict=True):
        segment.SegmentLabel = segment.SegmentDescription = name[:64]
        for keyword, code in code_of(name).items():
            setattr(segment, keyword, [_dataset(code)])


def _dataset(code: Mapping[str, str]) -> Dataset:
    item = Dataset()
    for keyword, value in code.items():
        setattr(item, keyword, value)
    return item


def code_of(name: str) -> dict[str, dict[str, str]]:
    """Type and side of a class name such as ``kidney_right``: SNOMED CT from DICOM's own lists, else a code of ours."""
    words = _words(name)
    side = words & _SIDES.keys() if len(words) > 1 else frozenset()
    found = _sct().get(words) or (_sct().get(words - side) if len(side) == 1 else None)
    if found is None:
        value = re.sub(r"[^A-Za-z0-9_-]+", "_", name)[:16] or "structure"
        code = {"CodeValue": value, "CodingSchemeDesignator": _OWN_SCHEME, "CodeMeaning": name[:64]}
        return {"SegmentedPropertyTypeCodeSequence": code}
    sequences = {"SegmentedPropertyTypeCodeSequence": _code(*found)}
    if words not in _sct():
        sequences["SegmentedPropertyTypeModifierCodeSequence"] = _code(*_SIDES[min(side)])
    return sequences


def _code(value: str, meaning: str) -> dict[str, str]:
    return {"CodeValue": value, "CodingSchemeDesignator": "SCT", "CodeMeaning": meaning}


@cache
def _sct() -> dict[frozenset[str], tuple[str, str]]:
    table: dict[frozenset[str], tuple[str, str]] = {}
    for keyword in (word for word in dir(codes.SCT) if word[0].isupper()):
        with suppress(RuntimeError):  # one word with several codes: rather none
            code = getattr(codes.SCT, keyword)
            table.setdefault(_words(" ".join(re.findall(r"[A-Z][a-z]+|[0-9]+", keyword))), (code.value, code.meaning))
    return table


def _words(name: str) -> frozenset[str]:
    words = re.findall(r"[a-z0-9]+", name.casefold())
    singular = {"vertebrae": "vertebra", "lungs": "lung", "kidneys": "kidney"}
    return frozenset(singular.get(word, word) for word in words)


def _bounded() -> list[str]:
    """Before a command: what keeps its memory within bounds, where this machine has it."""
    program = shutil.which("prlimit")
    return [program, f"--as={6 * max_bytes() + (4 << 30)}"] if program else []


def _run(tool: str, arguments: Mapping[str, Any], result: Path) -> None:
    """Run one of dcmqi's converters; it says by its output file alone whether all went well."""
    program = shutil.which(tool, path=str(Path(sys.executable).parent)) or shutil.which(tool)
    if program is None:
        raise LabelError(f"{tool} is not installed; pip install dcmqi, from requirements.txt")
    command = [program]
    for key, value in arguments.items():
        command += [f"--{key}", str(value)]
    try:
        done = subprocess.run(
            [*_bounded(), *command], capture_output=True, text=True, errors="replace", timeout=_SECONDS
        )
    except subprocess.TimeoutExpired:
        raise LabelError(f"{tool} did not end within {_SECONDS:.0f} s") from None
    if done.returncode or not result.exists():
        lines = [line for line in (done.stdout + done.stderr).splitlines() if "rror" in line or "ATAL" in line]
        raise LabelError(f"{tool} refused: {(lines or ['no reason given'])[-1].strip()}")
