"""DHCP messages as bytes: a client's is read, the answer built (RFC 2131; the options are RFC 2132).

Pure and small.  What comes in is hostile: nothing here loops over more than the message has bytes.
"""

from __future__ import annotations

import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

SERVER_PORT, CLIENT_PORT = 67, 68
DISCOVER, OFFER, REQUEST, DECLINE, ACK, NAK, RELEASE, INFORM = range(1, 9)
MASK, ROUTER, SERVERS, HOST, DOMAIN, BROADCAST, ADDRESS, LEASE, KIND, SERVER, WHY = (
    1, 3, 6, 12, 15, 28, 50, 51, 53, 54, 56,
)  # fmt: skip
#: A lease that never ends, so that nobody has to wake up for it.
FOREVER = 0xFFFFFFFF
#: Bytes of the largest message that is read.
LARGEST = 1500

_HEADER = struct.Struct(">BBBBIHH4s4s4s4s16s64s128s4s")
_COOKIE = b"\x63\x82\x53\x63"
_FROM_CLIENT, _FROM_SERVER = 1, 2
_ETHERNET, _MAC = 1, 6
_PAD, _END = 0, 255
#: Some clients drop what is shorter than a BOOTP message (RFC 1542, 2.1).
_SHORTEST = 300
_NOWHERE = bytes(4)


class Malformed(Exception):
    """No message of a DHCP client: it gets no answer."""


class Asked:
    """What a client says.

    kind: DISCOVER and so on.  mac: its hardware address.  has: the address that it has, or four zeros.
    wants: the address that it asks for, and server: whom it asks; empty where it does not say.
    """

    __slots__ = ("flags", "has", "ident", "kind", "mac", "server", "wants")

    def __init__(
        self, *, ident: int, flags: int, kind: int, mac: bytes, has: bytes, wants: bytes, server: bytes
    ) -> None:
        self.ident = ident
        self.flags = flags
        self.kind = kind
        self.mac = mac
        self.has = has
        self.wants = wants
        self.server = server


def read(data: bytes) -> Asked:
    """The client's message, or Malformed."""
    if len(data) < _HEADER.size:
        raise Malformed
    op, kind, length, _hops, ident, _seconds, flags, has, _your, _next, relay, chaddr, *_names, cookie = (
        _HEADER.unpack_from(data)
    )
    if (op, kind, length, cookie, relay) != (_FROM_CLIENT, _ETHERNET, _MAC, _COOKIE, _NOWHERE):
        raise Malformed
    options = _options(data[_HEADER.size :])
    said = options.get(KIND, b"")
    if len(said) != 1:
        raise Malformed  # plain BOOTP among them
    return Asked(
        ident=ident,
        flags=flags,
        kind=said[0],
        mac=chaddr[:_MAC],
        has=has,
        wants=_address(options.get(ADDRESS, b"")),
        server=_address(options.get(SERVER, b"")),
    )


def answer(asked: Asked, kind: int, address: bytes, options: Iterable[tuple[int, bytes]]) -> bytes:
    """The server's message.  address: for the client, or four zeros; options: in order, besides the kind."""
    header = _HEADER.pack(
        *(_FROM_SERVER, _ETHERNET, _MAC, 0, asked.ident, 0, asked.flags),
        *(_NOWHERE if kind == NAK else asked.has, address, _NOWHERE, _NOWHERE),
        *(asked.mac.ljust(16, b"\0"), b"", b"", _COOKIE),
    )
    body = b"".join(
        bytes((code, len(value))) + value for code, value in ((KIND, bytes((kind,))), *options) if value
    )
    return (header + body + bytes((_END,))).ljust(_SHORTEST, b"\0")


def _options(data: bytes) -> dict[int, bytes]:
    """By code; of one that comes twice the parts are joined (RFC 3396)."""
    found: dict[int, bytes] = {}
    at = 0
    while at < len(data) and data[at] != _END:
        if data[at] == _PAD:
            at += 1
            continue
        if at + 1 >= len(data) or at + 2 + data[at + 1] > len(data):
            raise Malformed
        code, length = data[at], data[at + 1]
        found[code] = found.get(code, b"") + data[at + 2 : at + 2 + length]
        at += 2 + length
    return found


def _address(value: bytes) -> bytes:
    """Four bytes, or none."""
    if len(value) not in (0, 4):
        raise Malformed
    return value
