"""Known displacements are found again; what cannot be registered is said to be unlike, and harms nothing."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import affine_transform, gaussian_filter

from fewsam.fewshot.registration.registration import ACROSS_SIDE, SIDE, correlation, register, register_across, warped


def test_a_known_shift_is_found() -> None:
    rng = np.random.default_rng(2)
    picture = (gaussian_filter(rng.normal(size=(SIDE, SIDE)), 5) * 900 + 120).clip(0, 255).astype(np.float32)
    field, alike = register(np.roll(picture, (3, -2), (0, 1)), picture)  # cell x of fixed lies on x + (-3, 2)
    inside = field[:, 24:-24, 24:-24].astype(np.float32)
    assert alike and abs(inside[0].mean() + 3) < 0.5 and abs(inside[1].mean() - 2) < 0.5


def test_constant_slices_are_alike_and_stay() -> None:
    flat = np.zeros((SIDE, SIDE), np.float32)
    field, alike = register(flat, flat)
    assert alike and not field.any()
    assert not register(flat, np.random.default_rng(0).uniform(0, 255, flat.shape).astype(np.float32))[1]


def test_another_patient_is_found_though_larger_elsewhere_and_inverted() -> None:
    """Mutual information asks for no common grey values."""
    rng = np.random.default_rng(3)
    row, col = np.mgrid[:ACROSS_SIDE, :ACROSS_SIDE]
    body = np.hypot((row - 30) / 22, (col - 34) / 26) < 1
    organ = np.hypot(row - 24, col - 40) < 7
    moving = (80 * body + 100 * organ + gaussian_filter(rng.normal(size=body.shape), 2) * 20).clip(0, 255)
    matrix = np.diag([1 / 1.15, 1 / 1.1])
    offset = np.array([30, 34]) - matrix @ np.array([33, 30])
    fixed, truth = (affine_transform(one.astype(float), matrix, offset, order=1) for one in (moving, organ))
    for contrast in (fixed, 200 - fixed):
        field = register_across(contrast.astype(np.float32), moving.astype(np.float32)).astype(np.float32)
        there = warped(torch.from_numpy(organ.astype(np.float32))[None], torch.from_numpy(field))[0].numpy() > 0.5
        found, copied = ((one & (truth > 0.5)).sum() / (one | (truth > 0.5)).sum() for one in (there, organ))
        assert field.shape == (2, ACROSS_SIDE, ACROSS_SIDE) and copied < 0.5
        if contrast is fixed:
            assert found > 0.75
        else:  # demons compare grey values, the affine part does not
            assert found > copied


@pytest.mark.parametrize("kind", ["empty", "constant", "noise"])
def test_pictures_that_share_nothing_give_a_finite_field(kind: str) -> None:
    side = (ACROSS_SIDE, ACROSS_SIDE)
    pictures = {
        "empty": np.zeros(side),
        "constant": np.full(side, 99.0),
        "noise": np.random.default_rng(0).uniform(0, 255, side),
    }
    gradient = np.linspace(0, 255, ACROSS_SIDE)[None].repeat(ACROSS_SIDE, 0)
    for fixed, moving in ((pictures[kind], gradient), (gradient, pictures[kind])):
        field = register_across(fixed.astype(np.float32), moving.astype(np.float32))
        assert np.isfinite(field).all() and np.abs(field).max() <= ACROSS_SIDE


def test_registering_twice_gives_the_same() -> None:
    rng = np.random.default_rng(4)
    a, b = (gaussian_filter(rng.normal(size=(ACROSS_SIDE,) * 2), 4).astype(np.float32) * 900 + 120 for _ in range(2))
    assert np.array_equal(register_across(a, b), register_across(a, b))


def test_correlation_by_hand() -> None:
    a = np.array([[0.0, 1.0], [2.0, 3.0]])
    assert correlation(a, 2 * a + 1) == pytest.approx(1) and correlation(a, -a) == pytest.approx(-1)
    assert correlation(a, np.ones((2, 2))) == 0 and correlation(np.ones((2, 2)), np.zeros((2, 2))) == 1
    assert correlation(np.zeros((0, 3)), np.zeros((0, 3))) == 1
