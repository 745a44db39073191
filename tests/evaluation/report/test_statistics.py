"""Intervals and paired tests by hand."""

import math

import numpy as np
import pytest
from scipy import stats

from fewsam.evaluation.report.statistics import compare, interval


def test_intervals():
    low, high = interval([0.2, 0.4, 0.6, 0.8])
    assert 0.2 <= low < 0.5 < high <= 0.8
    assert interval([0.3, 0.3, 0.3]) == (0.3, 0.3)
    assert all(math.isnan(bound) for bound in interval([0.3]))
    assert interval([0.3, math.nan, 0.3]) == (0.3, 0.3)
    wide = np.random.default_rng(0).normal(0.5, 0.1, 400)
    low, high = interval(wide.tolist())
    assert high - low == pytest.approx(2 * 1.96 * wide.std() / 20, rel=0.15)


def test_a_paired_comparison():
    method = {(0, n): 0.5 + 0.01 * n for n in range(1, 7)}
    baseline = {(0, n): 0.5 for n in range(1, 8)}  # unit 7 has no partner
    found = compare(method, baseline)
    assert found.units == 6 and found.difference == pytest.approx(0.035)
    assert found.p == pytest.approx(2 / 2**6) == found.smallest_p  # all of one sign: 1 of 64, two-sided
    assert found.low > 0
    back = compare(baseline, method)
    assert back.difference == pytest.approx(-0.035) and back.p == found.p


def test_it_agrees_with_scipy_on_mixed_signs():
    rng = np.random.default_rng(1)
    a, b = rng.random(9), rng.random(9)
    found = compare(dict(enumerate(a)), dict(enumerate(b)))  # type: ignore[arg-type]
    assert found.p == pytest.approx(stats.wilcoxon(a - b).pvalue)


def test_too_few_units_settle_nothing():
    one = compare({(0, "v"): 0.9}, {(0, "v"): 0.1})
    assert one.units == 1 and math.isnan(one.p) and one.difference == pytest.approx(0.8)
    assert compare({(0, "v"): 0.9}, {(1, "v"): 0.1}).units == 0
    same = compare({(0, "v"): 0.9, (1, "v"): 0.8}, {(0, "v"): 0.9, (1, "v"): 0.8})
    assert same.p == 1.0 and same.difference == 0.0
