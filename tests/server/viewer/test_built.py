"""The panel's build output is that of the sources beside it."""

from __future__ import annotations

import hashlib

from fewsam.server.routes.ohif import BUILT, SCRIPT


def test_the_shipped_panel_was_built_from_its_sources() -> None:
    digest = hashlib.sha256()
    sources = [file for file in (BUILT.parent / "src").rglob("*") if file.is_file()]
    for source in sorted(sources, key=lambda file: file.as_posix()):
        digest.update(source.read_bytes())
    first_line = (BUILT / SCRIPT).read_text(encoding="utf-8").splitlines()[0]
    assert digest.hexdigest() in first_line, "run `make panel`: its sources changed since it was built"
