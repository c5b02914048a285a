"""Ending or disturbing a program at a chosen point of what it fetches."""

from __future__ import annotations

import fcntl
import hashlib
import os
import random
import signal
import socket
import stat
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tests.support.processes import wait_until
from tests.support.program import Program

_PIECE, _PAUSE = 1 << 14, 0.001
#: They are made anew each time, or written last of all.
_OWN = ("etc/machine-id", "etc/shadow", "etc/shadow-")
Tree = dict[str, tuple[object, ...]]


class Relay:
    """Stands before a server of loopback and counts the bytes that go to its clients.

    host: where it listens.  sent: bytes so far.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self._lock = threading.Lock()
        self._ended = False
        self._open: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.host = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.begin()
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def begin(self, point: int = -1, what: Callable[[], None] = lambda: None) -> None:
        """Count from nothing again; `what` is done before more than `point` bytes are sent."""
        with self._lock:
            self.sent, self._at, self._what = 0, point, what
            self.last = time.monotonic()

    def close(self) -> None:
        self._ended = True
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(5)
        for each in self._open:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _accept(self) -> None:
        while not self._ended:
            try:
                client, _address = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self._port))
            self._open += [client, server]
            for one, other, count in ((client, server, False), (server, client, True)):
                threading.Thread(target=self._pass, args=(one, other, count), daemon=True).start()

    def _pass(self, source: socket.socket, sink: socket.socket, count: bool) -> None:
        with suppress(OSError):
            while data := source.recv(_PIECE):
                if count:
                    self._count(len(data))
                sink.sendall(data)
        with suppress(OSError):
            sink.shutdown(socket.SHUT_WR)

    def _count(self, size: int) -> None:
        time.sleep(_PAUSE)
        with self._lock:
            if 0 <= self._at < self.sent + size:
                self._at = -1
                self._what()
            self.sent += size
            self.last = time.monotonic()


@contextmanager
def relay(port: int) -> Iterator[Relay]:
    found = Relay(port)
    try:
        yield found
    finally:
        found.close()


@dataclass(frozen=True, kw_only=True)
class Usual:
    """A whole run: the bytes that it fetches, and its seconds after the last of them."""

    sent: int
    rest: float


def whole_run(program: Program, way: Relay, *words: str | Path) -> Usual:
    way.begin()
    program.ok(*words)
    return Usual(sent=way.sent, rest=time.monotonic() - way.last)


def kill_at(
    program: Program, way: Relay, usual: Usual, chance: random.Random, words: Sequence[str | Path]
) -> bool:
    """Start it, and kill it while it fetches (two of three times), or after that; whether it was in time."""
    point = int(chance.uniform(0, 1.5) * usual.sent)
    child = subprocess.Popen(
        [program.path, *words],
        env=program.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    reached = threading.Event()
    late = point >= usual.sent * 0.99
    at = int(usual.sent * 0.99) if late else point
    way.begin(at, reached.set if late else lambda: child.send_signal(signal.SIGKILL))
    try:
        if late and wait_until(lambda: reached.is_set() or child.poll() is not None, 15, 0.002):
            time.sleep(chance.uniform(0, usual.rest * 1.1))
            child.send_signal(signal.SIGKILL)
        return child.wait(15) == -signal.SIGKILL
    finally:
        child.kill()
        child.wait()
        way.begin()


def released(folder: Path, mark: str) -> bool:
    """Wait until no process of a killed run holds what it left: those that unpacked end by themselves."""

    def free() -> bool:
        for path in folder.glob(mark) if folder.is_dir() else ():
            descriptor = os.open(path, os.O_RDONLY)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            finally:
                os.close(descriptor)
        return True

    return wait_until(free, 15, 0.005)


def tree(root: Path) -> Tree:
    """All below by their paths: mode, owner, and content of files and links."""
    found: Tree = {}
    for folder, folders, files in os.walk(root):
        for name in (*folders, *files):
            path = Path(folder, name)
            status, key = path.lstat(), str(path.relative_to(root))
            content: object = None
            if stat.S_ISREG(status.st_mode) and key not in _OWN:
                content = hashlib.sha256(path.read_bytes()).hexdigest()
            elif stat.S_ISLNK(status.st_mode):
                content = os.readlink(path)
            found[key] = (status.st_mode, status.st_uid, status.st_gid, content)
    return found


def wrong_blobs(state: Path) -> list[str]:
    """Stored blobs that are not what their names say."""
    return [
        path.name
        for path in (state / "images").glob("blobs/sha256/*")
        if path.suffix != ".part" and hashlib.sha256(path.read_bytes()).hexdigest() != path.name
    ]
