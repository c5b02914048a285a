"""Routes and interfaces, read by rtnetlink(7): a small decoder of what tells whether there is an uplink.

/proc/net/route shows the main table only, and Android keeps each network's routes in a table of its own.
"""

from __future__ import annotations

import _socket
import os
import struct

from nspawn.model.uplink import Link, Route

NETLINK_ROUTE = 0
_RTM_GETLINK = 18
_RTM_GETROUTE = 26
_RTM_NEWLINK = 16
_RTM_NEWROUTE = 24
_NLMSG_ERROR = 2
_NLMSG_DONE = 3
_NLM_F_REQUEST = 1
_NLM_F_DUMP = 0x300
_RTA_OIF = 4
_RTA_TABLE = 15
_RTA_MULTIPATH = 9
_RTA_DST = 1
_RTN_UNICAST = 1
_IFLA_IFNAME = 3

#: Groups of rtnetlink(7), for bind(): links, addresses and routes of both families.
LINK, ADDRESS_4, ROUTE_4, ADDRESS_6, ROUTE_6 = 0x1, 0x10, 0x40, 0x100, 0x400
#: struct nlmsghdr: length, type, flags, sequence number, port.
HEADER = struct.Struct("=IHHII")
_SIZE = 1 << 16
_SECONDS = 5.0


def messages(data: bytes) -> list[tuple[int, bytes]]:
    """(type, payload) of each netlink message; what is cut off is left out (netlink(7))."""
    found = []
    at = 0
    while at + HEADER.size <= len(data):
        length, kind, _flags, _sequence, _pid = HEADER.unpack_from(data, at)
        if length < HEADER.size or at + length > len(data):
            break
        found.append((kind, data[at + HEADER.size : at + length]))
        at += (length + 3) & ~3
    return found


def attributes(data: bytes) -> dict[int, bytes]:
    """The attributes of a message by their numbers (rtnetlink(7)); what is cut off is left out."""
    found = {}
    at = 0
    while at + 4 <= len(data):
        length, kind = struct.unpack_from("=HH", data, at)
        if length < 4 or at + length > len(data):
            break
        found[kind & 0x3FFF] = data[at + 4 : at + length]
        at += (length + 3) & ~3
    return found


def decode_route(payload: bytes) -> Route | None:
    """A unicast route; None for every other kind (unreachable, blackhole, local ...)."""
    if len(payload) < 12:
        return None
    family, length, _src, _tos, table, _protocol, _scope, kind, _flags = struct.unpack_from("=8BI", payload)
    if kind != _RTN_UNICAST:
        return None
    found = attributes(payload[12:])
    wide = found.get(_RTA_TABLE, b"")
    if len(wide) == 4:
        (table,) = struct.unpack("=I", wide)
    oif = [struct.unpack("=I", found[_RTA_OIF])[0]] if len(found.get(_RTA_OIF, b"")) == 4 else []
    hops = found.get(_RTA_MULTIPATH, b"")
    while len(hops) >= 8:  # struct rtnexthop
        size, _flags, _hops, index = struct.unpack_from("=HBBI", hops)
        oif.append(index)
        hops = hops[max(8, (size + 3) & ~3) :]
    # ff00::/8 is in every table of older kernels, as unicast.
    multicast = found.get(_RTA_DST, b"")[:1] == b"\xff"
    return Route(family, length, table, tuple(oif), multicast=multicast)


def decode_link(payload: bytes) -> Link | None:
    if len(payload) < 16:
        return None
    _family, _kind, index, flags = struct.unpack_from("=BxHiI", payload)
    name = attributes(payload[16:]).get(_IFLA_IFNAME, b"").rstrip(b"\0")
    return Link(index, os.fsdecode(name), flags)


def routes() -> list[Route]:
    """Every unicast route of both families, of all tables."""
    found = []
    for family in (_socket.AF_INET, _socket.AF_INET6):
        payload = struct.pack("=8BI", family, 0, 0, 0, 0, 0, 0, 0, 0)
        for kind, data in _dump(_RTM_GETROUTE, payload):
            route = decode_route(data) if kind == _RTM_NEWROUTE else None
            if route is not None:
                found.append(route)
    return found


def links() -> list[Link]:
    """Every interface."""
    payload = struct.pack("=BxHiII", 0, 0, 0, 0, 0)
    decoded = [decode_link(data) for kind, data in _dump(_RTM_GETLINK, payload) if kind == _RTM_NEWLINK]
    return [link for link in decoded if link is not None]


def _dump(request: int, payload: bytes) -> list[tuple[int, bytes]]:
    """All answers to one question; an interrupted dump (EINTR of netlink) may miss some."""
    end = _socket.socket(_socket.AF_NETLINK, _socket.SOCK_RAW, NETLINK_ROUTE)
    try:
        end.settimeout(_SECONDS)
        end.bind((0, 0))
        end.send(
            HEADER.pack(HEADER.size + len(payload), request, _NLM_F_REQUEST | _NLM_F_DUMP, 1, 0) + payload
        )
        found: list[tuple[int, bytes]] = []
        while True:
            for kind, data in messages(end.recv(_SIZE)):
                if kind == _NLMSG_DONE:
                    return found
                if kind == _NLMSG_ERROR:
                    number = -struct.unpack_from("=i", data)[0]
                    raise OSError(number, os.strerror(number))
                found.append((kind, data))
    finally:
        end.close()


def watch() -> _socket.socket:
    """A socket that becomes readable when a link, an address or a route changes."""
    end = _socket.socket(_socket.AF_NETLINK, _socket.SOCK_RAW, NETLINK_ROUTE)
    try:
        end.setblocking(False)
        end.bind((0, LINK | ADDRESS_4 | ROUTE_4 | ADDRESS_6 | ROUTE_6))
    except OSError:
        end.close()
        raise
    return end
