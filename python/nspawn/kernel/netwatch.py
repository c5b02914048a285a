"""What changes in the machine's network, told by rtnetlink(7): a bare socket, and a sieve for what matters.

The sieve holds back what we did ourselves and what only repeats: an idle phone tells a lot (the strength of
the WiFi, the lifetimes of IPv6 addresses), and each look costs the start of a process.
"""

from __future__ import annotations

import _socket
import errno
import os
import struct

from nspawn.kernel.routes import NETLINK_ROUTE
from nspawn.model.slot import veth

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

NOTHING, LOOK, REFILL = 0, 1, 2

#: Groups: links; addresses, routes and rules of both families; settings of interfaces (forwarding).
_GROUPS = 0x1 | 0x10 | 0x40 | 0x80 | 0x100 | 0x400 | 1 << 18 | 1 << 23 | 1 << 24
_PROTOCOL = 78  # of what is ours: model/netview.py, which is too large to be imported here
_NEWLINK, _DELLINK, _NEWADDR, _DELADDR, _NEWROUTE, _DELROUTE, _NEWRULE, _DELRULE, _NEWNETCONF = (
    16, 17, 20, 21, 24, 25, 32, 33, 80,
)  # fmt: skip
_UP, _RUNNING, _LOWER_UP = 0x1, 0x40, 0x10000
_AF_BRIDGE = 7
_IFLA_IFNAME = 3
_IFA_ADDRESS, _IFA_FLAGS = 1, 8
_SCOPE_LINK = 253
_TENTATIVE, _TELLING = 0x40, 0x40 | 0x20 | 0x08  # tentative, deprecated, failed
_RTA_DST, _RTA_OIF, _RTA_TABLE = 1, 4, 15
_FRA_SRC, _FRA_PROTOCOL = 2, 21
_RULE = struct.Struct("=BBBBBxxBI")
_UNREACHABLE = 7
_REQUEST, _EXCLUSIVE, _CREATE = 0x1, 0x200, 0x400
_LOCAL = 255
#: unicast, blackhole, unreachable, prohibit, throw
_KINDS = (1, 6, 7, 8, 9)
_CLONED = 0x200
_NETCONFA_IFINDEX, _NETCONFA_FORWARDING = 1, 2
_DEFAULT = -2
_LOOPBACK = 1
#: netd removes all rules at its start, and then the chains of iptables.
_BURST = 4
_HEADER = struct.Struct("=IHHII")
_SIZE = 1 << 16
_PREFIX = veth(0)[:-1]


def watch() -> _socket.socket:
    """A socket that becomes readable at any change."""
    end = _socket.socket(_socket.AF_NETLINK, _socket.SOCK_RAW, NETLINK_ROUTE)
    try:
        end.setblocking(False)
        end.bind((0, _GROUPS))
    except OSError:
        end.close()
        raise
    return end


def _attributes(data: bytes, at: int) -> dict[int, bytes]:
    found = {}
    while at + 4 <= len(data):
        length, kind = struct.unpack_from("=HH", data, at)
        if length < 4 or at + length > len(data):
            break
        found[kind & 0x3FFF] = data[at + 4 : at + length]
        at += (length + 3) & ~3
    return found


def _number(data: bytes | None) -> int:
    return int.from_bytes(data, "little" if struct.pack("=H", 1)[0] else "big") if data else 0


