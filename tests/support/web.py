"""Stand-ins for the use cases behind the web, and a client that sends what a page of ours sends."""

from __future__ import annotations

import json
import os
import queue
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO

from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from nspawn.errors import Conflict, NotFound, UsageError
from nspawn.layout import Layout
from nspawn.model import settings
from nspawn.model.names import parse_container_name
from nspawn.model.progress import Asked, Cancelled, Progress, Report
from nspawn.model.record import Record
from nspawn.service.access import SESSION_SECONDS, Access
from nspawn.service.containers import CreateRequest, FromImage, Outcome, Tarball
from nspawn.service.jobs import Jobs
from nspawn.service.readings import Readings
from nspawn.service.transfer import Moved
from nspawn.web.app import create_app
from nspawn.web.auth import Gate
from nspawn.web.events import Watch
from nspawn.web.page import web_root
from nspawn.web.services import Services
from tests.support.program import REPOSITORY
from tests.support.webimages import FakeImages

PORT = 8080
HOST = f"127.0.0.1:{PORT}"
ORIGIN = f"http://{HOST}"


@dataclass(frozen=True, kw_only=True)
class FakeContainer:
    name: str
    settings: settings.Settings = field(default_factory=settings.Settings)
    state: str = "stopped"

    def as_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "state": {"state": self.state, "pid": 7 if self.state == "running" else None},
            "settings": settings.to_toml_mapping(self.settings),
            "rootfs": f"/rootfs/{self.name}",
            "damaged": None,
        }


class FakeFollow:
    """A console whose output a test writes."""

    def __init__(self, history: bytes) -> None:
        self._pieces: queue.Queue[bytes | None] = queue.Queue()
        self._pieces.put(history)
        self.ended = threading.Event()

    def __enter__(self) -> Iterator[bytes]:
        return iter(self._pieces.get, None)

    def __exit__(self, *_error: object) -> None:
        self.ended.set()

    def write(self, piece: bytes) -> None:
        self._pieces.put(piece)

    def stop(self) -> None:
        self._pieces.put(None)


