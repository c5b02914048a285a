"""The program that is measured: its wrapper, its interpreter, and a spawner of its own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from nspawn.container.client import Client
from nspawn.kernel import unix
from nspawn.layout import Layout
from nspawn.model.runspec import RunSpec
from tests.bench.peers import ENVIRON

CHECKOUT = Path(__file__).resolve().parent.parent.parent
WRAPPER = CHECKOUT / "system/bin/nspawn"
#: In the order in which the wrapper looks for them.
_INTERPRETERS = (CHECKOUT / "python/bin/python3.13", CHECKOUT / ".venv/bin/python", Path("/usr/bin/python3"))
_SERVE = (str(WRAPPER), "serve")
_PATIENCE = 10.0  # seconds for a spawner to come or go


def interpreter() -> str:
    """The Python that the wrapper becomes."""
    return next(str(path) for path in _INTERPRETERS if os.access(path, os.X_OK))


def environment(root: Path, **more: str) -> dict[str, str]:
    """The environment of a measured `nspawn` whose state is in `root`."""
    return {**ENVIRON, "NSPAWN_ROOT": str(root), **more}


class NotServingError(Exception):
    """The spawner did not come up; the text says what it wrote."""


@dataclass(frozen=True, kw_only=True)
class Server:
    """A running `nspawn serve`. keeper: the PID of its first process."""

    keeper: int
    layout: Layout

    @property
    def client(self) -> Client:
        return Client(self.layout)

    def spawner(self) -> int:
        """The PID of the spawner."""
        return self.client.call("ping").integer("pid")

    def web(self) -> int:
        """The PID of the web process, 0 when there is none."""
        return self.client.call("ping").integer("web")

    def start(self, name: str, rootfs: Path, *argv: str) -> None:
        """Start a named container, as `nspawn start` does once it has read the settings."""
        Path(self.layout.container(name)).mkdir(mode=0o700, exist_ok=True)
        spec = RunSpec(rootfs=str(rootfs), argv=argv, hostname=rootfs.name)
        self.client.call("start", [("name", name), *spec.to_record().fields])

    def stop(self, name: str) -> None:
        """End a container at once."""
        self.client.call("stop", [("name", name), ("time", 0)])


def children(pid: int) -> list[int]:
    """The PIDs of a process's children, oldest first."""
    return [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def family(server: Server) -> tuple[dict[str, int], list[int]]:
    """PIDs by role (keeper, spawner, and cell when there is one), and of the containers."""
    spawner = server.spawner()
    containers = [r.integer("pid") for r in server.client.call_many("list") if r.integer("pid")]
    known = {*containers, server.web()}
    cells = [pid for pid in children(spawner) if pid not in known]
    roles = {"keeper": server.keeper, "spawner": spawner}
    if cells:
        roles["cell"] = cells[0]
    return roles, containers


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listens on now."""
    with socket.socket() as end:
        end.bind(("127.0.0.1", 0))
        port: int = end.getsockname()[1]
        return port


@contextmanager
def serving(root: Path, *options: str, **more: str) -> Iterator[Server]:
    """A spawner with its state in `root`, ended afterwards.

    options: of `nspawn serve`; more: variables of its environment.
    """
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    layout = Layout(str(root))
    log = root.parent / f"{root.name}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*_SERVE, *(options or ("--port", str(free_port())))],
            env=environment(root, **more),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        _await(lambda: _answers(layout), process, log)
        yield Server(keeper=process.pid, layout=layout)
    finally:
        _end(process)


def _answers(layout: Layout) -> bool:
    try:
        unix.connect(layout.control_socket).close()
    except OSError:
        return False
    return True


def _await(ready: Callable[[], bool], process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _PATIENCE
    while not ready():
        if process.poll() is not None or time.monotonic() > deadline:
            said = log.read_text(errors="replace").strip().splitlines()
            raise NotServingError(f"nspawn serve: {said[-1] if said else 'no answer'}")
        time.sleep(0.01)
    time.sleep(0.3)  # its first cell


def _end(process: subprocess.Popen[bytes]) -> None:
    """In order if it can, else hard; what is left in its containers ends with the place (bench.space)."""
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(_PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
