"""The web process: started by a connection, quiet while it waits, gone when nobody needs it."""

from __future__ import annotations

import os
import select
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.server import REPOSITORY, Server, serving, wait_for

CHANGE = {"X-Nspawn": "1", "Content-Type": "application/json"}
UPLOAD = {"X-Nspawn": "1", "Content-Type": "application/octet-stream"}
MIB = 1024 * 1024


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with serving(tmp_path) as found:
        yield found


def test_the_first_answers_are_small(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        assert server.ask("GET", "/health")[0] == 200
        assert server.ask("GET", "/api/v1/containers") == (200, {"containers": []})
        assert server.rss() <= 40_000_000


def test_what_is_not_needed_is_not_imported(tmp_path: Path) -> None:
    code = (
        f"import sys; sys.path[:0] = [{str(REPOSITORY / 'python')!r}];"
        "from nspawn.sites import add_site_packages; add_site_packages();"
        "import nspawn.web.serve; print(*sys.modules)"
    )
    words = [sys.executable, "-I", "-S", "-c", code]
    names = set(subprocess.run(words, capture_output=True, text=True, check=True).stdout.split())
    assert "flask" in names
    assert names & {"requests", "urllib3", "pyroute2", "certifi"} == set()


def test_it_leaves_after_idling(tmp_path: Path) -> None:
    with serving(tmp_path, NSPAWN_WEB_IDLE="1") as server:
        assert server.ask("GET", "/health")[0] == 200
        began = time.monotonic()
        assert server.process is not None
        assert server.process.wait(5) == 0
        assert 0.8 < time.monotonic() - began < 3
        # A connection that comes now waits in the socket for the next process.
        connection = server.connect()
        connection.request("GET", "/health")
        server.start()
        assert connection.getresponse().status == 200
        connection.close()


def test_requests_around_the_end_are_not_lost(tmp_path: Path) -> None:
    """A new process whenever one has left, as the spawner does: every request is answered."""
    with serving(tmp_path, NSPAWN_WEB_IDLE="0.3") as server:
        for number in range(12):
            time.sleep(0.24 + 0.01 * number)
            connection = server.connect()
            connection.request("GET", "/health")
            ready, _, _ = select.select([connection.sock], [], [], 0.5)
            if not ready:
                assert server.process is not None
                assert server.process.wait(5) == 0
                server.start()
            assert connection.getresponse().status == 200
            connection.close()


def test_it_stays_while_a_stream_is_open_and_sleeps_between(tmp_path: Path) -> None:
    with serving(tmp_path, NSPAWN_WEB_IDLE="1") as server:
        connection = server.connect()
        connection.request("GET", "/api/v1/events", headers=server.bearer)
        answer = connection.getresponse()
        assert answer.status == 200
        assert server.process is not None
        time.sleep(2.5)
        assert server.process.poll() is None
        answer.close()
        assert server.process.wait(6) == 0


def test_it_does_not_wake_while_it_waits(server: Server) -> None:
    assert server.ask("GET", "/health")[0] == 200
    time.sleep(0.5)
    before = server.wake_ups()
    time.sleep(3)
    assert server.wake_ups() - before <= 2


def test_fifty_streams_leave_the_rest_alone(server: Server) -> None:
    connections, answers = [], []
    for _ in range(50):
        connection = server.connect()
        connections.append(connection)
        connection.request("GET", "/api/v1/events", headers=server.bearer)
        answers.append(connection.getresponse())
    statuses = [answer.status for answer in answers]
    assert statuses.count(200) == 16
    assert statuses.count(503) == 34
    began = time.monotonic()
    assert server.ask("GET", "/api/v1/containers")[0] == 200
    assert time.monotonic() - began < 1
    for connection, answer in zip(connections, answers, strict=True):
        answer.close()
        connection.close()
    assert wait_for(lambda: server.ask("GET", "/api/v1/settings")[1]["streams"]["open"] == 0, 3)


def head(method: str, path: str, **headers: str) -> bytes:
    lines = [
        f"{method} {path} HTTP/1.1",
        *(f"{name.replace('_', '-')}: {value}" for name, value in headers.items()),
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


@pytest.mark.parametrize(
    ("path", "more", "status"),
    [
        ("/api/v1/containers/web/upload", {"Content_Length": str(1 << 30)}, 401),
        ("/api/v1/containers/web/upload", {"Content_Length": str(1 << 30), "Authorization": "Bearer x"}, 401),
        ("/api/v1/login", {"Content_Length": str(1 << 30)}, 413),
        ("/api/v1/login", {"Transfer_Encoding": "chunked"}, 413),
        ("/", {"Content_Length": "999999999999999"}, 413),
    ],
)
def test_large_bodies_are_refused_before_they_arrive(
    server: Server, path: str, more: dict[str, str], status: int
) -> None:
    """Nothing of the body is sent: the answer comes all the same."""
    with socket.create_connection(("127.0.0.1", server.port), 5) as connection:
        connection.sendall(head("POST", path, Host=f"127.0.0.1:{server.port}", X_Nspawn="1", **more))
        assert connection.recv(100).startswith(f"HTTP/1.1 {status}".encode())


def test_an_upload_larger_than_the_disk_is_refused(server: Server) -> None:
    disk = os.statvfs(server.layout.root)
    length = disk.f_bavail * disk.f_frsize
    if length >= 64 * 1024 * MIB:
        pytest.skip("the disk takes more than an upload may have")
    headers = {**server.bearer, "Content_Length": str(length), "Host": f"127.0.0.1:{server.port}"}
    with socket.create_connection(("127.0.0.1", server.port), 5) as connection:
        connection.sendall(head("POST", "/api/v1/containers/web/upload", **headers))
        assert connection.recv(100).startswith(b"HTTP/1.1 507")


def test_an_upload_does_not_fill_memory(server: Server) -> None:
    assert server.ask("GET", "/api/v1/containers")[0] == 200
    before = server.rss()
    status, job = server.ask("POST", "/api/v1/containers/web/upload", b"\0" * (64 * MIB), UPLOAD)
    assert status == 202, job
    # Sixty-four mebibytes of nothing are no archive with a system in it.
    assert wait_for(lambda: server.ask("GET", f"/api/v1/jobs/{job['id']}")[1]["state"] != "running")
    assert server.ask("GET", f"/api/v1/jobs/{job['id']}")[1]["state"] == "failed"
    assert server.rss() - before < 16 * MIB
    assert server.ask("GET", "/api/v1/containers") == (200, {"containers": []})


def test_a_foreign_host_gets_nothing_of_a_stream(server: Server) -> None:
    for path in ("/api/v1/events", "/", "/js/main.js", "/health"):
        assert server.ask("GET", path, headers={"Host": "attacker.example"})[0] == 403


def test_nonsense_is_answered_and_does_no_harm(server: Server) -> None:
    for data in (
        b"\0\0\0\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/9\r\n\r\n",
        b"G" * 70_000,
        b"GET /%ff%fe HTTP/1.1\r\n\r\n",
    ):
        with socket.create_connection(("127.0.0.1", server.port), 5) as connection:
            connection.sendall(data)
            try:
                assert not connection.recv(100).startswith(b"HTTP/1.1 2")
            except ConnectionResetError:
                continue
    assert server.ask("GET", "/health")[0] == 200
