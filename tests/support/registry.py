"""A real registry (Debian's docker-registry), and fakes of what stands around registries."""

from __future__ import annotations

import base64
import http.client
import json
import os
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.support.ociimages import Descriptor, Layout

USER, PASSWORD = "tester", "let me in"
#: bcrypt of it, cost 4: the registry takes no other kind, and Python has none of its own any more.
_HASH = "$2b$04$abcdefghijklmnopqrstuuTnc8amReAFiMHxaSoW9U22KarbWnkSm"
Headers = Mapping[str, str]


class Registry:
    """One that runs.  host: as references name it."""

    def __init__(
        self, port: int, credential: tuple[str, str] | None, trusted: ssl.SSLContext | None = None
    ) -> None:
        self.port = port
        self.trusted = trusted
        self.host = f"127.0.0.1:{port}"
        self.credential = credential

    def ask(
        self, method: str, path: str, body: bytes = b"", headers: Headers | None = None
    ) -> http.client.HTTPResponse:
        sent = {"Content-Length": str(len(body)), **(headers or {})}
        if self.credential:
            pair = base64.b64encode(":".join(self.credential).encode()).decode()
            sent["Authorization"] = f"Basic {pair}"
        connection = (
            http.client.HTTPSConnection("127.0.0.1", self.port, timeout=20, context=self.trusted)
            if self.trusted
            else http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        )
        connection.request(method, path, body, sent)
        response = connection.getresponse()
        response.read()
        connection.close()
        return response

    def push(self, layout: Layout, top: Descriptor, repository: str, tag: str) -> None:
        """Blobs first, manifests before the indexes that name them, the top by its tag."""
        manifests = [d for d, data in layout.blobs.items() if _is_manifest(data)]
        for digest, data in layout.blobs.items():
            if digest not in manifests:
                self._push_blob(repository, digest, data)
        for digest in manifests:  # each was made after what it names
            self.push_manifest(layout, digest, repository, digest)
        self.push_manifest(layout, top["digest"], repository, tag)

    def push_manifest(self, layout: Layout, digest: str, repository: str, name: str) -> None:
        data = layout.blobs[digest]
        media_type = json.loads(data)["mediaType"]
        answer = self.ask("PUT", f"/v2/{repository}/manifests/{name}", data, {"Content-Type": media_type})
        assert answer.status == 201, (answer.status, name)

    def _push_blob(self, repository: str, digest: str, data: bytes) -> None:
        begun = self.ask("POST", f"/v2/{repository}/blobs/uploads/")
        assert begun.status == 202, begun.status
        place = urlsplit(begun.headers["Location"])
        path = f"{place.path}?{place.query}&digest={digest}"
        answer = self.ask("PUT", path, data, {"Content-Type": "application/octet-stream"})
        assert answer.status == 201, answer.status


def _is_manifest(data: bytes) -> bool:
    if data[:1] != b"{":
        return False
    return "schemaVersion" in json.loads(data)


@contextmanager
def registry(folder: Path, *, password: bool = False, certificate: Path | None = None) -> Iterator[Registry]:
    """A registry that keeps its blobs in the folder; on a port that was free a moment ago.

    certificate: for TLS; its key is beside it.
    """
    trusted = ssl.create_default_context(cafile=str(certificate)) if certificate else None
    folder.mkdir(parents=True, exist_ok=True)
    for _ in range(5):
        port = _free_port()
        config: dict[str, Any] = {
            "version": 0.1,
            "log": {"level": "error", "accesslog": {"disabled": True}},
            "storage": {"filesystem": {"rootdirectory": str(folder / "store")}},
            "http": {"addr": f"127.0.0.1:{port}"},
        }
        if certificate:
            key = str(certificate.with_name("key.pem"))
            config["http"]["tls"] = {"certificate": str(certificate), "key": key}
        if password:
            (folder / "htpasswd").write_text(f"{USER}:{_HASH}\n")
            config["auth"] = {"htpasswd": {"realm": "tests", "path": str(folder / "htpasswd")}}
        (folder / "config.yml").write_text(json.dumps(config))  # JSON is YAML
        with open(folder / "log", "ab") as log:
            process = subprocess.Popen(
                ["docker-registry", "serve", str(folder / "config.yml")],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                env={"PATH": os.environ["PATH"], "OTEL_TRACES_EXPORTER": "none"},
            )
        try:
            found = Registry(port, (USER, PASSWORD) if password else None, trusted)
            if _answers(found, process):
                yield found
                return
        finally:
            process.kill()
            process.wait(10)
    raise RuntimeError(f"no registry: {(folder / 'log').read_text()[-2000:]}")


