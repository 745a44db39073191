"""Debian's Orthanc with its DICOMweb plug-in, as a process of its own on 127.0.0.1."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from pathlib import Path

import requests

from fewsam.core.errors import ConfigError
from fewsam.core.processes import end

_PLUGINS = (
    "/usr/share/orthanc/plugins/libOrthancDicomWeb.so",
    "/usr/lib/orthanc/libOrthancDicomWeb.so",
    "/usr/local/share/orthanc/plugins/libOrthancDicomWeb.so",
)
_START_SECONDS = 60.0


def find_orthanc() -> tuple[str, str]:
    """Paths of Orthanc and of its DICOMweb plug-in.

    Raises:
        ConfigError: one of them is not installed.
    """
    program = shutil.which("Orthanc") or shutil.which("Orthanc", path="/usr/sbin:/usr/local/sbin")
    plugin = next((path for path in _PLUGINS if Path(path).exists()), None)
    if program is None or plugin is None:
        missing = "Orthanc" if program is None else "Orthanc's DICOMweb plug-in"
        raise ConfigError(
            f"{missing} is not installed: apt-get install --no-install-recommends orthanc orthanc-dicomweb "
            "(Debian, Ubuntu), or use the embedded PACS, which needs nothing: make run"
        )
    return program, plugin


class Orthanc:
    """A running Orthanc; ends with :meth:`stop`.

    Args:
        folder: for its database, configuration and log; what it holds survives a restart.
        port: for HTTP; its DICOM port stays closed.
    """

    def __init__(self, folder: Path, port: int) -> None:
        self.folder = folder
        self.url = f"http://127.0.0.1:{port}"
        self.dicomweb = f"{self.url}/dicom-web"
        self._port = port
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> Orthanc:
        """Start, and return when it answers.

        Raises:
            ConfigError: it is not installed, or it ended.
        """
        program, plugin = find_orthanc()
        self.folder.mkdir(parents=True, exist_ok=True)
        settings = {
            "Name": "fewsam",
            "StorageDirectory": str(self.folder / "storage"),
            "IndexDirectory": str(self.folder / "storage"),
            "Plugins": [plugin],
            "HttpPort": self._port,
            "RemoteAccessAllowed": False,  # 127.0.0.1 only
            "AuthenticationEnabled": False,
            "DicomServerEnabled": False,
            "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
        }
        config = self.folder / "orthanc.json"
        config.write_text(json.dumps(settings, indent=2), encoding="utf-8")
        with (self.folder / "orthanc.log").open("ab") as log:
            self._process = subprocess.Popen(
                [program, str(config)], stdout=log, stderr=subprocess.STDOUT, start_new_session=True
            )
        until = time.monotonic() + _START_SECONDS
        while time.monotonic() < until and self._process.poll() is None:
            try:
                if requests.get(f"{self.url}/system", timeout=2).ok:
                    return self
            except requests.RequestException:
                time.sleep(0.2)
        self.stop()
        lines = (self.folder / "orthanc.log").read_text(errors="replace").splitlines()
        raise ConfigError(f"Orthanc did not start on port {self._port}: {' '.join(lines[-2:])}")

    def upload(self, folder: Path) -> int:
        """Store every DICOM file below ``folder``, and return how many. What Orthanc has already stays as it is."""
        count = 0
        for file in sorted(path for path in folder.rglob("*") if path.is_file()):
            answer = requests.post(f"{self.url}/instances", data=file.read_bytes(), timeout=60)
            count += answer.ok
        return count

    def stop(self) -> None:
        """Ask it to end, and make sure that it does."""
        if self._process is not None:
            end(self._process)
            self._process = None
