"""Volumes and truths of an evaluation's tasks: patients without the structure, and DICOM SEG without names."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from fewsam.evaluation.data import cases
from fewsam.evaluation.data.cases import load_cases
from fewsam.evaluation.data.datasets import Pair, Pairs
from fewsam.evaluation.data.tasks import Task
from helpers import tiny_volume as tiny


def test_a_patient_without_the_structure_is_a_case(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "labels").mkdir()
    for n in range(3):
        image, truth = tiny.write_scan(tmp_path / "images", f"p{n}", seed=n)
        drawn = truth if n != 1 else np.zeros_like(truth)
        nib.save(nib.Nifti1Image(drawn.astype(np.uint8), nib.load(image).affine), tmp_path / "labels" / image.name)
    names = dict(enumerate(tiny.CLASSES, 1))
    found = load_cases(Task(name="t", folder=".", names=names, protocol="patients"), tmp_path)
    assert [any(mask.any() for mask in case.truth.values()) for case in found] == [True, False, True]
    assert all(tuple(case.truth) == tiny.CLASSES for case in found)


@pytest.mark.parametrize("order", ["ab", "ba"])
def test_a_structure_that_the_first_seg_does_not_show_is_measured_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, order: str
) -> None:
    volume, masks = tiny.scan(tmp_path)
    truths = {"a": {"left": masks["left"]}, "b": {"left": masks["left"], "small": masks["small"]}}
    monkeypatch.setattr(cases, "_volume", lambda path, axis, channel: volume)
    monkeypatch.setattr(cases, "is_dicom", lambda path: True)
    monkeypatch.setattr(cases, "read_seg", lambda path, geometry: truths[path.name])
    monkeypatch.setattr(cases, "_dicom_patients", lambda images: [image.name for image in images])
    pairs = Pairs([Pair(Path(name), Path(name)) for name in order], {})
    monkeypatch.setattr(Task, "pairs", lambda self, root: pairs)
    found = load_cases(Task(name="t", dicom="."), tmp_path)
    assert all(set(case.truth) == {"left", "small"} for case in found)
