"""The kernel's network by rtnetlink(7): what is there, as values of model/netview.py, and changes in batches.

Looking loads nothing (kernel/rtdecode.py); changes are written by pyroute2's message classes
(kernel/rtbatch.py).  Its sockets, and all that they would load, are left out: `import pyroute2` takes 340 ms
and 40 MB, its classes 15 ms and 4 MB.
"""

from __future__ import annotations

import _socket
import errno
import os
import struct
import sys

from nspawn.kernel import rtdecode
from nspawn.kernel.routes import HEADER, NETLINK_ROUTE, attributes
from nspawn.sites import add_site_packages

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Any, Self, TypeVar

    from nspawn.kernel.rtbatch import Batch
    from nspawn.model.netview import Address, Link, Route, Rule

    Message = Any  # pyroute2 tells no types
    Value = TypeVar("Value")

_REQUEST, _ACK, _DUMP = 0x1, 0x4, 0x300
_EXCLUSIVE, _CREATE = 0x200, 0x400
_INTERRUPTED = 0x10
_ERROR, _DONE = 2, 3
_NEWLINK, _GETLINK = 16, 18
_NEWADDR, _GETADDR = 20, 22
_NEWROUTE, _GETROUTE = 24, 26
_NEWNEIGH, _GETNEIGH = 28, 30
_NEWRULE, _GETRULE = 32, 34

# netlink(7): errors without the request, and with the kernel's own words.
_SOL_NETLINK, _CAP_ACK, _EXT_ACK = 270, 10, 11
_CAPPED, _ACK_TLVS = 0x100, 0x200
_ATTR_MSG = 1

_IFLA_ADDRESS, _IFLA_LINKINFO, _IFLA_EXT_MASK = 1, 18, 29
_SKIP_STATISTICS = 1 << 3

_SIZE = 1 << 16
_SECONDS = 5.0
_TRIES = 10
#: So many answers wait in the default receive buffer, 212 kB, without loss.
_AT_ONCE = 64
#: What is to be taken away may have gone by itself, with its interface; what is to be added may be there.
_GONE = (errno.ESRCH, errno.ENOENT, errno.ENODEV, errno.EADDRNOTAVAIL)
_THERE = (errno.EEXIST,)


def classes(name: str) -> Message:
    """A module of pyroute2.netlink.rtnl, such as `fibmsg`, without all the others."""
    full = f"pyroute2.netlink.rtnl.{name}"
    if full not in sys.modules:
        if "pyroute2" not in sys.modules:
            package = type(sys)("pyroute2")
            package.__path__ = [f"{add_site_packages()}/pyroute2"]
            sys.modules["pyroute2"] = package
        __import__(full)
    return sys.modules[full]


