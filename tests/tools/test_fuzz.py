"""Every parser of ours on arbitrary bytes and on damaged files. ``make fuzz`` runs the same targets by coverage."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from helpers.fuzz_damage import damaged
from helpers.fuzz_targets import TARGETS


@pytest.mark.parametrize("name", TARGETS)
def test_nothing_but_our_own_errors(name: str) -> None:
    target = TARGETS[name]
    whole_or_not = damaged(target.seeds())
    ends: list[str] = []

    @settings(
        max_examples=max(5, int(60 * target.cases)),
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.one_of(whole_or_not, whole_or_not, whole_or_not, st.binary(max_size=400)))
    def attack(data: bytes) -> None:
        ends.append(target.check(data))

    attack()
    assert "refused" in ends


@pytest.mark.parametrize("name", TARGETS)
def test_seeds_reach_beyond_the_first_check(name: str) -> None:
    ends = [TARGETS[name].check(seed) for seed in TARGETS[name].seeds()]
    tensors_missing = {"task-file", "sam-pth", "sam-safetensors", "compact-safetensors", "decoder-card",
                       "decoder-pointer", "dataset-json"}  # fmt: skip
    assert "taken" in ends or name in tensors_missing
