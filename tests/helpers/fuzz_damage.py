"""Valid inputs with a few changes: what parsers are fed by hypothesis, in the tests and without atheris."""

from __future__ import annotations

from hypothesis import strategies as st

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
