"""SHA-256 of files."""

from __future__ import annotations

import hashlib
from pathlib import Path

from fewsam.core.files import sha256_of


def test_the_digest_is_that_of_the_bytes(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    first.write_bytes(bytes(range(256)) * 9000)  # more than one block
    second.write_bytes(b"and more")
    assert sha256_of(first) == hashlib.sha256(first.read_bytes()).hexdigest()
    assert sha256_of(first, second) == hashlib.sha256(first.read_bytes() + b"and more").hexdigest()
