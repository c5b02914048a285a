"""An image server of a handful of small images, by plain http on loopback."""

from __future__ import annotations

import hashlib
import json
import platform
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from nspawn.model.machines import parse_machine

SERIAL = "20261123_05:24"


class Site:
    """folder: what it serves.  address: for NSPAWN_IMAGE_SERVER.  asked: the paths so far.

    pause: seconds between two pieces of 64 KiB.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.address = ""
        self.asked: list[str] = []
        self.pause = 0.0
        self._products: dict[str, Any] = {}

    def add(
        self, distribution: str, release: str, archive: bytes, *, title: str = "", alias: str = ""
    ) -> None:
        """An image for this machine; all of the list is written anew."""
        arch = parse_machine(platform.machine())
        path = f"images/{distribution}/{release}/{arch}/default/{SERIAL}/root.tar.xz"
        (self.folder / path).parent.mkdir(parents=True, exist_ok=True)
        (self.folder / path).write_bytes(archive)
        item = {
            "ftype": "root.tar.xz",
            "path": path,
            "size": len(archive),
            "sha256": hashlib.sha256(archive).hexdigest(),
        }
        words = [f"{distribution}/{release}", *([f"{distribution}/{alias}"] if alias else [])]
        self._products[f"{distribution}:{release}:{arch}:default"] = {
            "aliases": ",".join(words),
            "arch": arch,
            "os": title or distribution.capitalize(),
            "release": release,
            "release_title": release,
            "variant": "default",
            "versions": {SERIAL: {"items": {"root.tar.xz": item}}},
        }
        images = {"datatype": "image-downloads", "path": "streams/v1/images.json", "format": "products:1.0"}
        self._write("index.json", {"format": "index:1.0", "index": {"images": images}})
        self._write("images.json", {"format": "products:1.0", "products": self._products})

    def _write(self, name: str, value: Mapping[str, Any]) -> None:
        path = self.folder / "streams/v1" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(value))


@contextmanager
def serve(folder: Path) -> Iterator[Site]:
    """The site, until the block ends."""
    site = Site(folder)

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *arguments: object) -> None:
            """Nothing."""

        def do_GET(self) -> None:
            site.asked.append(self.path)
            super().do_GET()

        def copyfile(self, source: Any, outputfile: Any) -> None:
            while data := source.read(1 << 16):
                try:
                    outputfile.write(data)
                except OSError:
                    return
                time.sleep(site.pause)

    folder.mkdir(parents=True, exist_ok=True)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder)))
    server.daemon_threads = True
    site.address = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield site
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
