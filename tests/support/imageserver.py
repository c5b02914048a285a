"""An image server of the real layout, by TLS, on this machine; mirrors; what can be wrong with both."""

from __future__ import annotations

import hashlib
import http.server
import json
import socketserver
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from email.message import Message
from pathlib import Path
from typing import Any

from tests.support import imageshape
from tests.support.command import check

SERIAL = "20261123_05:24"
INDEX, IMAGES = "streams/v1/index.json", "streams/v1/images.json"


@dataclass(frozen=True, kw_only=True)
class Answer:
    """body: what is sent; length: what is announced, when that is something else.

    slow: seconds before each 64 KiB.
    """

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    length: int | None = None
    slow: float = 0.0


#: Instead of the true answer; gets that one.
Fault = Callable[[Answer], Answer]


def certificate(folder: Path, *more: str) -> Path:
    """A certificate for 127.0.0.1, localhost and `more` (DNS:NAME) that vouches for itself, with its key."""
    path, key = folder / "certificate.pem", folder / "key.pem"
    if not path.exists():
        names = ",".join(("subjectAltName=IP:127.0.0.1", "DNS:localhost", *more))
        words = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
        words += ["-nodes", "-days", "2", "-subj", "/CN=127.0.0.1", "-addext", names]
        # Python 3.13 is strict about authorities (RFC 5280, 4.2.1.3).
        words += ["-addext", "keyUsage=critical,digitalSignature,keyCertSign"]
        check([*words, "-keyout", str(key), "-out", str(path)])
    return path


class ImageServer:
    """files: by their path below the root.  faults: by path.  asked: (path, status), in order."""

    def __init__(self, folder: Path, *, tls: bool = True) -> None:
        self.files: dict[str, bytes] = {}
        self.faults: dict[str, Fault] = {}
        self.asked: list[tuple[str, int]] = []
        self.certificate = certificate(folder)
        self._products: dict[str, Any] = {}
        self._server = _Server(("127.0.0.1", 0), _handler(self))
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(self.certificate, folder / "key.pem")
            self._server.socket = context.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        scheme = "https" if tls else "http"
        self.address = f"{scheme}://127.0.0.1:{self._server.server_address[1]}"
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        if self._thread is not None:
            self._server.shutdown()
            self._thread.join(10)
            self._thread = None
        self._server.server_close()

    @property
    def environment(self) -> dict[str, str]:
        """What leads a program here."""
        return {"NSPAWN_IMAGE_SERVER": self.address, "SSL_CERT_FILE": str(self.certificate)}

    def add(self, key: str, archive: bytes, *, serial: str = SERIAL, aliases: Sequence[str] = ()) -> str:
        """Publish an image; the path of its archive."""
        folder = f"images/{key.replace(':', '/')}/{serial}"
        items = imageshape.items(folder, len(archive), hashlib.sha256(archive).hexdigest())
        product = self._products.setdefault(key, imageshape.product(key, serials={}, aliases=aliases))
        product["versions"][serial] = {"items": items}
        path: str = items["root.tar.xz"]["path"]
        self.files[path] = archive
        self.publish()
        return path

    def change(self, key: str, values: Mapping[str, object], serial: str = SERIAL) -> None:
        """What the index tells of an archive: sha256, size, path."""
        self._products[key]["versions"][serial]["items"]["root.tar.xz"].update(values)
        self.publish()

    def publish(self) -> None:
        self.files[INDEX] = json.dumps(imageshape.index([IMAGES], list(self._products))).encode()
        self.files[IMAGES] = json.dumps(imageshape.products(self._products)).encode()

    def count(self, path: str) -> int:
        """How often something was asked for."""
        return sum(asked == path for asked, _status in self.asked)


@contextmanager
def serving(folder: Path, *, tls: bool = True) -> Iterator[ImageServer]:
    """A server for a block.  folder: for its certificate."""
    server = ImageServer(folder, tls=tls)
    server.start()
    try:
        yield server
    finally:
        server.close()


def missing(_true: Answer) -> Answer:
    return Answer(status=404, body=b"not here\n")


def overloaded(_true: Answer) -> Answer:
    return Answer(status=503, body=b"later\n")


def nuls(true: Answer) -> Answer:
    """As mirrors have them whose disk was full: the length is right."""
    return Answer(body=bytes(len(true.body)), headers=true.headers, status=true.status)


def truncated(true: Answer) -> Answer:
    return Answer(body=true.body[: len(true.body) // 2], length=len(true.body))


def short(true: Answer) -> Answer:
    """Cut off, and announced as such."""
    return Answer(body=true.body[: len(true.body) // 2])


def longer(true: Answer) -> Answer:
    return Answer(body=true.body + b"x" * 1000)


def redirected(address: str) -> Fault:
    return lambda _true: Answer(status=302, headers={"Location": address})


def slow(true: Answer) -> Answer:
    return Answer(status=true.status, body=true.body, headers=true.headers, slow=0.05)


class _Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away is no error here."""


def _true(data: bytes | None, headers: Message) -> Answer:
    """What a server without faults says: 304 for what is known, 206 for a part."""
    if data is None:
        return missing(Answer())
    tag = f'"{hashlib.sha256(data).hexdigest()[:16]}"'
    if headers.get("If-None-Match") == tag:
        return Answer(status=304, headers={"ETag": tag})
    start, dash, _end = headers.get("Range", "").removeprefix("bytes=").partition("-")
    if dash and start.isdigit() and 0 < int(start) < len(data):
        told = f"bytes {start}-{len(data) - 1}/{len(data)}"
        return Answer(status=206, body=data[int(start) :], headers={"ETag": tag, "Content-Range": told})
    return Answer(body=data, headers={"ETag": tag, "Accept-Ranges": "bytes"})


def _handler(server: ImageServer) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 20

        def do_GET(self) -> None:
            path = self.path.lstrip("/")
            answer = _true(server.files.get(path), self.headers)
            fault = server.faults.get(path)
            if fault is not None:
                answer = fault(answer)
            server.asked.append((path, answer.status))
            with suppress(OSError):
                self._send(answer)

        def _send(self, answer: Answer) -> None:
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            announced = len(answer.body) if answer.length is None else answer.length
            if answer.status != 304:
                self.send_header("Content-Length", str(announced))
            self.end_headers()
            for at in range(0, len(answer.body), 1 << 16):
                time.sleep(answer.slow)
                self.wfile.write(answer.body[at : at + (1 << 16)])
            if announced > len(answer.body):
                self.close_connection = True

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  (the base class's name)
            """Quiet."""

    return Handler
