"""Offered slices are never tested."""

import pytest

from fewsam.core.errors import LabelError
from fewsam.evaluation.data.cases import load_cases
from fewsam.evaluation.loop.plan import Plan, plan


def test_offered_and_tested_never_meet(tmp_path, task):
    cases = load_cases(task, tmp_path)
    one = plan(cases, task, 0)
    assert one.tested == {0: [1, 4, 7, 10]} and len(one.offered[0]) == 8 and one.size == 8
    many = plan(cases, task.model_copy(update={"protocol": "patients"}), 3)
    assert len(many.offered) == len(many.tested) == 2 and not set(many.offered) & set(many.tested)
    with pytest.raises(AssertionError, match="leak"):
        Plan(cases, {0: [1, 2]}, {0: [2, 3]}, "slices").check()
    with pytest.raises(LabelError, match="one patient"):
        plan(cases[:1], task.model_copy(update={"protocol": "patients"}), 0)
