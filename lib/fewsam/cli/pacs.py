"""``fewsam pacs``: a folder of DICOM files as a small PACS."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Annotated

import typer

from fewsam.cli.common import note, say
from fewsam.core.errors import ConfigError


def register(app: typer.Typer) -> None:
    app.command(epilog="Example: fewsam pacs sample-data/dicom --port 8042")(pacs)


def pacs(
    folder: Annotated[
        Path, typer.Argument(help="The folder of DICOM files, in any arrangement; stored files are added to it.")
    ],
    port: Annotated[int, typer.Option(min=0, max=65535, help="The port; 0 takes a free one.")] = 8042,
    host: Annotated[str, typer.Option(help="The address; another one admits other machines, without a password.")] = (
        "127.0.0.1"
    ),
) -> None:
    """Serve a folder of DICOM files over DICOMweb, to label in OHIF without installing a PACS."""
    import uvicorn
    from starlette.middleware.trustedhost import TrustedHostMiddleware

    from fewsam.core.loopback import is_loopback, open_to_all
    from fewsam.server.archive import pacs as archive

    opened = archive.open_archive(folder)
    app = opened.app()
    if is_loopback(host):  # a web page must not read it by having its own name resolve to this machine
        app.add_middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "localhost", host])
    else:
        note(open_to_all("this PACS", host, "it has no password; leave out --host to serve this machine alone"))
    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except OSError as error:
        raise ConfigError(f"cannot listen on {host}:{port} ({error.strerror}); give another --port") from error
    for line in opened.report():
        note(line)
    say(f"DICOMweb over {folder}: http://{host}:{listening.getsockname()[1]}{archive.PREFIX}")
    uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False)).run(sockets=[listening])
