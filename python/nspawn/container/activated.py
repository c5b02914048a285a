"""A process that is started when somebody wants something of it, and leaves when nobody does.

Its sockets are ours: it gets copies, from descriptor 3 on, as sd_listen_fds(3) does.
"""

from __future__ import annotations

import os
import sys

import nspawn
from nspawn.container.loop import IN
from nspawn.layout import PASSED_ON

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol

    from nspawn.container.loop import Loop
    from nspawn.layout import Layout
    from nspawn.model.record import Record

    class Owner(Protocol):
        """Whoever has a loop and reaps children: the spawner, or the caretaker of a foreground run.

        children: what to do with each child's end, by PID, given its wait status.
        """

        @property
        def layout(self) -> Layout: ...
        @property
        def loop(self) -> Loop: ...
        @property
        def children(self) -> dict[int, Callable[[int], None]]: ...
        @property
        def ending(self) -> bool: ...
        def log(self, text: str) -> None: ...
        def signal(self, pid: int, number: int) -> None: ...
        def publish(self, record: Record) -> None: ...


_FIRST = 3
_LONGEST_WAIT = 60.0


def program(name: str) -> str:
    """The path of one of entry/, without its suffix."""
    return f"{os.path.dirname(os.path.dirname(nspawn.__file__))}/entry/{name}.py"


def environment(layout: Layout) -> dict[str, str]:
    """What a program that we start may know."""
    known = {"PATH": os.environ.get("PATH", os.defpath), "LANG": "C.UTF-8"}
    known.update({key: os.environ[key] for key in PASSED_ON if key in os.environ})
    known["NSPAWN_ROOT"] = layout.root
    return known


def start(name: str, environ: dict[str, str], actions: list[tuple[int, int, int]], *words: str) -> int:
    """Start one of entry/ in a session of its own; its PID.  actions: as of posix_spawn(3)."""
    return os.posix_spawn(
        sys.executable,
        [sys.executable, "-I", "-S", "-E", program(name), *words],
        environ,
        file_actions=actions,
        setsid=True,
        setsigdef=[2, 13, 15],
    )


class Activated:
    """listeners: sockets, all for it; what comes in at one of them starts it.  what: for the log."""

    __slots__ = ("_failures", "_name", "_owner", "_what", "listeners", "pid")

    def __init__(self, owner: Owner, name: str, what: str) -> None:
        self._owner = owner
        self._name = name
        self._what = what
        self.listeners: list[int] = []
        self.pid = 0
        self._failures = 0

    @property
    def _pid_file(self) -> str:
        return f"{self._owner.layout.run}/{self._name}.pid"

    def listen(self) -> None:
        """Start it at the next that comes."""
        for descriptor in self.listeners:
            self._owner.loop.add(descriptor, self._wanted, IN)

    def unlisten(self) -> None:
        for descriptor in self.listeners:
            self._owner.loop.remove(descriptor)

    def _wanted(self, _events: int) -> None:
        """Somebody waits to be answered: the process will do that."""
        self.unlisten()
        try:
            self.pid = self._start()
        except OSError as error:
            self._owner.log(f"{self._what} cannot be started: {error}")
            self._again()
            return
        self._owner.children[self.pid] = self._ended
        self._note()

    def _environment(self) -> dict[str, str]:
        return environment(self._owner.layout)

    def _start(self) -> int:
        known = self._environment()
        known["NSPAWN_LISTEN_FDS"] = str(len(self.listeners))
        # First out of the way of 3, 4, ..., then into their places.
        high = [os.dup(descriptor) for descriptor in self.listeners]
        base = _FIRST + len(high)
        spares = []
        try:
            while min(high, default=base) < base:
                spares.append(high)
                high = [os.dup(descriptor) for descriptor in high]
            actions = [(os.POSIX_SPAWN_DUP2, each, _FIRST + place) for place, each in enumerate(high)]
            return start(self._name, known, actions)
        finally:
            for group in (high, *spares):
                for descriptor in group:
                    os.close(descriptor)

    def _note(self) -> None:
        """For the next spawner, should this one be killed."""
        try:
            with open(self._pid_file, "w", encoding="ascii") as file:
                file.write(f"{self.pid}\n")
        except OSError as error:
            self._owner.log(f"{self._what} is not noted: {error}")

    def _ended(self, status: int) -> None:
        self.pid = 0
        try:
            os.unlink(self._pid_file)
        except OSError:
            pass
        if status == 0:
            self._failures = 0
            self.listen()
            return
        self._owner.log(f"{self._what} died (wait status {status})")
        self._again()

    def _again(self) -> None:
        """After a failure, listen again a little later: a waiting client would start it at once."""
        delay = min(0.25 * 2.0**self._failures, _LONGEST_WAIT)
        self._failures += 1
        self._owner.loop.after(delay, self.listen)

    def stop(self) -> None:
        if self.pid:
            self._owner.signal(self.pid, 15)

    def end_stale(self) -> None:
        """One that a killed spawner left would take our clients and ask a spawner that is gone."""
        try:
            with open(self._pid_file, encoding="ascii") as file:
                pid = int(file.read())
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                ours = os.fsencode(f"/entry/{self._name}.py") in file.read()
        except (OSError, ValueError):
            return
        if ours:
            self._owner.signal(pid, 15)
