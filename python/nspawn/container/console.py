"""A container's console: a PTY that is always drained, into a ring on disk and to who watches.

An init blocks once about 64 KiB of output wait unread (facts: quirks), so draining depends on nobody.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct

from nspawn.container import loop as loops

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from nspawn.container.loop import Loop

#: Bytes of each of the ring's two files.
HALF = 1 << 20
_CHUNK = 32 * 1024
_MOST_INPUT = 64 * 1024
_TIOCSWINSZ = 0x5414
_TIOCGPTPEER = 0x5441


class Ring:
    """The last 2 MiB of a console: `path`, and the older half at `path`.1."""

    __slots__ = ("_descriptor", "_path", "_size")

    def __init__(self, path: str) -> None:
        self._path = path
        self._descriptor = -1
        self._size = 0
        self._open()

    def _open(self) -> None:
        descriptor = os.open(
            self._path,
            os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC,
            0o600,
        )
        # Not before the open succeeded: the number may be another's by then.
        old, self._descriptor = self._descriptor, descriptor
        if old >= 0:
            os.close(old)
        self._size = os.fstat(descriptor).st_size

    def write(self, data: bytes) -> None:
        """Append; a full disk loses the bytes, never the console."""
        try:
            if self._size >= HALF:
                if os.path.exists(self._path):  # not when only the opening failed, the last time
                    os.rename(self._path, f"{self._path}.1")
                self._open()
            self._size += os.write(self._descriptor, data)
        except OSError:
            return

    def close(self) -> None:
        os.close(self._descriptor)
        self._descriptor = -1


class Console:
    """master, slave: the PTY's ends.  The slave stays open here so that a container which closes its own
    console does not leave a hung-up, ever-ready master behind.
    """

    __slots__ = ("_listeners", "_loop", "_pending", "_ring", "master", "slave")

    def __init__(self, loop: Loop, path: str, master: int, slave: int) -> None:
        """path: of the ring.  Takes over both descriptors, and closes them when the ring cannot be had."""
        self._loop = loop
        self.master = master
        self.slave = slave
        try:
            self._ring = Ring(path)
        except OSError:
            os.close(master)
            os.close(slave)
            raise
        self._listeners: list[Callable[[bytes], None]] = []
        self._pending = bytearray()
        os.set_blocking(master, False)
        loop.add(master, self._ready)

    @classmethod
    def make(cls, loop: Loop, path: str) -> Console:
        """A new PTY of 80 columns and 24 lines."""
        master, slave = os.openpty()
        fcntl.ioctl(master, _TIOCSWINSZ, struct.pack("4H", 24, 80, 0, 0))
        return cls(loop, path, master, slave)

    @classmethod
    def adopt(cls, loop: Loop, path: str, master: int) -> Console:
        """From a master that was kept for us; OSError when its other end cannot be opened."""
        slave = fcntl.ioctl(master, _TIOCGPTPEER, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
        return cls(loop, path, master, slave)

    def listen(self, listener: Callable[[bytes], None]) -> None:
        self._listeners.append(listener)

    def unlisten(self, listener: Callable[[bytes], None]) -> None:
        if listener in self._listeners:
            self._listeners.remove(listener)

    def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self.master, _TIOCSWINSZ, struct.pack("4H", rows & 0xFFFF, columns & 0xFFFF, 0, 0))

    def type(self, data: bytes) -> None:
        """Input as from a keyboard; what does not fit waits, up to 64 KiB, and is dropped beyond."""
        self._pending += data[: _MOST_INPUT - len(self._pending)]
        self._write()

    def drain(self) -> None:
        """Take what is left; called when the container has ended."""
        for _round in range(64):
            if not self._read():
                return

    def close(self) -> None:
        self._loop.remove(self.master)
        os.close(self.master)
        os.close(self.slave)
        self._ring.close()
        self._listeners.clear()

    def _ready(self, events: int) -> None:
        if events & loops.OUT:
            self._write()
        if events & ~loops.OUT:
            self._read()

    def _read(self) -> bool:
        try:
            data = os.read(self.master, _CHUNK)
        except OSError:
            return False
        if not data:
            return False
        self._ring.write(data)
        for listener in list(self._listeners):
            listener(data)
        return True

    def _write(self) -> None:
        try:
            while self._pending:
                del self._pending[: os.write(self.master, self._pending)]
        except BlockingIOError:
            pass
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            self._pending.clear()
        self._loop.change(self.master, loops.IN | loops.OUT if self._pending else loops.IN)


def log_files(path: str) -> list[int]:
    """Descriptors of the ring's files, older first; those that exist."""
    found = []
    for name in (f"{path}.1", path):
        try:
            found.append(os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC))
        except OSError:
            continue
    return found
