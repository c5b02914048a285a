"""The web process: first answer, memory, and that it goes."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from pathlib import Path

from tests.bench import memory, program
from tests.bench.program import NotServingError, Server
from tests.bench.report import Column, Goal, Part, Table
from tests.bench.samples import Spread, spread

_IDLE = 2.0  # seconds without a request until it leaves
_PATIENCE = 20.0
_LATER = 20
_USED = ("/", "/api/v1/containers", "/api/v1/host", "/api/v1/jobs", "/api/v1/settings")
_MOST_ROUNDS = 10
_FIRST_LIMIT, _RSS_LIMIT = 0.35, 40e6
_GONE_LIMIT = _IDLE + 3.0


class NoAnswerError(Exception):
    """The page did not answer as it should, or did not go."""


def measure(folder: Path, pairs: int, seed: int) -> Part:
    """Ask for /health until the page has come and gone some times. seed: not used."""
    del seed
    answers: list[float] = []
    later: list[float] = []
    sizes: list[float] = []
    gone: list[float] = []
    port = program.free_port()
    try:
        with program.serving(
            folder / "state", "--port", str(port), NSPAWN_WEB_IDLE=str(int(_IDLE))
        ) as server:
            for turn in range(1 + max(1, min(_MOST_ROUNDS, pairs // 3))):
                figures = _once(server, port)
                if turn:  # not the first one, which may write byte code
                    for values, value in zip((answers, later, sizes, gone), figures, strict=True):
                        values.append(value)
    except (NotServingError, NoAnswerError, OSError) as error:
        return Part(goals=_goals(None, None, None, str(error)))
    first, size, leaving = spread(answers), spread(sizes), spread(gone)
    table = Table(
        title="Web process",
        columns=[Column(title="what"), Column(title="time", unit="ms"), Column(title="memory", unit="MB")],
        rows=[
            ["first answer (GET /health), started by the request", first, None],
            ["a later answer", spread(later), None],
            [f"gone after its last answer (NSPAWN_WEB_IDLE={_IDLE:.0f})", leaving, None],
            [f"RSS after {_LATER + len(_USED)} answers, of the page and the API among them", None, size],
        ],
        notes=[f"{len(answers)} times; each answer on a connection of its own; files are in the page cache."],
    )
    return Part(goals=_goals(first, size, leaving), tables=[table])


def _goals(first: Spread | None, size: Spread | None, gone: Spread | None, why: str = "") -> list[Goal]:
    return [
        Goal(name="first answer of the page", limit=_FIRST_LIMIT, unit="s", figure=first, why_not=why),
        Goal(name="RSS of the web process", limit=_RSS_LIMIT, unit="MB", figure=size, why_not=why),
        Goal(
            name=f"web process gone after idling (for {_IDLE:.0f} s here)",
            limit=_GONE_LIMIT,
            unit="s",
            figure=gone,
            why_not=why,
        ),
    ]


def _once(server: Server, port: int) -> tuple[float, float, float, float]:
    """First and later answer in seconds, RSS in bytes, seconds until it was gone."""
    first = _ask(port)
    times = [_ask(port) for _again in range(_LATER)]
    token = _token(server)
    for path in _USED:
        _ask(port, path, token)
    pid = server.web()
    if not pid:
        raise NoAnswerError("somebody answered, but the spawner knows of no web process")
    size = memory.rss(pid)
    idle = time.perf_counter()
    while os.path.exists(f"/proc/{pid}"):
        if time.perf_counter() - idle > _PATIENCE:
            raise NoAnswerError(f"the web process was there {_PATIENCE:.0f} s after its last answer")
        time.sleep(0.02)
    return first, sorted(times)[len(times) // 2], size, time.perf_counter() - idle


def _token(server: Server) -> str:
    """The token as `nspawn token` says it."""
    run = subprocess.run(
        [str(program.WRAPPER), "token"],
        env=program.environment(Path(server.layout.root)),
        capture_output=True,
        text=True,
        check=False,
    )
    if run.returncode != 0:
        raise NoAnswerError(f"nspawn token: {run.stderr.strip()}")
    return run.stdout.strip()


def _ask(port: int, path: str = "/health", token: str = "") -> float:
    """Seconds from connecting to the end of an answer with status 200."""
    head = f"GET {path} HTTP/1.1\r\nHost: localhost:{port}\r\nConnection: close\r\n"
    if token:
        head += f"Authorization: Bearer {token}\r\n"
    begin = time.perf_counter()
    with socket.create_connection(("127.0.0.1", port), timeout=_PATIENCE) as end:
        end.sendall(f"{head}\r\n".encode())
        answer = b""
        while data := end.recv(65536):
            answer += data
    status = answer.split(b"\r\n", 1)[0].decode("ascii", "replace")
    if " 200 " not in status:
        raise NoAnswerError(f"GET {path}: {status or 'no answer'}")
    return time.perf_counter() - begin
