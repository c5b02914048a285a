#!/usr/bin/env python3
"""A web server of the files in a folder, for the benchmark.  blobserver.py FOLDER.

It prints its port.  /fast/NAME is sent as fast as it goes, /slow/NAME at 20 MB/s.
"""

from __future__ import annotations

import http.server
import os
import shutil
import sys
import time
from pathlib import Path

RATE = 20_000_000
_PIECE = 1 << 16


class Handler(http.server.BaseHTTPRequestHandler):
    """Whole files and, for what resumes, their ends."""

    protocol_version = "HTTP/1.1"
    folder = Path()

    def do_GET(self) -> None:
        _empty, pace, name = self.path.split("/")
        with open(self.folder / name, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            begin = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").partition("-")[0])
            self.send_response(206 if begin else 200)
            self.send_header("Content-Length", str(size - begin))
            if begin:
                self.send_header("Content-Range", f"bytes {begin}-{size - 1}/{size}")
            self.end_headers()
            file.seek(begin)
            try:
                if pace == "fast":
                    shutil.copyfileobj(file, self.wfile, 1 << 20)
                    return
                since, sent = time.monotonic(), 0
                while piece := file.read(_PIECE):
                    self.wfile.write(piece)
                    sent += len(piece)
                    time.sleep(max(0.0, since + sent / RATE - time.monotonic()))
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002
        """Nothing."""


def main(folder: str) -> None:
    Handler.folder = Path(folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        print(server.server_address[1], flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main(sys.argv[1])
