"""Named containers below a state folder of their own, with the spawner that they bring."""

from __future__ import annotations

import os
import signal
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.support import processes
from tests.support.program import Program

if TYPE_CHECKING:
    from collections.abc import Iterator


class Named(Program):
    """`nspawn` with helpers for its named containers."""

    def container(self, name: str) -> dict[str, Any]:
        """What `nspawn info --json` tells."""
        found = self.json("info", name, "--json")
        assert isinstance(found, dict)
        return found

    def state(self, name: str) -> dict[str, Any]:
        state = self.container(name)["state"]
        assert isinstance(state, dict)
        return state

    def names(self) -> list[str]:
        found = self.json("list", "--json")
        assert isinstance(found, list)
        return [each["name"] for each in found]

    def folder(self, name: str = "") -> Path:
        return self.root / "containers" / name

    def spawners(self) -> list[int]:
        """The keeper, the spawner, and what they have prepared: all have the folder in their command line."""
        return [pid for pid in processes.with_argument(str(self.root)) if processes.alive(pid)]


@contextmanager
def named(folder: Path, port: int = 0) -> Iterator[Named]:
    """A fresh state folder; at the end the spawner is shut down, and whatever still runs is killed."""
    root = folder / "state"
    root.mkdir(mode=0o700)
    (root / "config.toml").write_text(f"[page]\nport = {port}\n")
    program = Named(root)
    try:
        yield program
    finally:
        try:
            program("shutdown", timeout=30)
        finally:
            _kill(root)


def _kill(root: Path) -> None:
    for pid in processes.all_processes():
        if pid == os.getpid():
            continue
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            ours = str(root).encode() in words or (
                processes.namespace(pid, "mnt") not in ("", processes.namespace("self", "mnt"))
                and f"{root}/".encode() in Path(f"/proc/{pid}/mountinfo").read_bytes()
            )
        except OSError:
            continue
        if ours:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
            processes.gone(pid, 2)
