"""The page's process: started when somebody connects, gone when nobody does."""

from __future__ import annotations

import os
import sys

import nspawn
from nspawn.container.loop import IN
from nspawn.layout import PASSED_ON

TYPE_CHECKING = False
if TYPE_CHECKING:
    from nspawn.container.spawner import Spawner

_FIRST = 3  # descriptors are handed over from here on, as sd_listen_fds(3) does
_LONGEST_WAIT = 60.0


class WebProcess:
    """listeners: listening sockets, all for the page."""

    __slots__ = ("_failures", "_spawner", "listeners", "pid")

    def __init__(self, spawner: Spawner, listeners: list[int]) -> None:
        self._spawner = spawner
        self.listeners = listeners
        self.pid = 0
        self._failures = 0
        self._end_stale()
        self._listen()

    @property
    def address(self) -> str:
        """Where a browser finds the page; "" without one."""
        import _socket

        for descriptor in self.listeners:
            end = _socket.socket(fileno=os.dup(descriptor))
            try:
                return f"http://localhost:{end.getsockname()[1]}"
            except OSError:
                continue
            finally:
                end.close()
        return ""

    @property
    def _pid_file(self) -> str:
        return f"{self._spawner.layout.run}/web.pid"

    def _listen(self) -> None:
        for descriptor in self.listeners:
            self._spawner.loop.add(descriptor, self._connected, IN)

    def _connected(self, _events: int) -> None:
        """Somebody waits to be accepted: the web process will do that."""
        for descriptor in self.listeners:
            self._spawner.loop.remove(descriptor)
        try:
            self.pid = self._start()
        except OSError as error:
            self._spawner.log(f"the page's process cannot be started: {error}")
            self._again()
            return
        self._spawner.children[self.pid] = self._ended
        self._note()

    def _start(self) -> int:
        layout = self._spawner.layout
        scratch = f"{layout.run}/tmp"
        os.makedirs(scratch, 0o700, exist_ok=True)
        entry = f"{os.path.dirname(os.path.dirname(nspawn.__file__))}/entry/web.py"
        environment = {
            "PATH": os.environ.get("PATH", os.defpath),
            "LANG": "C.UTF-8",
        }
        environment.update({key: os.environ[key] for key in PASSED_ON if key in os.environ})
        environment |= {
            "HOME": layout.root,
            "TMPDIR": scratch,
            "NSPAWN_ROOT": layout.root,
            "NSPAWN_LISTEN_FDS": str(len(self.listeners)),
        }
        # First out of the way of 3, 4, ..., then into their places.
        high = [os.dup(descriptor) for descriptor in self.listeners]
        base = _FIRST + len(high)
        spares = []
        try:
            while min(high, default=base) < base:
                spares.append(high)
                high = [os.dup(descriptor) for descriptor in high]
            actions: list[tuple[int, int, int]] = [
                (os.POSIX_SPAWN_DUP2, descriptor, _FIRST + index) for index, descriptor in enumerate(high)
            ]
            pid = os.posix_spawn(
                sys.executable,
                [sys.executable, "-I", "-S", "-E", entry],
                environment,
                file_actions=actions,
                setsid=True,
                setsigdef=[2, 13, 15],
            )
        finally:
            for group in (high, *spares):
                for descriptor in group:
                    os.close(descriptor)
        return pid

    def _note(self) -> None:
        """For the next spawner, should this one be killed."""
        try:
            with open(self._pid_file, "w", encoding="ascii") as file:
                file.write(f"{self.pid}\n")
        except OSError as error:
            self._spawner.log(f"the page's process is not noted: {error}")

    def _ended(self, status: int) -> None:
        self.pid = 0
        try:
            os.unlink(self._pid_file)
        except OSError:
            pass
        if status == 0:
            self._failures = 0
            self._listen()
            return
        self._spawner.log(f"the page's process died (wait status {status})")
        self._again()

    def _again(self) -> None:
        """After a failure, listen again a little later: a waiting client would start it at once."""
        delay = min(0.25 * 2.0**self._failures, _LONGEST_WAIT)
        self._failures += 1
        self._spawner.loop.after(delay, self._listen)

    def stop(self) -> None:
        if self.pid:
            self._spawner.signal(self.pid, 15)

    def _end_stale(self) -> None:
        """One that a killed spawner left would take our connections and ask a spawner that is gone."""
        try:
            with open(self._pid_file, encoding="ascii") as file:
                pid = int(file.read())
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                ours = b"/entry/web.py" in file.read()
        except (OSError, ValueError):
            return
        if ours:
            self._spawner.signal(pid, 15)
