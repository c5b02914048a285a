"""A web server that does what servers, mirrors and networks do wrong; with and without TLS."""

from __future__ import annotations

import http.server
import socketserver
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.imageserver import certificate

_PIECE = 1 << 14


@dataclass
class Fault:
    """What goes wrong with one path; the defaults are a good server.

    cut: bytes of a body after which the connection ends; cuts: how often, -1 for always.  stall: bytes after
    which nothing comes any more.  rate: bytes per second.  ranges: "good", "ignored", "wrong" (another place
    is sent, and told), "unknown" (without Content-Range).  length: announced instead of the true one; -1 for
    none, the body ends with the connection; -2 for chunks.  surplus: bytes more than announced (with chunks).
    statuses: of the first answers.  headers: of all answers.  flip: the byte at this place is wrong.
    drip: the headers come one byte at a time, for ever.  endless: comes after the body, again and again.
    piece: bytes that are sent at once, at most.
    """

    cut: int = 0
    cuts: int = -1
    stall: int = -1
    rate: int = 0
    ranges: str = "good"
    length: int | None = None
    surplus: int = 0
    zeros: bool = False
    flip: int = -1
    statuses: list[int] = field(default_factory=list)
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    drip: bool = False
    endless: bytes = b""
    piece: int = _PIECE


@dataclass(frozen=True, kw_only=True)
class Asked:
    """headers: by their names in lower case."""

    path: str
    headers: dict[str, str]


class FaultServer:
    """files, faults: by path, which begins with a slash.  asked: all requests.  sent: bytes of bodies."""

    def __init__(self, folder: Path, *, tls: bool = True) -> None:
        self.files: dict[str, bytes] = {}
        self.faults: dict[str, Fault] = {}
        self.asked: list[Asked] = []
        self.sent = 0
        self.stopped = threading.Event()
        self.certificate = certificate(folder)
        handler = type("Handler", (_Handler,), {"home": self})
        self._server = _Server(("127.0.0.1", 0), handler)
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(self.certificate, folder / "key.pem")
            self._server.socket = context.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        self.port = self._server.server_address[1]
        self.netloc = f"127.0.0.1:{self.port}"
        self.url = f"{'https' if tls else 'http'}://{self.netloc}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        self.stopped.set()
        self._server.shutdown()
        self._thread.join(10)
        self._server.server_close()

    def ranges(self, path: str) -> list[str]:
        """The Range of each request, "" without."""
        return [each.headers.get("range", "") for each in self.asked if each.path == path]


@contextmanager
def serving(folder: Path, *, tls: bool = True) -> Iterator[FaultServer]:
    """folder: for the certificate."""
    server = FaultServer(folder, tls=tls)
    try:
        yield server
    finally:
        server.close()


class _Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away is no error here."""


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 30
    home: FaultServer

    def do_GET(self) -> None:
        home = self.home
        path = self.path.partition("?")[0]
        home.asked.append(
            Asked(path=self.path, headers={key.lower(): value for key, value in self.headers.items()})
        )
        fault = home.faults.get(path) or Fault()
        with suppress(OSError):
            if fault.drip:
                self._drip()
            else:
                self._answer(home.files.get(path), fault)

    def _drip(self) -> None:
        self.wfile.write(b"HTTP/1.1 200 OK\r\nX: ")
        while not self.home.stopped.wait(0.1):
            self.wfile.write(b"x")

    def _answer(self, data: bytes | None, fault: Fault) -> None:
        status = fault.statuses.pop(0) if fault.statuses else fault.status
        if status == 200 and data is None:
            status = 404
        if status != 200:
            self._head(status, {**fault.headers, "Content-Length": "5"})
            self.wfile.write(b"wrong")
            return
        assert data is not None
        whole = len(data)
        if fault.zeros:
            data = bytes(whole)
        if fault.flip >= 0:
            data = data[: fault.flip] + bytes((data[fault.flip] ^ 1,)) + data[fault.flip + 1 :]
        status, at, headers = self._place(whole, fault)
        body = data[at:] + b"x" * fault.surplus
        length = len(body) - fault.surplus if fault.length is None else fault.length
        if length >= 0:
            headers["Content-Length"] = str(length)
        elif length == -1:
            headers["Connection"] = "close"
            self.close_connection = True
        else:
            headers["Transfer-Encoding"] = "chunked"
        self._head(status, {**headers, **fault.headers})
        self._body(body, fault, chunked=length == -2)
        if length > len(body):
            self.close_connection = True

    def _place(self, whole: int, fault: Fault) -> tuple[int, int, dict[str, str]]:
        asked = self.headers.get("Range", "").removeprefix("bytes=").removesuffix("-")
        if not asked or fault.ranges == "ignored":
            return 200, 0, {}
        at = int(asked)
        if at >= whole:
            return 206, whole, {"Content-Range": f"bytes */{whole}"}
        if fault.ranges == "unknown":
            return 206, at, {}
        if fault.ranges == "wrong":
            at = max(0, at - 7)
        return 206, at, {"Content-Range": f"bytes {at}-{whole - 1}/{whole}"}

    def _head(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def _body(self, body: bytes, fault: Fault, *, chunked: bool) -> None:
        cut = fault.cut if fault.cut and fault.cuts else 0
        at = 0
        while at < len(body):
            size = min(fault.piece, len(body) - at)
            for limit in (cut, fault.stall):
                if limit > 0:
                    size = min(size, limit - at)
            if fault.stall >= 0 and at >= fault.stall:
                self.home.stopped.wait(60)
            if (cut and at >= cut) or self.home.stopped.is_set():
                fault.cuts -= fault.cuts > 0
                self.close_connection = True
                return
            piece = body[at : at + size]
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece) if chunked else piece)
            self.home.sent += len(piece)
            at += size
            if fault.rate:
                time.sleep(size / fault.rate)
        while fault.endless and not self.home.stopped.is_set():
            self.wfile.write(fault.endless)
            self.home.sent += len(fault.endless)
        if chunked:
            self.wfile.write(b"0\r\n\r\n")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  (the base class's name)
        """Quiet."""
