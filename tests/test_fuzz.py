"""Every parser of ours on arbitrary bytes and on damaged files. ``make fuzz`` runs the same targets by coverage."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fuzz_targets import TARGETS

_NUMBERS = [b"\xff", b"\0", b"\x7f", b"\xff\xff\xff\x7f", b"\x00\x00\x00\x80", b"\0" * 8, b"\xff" * 8]
_WORDS = [
    b"-1",
    b"1e999",
    b"NaN",
    b"null",
    b"99999999999999999999",
    b"../",
    b'"\\ud800"',
    b"[" * 3000,
    b"&a *a",
    b"\r\n",
]
_WORDS += [b"\xc2\xb2", b"{}", b"[]", b'""', b"true", b"%d", b": ", b"=", b"LIST", b"/etc/passwd", b"2001-99-99"]
_EDIT = st.tuples(
    st.sampled_from(["set", "insert", "cut", "repeat", "end"]),
    st.floats(0, 1, exclude_max=True),
    st.one_of(st.binary(min_size=1, max_size=8), st.sampled_from(_NUMBERS + _WORDS)),
    st.integers(1, 64),
)


def edited(data: bytes, edits: list[tuple[str, float, bytes, int]]) -> bytes:
    """``data`` after these changes."""
    for kind, where, piece, count in edits:
        place = int(where * (len(data) + 1))
        if kind == "set":
            data = data[:place] + piece + data[place + len(piece) :]
        elif kind == "insert":
            data = data[:place] + piece + data[place:]
        elif kind == "cut":
            data = data[:place] + data[place + count :]
        elif kind == "repeat":
            data = data[:place] + data[place : place + count] * 2 + data[place + count :]
        else:
            data = data[:place]
    return data


def damaged(seeds: list[bytes]) -> st.SearchStrategy[bytes]:
    """Valid inputs with a few changes."""
    return st.builds(edited, st.sampled_from(seeds), st.lists(_EDIT, max_size=4))


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
