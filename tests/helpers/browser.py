"""A real Chromium, and a PACS for it: what the tests in OHIF and the pictures start."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from fewsam.core.errors import ConfigError
from fewsam.core.processes import PacsProcess, unused_port
from fewsam.server.archive.orthanc import Orthanc, find_orthanc

CHROMIUM_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-gl=angle",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--ignore-gpu-blocklist",
]
WAIT = 90_000  # ms; a loaded machine renders in software
# The window, and the one for pictures: software paints every pixel. A loop took 239 s of processor time in the large
# one (76 s for the painting), 183 s in the small one (29 s).
WINDOW, PICTURED = {"width": 960, "height": 600}, {"width": 1280, "height": 800}


def pictures_of(test: str) -> Path | None:
    """Where a test's screenshots are wanted: below FEWSAM_PICTURES. Without it None: a busy machine has other work."""
    folder = os.environ.get("FEWSAM_PICTURES")
    return Path(folder) / test if folder else None


def need_chromium() -> str:
    """Path of Debian's Chromium; the test is skipped where it or Playwright is missing."""
    pytest.importorskip("playwright.sync_api", reason="pip install playwright, of requirements.txt")
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("no Chromium here: apt-get install chromium")
    return path


def start_pacs(kind: str, folder: Path, scans: Path) -> Any:
    """A running PACS, "embedded" or "orthanc", that holds the DICOM files below ``scans``."""
    if kind == "embedded":
        shutil.copytree(scans, folder / "dicom")
        return PacsProcess(folder / "dicom").start()
    try:
        find_orthanc()
    except ConfigError as error:
        pytest.skip(str(error))
    pacs = Orthanc(folder / "orthanc", unused_port()).start()
    pacs.upload(scans)
    return pacs


@contextmanager
def open_browser(**options: Any) -> Iterator[Any]:
    """A browser context of its own."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=need_chromium(), args=CHROMIUM_FLAGS)
        window = PICTURED if os.environ.get("FEWSAM_PICTURES") else WINDOW
        context = browser.new_context(viewport=window, **options)
        context.set_default_timeout(WAIT)
        # Only this machine: fonts from elsewhere would make a test wait.
        context.route(lambda url: "127.0.0.1" not in url, lambda route: route.abort())
        try:
            yield context
        finally:
            browser.close()
