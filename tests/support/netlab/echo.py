"""An echo service that tells who answered and whom it saw: TCP and UDP, IPv4 and IPv6."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable

from tests.support.netlab.loop import Loop
from tests.support.netlab.spaces import Space

PORT = 7000
_IPV6_RECVPKTINFO = 49  # linux/in6.h
_IP_PKTINFO = 8  # linux/in.h


class Echo:
    """A service on one port of a namespace.

    It says "TAG PEER" to everybody, by UDP from the address that was asked, so that a reply fits its request
    also where an address is on the loopback.
    """

    def __init__(self, loop: Loop, space: Space, tag: str, port: int = PORT, address: str = "") -> None:
        """address: the only one on which it listens; all of both families by default."""
        self.tag = tag
        self.port = port
        self._loop = loop
        self._sockets: list[socket.socket] = []
        try:
            for family, everywhere in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):
                if address and (":" in address) != (family == socket.AF_INET6):
                    continue
                self._open(space, family, socket.SOCK_STREAM, address or everywhere, self._accept)
                self._open(space, family, socket.SOCK_DGRAM, address or everywhere, self._reply)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        for end in self._sockets:
            self._loop.remove(end)
            end.close()
        self._sockets.clear()

    def _open(
        self, space: Space, family: int, kind: int, address: str, ready: Callable[[socket.socket], None]
    ) -> None:
        end = space.socket(family, kind)
        try:
            end.setblocking(False)
            end.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                end.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            if kind == socket.SOCK_DGRAM and family == socket.AF_INET6:
                end.setsockopt(socket.IPPROTO_IPV6, _IPV6_RECVPKTINFO, 1)
            elif kind == socket.SOCK_DGRAM:
                end.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)
            end.bind((address, self.port))
            if kind == socket.SOCK_STREAM:
                end.listen(256)
            self._loop.add(end, lambda: ready(end))
        except BaseException:
            end.close()
            raise
        self._sockets.append(end)

    def _accept(self, end: socket.socket) -> None:
        try:
            connection, peer = end.accept()
        except OSError:
            return
        with connection:
            try:
                connection.sendall(f"{self.tag} {peer[0]}\n".encode())
                connection.shutdown(socket.SHUT_WR)
            except OSError:
                return

    def _reply(self, end: socket.socket) -> None:
        try:
            _, extras, _, peer = end.recvmsg(2048, 256)
            answer = f"{self.tag} {peer[0]}\n".encode()
            end.sendmsg([answer], [_from(*extra) for extra in extras], 0, peer)
        except OSError:
            return


def _from(level: int, kind: int, data: bytes) -> tuple[int, int, bytes]:
    """The address that was asked, without the interface: the reply's way is the routing's to find."""
    if level == socket.IPPROTO_IP:
        _, local, _ = struct.unpack("I4s4s", data)
        return level, kind, struct.pack("I4s4s", 0, local, bytes(4))
    return level, kind, data[:16] + bytes(4)
