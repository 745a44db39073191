"""A prebuilt OHIF, such as npm's ``@ohif/app``, served below another address than it was built for."""

from __future__ import annotations

import mimetypes
import re
from functools import lru_cache
from pathlib import Path

from fewsam.core.errors import ConfigError

# npm's package is built for "/". These are the places that say so, by kind of file.
_ROOTED = {
    ".html": (re.compile(rb"(href=\"|src=\"|content=\"|PUBLIC_URL = ')/(?!/)"), rb"\1%s"),
    ".js": (re.compile(rb"(__webpack_require__\.p = \")/\""), rb'\1%s"'),
    ".css": (re.compile(rb"(url\([\"']?)/(?!/)"), rb"\1%s"),
}


def find_viewer(folder: Path) -> Path:
    """The viewer's own folder: ``folder``, or where an unpacked or installed package has it.

    Raises:
        ConfigError: there is none.
    """
    for place in (folder, folder / "dist", folder / "node_modules" / "@ohif" / "app" / "dist"):
        if (place / "index.html").is_file() and next(place.glob("app.bundle.*.js"), None):
            return place.resolve()
    raise ConfigError(f"{folder}: no built OHIF there; get one with `make viewer`, or unpack there what npm pack gives")


class ViewerFolder:
    """Files of the viewer in ``folder``, rewritten for ``address``, e.g. ``/ohif/``."""

    def __init__(self, folder: Path, address: str) -> None:
        self.folder = find_viewer(folder)
        self._read = lru_cache(maxsize=64)(_rewritten)
        self._address = address.encode()

    def file(self, path: str) -> tuple[bytes, str]:
        """Content and media type; the start page for an address of the viewer's own, such as that of a study."""
        found = (self.folder / (path if path.isprintable() else "")).resolve()
        if not found.is_relative_to(self.folder) or not found.is_file():
            found = self.folder / "index.html"
        media = mimetypes.guess_type(found.name)[0] or "application/octet-stream"
        return self._read(found, self._address) if found.suffix in _ROOTED else found.read_bytes(), media


def _rewritten(file: Path, address: bytes) -> bytes:
    pattern, replacement = _ROOTED[file.suffix]
    return pattern.sub(replacement % address, file.read_bytes())
