"""The web process as the spawner starts it, on a socket of the test's."""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nspawn.layout import Layout
from nspawn.service.access import Access

REPOSITORY = Path(__file__).resolve().parents[2]


class Server:
    """root: of the state.  The listening socket is the test's, as it is the keeper's in life."""

    def __init__(self, root: Path, **environment: str) -> None:
        self.layout = Layout(str(root))
        self.access = Access(self.layout)
        self.socket = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port: int = self.socket.getsockname()[1]
        self.environment = {
            "PATH": os.environ["PATH"],
            "NSPAWN_ROOT": str(root),
            "NSPAWN_LISTEN_FDS": "1",
            **{key: os.environ[key] for key in ("NSPAWN_TEST_SESSION",) if key in os.environ},
            **environment,
        }
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> subprocess.Popen[bytes]:
        self._end()
        listening = self.socket.fileno()
        command = [sys.executable, "-I", "-S", "-E", str(REPOSITORY / "python/entry/web.py")]
        self.process = subprocess.Popen(
            command,
            env=self.environment,
            preexec_fn=lambda: os.dup2(listening, 3),  # noqa: PLW1509  (dup2 takes no lock)
            pass_fds=(3,),
            stdin=subprocess.DEVNULL,
        )
        return self.process

    def close(self) -> None:
        self.socket.close()
        self._end()

    def _end(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait(10)

    def connect(self, seconds: float = 10.0) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=seconds)

    @property
    def bearer(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.access.issue_session()}"}

    def ask(
        self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> tuple[int, Any]:
        """(status, JSON or bytes) of one request on a connection of its own, logged in."""
        connection = self.connect()
        try:
            connection.request(method, path, body, {**self.bearer, **(headers or {})})
            answer = connection.getresponse()
            data = answer.read()
        finally:
            connection.close()
        return answer.status, json.loads(data) if "json" in answer.headers.get_content_type() else data

    def rss(self) -> int:
        """Bytes of memory that are resident."""
        assert self.process is not None
        text = Path(f"/proc/{self.process.pid}/statm").read_text()
        return int(text.split()[1]) * os.sysconf("SC_PAGESIZE")

    def threads(self) -> int:
        assert self.process is not None
        return len(os.listdir(f"/proc/{self.process.pid}/task"))

    def wake_ups(self) -> int:
        """How often the main thread was put to sleep and woken."""
        assert self.process is not None
        pid = self.process.pid
        total = 0
        for task in os.listdir(f"/proc/{pid}/task"):
            for line in Path(f"/proc/{pid}/task/{task}/status").read_text().splitlines():
                if "ctxt_switches" in line:
                    total += int(line.split()[1])
        return total


@contextmanager
def serving(root: Path, **environment: str) -> Iterator[Server]:
    server = Server(root, **environment)
    try:
        server.start()
        yield server
    finally:
        server.close()


def wait_for(condition: Any, seconds: float = 10.0) -> bool:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if condition():
            return True
        time.sleep(0.02)
    return False
