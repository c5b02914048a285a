"""The files of the page: read from one folder, known by name before anybody asks.

A request's path is looked up, never joined to a folder: no spelling of it leads anywhere else.
"""

from __future__ import annotations

import hashlib
import os
import stat

from flask import Blueprint, Response, abort, request

TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".json": "application/json",
    ".webmanifest": "application/manifest+json",
}

#: Paths that show the page itself; the rest of its addresses is behind '#'.
ENTRIES = ("/", "/login")


def web_root() -> str:
    """The folder of the page in this checkout or module: beside `python/`."""
    package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    return os.path.join(os.path.dirname(os.path.dirname(package)), "webroot")


def find_files(root: str) -> dict[str, str]:
    """Address to file, for every regular file below root with a known ending; links are left out."""
    found = {}
    for folder, _, names in os.walk(root):
        for name in names:
            path = os.path.join(folder, name)
            if os.path.splitext(name)[1] in TYPES and stat.S_ISREG(os.lstat(path).st_mode):
                found["/" + os.path.relpath(path, root)] = path
    return found


def page_routes(root: str) -> Blueprint:
    """GET of the page's files."""
    routes = Blueprint("page", __name__)
    files = find_files(root)
    for entry in ENTRIES:
        if "/index.html" in files:
            files[entry] = files["/index.html"]

    @routes.get("/", defaults={"name": ""})
    @routes.get("/<path:name>")
    def file(name: str) -> Response:
        path = files.get("/" + name)
        if path is None:
            abort(404)
        with open(path, "rb") as opened:
            data = opened.read()
        answer = Response(data, content_type=TYPES[os.path.splitext(path)[1]])
        # A new version of the module must show at once; the file is still sent only when it changed.
        answer.headers["Cache-Control"] = "no-cache"
        answer.set_etag(hashlib.sha256(data).hexdigest()[:32])
        answer.make_conditional(request)
        return answer

    return routes
