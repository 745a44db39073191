"""OHIF at ``/ohif/`` with our mode and panel, given through its configuration script.

It is MONAI Label's bundled viewer, or a newer one in the folder that ``FEWSAM_VIEWER`` names.
"""

from __future__ import annotations

import os
from pathlib import Path

import monailabel
from fastapi import FastAPI
from fastapi.responses import FileResponse, HTMLResponse, RedirectResponse, Response
from monailabel.config import settings
from monailabel.endpoints import ohif
from monailabel.endpoints.user.auth import User
from starlette.staticfiles import StaticFiles

from fewsam.server.routes.roles import USER
from fewsam.server.routes.viewer_folder import ViewerFolder

BUILT = Path(__file__).parents[1] / "viewer" / "dist"
SCRIPT = "fewsam.js"
FOLDER = "FEWSAM_VIEWER"
_BUNDLED = Path(monailabel.__file__).parent / "endpoints" / "static" / "ohif"


_NO_VIEWER = """<!doctype html><html lang="en"><title>fewsam</title><style>body{font:16px sans-serif;margin:3em}</style>
<h1>fewsam is running</h1><p>Its images are files of a folder, which OHIF does not show: it needs a PACS
(<code>fewsam ohif FOLDER</code> starts one on a folder of DICOM files).</p>
<p>3D Slicer's MONAI Label module takes the address of this page as its server.</p>
<p><a href="%(prefix)s/info/">What the server knows</a> &middot; <a href="/docs">its interface</a></p></html>"""


async def start() -> Response:
    """The server's own address leads to the viewer, where there is something to view."""
    prefix = settings.MONAI_LABEL_API_STR
    if settings.MONAI_LABEL_STUDIES.startswith(("http://", "https://")):
        return RedirectResponse(f"{prefix}/ohif/")
    return HTMLResponse(_NO_VIEWER % {"prefix": prefix})


def install(app: FastAPI) -> None:
    """Add the viewer's own routes; they must stand before MONAI Label's, one of which catches all of /ohif/."""
    prefix = settings.MONAI_LABEL_API_STR

    async def config(user: User = USER) -> Response:
        stock = (_BUNDLED / "app-config.js").read_text(encoding="utf-8")
        # This classic script is read before the viewer's own: it sees window.config and adds to it.
        ours = (BUILT / SCRIPT).read_text(encoding="utf-8")
        return Response(f"{stock}\n;{ours}", media_type="text/javascript", headers={"cache-control": "no-store"})

    app.add_api_route(f"{prefix}/ohif/app-config.js", config, include_in_schema=False)
    app.add_api_route("/", start, include_in_schema=False)
    if folder := os.environ.get(FOLDER):
        own = ViewerFolder(Path(folder), f"{prefix}/ohif/")

        def file(path: str = "") -> Response:
            content, media = own.file(path)
            return Response(content, media_type=media, headers={"cache-control": "no-cache"})

        app.add_api_route(f"{prefix}/ohif/{{path:path}}", file, include_in_schema=False)
        return

    async def page() -> Response:
        return FileResponse(_BUNDLED / "index.html", headers={"cache-control": "no-cache"})

    async def rest(path: str, user: User = USER) -> Response:
        # MONAI Label's own answers 500 for a folder.
        known = (_BUNDLED / path).is_file() if path.isprintable() and "/" not in path else False
        return ohif.get_ohif(path) if known else await page()

    app.add_api_route(f"{prefix}/ohif/", page, include_in_schema=False)
    assets = _BUNDLED / "assets"
    if assets.is_dir():  # MONAI Label's route gives its start page for paths with a slash
        app.mount(f"{prefix}/ohif/assets", StaticFiles(directory=assets))
    app.add_api_route(f"{prefix}/ohif/{{path:path}}", rest, include_in_schema=False)
