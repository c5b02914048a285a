"""Named containers and the processes behind them, for tests."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.support import processes
from tests.support.command import Result
from tests.support.processes import wait_until
from tests.support.program import Program


def free_port() -> int:
    with socket.socket() as end:
        end.bind(("127.0.0.1", 0))
        port: int = end.getsockname()[1]
        return port


def dotted(changes: Mapping[str, str]) -> list[str]:
    """As `nspawn set` takes them."""
    return [f"{key.replace('__', '.')}={value}" for key, value in changes.items()]


class Daemon:
    """One state folder with its keeper and spawner.

    port: of the page, 0 for none.
    """

    def __init__(self, nspawn: Program, port: int = 0) -> None:
        self.nspawn = nspawn
        self.root = nspawn.root
        self.root.mkdir(mode=0o700, exist_ok=True)
        self.orphans = False
        self._served: subprocess.Popen[bytes] | None = None
        (self.root / "config.toml").write_text(f"[page]\nport = {port}\n")

    def create(self, name: str, rootfs: Path, **changes: str) -> None:
        """A container over a folder of the test's.  changes: settings, `__` for the dot in a key."""
        words = [word for change in dotted(changes) for word in ("--set", change)]
        self.nspawn.ok("create", name, "--rootfs", rootfs, *words)

    def set(self, name: str, **changes: str) -> Result:
        return self.nspawn.ok("set", name, *dotted(changes))

    def start(self, name: str) -> int:
        """Start it; the PID of its first process, 0 when it has ended already."""
        self.nspawn.ok("start", name)
        return self.state(name)["pid"] or 0

    def info(self, name: str) -> dict[str, Any]:
        found = self.nspawn.json("info", name, "--json")
        assert isinstance(found, dict)
        return found

    def state(self, name: str) -> dict[str, Any]:
        """state, pid, started, exit, exit_code, exit_signal, restarts, ..."""
        found: dict[str, Any] = self.info(name)["state"]
        return found

    def pid(self, name: str) -> int:
        pid = self.state(name)["pid"]
        assert isinstance(pid, int), self.info(name)
        return pid

    def becomes(self, name: str, state: str, seconds: float = 10.0) -> dict[str, Any]:
        """Wait for a state; the whole of it then."""
        assert wait_until(lambda: self.state(name)["state"] == state, seconds, 0.05), self.info(name)
        return self.state(name)

    def log(self, name: str) -> str:
        return self.nspawn.ok("logs", name).out

    def says(self, name: str, text: str, seconds: float = 10.0) -> bool:
        """Wait until its console has said this."""
        return wait_until(lambda: text in self.log(name), seconds, 0.05)

    @property
    def keeper(self) -> int:
        """The keeper's PID, 0 when there is none."""
        own = self.own()
        return next((pid for pid in own if processes.parent(pid) not in own), 0)

    @property
    def spawner(self) -> int:
        """The spawner's PID, 0 when there is none."""
        keeper = self.keeper
        return next((pid for pid in self.own() if processes.parent(pid) == keeper), 0)

    def own(self) -> list[int]:
        """Processes with the keeper's command line: it and the spawner, not the prepared cell."""
        ours = processes.namespace("self", "mnt")
        return [
            pid
            for pid in processes.with_argument(str(self.root))
            if any("keeper" in word for word in processes.command_line(pid))
            and processes.namespace(pid, "mnt") == ours
        ]

    def web_processes(self) -> list[int]:
        """Those of this state folder: whatever runs web.py with it in its environment."""
        mark = f"NSPAWN_ROOT={self.root}".encode()
        found = []
        for pid in processes.all_processes():
            if any(word.endswith("entry/web.py") for word in processes.command_line(pid)):
                try:
                    environment = Path(f"/proc/{pid}/environ").read_bytes()
                except OSError:
                    continue
                if mark in environment.split(b"\0") and processes.alive(pid):
                    found.append(pid)
        return found

    def kill_spawner(self) -> None:
        """kill -9, and wait until another one answers."""
        old = self.spawner
        assert old
        os.kill(old, signal.SIGKILL)
        assert wait_until(lambda: self.spawner not in (0, old), 10)
        self.nspawn.ok("list")

    def kill_both(self) -> None:
        """kill -9 of keeper and spawner: nobody is left to start another."""
        self.orphans = True
        keeper, spawner = self.keeper, self.spawner
        assert keeper
        assert spawner
        for pid in (keeper, spawner):
            os.kill(pid, signal.SIGKILL)
        for pid in (keeper, spawner):
            assert processes.gone(pid)

    def serve(self, *options: str, prefix: Sequence[str | Path] = ()) -> None:
        """Have a spawner, by `nspawn serve` in the background."""
        if not self.keeper:
            with open(self.root / "serve.log", "ab") as log:
                self._served = subprocess.Popen(
                    [*prefix, self.nspawn.path, "serve", *options],
                    env=self.nspawn.environment,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
        assert wait_until(lambda: self.spawner and not self.nspawn("list").status, 10)

    def end(self) -> None:
        """Kill the containers, end the spawner, and make sure of it."""
        try:
            for entry in self._list():
                if entry["state"]["state"] != "stopped":
                    self.nspawn("stop", entry["name"], "--time", "0")
            if self.orphans:
                # What both left, cgroups above all, the next spawner clears away.
                self.serve()
            if self.keeper:
                self.nspawn("shutdown")
                wait_until(lambda: not self.keeper, 10)
        finally:
            for pid in self.own():
                os.kill(pid, signal.SIGKILL)
            if self._served:
                self._served.wait(timeout=10)

    def _list(self) -> list[dict[str, Any]]:
        found = self.nspawn.json("list", "--json")
        assert isinstance(found, list)
        return found


def steady(value: Callable[[], object], seconds: float) -> bool:
    """Whether it stays the same for so long."""
    first = value()
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if value() != first:
            return False
        time.sleep(0.05)
    return True
