"""Unix sockets that keep message boundaries and carry descriptors.

On `_socket`, the C part of `socket`: the Python part costs 5 ms of every start (enum, selectors).
"""

from __future__ import annotations

import _socket
import os
import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Self

#: Largest message; the kernel's default send buffer (212,992 bytes) holds it.
LARGEST = 160 * 1024
_MOST_DESCRIPTORS = 16
_CREDENTIALS = struct.Struct("3i")
_SPACE = _socket.CMSG_SPACE(4 * _MOST_DESCRIPTORS)


class Socket(_socket.socket):
    """A socket that a with statement closes."""

    __slots__ = ()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()


def pair() -> tuple[Socket, Socket]:
    """Two connected ends, close-on-exec."""
    one, other = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
    return Socket(fileno=one.detach()), Socket(fileno=other.detach())


def connect(path: str) -> Socket:
    """A connection; OSError (ENOENT, ECONNREFUSED) when nobody listens."""
    end = Socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
    try:
        with Reachable(path) as short:
            end.connect(short)
    except OSError:
        end.close()
        raise
    return end


def listen(path: str) -> Socket:
    """A listening socket for root only; replaces what lies at the path."""
    end = Socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
    try:
        try:
            os.unlink(path)
        except FileNotFoundError:
            pass
        old = os.umask(0o177)
        try:
            with Reachable(path) as short:
                end.bind(short)
        finally:
            os.umask(old)
        end.listen(128)
        end.setblocking(False)
    except OSError:
        end.close()
        raise
    return end


def accept(end: Socket) -> Socket:
    """The next connection of a listening socket."""
    descriptor: int
    descriptor, _address = end._accept()  # type: ignore[attr-defined]  # as `socket` itself does it
    return Socket(fileno=descriptor)


class Reachable:
    """A path of at most 107 bytes for sun_path (unix(7)): long ones go through their folder's descriptor."""

    __slots__ = ("folder", "path")

    def __init__(self, path: str) -> None:
        self.path = path
        self.folder = -1

    def __enter__(self) -> str:
        if len(os.fsencode(self.path)) <= 107:
            return self.path
        self.folder = os.open(os.path.dirname(self.path), os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        return f"/proc/self/fd/{self.folder}/{os.path.basename(self.path)}"

    def __exit__(self, *_error: object) -> None:
        if self.folder >= 0:
            os.close(self.folder)


def send(end: Socket, data: bytes, descriptors: Sequence[int] = ()) -> None:
    """Send one message with descriptors."""
    if not descriptors:
        end.send(data)
        return
    rights = struct.pack(f"{len(descriptors)}i", *descriptors)
    end.sendmsg([data], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, rights)])


def receive(end: Socket, size: int = LARGEST) -> tuple[bytes, list[int]]:
    """One message and its descriptors (close-on-exec, the caller closes them); b"" at the end."""
    data, extra, _flags, _address = end.recvmsg(size, _SPACE, _socket.MSG_CMSG_CLOEXEC)
    descriptors: list[int] = []
    for level, kind, payload in extra:
        if level == _socket.SOL_SOCKET and kind == _socket.SCM_RIGHTS:
            count = len(payload) // 4
            descriptors.extend(struct.unpack(f"{count}i", payload[: count * 4]))
    return data, descriptors


def peer(end: Socket) -> tuple[int, int]:
    """(pid, uid) of the other end as it was when it connected (SO_PEERCRED)."""
    pid, uid, _gid = _CREDENTIALS.unpack(end.getsockopt(_socket.SOL_SOCKET, 17, _CREDENTIALS.size))
    return pid, uid


def close_others(*keep: int) -> None:
    """Close every descriptor of ours from 3 on but these.

    For a child that will look up paths of a hostile rootfs: a descriptor of a host's folder, whoever left
    it open, would be a way out through /proc/self/fd (CVE-2024-21626).
    """
    for name in os.listdir("/proc/self/fd"):
        if int(name) > 2 and int(name) not in keep:
            try:
                os.close(int(name))
            except OSError:
                continue  # the listing's own


def close_all(descriptors: Sequence[int]) -> None:
    """Close descriptors that may be closed already."""
    for descriptor in descriptors:
        try:
            os.close(descriptor)
        except OSError:
            continue
