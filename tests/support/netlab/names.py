"""A name server of the lab: one for each uplink, whose answers tell which one was asked."""

from __future__ import annotations

import socket
import struct

from tests.support.netlab.loop import Loop
from tests.support.netlab.spaces import Space

_TYPES = {1: socket.AF_INET, 28: socket.AF_INET6}


class NameServer:
    """Answers by UDP on all addresses of a namespace: every name has address4 and address6.

    asked: the names that were asked for.
    """

    def __init__(self, loop: Loop, space: Space, address4: str, address6: str = "") -> None:
        self.asked: list[str] = []
        self._addresses = {1: address4, 28: address6}
        self._loop = loop
        self._end = space.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        self._end.bind(("::", 53))
        self._end.setblocking(False)
        loop.add(self._end, self._answer)

    def close(self) -> None:
        self._loop.remove(self._end)
        self._end.close()

    def _answer(self) -> None:
        try:
            data, peer = self._end.recvfrom(2048)
            self._end.sendto(self._reply(data), peer)
        except OSError:
            return

    def _reply(self, data: bytes) -> bytes:
        labels, at = [], 12
        while data[at]:
            labels.append(data[at + 1 : at + 1 + data[at]].decode("latin-1"))
            at += 1 + data[at]
        (kind,) = struct.unpack_from(">H", data, at + 1)
        self.asked.append(".".join(labels).lower())
        question = data[12 : at + 5]
        address = self._addresses.get(kind, "")
        record = b""
        if address:
            packed = socket.inet_pton(_TYPES[kind], address)
            record = b"\xc0\x0c" + struct.pack(">HHIH", kind, 1, 60, len(packed)) + packed
        return data[:2] + struct.pack(">5H", 0x8180, 1, bool(record), 0, 0) + question + record


def ask_name(space: Space, server: str, name: str, proto: str = "udp", *, seconds: float = 2.0) -> list[str]:
    """The IPv4 addresses of a name by a server, as seen from a namespace; OSError when it does not answer."""
    query = struct.pack(">6H", 0x1234, 0x0100, 1, 0, 0, 0)
    query += b"".join(bytes([len(label)]) + label.encode() for label in name.split(".")) + b"\0"
    query += struct.pack(">HH", 1, 1)
    family = socket.AF_INET6 if ":" in server else socket.AF_INET
    kind = socket.SOCK_STREAM if proto == "tcp" else socket.SOCK_DGRAM
    with space.socket(family, kind) as end:
        end.settimeout(seconds)
        end.connect((server, 53))
        if proto == "tcp":
            end.sendall(struct.pack(">H", len(query)) + query)
            (length,) = struct.unpack(">H", _exactly(end, 2))
            reply = _exactly(end, length)
        else:
            end.send(query)
            reply = end.recv(2048)
    (answers,) = struct.unpack_from(">H", reply, 6)
    at, found = len(query), []
    for _ in range(answers):
        # Names are pointers of two bytes, or written out.
        at = at + 2 if reply[at] & 0xC0 else reply.index(0, at) + 1
        record, _, _, length = struct.unpack_from(">HHIH", reply, at)
        at += 10
        if record == 1:
            found.append(socket.inet_ntoa(reply[at : at + length]))
        at += length
    return found


def _exactly(end: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = end.recv(size - len(data))
        if not more:
            raise ConnectionResetError("the answer ends early")
        data += more
    return data
