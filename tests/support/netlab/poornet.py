"""A kernel whose network has less: questions for what it lacks are answered as such a kernel does.

    python poornet.py NAME COMMAND...

installs a seccomp filter that hands some calls to a `PoorNet`, then runs the command.  iptables and the
program under test ask the same questions, so both see the poorer kernel.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import platform
import select
import socket
import struct
import sys
from collections.abc import Iterable
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[3]))

from tests.support.netlab.loop import Loop
from tests.support.netlab.spaces import Space

# linux/seccomp.h, linux/filter.h, linux/netfilter_ipv4/ip_tables.h and its IPv6 twin
_GETSOCKOPT, _SENDTO, _SECCOMP = {"x86_64": (55, 44, 317), "aarch64": (209, 206, 277)}[platform.machine()]
_SET_MODE_FILTER, _NEW_LISTENER = 1, 8
_NOTIFY, _ALLOW = 0x7FC00000, 0x7FFF0000
_RECEIVE, _SEND = 0xC0502100, 0xC0182101
_CONTINUE = 1
_LOAD, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
_LEVELS = {0: 4, 41: 6}
#: Options: of a table, of a match or a target by family.
_TABLE = (64, 65)
_EXTENSION = {4: (66, 67), 6: (68, 69)}
#: Messages of rtnetlink that make an interface are not longer.
_LONGEST = 256
_NEWLINK = 16


class PoorNet:
    """What a kernel lacks: "6:nat", "4:raw", "4:connmark" (tables, matches and targets), "link:bridge".

    command: words that start a program on that kernel, in the namespace of the space.
    """

    def __init__(self, loop: Loop, space: Space, lacking: Iterable[str]) -> None:
        self._loop = loop
        self._lacking = frozenset(lacking)
        self._name = f"poornet-{os.urandom(8).hex()}"
        self._listeners: set[_Listener] = set()
        self._door = space.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._door.bind(f"\0{self._name}")
        self._door.listen(64)
        loop.add(self._door, self._let_in)
        self.command = [sys.executable, __file__, self._name]

    def close(self) -> None:
        self._loop.remove(self._door)
        self._door.close()
        for listener in list(self._listeners):
            self._end(listener)

    def _let_in(self) -> None:
        with self._door.accept()[0] as connection:
            _, (number, *_), _, _ = socket.recv_fds(connection, 1, 1)
            listener = _Listener(number, self._lacking)
            self._listeners.add(listener)
            self._loop.add(listener, lambda: self._serve(listener))
            connection.send(b"x")

    def _serve(self, listener: _Listener) -> None:
        if not listener.answer():
            self._end(listener)

    def _end(self, listener: _Listener) -> None:
        self._listeners.discard(listener)
        self._loop.remove(listener)
        os.close(listener.fileno())


class _Listener:
    """The calls of one program and its children."""

    def __init__(self, number: int, lacking: frozenset[str]) -> None:
        self._number = number
        self._lacking = lacking

    def fileno(self) -> int:
        return self._number

    def answer(self) -> bool:
        """Answer one call; False when nobody is left who could make one."""
        poll = select.poll()
        poll.register(self._number, select.POLLIN)
        if not any(events & select.POLLIN for _, events in poll.poll(0)):
            return False
        request = bytearray(80)
        try:
            fcntl.ioctl(self._number, _RECEIVE, request)
        except OSError:
            # The caller was killed.
            return True
        ticket, pid, _, call, _, _, *arguments = struct.unpack("=QIIiIQ6Q", request)
        refusal = self._of_link(pid, arguments) if call == _SENDTO else self._of_table(pid, arguments)
        reply = struct.pack("=QqiI", ticket, 0, -refusal, 0 if refusal else _CONTINUE)
        try:
            fcntl.ioctl(self._number, _SEND, reply)
        except OSError:
            pass
        return True

    def _of_table(self, pid: int, arguments: list[int]) -> int:
        family = _LEVELS[arguments[1]]
        if arguments[2] not in (*_TABLE, *_EXTENSION[family]):
            return 0
        name = _memory(pid, arguments[3], 29).partition(b"\0")[0].decode("utf-8", "replace").lower()
        return errno.ENOENT if f"{family}:{name}" in self._lacking else 0

    def _of_link(self, pid: int, arguments: list[int]) -> int:
        """The kernel's own answer is a message; the caller is to take an error of the call as that."""
        if "link:bridge" not in self._lacking:
            return 0
        data = _memory(pid, arguments[1], min(arguments[2], _LONGEST))
        asks = data[4:6] == struct.pack("=H", _NEWLINK) and b"bridge\0" in data
        return errno.EOPNOTSUPP if asks else 0


def _memory(pid: int, address: int, size: int) -> bytes:
    try:
        with open(f"/proc/{pid}/mem", "rb") as memory:
            memory.seek(address)
            return memory.read(size)
    except OSError:
        return b""


def _filter() -> bytes:
    """What is handed over: getsockopt with level 0 or 41 and an option of 64 to 69; short calls of sendto."""

    def step(code: int, value: int, when_true: int = 0, when_false: int = 0) -> bytes:
        return struct.pack("HBBI", code, when_true, when_false, value)

    return b"".join(
        [
            step(_LOAD, 0),
            step(_EQUAL, _SENDTO, 0, 2),
            step(_LOAD, 16 + 16),
            step(_AT_LEAST, _LONGEST + 1, 8, 7),
            step(_EQUAL, _GETSOCKOPT, 0, 7),
            step(_LOAD, 16 + 8),
            step(_EQUAL, 0, 1, 0),
            step(_EQUAL, 41, 0, 4),
            step(_LOAD, 16 + 16),
            step(_AT_LEAST, 64, 0, 2),
            step(_AT_LEAST, 70, 1, 0),
            step(_RETURN, _NOTIFY),
            step(_RETURN, _ALLOW),
        ]
    )


def _main(name: str, *command: str) -> None:
    code = _filter()
    libc = ctypes.CDLL(None, use_errno=True)
    buffer = ctypes.create_string_buffer(code, len(code))
    header = ctypes.create_string_buffer(struct.pack("HxxxxxxQ", len(code) // 8, ctypes.addressof(buffer)))
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as door:
        door.connect(f"\0{name}")
        listener = libc.syscall(_SECCOMP, _SET_MODE_FILTER, _NEW_LISTENER, header)
        if listener < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), "seccomp")
        socket.send_fds(door, [b"x"], [listener])
        os.close(listener)
        door.recv(1)
    os.execvp(command[0], command)


if __name__ == "__main__":
    _main(*sys.argv[1:])