class Rtnl:
    """A socket of rtnetlink in the network namespace of this thread, for a `with` block."""

    __slots__ = ("_end", "_sequence")

    def __init__(self) -> None:
        kind = _socket.SOCK_RAW | _socket.SOCK_CLOEXEC
        self._end = _socket.socket(_socket.AF_NETLINK, kind, NETLINK_ROUTE)
        self._sequence = 0
        self._end.settimeout(_SECONDS)
        for option in (_CAP_ACK, _EXT_ACK):  # since Linux 4.3 and 4.12
            try:
                self._end.setsockopt(_SOL_NETLINK, option, 1)
            except OSError:
                pass
        self._end.bind((0, 0))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._end.close()

    def links(self) -> list[Link]:
        """Every interface."""
        request = struct.pack("=BxHiII", 0, 0, 0, 0, 0)
        request += struct.pack("=HHI", 8, _IFLA_EXT_MASK, _SKIP_STATISTICS)
        return self._all(_GETLINK, _NEWLINK, request, rtdecode.link)

    def addresses(self) -> list[Address]:
        """Every address of both families."""
        return self._all(_GETADDR, _NEWADDR, bytes(8), rtdecode.address)

    def routes(self) -> list[Route]:
        """Every route of all tables; one with several next hops is as many routes."""
        found = self._all(_GETROUTE, _NEWROUTE, bytes(12), rtdecode.routes)
        return [route for several in found for route in several]

    def rules(self) -> list[Rule]:
        """Every rule of both families, in their order."""
        return self._all(_GETRULE, _NEWRULE, bytes(12), rtdecode.rule)

    def proxies(self) -> list[tuple[str, int]]:
        """(address, index of the interface) for each that is answered for on its behalf."""
        request = struct.pack("=BxxxiHBB", 0, 0, 0, rtdecode.NTF_PROXY, 0)
        return self._all(_GETNEIGH, _NEWNEIGH, request, rtdecode.proxy)

    def ask(self, kind: int, payload: bytes) -> bytes:
        """The payload of the kernel's answer to a question about one thing; OSError for what is not there."""
        self._sequence += 1
        header = HEADER.pack(HEADER.size + len(payload), kind, _REQUEST, self._sequence, 0)
        self._end.send(header + payload)
        while True:
            for answer, _, sequence, data in self._receive():
                if sequence == self._sequence and answer == _ERROR:
                    raise _refusal(-struct.unpack_from("=i", data, HEADER.size)[0], 0, b"", "")
                if sequence == self._sequence:
                    return data[HEADER.size :]

    def has_kind(self, kind: str) -> bool:
        """Whether the kernel can make interfaces of this kind, such as "bridge"; none is made.

        What is known is refused because of the address (for a group), before that a name is looked for.
        """
        info = struct.pack("=HH", 5 + len(kind), 1) + kind.encode() + b"\0"
        info += bytes(-len(info) % 4)
        payload = struct.pack("=BxHiII", 0, 0, 0, 0, 0)
        payload += struct.pack("=HH6sxx", 10, _IFLA_ADDRESS, b"\x01\0\0\0\0\0")
        payload += struct.pack("=HH", 4 + len(info), _IFLA_LINKINFO) + info
        flags = _REQUEST | _ACK | _CREATE | _EXCLUSIVE
        message = HEADER.pack(HEADER.size + len(payload), _NEWLINK, flags, 0, 0) + payload
        try:
            self._send([(bytearray(message), "")], deletes=False)
        except OSError as error:
            return error.errno != errno.EOPNOTSUPP
        return True

    def send(self, batch: Batch) -> None:
        """Make the changes in their order; OSError with the line of the first that the kernel refused.

        What comes after that one has, up to the next 64, been tried as well; but nothing is taken away when
        anything before was refused.
        """
        start = 0
        while start < len(batch.items):
            deletes = batch.items[start][1]
            end = start + 1
            while end < len(batch.items) and end - start < _AT_ONCE and batch.items[end][1] == deletes:
                end += 1
            self._send([(data, text) for data, _, text in batch.items[start:end]], deletes=deletes)
            start = end

    def _send(self, items: Sequence[tuple[bytearray, str]], *, deletes: bool) -> None:
        first = self._sequence + 1
        for data, _ in items:
            self._sequence += 1
            struct.pack_into("=II", data, 8, self._sequence, 0)
        self._end.send(b"".join(data for data, _ in items))
        refused: dict[int, OSError] = {}
        open_ = set(range(first, self._sequence + 1))
        while open_:
            for kind, flags, sequence, answer in self._receive():
                if kind != _ERROR or sequence not in open_:
                    continue
                open_.discard(sequence)
                number = -struct.unpack_from("=i", answer, HEADER.size)[0]
                if number and number not in (_GONE if deletes else _THERE):
                    refused[sequence] = _refusal(number, flags, answer, items[sequence - first][1])
        if refused:
            raise refused[min(refused)]

    def _all(
        self, request: int, answer: int, payload: bytes, decode: Callable[[bytes], Value | None]
    ) -> list[Value]:
        """What the kernel has of one kind; asked again when it changed meanwhile and something may lack."""
        for _ in range(_TRIES):
            found = self._dump(request, answer, payload)
            if found is not None:
                break
        else:
            raise OSError(errno.EAGAIN, "the network changes too fast to be read")
        decoded = [decode(data) for data in found]
        return [value for value in decoded if value is not None]

    def _dump(self, request: int, answer: int, payload: bytes) -> list[bytes] | None:
        self._sequence += 1
        header = HEADER.pack(HEADER.size + len(payload), request, _REQUEST | _DUMP, self._sequence, 0)
        self._end.send(header + payload)
        found: list[bytes] = []
        whole = True
        while True:
            for kind, flags, sequence, data in self._receive():
                if sequence != self._sequence:
                    continue
                whole = whole and not flags & _INTERRUPTED
                if kind == _DONE:
                    return found if whole else None
                if kind == _ERROR:
                    raise _refusal(-struct.unpack_from("=i", data, HEADER.size)[0], 0, b"", "")
                if kind == answer:
                    found.append(data[HEADER.size :])

    def _receive(self) -> Iterator[tuple[int, int, int, bytes]]:
        data = self._end.recv(_SIZE)
        at = 0
        while at + HEADER.size <= len(data):
            length, kind, flags, sequence, _ = HEADER.unpack_from(data, at)
            if length < HEADER.size:
                return
            yield kind, flags, sequence, data[at : at + length]
            at += (length + 3) & ~3


def _refusal(number: int, flags: int, data: bytes, text: str) -> OSError:
    why = os.strerror(number)
    if flags & _ACK_TLVS and flags & _CAPPED:
        words = attributes(data[2 * HEADER.size + 4 :]).get(_ATTR_MSG, b"").rstrip(b"\0")
        if words:
            why = f"{why}: {words.decode('utf-8', 'replace')}"
    return OSError(number, why, text or None)
