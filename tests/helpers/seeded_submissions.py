"""Submissions that tell by their seed what was drawn: for the tests that kill, damage or fill up under them."""

from __future__ import annotations

import numpy as np

from fewsam.collection import Collection
from fewsam.images.volume import Volume, geometry_for

DEPTH, H, W = 12, 64, 48


def make_volume() -> Volume:
    slices = np.random.default_rng(0).integers(-1000, 1000, (DEPTH, H, W), dtype=np.int16)
    return Volume(slices=slices, geometry=geometry_for((W, H, DEPTH), np.eye(4), "2"), modality=None, source="v")


def drawing(seed: int) -> dict[str, np.ndarray]:
    """Three of the slices drawn at random in two classes."""
    rng = np.random.default_rng(seed)
    masks = {name: np.zeros((DEPTH, H, W), bool) for name in ("liver", "spleen")}
    for z in rng.choice(DEPTH, 3, replace=False):
        for mask in masks.values():
            mask[z] = rng.random((H, W)) < 0.3
    return masks


def drawn_slices(masks: dict[str, np.ndarray]) -> list[int]:
    return [int(z) for z in np.flatnonzero(masks["liver"].any(axis=(1, 2)))]


def check(collection: Collection, submissions: dict[int, int]) -> None:
    """Every shot of ``submissions`` (id -> seed) is in the history, bit for bit."""
    stored: dict[tuple[int, int], int] = {}
    for z in range(DEPTH):
        for entry in collection.history("p1", z):
            stored[entry["submission"], z] = entry["shot_id"]
    volume = make_volume()
    for submission, seed in submissions.items():
        masks = drawing(seed)
        for z in drawn_slices(masks):
            shot = collection.shot(stored.pop((submission, z)))
            assert np.array_equal(shot.pixels, volume.raw_slice(z))
            assert set(shot.masks) == set(masks)
            assert all(np.array_equal(mask, masks[name][z]) for name, mask in shot.masks.items())
    by_submission: dict[int, int] = {}
    for submission, _ in stored:
        by_submission[submission] = by_submission.get(submission, 0) + 1
    assert all(count == 3 for count in by_submission.values()), "a submission was stored in part"
