"""What the kernel answers by rtnetlink(7), as values of model/netview.py.

By hand: one reconcile reads hundreds of messages, and pyroute2's classes, which write ours, take ten times as
long to read one (65 us for a rule) and 15 ms to be loaded.  Each function gets a message without its header.
"""

from __future__ import annotations

import _socket
import os
import struct
import sys

from nspawn.kernel.routes import attributes
from nspawn.model.netview import Address, Link, Route, Rule

_FAMILIES = {_socket.AF_INET: 4, _socket.AF_INET6: 6}
_EVERYTHING = {4: "0.0.0.0/0", 6: "::/0"}
ACTIONS = {1: "lookup", 2: "goto", 3: "nop", 6: "blackhole", 7: "unreachable", 8: "prohibit"}
_KINDS = {
    1: "unicast",
    2: "local",
    3: "broadcast",
    4: "anycast",
    5: "multicast",
    6: "blackhole",
    7: "unreachable",
    8: "prohibit",
    9: "throw",
    10: "nat",
}
_NO_NUMBER = 0xFFFFFFFF
_IFF_UP, _IFF_LOOPBACK, _IFF_RUNNING = 0x1, 0x8, 0x40
_IFLA_ADDRESS, _IFLA_IFNAME, _IFLA_MTU, _IFLA_MASTER, _IFLA_LINKINFO = 1, 3, 4, 10, 18
_INFO_KIND = 1
_IFA_ADDRESS, _IFA_LOCAL, _IFA_FLAGS = 1, 2, 8
_RTA_DST, _RTA_OIF, _RTA_GATEWAY, _RTA_PRIORITY, _RTA_PREFSRC = 1, 4, 5, 6, 7
_RTA_MULTIPATH, _RTA_TABLE, _RTA_VIA = 9, 15, 18
_RTM_F_CLONED = 0x200
_NEXTHOP = struct.Struct("=HBBi")
_FRA_DST, _FRA_SRC, _FRA_IIFNAME, _FRA_PRIORITY, _FRA_FWMARK = 1, 2, 3, 6, 10
_FRA_SUPPRESS_IFGROUP, _FRA_SUPPRESS_PREFIXLEN, _FRA_TABLE, _FRA_FWMASK, _FRA_OIFNAME = 13, 14, 15, 16, 17
_FRA_PAD, _FRA_UID_RANGE, _FRA_PROTOCOL = 18, 20, 21
#: Those that a Rule tells of.
_TOLD = frozenset((1, 2, 3, 6, 10, 13, 14, 15, 16, 17, 18, 20, 21))
#: Of struct fib_rule_hdr: the rule is for what does not match.
_INVERTED = 0x2
_NDA_DST = 1
NTF_PROXY = 0x8


def _number(value: bytes | None, default: int = 0) -> int:
    return default if value is None else int.from_bytes(value, sys.byteorder)


def _name(value: bytes | None) -> str:
    return "" if value is None else os.fsdecode(value.rstrip(b"\0"))


def _address(value: bytes | None) -> str:
    """The text of an address of four or sixteen bytes; "" for none."""
    if value is None or len(value) not in (4, 16):
        return ""
    return _socket.inet_ntop(_socket.AF_INET if len(value) == 4 else _socket.AF_INET6, value)


def link(data: bytes) -> Link:
    _, _, index, flags = struct.unpack_from("=BxHiI", data)
    found = attributes(data[16:])
    return Link(
        index,
        _name(found.get(_IFLA_IFNAME)),
        kind=_name(attributes(found.get(_IFLA_LINKINFO, b"")).get(_INFO_KIND)),
        up=bool(flags & _IFF_UP),
        running=bool(flags & _IFF_RUNNING),
        loopback=bool(flags & _IFF_LOOPBACK),
        master=_number(found.get(_IFLA_MASTER)),
        mac=found.get(_IFLA_ADDRESS, b"").hex(":"),
        mtu=_number(found.get(_IFLA_MTU)),
    )