class Sieve:
    """bridge: the name of ours.  ports: of netlink, whose doings are ours.

    lost: of rules at which the way of a pinned container ends, and which another program took away: the
    address, and the message that makes the rule anew.

    What it knows is only what it has seen, so that the first message of each thing counts as a change.
    """

    __slots__ = ("_addresses", "_links", "_ours", "bridge", "lost", "ports")

    def __init__(self, bridge: str) -> None:
        self.bridge = bridge
        self.ports: set[int] = set()
        self.lost: list[tuple[bytes, bytes]] = []
        self._links: dict[int, tuple[bytes, int]] = {}
        self._addresses: dict[bytes, int] = {}
        self._ours = {i: name for i, name in _socket.if_nameindex() if name == bridge or name[:3] == _PREFIX}

    def drain(self, end: _socket.socket) -> int:
        """Take all that has come: LOOK, REFILL when rules went as netd's start takes them, or NOTHING."""
        verdict, gone = NOTHING, 0
        while True:
            try:
                data = end.recv(_SIZE)
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                verdict = max(verdict, LOOK)  # more came than it holds
                continue
            at = 0
            while at + _HEADER.size <= len(data):
                length, kind, _flags, _sequence, port = _HEADER.unpack_from(data, at)
                if length < _HEADER.size or at + length > len(data):
                    break
                judge = _JUDGES.get(kind)
                if judge is not None and port not in self.ports:
                    found = judge(self, data[at + _HEADER.size : at + length], kind)
                    gone += found == LOOK and kind == _DELRULE
                    verdict = max(verdict, found)
                at += (length + 3) & ~3
        return REFILL if gone >= _BURST else verdict

    def _link(self, payload: bytes, kind: int) -> int:
        family, index, flags = struct.unpack_from("=BxxxiI", payload)
        if family == _AF_BRIDGE:
            return NOTHING
        name = _attributes(payload, 16).get(_IFLA_IFNAME, b"").rstrip(b"\0")
        text = os.fsdecode(name)
        if text.startswith(_PREFIX) or text == self.bridge:
            if kind == _DELLINK:
                self._ours.pop(index, None)
            else:
                self._ours[index] = text
            whole = text != self.bridge or (kind == _NEWLINK and flags & _UP)
            return NOTHING if whole else LOOK
        if kind == _DELLINK:
            self._ours.pop(index, None)
            self._links.pop(index, None)
            return LOOK
        now = (name, flags & (_UP | _RUNNING | _LOWER_UP))
        before, self._links[index] = self._links.get(index), now
        return NOTHING if before == now else LOOK

    def _address(self, payload: bytes, kind: int) -> int:
        family, length, flags, scope, index = struct.unpack_from("=4BI", payload)
        if scope >= _SCOPE_LINK:
            return NOTHING
        if index in self._ours:
            return LOOK if kind == _DELADDR else NOTHING
        found = _attributes(payload, 8)
        key = struct.pack("=BBI", family, length, index) + found.get(_IFA_ADDRESS, b"")
        if kind == _DELADDR:
            self._addresses.pop(key, None)
            return LOOK
        flags = (_number(found.get(_IFA_FLAGS)) or flags) & _TELLING
        if flags & _TENTATIVE or self._addresses.get(key) == flags:
            return NOTHING
        self._addresses[key] = flags
        return LOOK

    def _route(self, payload: bytes, kind: int) -> int:
        family, _length, table, protocol, form, flags = struct.unpack_from("=BBxxBBxBI", payload)
        if form not in _KINDS or flags & _CLONED:
            return NOTHING
        found = _attributes(payload, 12)
        to = found.get(_RTA_DST, b"")
        if (_number(found.get(_RTA_TABLE)) or table) == _LOCAL:
            return NOTHING
        if protocol == _PROTOCOL:
            return LOOK if kind == _DELROUTE else NOTHING
        if _number(found.get(_RTA_OIF)) in self._ours:
            return NOTHING  # the kernel's own of our addresses, which are watched
        if family == _socket.AF_INET6 and (to[:1] == b"\xff" or to[:2] == b"\xfe\x80"):
            return NOTHING
        return LOOK

    def _rule(self, payload: bytes, kind: int) -> int:
        found = _attributes(payload, 12)
        if found.get(_FRA_PROTOCOL) != bytes((_PROTOCOL,)):
            return LOOK
        if kind == _NEWRULE:
            return NOTHING
        family, to, source, tos, table, action, _flags = _RULE.unpack_from(payload)
        if action == _UNREACHABLE and _FRA_SRC in found:
            body = _RULE.pack(family, to, source, tos, table, action, 0) + payload[_RULE.size :]
            flags = _REQUEST | _CREATE | _EXCLUSIVE
            message = _HEADER.pack(_HEADER.size + len(body), _NEWRULE, flags, 0, 0) + body
            self.lost.append((found[_FRA_SRC], message))
        return REFILL

    def _setting(self, payload: bytes, _kind: int) -> int:
        """Forwarding was switched off: by the end of a hotspot, for one."""
        found = _attributes(payload, 4)
        where = found.get(_NETCONFA_IFINDEX)
        off = found.get(_NETCONFA_FORWARDING) == bytes(4)
        if where is None or not off:
            return NOTHING
        index = struct.unpack("=i", where)[0]
        if index in (_DEFAULT, _LOOPBACK) or self._ours.get(index, self.bridge) != self.bridge:
            return NOTHING  # a port of the bridge forwards nothing by itself
        return LOOK


_JUDGES: dict[int, Callable[[Sieve, bytes, int], int]] = {
    _NEWLINK: Sieve._link,
    _DELLINK: Sieve._link,
    _NEWADDR: Sieve._address,
    _DELADDR: Sieve._address,
    _NEWROUTE: Sieve._route,
    _DELROUTE: Sieve._route,
    _NEWRULE: Sieve._rule,
    _DELRULE: Sieve._rule,
    _NEWNETCONF: Sieve._setting,
}