def _answers(found: Registry, process: subprocess.Popen[bytes]) -> bool:
    until = time.monotonic() + 20
    while process.poll() is None and time.monotonic() < until:
        with suppress(OSError):
            return found.ask("GET", "/v2/").status == 200
        time.sleep(0.02)
    return False


def _free_port() -> int:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as found:
        port: int = found.getsockname()[1]
        return port


class Asked:
    """A request that a fake got."""

    def __init__(self, path: str, headers: Headers) -> None:
        parts = urlsplit(path)
        self.path = parts.path
        self.query = {key: values[0] for key, values in parse_qs(parts.query).items()}
        self.headers = {key.lower(): value for key, value in headers.items()}

    @property
    def authorization(self) -> str:
        return self.headers.get("authorization", "")


#: Status, headers, body.
Answer = tuple[int, Headers, bytes]


class Fake:
    """A server whose answers are the test's; host: HOST:PORT; asked: what it got."""

    def __init__(self, address: str = "127.0.0.1") -> None:
        self.asked: list[Asked] = []
        self.answer: Callable[[Asked], Answer] = lambda _asked: (404, {}, b"")
        fake = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                asked = Asked(self.path, dict(self.headers.items()))
                fake.asked.append(asked)
                status, headers, body = fake.answer(asked)
                self.send_response(status)
                for key, value in headers.items():
                    self.send_header(key, value)
                if "Content-Length" not in headers:
                    self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                with suppress(OSError):
                    self.wfile.write(body)
                if len(body) != int(headers.get("Content-Length", len(body))):
                    self.close_connection = True

            def log_message(self, *args: object) -> None:
                """Nothing."""

        self._server = ThreadingHTTPServer((address, 0), Handler)
        self._server.daemon_threads = True
        self.host = f"{address}:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)


@contextmanager
def fake() -> Iterator[Fake]:
    server = Fake()
    try:
        yield server
    finally:
        server.close()


class FakeRegistry:
    """A registry that serves a layout, and asks for tokens of a fake token server when it is given one.

    changed: bodies other than they should be, by path.
    """

    def __init__(self, server: Fake, layout: Layout, tags: Mapping[str, str], realm: str = "") -> None:
        self.layout = layout
        self.tags = dict(tags)
        self.realm = realm
        self.tokens: set[str] = set()
        self.changed: dict[str, Answer] = {}
        self.server = server
        self.host = server.host
        server.answer = self._answer

    def _answer(self, asked: Asked) -> Answer:
        if self.realm and asked.authorization.removeprefix("Bearer ") not in self.tokens:
            challenge = f'Bearer realm="{self.realm}",service="fake",scope="repository:evil:push,pull"'
            return 401, {"WWW-Authenticate": challenge}, b""
        if asked.path in self.changed:
            return self.changed[asked.path]
        kind, _slash, name = asked.path.rpartition("/")
        digest = self.tags.get(name, name)
        data = self.layout.blobs.get(digest)
        if data is None:
            return 404, {}, b'{"errors": [{"code": "MANIFEST_UNKNOWN", "message": "manifest unknown"}]}'
        headers = {"Docker-Content-Digest": digest}
        if kind.endswith("/manifests"):
            headers["Content-Type"] = json.loads(data)["mediaType"]
        return 200, headers, data


def token_server(server: Fake, registry: FakeRegistry, *, user: str = "", password: str = "") -> None:
    """Let a fake give tokens: to everybody, or to one user."""
    expected = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()

    def answer(asked: Asked) -> Answer:
        if user and asked.authorization != expected:
            return 401, {}, b'{"details": "incorrect username or password"}'
        token = f"token-{len(server.asked)}"
        registry.tokens.add(token)
        return 200, {"Content-Type": "application/json"}, json.dumps({"token": token}).encode()

    server.answer = answer