def address(data: bytes) -> Address | None:
    family, length, flags, scope, index = struct.unpack_from("=4BI", data)
    found = attributes(data[8:])
    text = _address(found.get(_IFA_LOCAL, found.get(_IFA_ADDRESS)))  # of a peer's interface both differ
    if family not in _FAMILIES or not text:
        return None
    return Address(index, _FAMILIES[family], text, length, scope, _number(found.get(_IFA_FLAGS), flags))


def routes(data: bytes) -> list[Route]:
    """One with several next hops is as many."""
    number, length, _, _, table, protocol, scope, kind, flags = struct.unpack_from("=8BI", data)
    family = _FAMILIES.get(number, 0)
    if not family or flags & _RTM_F_CLONED:
        return []
    found = attributes(data[12:])
    hops = [(_number(found.get(_RTA_OIF)), _gateway(found))]
    if _RTA_MULTIPATH in found:
        hops = _hops(found[_RTA_MULTIPATH])
    return [
        Route(
            family,
            f"{_address(found[_RTA_DST])}/{length}" if _RTA_DST in found else _EVERYTHING[family],
            _number(found.get(_RTA_TABLE), table),
            oif=oif,
            via=via,
            kind=_KINDS.get(kind, str(kind)),
            scope=scope,
            protocol=protocol,
            metric=_number(found.get(_RTA_PRIORITY)),
            source=_address(found.get(_RTA_PREFSRC)),
        )
        for oif, via in hops
    ]


def _hops(data: bytes) -> list[tuple[int, str]]:
    found = []
    while len(data) >= _NEXTHOP.size:
        size, _, _, index = _NEXTHOP.unpack_from(data)
        if size < _NEXTHOP.size:
            break
        found.append((index, _gateway(attributes(data[_NEXTHOP.size : size]))))
        data = data[(size + 3) & ~3 :]
    return found


def _gateway(found: dict[int, bytes]) -> str:
    via = found.get(_RTA_VIA)  # of another family: its number, and the address
    return _address(found.get(_RTA_GATEWAY)) if via is None else _address(via[2:])


def rule(data: bytes) -> Rule | None:
    """protocol: -1 from kernels before 4.17, which do not tell it."""
    number, to_length, from_length, tos, table, _, _, action, flags = struct.unpack_from("=8BI", data)
    family = _FAMILIES.get(number, 0)
    if not family:
        return None
    found = attributes(data[12:])
    get = found.get
    suppress = _number(get(_FRA_SUPPRESS_PREFIXLEN), _NO_NUMBER)
    group = _number(get(_FRA_SUPPRESS_IFGROUP), _NO_NUMBER)
    uids = get(_FRA_UID_RANGE, b"")
    return Rule(
        family,
        _number(get(_FRA_PRIORITY)),
        action=ACTIONS.get(action, str(action)),
        table=_number(get(_FRA_TABLE), table),
        src=f"{_address(found[_FRA_SRC])}/{from_length}" if _FRA_SRC in found else "",
        dst=f"{_address(found[_FRA_DST])}/{to_length}" if _FRA_DST in found else "",
        iif=_name(get(_FRA_IIFNAME)),
        oif=_name(get(_FRA_OIFNAME)),
        mark=_number(get(_FRA_FWMARK)),
        mask=_number(get(_FRA_FWMASK)),
        uids=struct.unpack("=II", uids) if len(uids) == 8 else None,
        suppress=-1 if suppress == _NO_NUMBER else suppress,
        protocol=_number(get(_FRA_PROTOCOL), -1),
        more=bool(found.keys() - _TOLD or group != _NO_NUMBER or tos or flags & _INVERTED),
    )


def proxy(data: bytes) -> tuple[str, int] | None:
    """(address, index of the interface) of a neighbour that is answered for."""
    _, index, _, flags, _ = struct.unpack_from("=BxxxiHBB", data)
    text = _address(attributes(data[12:]).get(_NDA_DST))
    return (text, index) if flags & NTF_PROXY and text else None