class FakeContainers:
    """Containers in memory, with the promises of the real ones about errors."""

    def __init__(self) -> None:
        self.all: dict[str, FakeContainer] = {}
        self.calls: list[tuple[object, ...]] = []
        self.follows: list[FakeFollow] = []
        self.uploaded = b""
        self.password = ""
        self.archive: list[bytes] = [b"an archive"]
        self.broken: Exception | None = None
        self.notes: tuple[str, ...] = ()
        self.hold = threading.Event()
        self.hold.set()

    def add(self, name: str, **values: Any) -> None:
        self.all[name] = FakeContainer(name=name, **values)

    def create(self, request: CreateRequest, report: Report, cancelled: Asked) -> Outcome:
        self.calls.append(("create", request))
        if request.name in self.all:
            raise Conflict(f"there is a container {request.name!r} already")
        report(Progress(phase="unpacking", done=1, total=2))
        source = request.source
        if isinstance(source, (FromImage, Tarball)) and source.file and not isinstance(source.file, str):
            self.uploaded = source.file.read()
        while not self.hold.wait(0.01):
            if cancelled():
                raise Cancelled
        self.add(request.name, settings=request.settings)
        return Outcome(password=self.password, notes=self.notes)

    def list(self) -> list[FakeContainer]:
        return list(self.all.values())

    def get(self, name: str) -> FakeContainer:
        try:
            return self.all[parse_container_name(name)]
        except KeyError:
            raise NotFound(f"there is no container {name!r}") from None

    def _to(self, name: str, state: str) -> FakeContainer:
        self.all[name] = replace(self.get(name), state=state)
        return self.all[name]

    def start(self, name: str) -> FakeContainer:
        self.calls.append(("start", name))
        return self._to(name, "running")

    def stop(self, name: str, seconds: float | None = None) -> FakeContainer:
        self.calls.append(("stop", name, seconds))
        return self._to(name, "stopped")

    def restart(self, name: str) -> FakeContainer:
        self.calls.append(("restart", name))
        return self._to(name, "running")

    def kill(self, name: str, signal: str = "SIGKILL") -> FakeContainer:
        self.calls.append(("kill", name, signal))
        if not signal.startswith("SIG"):
            raise UsageError(f"{signal!r} is no signal")
        return self._to(name, "stopped")

    def freeze(self, name: str) -> FakeContainer:
        self.calls.append(("freeze", name))
        return self.get(name)

    def thaw(self, name: str) -> FakeContainer:
        self.calls.append(("thaw", name))
        return self.get(name)

    def clone(self, source: str, name: str, report: Report, cancelled: Asked) -> Moved:
        report(Progress(phase="copying"))
        assert not cancelled()
        self.calls.append(("clone", source, name))
        self.add(name, settings=self.get(source).settings)
        return Moved(name=name, notes=("a copy",))

    def export(
        self, name: str, file: str | int, report: Report, cancelled: Asked, *, force: bool = False
    ) -> Moved:
        report(Progress(phase="packing"))
        self.calls.append(("export", name, file, force))
        if isinstance(file, int):
            for piece in self.archive:
                if cancelled():
                    raise Cancelled
                os.write(file, piece)
            if self.broken is not None:
                raise self.broken
            return Moved(name=name)
        return Moved(name=name, path=file, size=7)

    def import_(
        self,
        file: str | BinaryIO,
        name: str,
        report: Report,
        cancelled: Asked,
        *,
        size: int | None = None,
        trusted: bool = False,
    ) -> Moved:
        assert not isinstance(file, str)
        report(Progress(phase="unpacking"))
        assert not cancelled()
        self.uploaded = file.read()
        self.calls.append(("import", name, size, trusted))
        self.add(name)
        return Moved(name=name, notes=("its ports were left out",))

    def update(self, name: str, changes: Mapping[str, str]) -> FakeContainer:
        self.calls.append(("update", name, dict(changes)))
        changed = settings.apply(self.get(name).settings, changes)
        self.all[name] = replace(self.get(name), settings=changed)
        return self.all[name]

    def rename(self, old: str, new: str) -> FakeContainer:
        self.all[new] = replace(self.get(old), name=new)
        del self.all[old]
        return self.all[new]

    def remove(self, name: str) -> None:
        self.calls.append(("remove", name))
        if self.get(name).state != "stopped":
            raise Conflict(f"{name} is running", hint="Stop it first.")
        del self.all[name]

    def log(self, name: str, limit: int) -> bytes:
        self.get(name)
        return b"<b>one</b>\ntwo\n"[-limit:]

    def follow(self, name: str) -> FakeFollow:
        self.get(name)
        self.follows.append(FakeFollow(b"history\n"))
        return self.follows[-1]


class FakeWatch:
    """Events that a test puts in: a pipe, so that it can be waited for as a socket is."""

    def __init__(self) -> None:
        self._out, self._in = os.pipe()
        self._records: queue.Queue[Record | None] = queue.Queue()
        self.ended = threading.Event()

    def put(self, record: Record | None) -> None:
        self._records.put(record)
        os.write(self._in, b"x")

    def recv(self) -> Record | None:
        os.read(self._out, 1)
        return self._records.get_nowait()

    def fileno(self) -> int:
        return self._out

    def close(self) -> None:
        self.ended.set()
        os.close(self._out)
        os.close(self._in)


class FakeHost:
    def as_dict(self) -> dict[str, Any]:
        return {"kernel": "6.1"}


