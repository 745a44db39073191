"""The whitening that ships is of the tool's making, and the tool's arithmetic is whitening."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import torch
from safetensors.torch import load_file

from fewsam.encoders import tinyvit

_spec = importlib.util.spec_from_file_location(
    "whiten_medsam", Path(__file__).resolve().parents[2] / "tools" / "whiten_medsam.py"
)
assert _spec is not None and _spec.loader is not None
tool = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(tool)


def test_the_strongest_directions_come_out_uncorrelated_and_the_weakest_are_left_out() -> None:
    generator = torch.Generator().manual_seed(0)
    strong = torch.randn(4000, 8, generator=generator) @ torch.randn(8, 576, generator=generator)
    rows = 5 + 3 * strong + 0.01 * torch.randn(4000, 576, generator=generator)
    found = tool.whitening(rows)
    assert found["mean"].shape == (576,) and found["matrix"].shape == (256, 576)
    out = (rows - found["mean"]) @ found["matrix"].T
    covariance = torch.cov(out.T)
    assert out.mean(0).abs().max() < 1e-2
    assert (covariance - torch.diag(covariance.diagonal())).abs().max() < 1e-2
    # Eight directions share the variance of 576: FLOOR of the mean variance takes nearly nothing of theirs, but the
    # noise, a ten-thousandth of them, must not come out as large.
    assert covariance.diagonal()[:8].min() > 0.9 and covariance.diagonal()[8:].max() < 0.1
    assert tool.FLOOR > 0


def test_the_file_in_the_package_is_one() -> None:
    found = load_file(tinyvit.WHITENING)
    assert found["mean"].shape == (576,) and found["matrix"].shape == (256, 576)
    assert torch.isfinite(found["matrix"]).all() and torch.linalg.matrix_rank(found["matrix"]) == 256
