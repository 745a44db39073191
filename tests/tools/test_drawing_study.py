"""What the study of drawing counts, and the hand that fills a mask with a brush."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
_spec = importlib.util.spec_from_file_location("drawing_study", REPOSITORY / "tools" / "drawing_study.py")
assert _spec is not None and _spec.loader is not None
study = importlib.util.module_from_spec(_spec)
sys.modules["drawing_study"] = study  # dataclasses look themselves up there
_spec.loader.exec_module(study)


def test_minutes_are_made_of_paths_strokes_and_keys() -> None:
    work, pace = study.Work(), study.Pace(edge=100, inside=200, stroke=2, act=3)
    work.stroke([(0, 0), (30, 40), (30, 90)])  # 100 px
    work.stroke([(0, 0), (400, 0)], along_edge=False)
    work.acts += 1
    assert (work.edge, work.inside, work.strokes) == (100, 400, 2)
    assert work.minutes(pace) == pytest.approx((1 + 2 + 2 * 2 + 3) / 60)


def test_the_brush_fills_a_mask_and_keeps_to_its_edge() -> None:
    rows, cols = np.ogrid[:80, :90]
    mask = ((rows - 40) / 30) ** 2 + ((cols - 40) / 22) ** 2 < 1
    mask[38:42, 60:80] = True  # a tail, which only a small brush can follow
    painted = np.zeros_like(mask)
    for radius, path, _ in study.brush_strokes(mask):
        painted |= study._covered(path, mask.shape, radius)
    assert 2 * (painted & mask).sum() / (painted.sum() + mask.sum()) > 0.95
    assert painted[39:41, 62:76].all()
    assert (painted & ~mask).sum() < 0.08 * mask.sum()