class FakeGuard:
    """The crash guard after a trip over PID namespaces, with the promises of the real one about errors."""

    def __init__(self) -> None:
        self.blocked = True
        self.never: list[str] = []
        self.calls: list[tuple[str, ...]] = []

    def as_dict(self) -> dict[str, Any]:
        return {"blocked": self.blocked, "never": list(self.never)}

    def status(self) -> FakeGuard:
        return self

    def try_again(self) -> FakeGuard:
        self.calls.append(("try-again",))
        self.blocked = False
        return self

    def never_use(self, feature: str) -> FakeGuard:
        self.calls.append(("never", feature))
        if feature == "mnt":
            raise UsageError("mount namespaces cannot be left out")
        self.never.append(feature)
        return self

    def allow(self, feature: str) -> FakeGuard:
        self.calls.append(("allow", feature))
        self.never.remove(feature)
        return self


class FakeNetwork:
    """A network with one container, with the promises of the real one about errors."""

    def __init__(self) -> None:
        self.calls: list[tuple[object, ...]] = []
        self.used = True

    def as_dict(self) -> dict[str, Any]:
        return {"up": True, "uplinks": [{"name": "wlan0"}]}

    def status(self) -> FakeNetwork:
        return self

    def explain(self, name: str) -> FakeNetwork:
        self.calls.append(("explain", name))
        if name != "box":
            raise NotFound(f"there is no container {name!r}")
        return self

    def down(self, *, force: bool = False) -> list[str]:
        self.calls.append(("down", force))
        if self.used and not force:
            raise Conflict("the network is in use", "by box")
        return ["ip link delete nspawn_br1"]


class Web:
    """An application on a fresh store, and what is behind it."""

    def __init__(self, root: Path, clock: Any = None) -> None:
        self.access = Access(Layout(str(root)))
        self.containers = FakeContainers()
        self.jobs = Jobs()
        self.guard = FakeGuard()
        self.images = FakeImages()
        self.network = FakeNetwork()
        self.watches: list[FakeWatch] = []
        self.gate = Gate(self.access, (PORT,), **({"clock": clock} if clock else {}))
        self.services = Services(
            containers=self.containers,
            access=self.access,
            jobs=self.jobs,
            guard=self.guard,
            images=lambda: self.images,
            network=lambda: self.network,
            network_summary=lambda: {"up": True, "free": None, "paths": {}},
            host=FakeHost,
            readings=lambda: Readings(Layout(str(root))),
            watch=self._watch,
            root=str(root),
            session_seconds=SESSION_SECONDS,
        )
        self.app: Flask = create_app(self.services, gate=self.gate, webroot=web_root())
        self.client: FlaskClient = self.app.test_client()

    def _watch(self) -> Watch:
        self.watches.append(FakeWatch())
        return self.watches[-1]

    @property
    def bearer(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.access.issue_session()}"}

    def ask(self, method: str, path: str, body: object = None, **headers: str) -> TestResponse:
        """What the page sends: logged in, from our origin, JSON with our header on changes."""
        sent = {"Host": HOST, **self.bearer}
        if method not in ("GET", "HEAD"):
            sent |= {"X-Nspawn": "1", "Content-Type": "application/json", "Origin": ORIGIN}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        return self.client.open(
            path, method=method, headers={name: value for name, value in sent.items() if value}, data=data
        )


@contextmanager
def event_reader(response: TestResponse) -> Iterator[Iterator[tuple[str, Any]]]:
    """(event, data) of a stream, until the block is left."""

    def events() -> Iterator[tuple[str, Any]]:
        rest = ""
        for piece in response.iter_encoded():
            rest += piece.decode()
            *whole, rest = rest.split("\n\n")
            for block in whole:
                fields = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
                if fields:
                    yield fields["event"], json.loads(fields["data"])

    try:
        yield events()
    finally:
        response.close()


def described() -> set[tuple[str, str]]:
    """(method, path) of the document; its paths and methods are at known depths, so no parser is needed."""
    found = set()
    path = ""
    for line in (REPOSITORY / "docs/openapi.yaml").read_text(encoding="utf-8").splitlines():
        if line == "components:":
            break
        if match := re.fullmatch(r"  (/\S*):", line):
            path = match[1]
        elif match := re.fullmatch(r"    (get|put|post|patch|delete|head|options):", line):
            found.add((match[1].upper(), path))
    return found
