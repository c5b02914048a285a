"""How long a start takes: to the exec of the container's command, and to its end."""

from __future__ import annotations

import ctypes
import os
import select
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_IN_OPEN = 0x20
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, kw_only=True)
class Start:
    """Seconds from the request until the kernel opened the command's file, and until all was over."""

    executed: float
    done: float


class StartFailedError(Exception):
    """A start that did not end with status 0, with what it wrote to its standard error."""


class Stopwatch:
    """Times starts whose command is one certain file.

    The kernel opens the file in execve(2), which an inotify watch on it tells without any help of the
    program that is measured: the same moment for all of them. The last opening counts.
    """

    def __init__(self, command: Path, errors: Path) -> None:
        """command: the file in the rootfs; errors: where the standard error of what is started goes."""
        self._watch = _libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self._watch < 0 or _libc.inotify_add_watch(self._watch, os.fsencode(command), _IN_OPEN) < 0:
            raise OSError(ctypes.get_errno(), "inotify", str(command))
        self._errors = errors
        self._null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)

    def close(self) -> None:
        os.close(self._watch)
        os.close(self._null)

    @property
    def null(self) -> int:
        """A descriptor of /dev/null, open for both."""
        return self._null

    def program(self, argv: Sequence[str], environ: Mapping[str, str], *, cwd: Path | None = None) -> Start:
        """Spawn a program and wait for it; StartFailedError unless it ends with 0."""
        fd = os.open(self._errors, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        if cwd is not None:
            os.chdir(cwd)
        actions = [(os.POSIX_SPAWN_DUP2, self._null, n) for n in (0, 1)]
        actions.append((os.POSIX_SPAWN_DUP2, fd, 2))
        self._drain()
        begin = time.perf_counter()
        pid = os.posix_spawn(argv[0], list(argv), environ, file_actions=actions)
        pidfd = os.pidfd_open(pid)
        executed = self._wait_for_exec(pidfd)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        done = time.perf_counter()
        os.close(pidfd)
        os.close(fd)
        if status != 0:
            said = self._errors.read_text(errors="replace").strip().splitlines()
            raise StartFailedError(f"{' '.join(argv)}: status {status}: {said[-1] if said else ''}")
        return Start(executed=(executed or done) - begin, done=done - begin)

    def request(self, send: Callable[[], int], receive: Callable[[], None]) -> Start:
        """Time a request to a server: `send` asks and gives the descriptor to wait on, `receive` reads
        the answer."""
        self._drain()
        begin = time.perf_counter()
        fd = send()
        executed = self._wait_for_exec(fd)
        receive()
        done = time.perf_counter()
        return Start(executed=(executed or done) - begin, done=done - begin)

    def _drain(self) -> bool:
        try:
            return bool(os.read(self._watch, 65536))
        except BlockingIOError:
            return False

    def _wait_for_exec(self, end: int) -> float | None:
        """Wait until `end` can be read; the moment of the last opening of the command before that."""
        poll = select.poll()
        poll.register(self._watch, select.POLLIN)
        poll.register(end, select.POLLIN)
        seen: float | None = None
        while True:
            ready = {fd for fd, _event in poll.poll()}
            now = time.perf_counter()
            if self._watch in ready and self._drain():
                seen = now
            if end in ready:
                return seen
