"""``fewsam ohif``: a PACS over a folder and the server, as processes of their own that end together."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from fewsam.cli.common import note, say
from fewsam.core.app_folder import default_app_folder, make_app_folder
from fewsam.core.errors import ConfigError, StorageError
from fewsam.core.loopback import is_loopback, open_to_all

_START_SECONDS = 600.0  # a busy machine takes minutes; a server that ends by itself is reported at once
_TRUE = ("1", "true", "yes", "on", "t", "y")  # as pydantic reads a switch


def register(app: typer.Typer) -> None:
    app.command(epilog="Example: fewsam ohif sample-data/dicom --conf preset=ct-abdomen")(ohif)


def ohif(
    folder: Annotated[Path, typer.Argument(help="The folder of DICOM files to label.")],
    app: Annotated[
        Path | None,
        typer.Option(
            help="The MONAI Label app, as `fewsam app` makes it; labels and models are kept in <app>/model. Default: "
            "apps/fewsam in the repository, elsewhere fewsam-app, which is made."
        ),
    ] = None,
    port: Annotated[int, typer.Option(help="The port of the server.")] = 8000,
    host: Annotated[
        str, typer.Option(help="The address of the server; 0.0.0.0 admits other machines, but not to the PACS.")
    ] = ("127.0.0.1"),
    pacs_port: Annotated[
        int,
        typer.Option(
            help="The port of the PACS; 0 takes a free one. Labels are kept for each port: use the same one each time."
        ),
    ] = 8042,
    orthanc: Annotated[
        Path | None, typer.Option(help="Use Orthanc, with its database in this folder, instead of the embedded PACS.")
    ] = None,
    viewer: Annotated[
        Path | None, typer.Option(help="The folder of a newer OHIF, which `make viewer` fetches.")
    ] = None,
    conf: Annotated[
        list[str] | None,
        typer.Option(help="Change one setting of the server by key=value; the option may be given several times."),
    ] = None,
) -> None:
    """Label a folder of DICOM files in OHIF. A PACS and the server are started, and end on Ctrl-C."""
    if not folder.is_dir():
        raise StorageError(f"{folder}: no such folder; give one with DICOM files")
    if app is not None and not (app / "main.py").is_file():
        raise StorageError(f"{app}: no MONAI Label app there; `fewsam app {app}` makes one, or leave out --app")
    if viewer is not None:
        from fewsam.server.routes.viewer_folder import find_viewer

        os.environ["FEWSAM_VIEWER"] = str(find_viewer(viewer))
    pairs = [_pair(text) for text in conf or ()]
    guarded = os.environ.get("FEWSAM_API_KEY") or os.environ.get("MONAI_LABEL_AUTH_ENABLE", "").casefold() in _TRUE
    if not is_loopback(host) and not guarded:
        remedy = "set FEWSAM_API_KEY or MONAI_LABEL_AUTH_ENABLE=true, or leave out --host"
        note(open_to_all("the server", host, remedy))
    if not _free(port, host):
        raise ConfigError(
            f"cannot listen on {host}:{port}; give another --port (make run PORT=8001), or a --host of this machine"
        )
    if app is None:
        app = default_app_folder()
        make_app_folder(app)
    stops: list[Callable[[], None]] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    try:
        address = _start_orthanc(orthanc, folder, pacs_port, stops) if orthanc else _start_pacs(
            folder, pacs_port, stops
        )  # fmt: skip
        log = app / "logs" / "ohif.log"
        server = _start_server(app, address, (host, port), pairs, log, stops)
        host = "127.0.0.1" if host in ("0.0.0.0", "::") else host  # where this machine finds it
        say(f"PACS:   {address}")
        say(f"Labels: {app / 'model'}   (and in the PACS)")
        say(f"Server: http://{host}:{port}   (starting; its log: {log})")
        _wait_for(server, host, port, log)
        say("")
        say(f"Label in OHIF:  http://{host}:{port}/ohif/")
        say("Click a study, then 'Few-shot segmentation'. Ctrl-C ends everything; what was submitted stays.")
        server.wait()
        raise ConfigError(f"the server ended with code {server.returncode}:\n{_tail(log)}")
    except KeyboardInterrupt:
        say("\nending ...")
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C must not leave half of it running
        for stop in reversed(stops):
            stop()


def _pair(text: str) -> tuple[str, str]:
    key, sign, value = text.partition("=")
    if not sign or not key:
        raise ConfigError(f"--conf {text!r} is not key=value, e.g. --conf preset=ct-abdomen")
    return key, value


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def _free(port: int, host: str = "127.0.0.1") -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
        return True


def _pacs_port(wanted: int) -> int:
    """The port for the PACS, another one where ``wanted`` is taken: labels are kept by the address of the PACS."""
    from fewsam.core.processes import unused_port

    if wanted and _free(wanted):
        return wanted
    port = unused_port()
    if wanted:
        note(
            f"Port {wanted} is taken, so the PACS listens on {port}. The server keeps labels and models for each "
            "address of a PACS: on this one it begins anew, with the segmentations that the PACS holds. What belongs "
            f"to port {wanted} is still on the disk: to see it, end the program on port {wanted} and start again."
        )
    return port


def _start_pacs(folder: Path, port: int, stops: list[Callable[[], None]]) -> str:
    from fewsam.core.processes import PacsProcess

    pacs = PacsProcess(folder, _pacs_port(port))
    stops.append(pacs.stop)
    return pacs.start().dicomweb


def _start_orthanc(database: Path, folder: Path, port: int, stops: list[Callable[[], None]]) -> str:
    from fewsam.server.archive.orthanc import Orthanc

    pacs = Orthanc(database.resolve(), _pacs_port(port)).start()
    stops.append(pacs.stop)
    say(f"{pacs.upload(folder)} files of {folder} are in Orthanc, {pacs.url}")
    return pacs.dicomweb


def _start_server(
    app: Path,
    address: str,
    where: tuple[str, int],
    conf: list[tuple[str, str]],
    log: Path,
    stops: list[Callable[[], None]],
) -> subprocess.Popen[bytes]:
    from fewsam.core.processes import end

    command = [sys.executable, "-m", "monailabel.main", "start_server", "--app", str(app), "--studies", address]
    command += ["--host", where[0], "--port", str(where[1])]
    for key, value in conf:
        command += ["--conf", key, value]
    environment = {
        # monailabel's own command starts `python` from the path, and looks there for dcmqi's tools
        **os.environ,
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]),
        "MONAI_LABEL_TRACKING_ENABLED": "false",
        "MONAI_LABEL_AUTO_UPDATE_SCORING": "false",
    }
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        # In a session of its own, so that Ctrl-C comes here alone and the end has an order.
        process = subprocess.Popen(command, env=environment, start_new_session=True, stdout=output, stderr=output)
    stops.append(lambda: end(process))
    return process


def _tail(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-8:])


def _wait_for(server: subprocess.Popen[bytes], host: str, port: int, log: Path) -> None:
    import requests

    until = time.monotonic() + _START_SECONDS
    while time.monotonic() < until:
        if server.poll() is not None:
            raise ConfigError(f"the server did not start:\n{_tail(log)}")
        try:
            if requests.get(f"http://{host}:{port}/info/", timeout=5).status_code in (200, 401):  # 401: log in
                return
        except requests.RequestException:
            time.sleep(0.3)
    raise ConfigError(f"the server did not answer on port {port} within {_START_SECONDS:.0f} s")
