"""Volumes and truths of a task, in memory."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom

from fewsam.core.errors import ConfigError, EmptyLabelError
from fewsam.evaluation.data.tasks import Task
from fewsam.images.casefiles import case_id
from fewsam.images.dicomio import is_dicom
from fewsam.images.dicomseg import read_seg
from fewsam.images.endings import NIFTI, has_suffix
from fewsam.images.imagebounds import check_nifti
from fewsam.images.labelfile import read_label
from fewsam.images.native import LPS, native_image
from fewsam.images.volume import Volume, geometry_for, load_volume, volume_of

HDF5 = (".h5", ".hdf5")


@dataclass(frozen=True)
class Case:
    """A volume and its truth: name -> bool (Z, H, W). ``patient`` tells whose it is (a number where DICOM does)."""

    name: str
    volume: Volume
    truth: dict[str, np.ndarray]
    patient: str = ""


def load_cases(task: Task, root: Path, axis: str = "auto") -> list[Case]:
    """Volumes and truths of a task, each with every class of the task, empty or not.

    Raises:
        FewSAMError: a file is missing or unreadable, or a truth does not fit its image.
    """
    found = task.pairs(root)
    names = task.named(found.names)
    loaded: list[tuple[Path, Volume, dict[str, np.ndarray]]] = []
    for pair in found.pairs:
        if pair.image.suffix in HDF5:
            volume, truth = _read_hdf5(pair.image, names, task.spacing, axis)
        else:
            volume = _volume(pair.image, axis, task.channel)
            try:
                if is_dicom(pair.label):
                    truth = read_seg(pair.label, volume.geometry)
                else:
                    truth = read_label(pair.label, volume.geometry, names=_all_named(pair.label, names))
            except EmptyLabelError:  # a patient who has nothing of what is looked for
                truth = {}
        loaded.append((pair.image, volume, truth))
    classes = list(dict.fromkeys(names.values())) or list(dict.fromkeys(n for *_, truth in loaded for n in truth))
    classes = [name for name in classes if not task.classes or name in task.classes]
    images = [image for image, *_ in loaded]
    titles = _titles(images)
    patients = _dicom_patients(images) if task.patient is None else [""] * len(images)
    return [
        Case(
            name,
            volume,
            {n: truth[n] if n in truth else np.zeros(volume.slices.shape[:3], bool) for n in classes},
            told or patient_of(task, name),
        )
        for name, told, (_, volume, truth) in zip(titles, patients, loaded, strict=True)
    ]


def _volume(path: Path, axis: str, channel: int) -> Volume:
    """A volume; of a NIfTI file with several values a voxel, as the Decathlon has some, the one that is asked for."""
    if not has_suffix(path, NIFTI):
        return load_volume(path, axis)
    try:
        check_nifti(path)
        file = nib.Nifti1Image.from_filename(path)
        count = file.shape[3] if file.ndim == 4 else 1
    except Exception:  # load_volume says what is wrong with it
        return load_volume(path, axis)
    if count == 1:
        return load_volume(path, axis)
    if channel >= count:
        raise ConfigError(f"{path} has {count} channels, and channel {channel} is asked for; the first is 0")
    array = np.asarray(file.dataobj[..., channel])
    return volume_of(native_image(path, array, np.asarray(file.affine, np.float64)), path, axis)


def _titles(images: Sequence[Path]) -> list[str]:
    """A different name for each image, with the names of its folders in front where the file names are not enough."""
    titles = [case_id(image) for image in images]
    for above in range(min((len(image.parents) for image in images), default=0)):
        twice = {title for title in titles if titles.count(title) > 1}
        if not twice:
            break
        titles = [
            f"{image.parents[above].name}-{title}" if title in twice else title
            for image, title in zip(images, titles, strict=True)
        ]
    return titles


def _dicom_patients(images: Sequence[Path]) -> list[str]:
    """The patient of each DICOM image as a number, so that nobody is named; empty if the files do not say."""
    numbers: dict[str, str] = {}
    patients = []
    for image in images:
        files = sorted(image.rglob("*")) if image.is_dir() else [image]
        first = next(filter(is_dicom, files), None)
        told = "" if first is None else str(pydicom.dcmread(first, specific_tags=["PatientID"]).get("PatientID") or "")
        patients.append(numbers.setdefault(told.strip(), f"DICOM patient {len(numbers) + 1}") if told.strip() else "")
    return patients


def patient_of(task: Task, name: str) -> str:
    """The patient of an image: what the task's pattern finds in its name, else the name itself.

    Raises:
        ConfigError: the pattern does not fit.
    """
    if task.patient is None:
        return name
    match = re.search(task.patient, name)
    if match is None:
        raise ConfigError(f"task {task.name}: the pattern for patients {task.patient!r} finds nothing in {name!r}")
    return match.group(1) if match.groups() else match.group()


def _all_named(label: Path, names: dict[int, str]) -> dict[int, str]:
    """Every value named, those beyond the task so that they can be told from it."""
    flat = label.name.lower().endswith((".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff"))
    if flat and len(names) == 1:
        return names  # a black-and-white mask
    return {value: names.get(value, f"value {value}") for value in range(1, 2**16)}


def _read_hdf5(
    path: Path, names: dict[int, str], spacing: tuple[float, float, float] | None, axis: str
) -> tuple[Volume, dict[str, np.ndarray]]:
    """``image`` and ``label`` (slices, rows, columns) of one file, as packaged ACDC volumes have them."""
    try:
        import h5py
    except ImportError:
        raise ConfigError(f"{path} is HDF5, for which h5py is missing: pip install h5py") from None
    try:
        with h5py.File(path) as file:
            image, label = np.asarray(file["image"]), np.asarray(file["label"])
    except (OSError, KeyError) as error:
        raise ConfigError(f"{path}: cannot be read ({error}); it needs 'image' and 'label'") from None
    if image.ndim != 3 or label.shape != image.shape:
        raise ConfigError(
            f"{path}: 'image' has the shape {image.shape} and 'label' {label.shape}; both need (slices, rows, columns)"
        )
    z, row, col = spacing or (1.0, 1.0, 1.0)
    geometry = geometry_for(image.shape[::-1], LPS @ np.diag([col, row, z, 1.0]), "2" if axis == "auto" else axis)
    slices = np.ascontiguousarray(geometry.to_slices(image.transpose(2, 1, 0)))
    truth = geometry.to_slices(label.transpose(2, 1, 0))
    masks = {name: truth == value for value, name in names.items()}
    return Volume(slices, geometry, None, str(path)), masks
