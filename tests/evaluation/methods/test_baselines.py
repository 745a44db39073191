"""The baselines that ours is compared with."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import torch

from fewsam.collection import Collection
from fewsam.evaluation.methods.baselines import linear_probe
from fewsam.fewshot.training.episodes import Episodes
from fewsam.images.volume import load_volume
from helpers import tiny_volume as tiny


def test_the_probe_answers_background_where_all_structures_are_smaller_than_a_cell(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 200, (256, 256, 1)).astype(np.int16)
    nib.save(nib.Nifti1Image(pixels, np.eye(4)), tmp_path / "scan.nii.gz")
    volume = load_volume(tmp_path / "scan.nii.gz")
    speck = np.zeros(volume.slices.shape[:3], bool)
    speck[0, 20, 20] = True
    collection = Collection(tmp_path, ("speck",))
    collection.submit(volume, "scan", {"speck": speck}, complete_slices={0})
    given = tiny.settings(labels=("speck",))
    episodes = Episodes(given, collection.shots(), ("speck",), tiny.embedder(tmp_path, given), 256)
    found = linear_probe(episodes)(torch.zeros(2, 256, 64, 64), torch.zeros(2), torch.zeros(2, 1, 256, 256))
    assert found.shape == (2, 2, 64, 64) and bool((found[:, 0] == 1).all())
