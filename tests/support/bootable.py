"""A machine that can lose its power: the program's processes in namespaces and with a boot id of their own.

The PID namespace's end is the power cut: the kernel kills everything in it at once.  The boot id is a file
mounted over /proc/sys/kernel/random/boot_id: a real one in every way but that the kernel has not made it.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import uuid
from pathlib import Path
from typing import Any

from nspawn.container.client import Client
from nspawn.errors import NspawnError
from nspawn.layout import Layout
from tests.support import processes
from tests.support.daemon import dotted
from tests.support.processes import wait_until
from tests.support.program import Program, Words

_ON = """
mount --bind "$1" /proc/sys/kernel/random/boot_id || exit 1
[ -z "$2" ] || mount --bind "$2" /sys/fs/pstore || exit 1
echo up
exec sleep 1000000
"""


class Bootable(Program):
    """`nspawn` on that machine.  With the crash guard, as on a phone."""

    def __init__(self, folder: Path, port: int = 0) -> None:
        super().__init__(folder / "state")
        self.folder = folder
        self.port = port
        self.environment["NSPAWN_GUARD"] = "1"
        self.root.mkdir(mode=0o700)
        (self.root / "config.toml").write_text(f"[page]\nport = {port}\n")
        self.pstore: Path | None = None
        self.boots = 0
        self._machine: subprocess.Popen[bytes] | None = None
        self._served: list[subprocess.Popen[bytes]] = []
        self._init = 0

    # Power

    def power_on(self) -> None:
        self.boots += 1
        boot_id = self.folder / f"boot_id.{self.boots}"
        boot_id.write_text(f"{uuid.uuid4()}\n")
        command = ["unshare", "-m", "-p", "-f", "--kill-child", "--mount-proc", "sh", "-c", _ON, "sh"]
        self._machine = subprocess.Popen(
            [*command, str(boot_id), str(self.pstore or "")],
            stdout=subprocess.PIPE,
            env=self.environment,
            start_new_session=True,
        )
        assert self._machine.stdout is not None
        assert self._machine.stdout.readline() == b"up\n"
        (self._init,) = processes.children(self._machine.pid)

    def power_off(self) -> None:
        """All at once."""
        if self._machine is None:
            return
        os.kill(self._init, signal.SIGKILL)
        self._machine.communicate(timeout=20)
        self._machine = None
        for each in self._served:
            each.wait(timeout=20)
        self._served.clear()

    def reboot(self) -> None:
        """Without any warning, and with the spawner as service.sh starts it."""
        self.power_off()
        self.power_on()
        self.serve("--boot")

    # In it

    @property
    def enter(self) -> list[str]:
        return ["nsenter", "-t", str(self._init), "-m", "-p", "--"]

    def begin(self, *arguments: str | Path, prefix: Words = ()) -> subprocess.Popen[bytes]:
        """Start it and do not wait; the next power cut ends it."""
        with open(self.folder / "began.log", "ab") as log:
            child = subprocess.Popen(
                [str(word) for word in (*self.enter, *prefix, self.path, *arguments)],
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._served.append(child)
        return child

    def serve(self, *words: str, prefix: Words = ()) -> None:
        self.begin("serve", *words, prefix=prefix)
        # A socket of the boot before lies there too: nobody answers on it.
        assert wait_until(lambda: (self.root / "run" / "control.sock").exists() and self._pings(), 15), (
            self.log
        )

    def _pings(self) -> bool:
        try:
            Client(Layout(str(self.root))).call("ping")
        except NspawnError:
            return False
        return True

    @property
    def log(self) -> str:
        return (self.folder / "began.log").read_text()

    def json(self, *arguments: str) -> Any:
        return json.loads(self(*arguments).out)

    # Containers

    def create(self, name: str, rootfs: Path, **changes: str) -> None:
        words = [word for change in dotted(changes) for word in ("--set", change)]
        self.ok("create", name, "--rootfs", rootfs, *words)

    def state(self, name: str) -> str:
        found: str = self.json("info", name, "--json")["state"]["state"]
        return found

    def becomes(self, name: str, state: str, seconds: float = 10.0) -> None:
        assert wait_until(lambda: self.state(name) == state, seconds, 0.05), self.log

    def namespace(self, name: str, kind: str) -> tuple[str, str]:
        """Of the container's first process, and of the machine's."""
        pid = self.json("info", name, "--json")["state"]["pid"]
        script = f"readlink /proc/{pid}/ns/{kind}; readlink /proc/1/ns/{kind}"
        lines = subprocess.run(
            [*self.enter, "sh", "-c", script], capture_output=True, text=True, check=True
        ).stdout.splitlines()
        return lines[0], lines[1]

    def guard(self) -> Any:
        """`nspawn guard --json`."""
        return self.json("guard", "--json")

    def end(self) -> None:
        """Power off, and one last boot that clears away the cgroups that the power cuts left."""
        self.power_off()
        self.power_on()
        self.environment["NSPAWN_GUARD"] = "0"
        self.serve()
        self("shutdown", timeout=30)
        self.power_off()
